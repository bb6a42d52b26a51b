//! Whether a state branch may be believed by an agent that knows nothing but it. Each of its commits is signed by
//! somebody who counts, from the tip down to the first one that anybody signed: what came before was there when the
//! signing began. So a commit that somebody else slipped in is found, also below later ones of the agent's own.

use drover_git::{GitError, Mirror, Oid, StateTrust};
use drover_model::Revision;

use super::RecorderError;
use crate::message::ACCEPTED_STATE;
use crate::source::chain;

/// Commits between two times at which unpacked objects are let go of.
const LET_GO_EVERY: usize = 256;

/// What was found out about a branch.
#[derive(Debug, Default)]
pub(super) struct Vouched {
    /// Tips that are believed for their signatures.
    signed: Vec<Oid>,
    /// What a swap may go onto. None: nobody has asked since the last one.
    pub(super) tips: Option<Vec<Oid>>,
}

/// Whose signatures count, and the commit that a person answers for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) trust: &'a StateTrust,
    pub(super) accepted: Option<&'a Revision>,
}

/// How a tip is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Believed {
    /// For its signatures.
    Signed,
    /// Because a person says so.
    Accepted,
}

impl Vouched {
    /// Judges a tip.
    pub(super) fn judge(
        &mut self,
        mirror: &Mirror,
        tip: Oid,
        word: Word<'_>,
    ) -> Result<Believed, RecorderError> {
        let doubt = match self.doubt(mirror, tip, word.trust) {
            Ok(None) => {
                self.signed.push(tip);
                return Ok(Believed::Signed);
            }
            Ok(Some(doubt)) => doubt,
            Err(error) => (tip, chain(&error)),
        };
        if accepted(mirror, tip, word.accepted) {
            return Ok(Believed::Accepted);
        }
        let (commit, why) = doubt;
        let revision = |id: Oid| Revision::parse(&id.to_string()).map_err(internal);
        Err(RecorderError::Untrusted {
            commit: revision(commit)?,
            tip: revision(tip)?,
            why,
        })
    }

    /// Returns the newest commit that keeps a tip from being believed, and why.
    fn doubt(
        &self,
        mirror: &Mirror,
        tip: Oid,
        trust: &StateTrust,
    ) -> Result<Option<(Oid, String)>, GitError> {
        let commits = mirror.first_parents(tip)?;
        let mut doubt = None;
        for (number, id) in commits.iter().enumerate() {
            if self.signed.contains(id) {
                return Ok(doubt);
            }
            match mirror.verify_state_commit(*id, trust) {
                Ok(_) if doubt.is_some() => return Ok(doubt),
                Ok(_) if answers_for(mirror, *id, commits.get(number + 1))? => return Ok(None),
                Ok(_) => {}
                Err(GitError::Unverified { what: _, source }) => {
                    let found = (*id, source.to_string());
                    if number == 0 {
                        return Ok(Some(found));
                    }
                    doubt.get_or_insert(found);
                }
                Err(error) => return Err(error),
            }
            if number % LET_GO_EVERY == LET_GO_EVERY - 1 {
                mirror.let_go()?;
            }
        }
        // Nobody signed anything below.
        Ok(None)
    }
}

/// Returns whether a signed commit says that a person answers for the one before it.
fn answers_for(mirror: &Mirror, id: Oid, parent: Option<&Oid>) -> Result<bool, GitError> {
    let info = mirror.commit(id)?;
    let named = info.trailer(ACCEPTED_STATE);
    Ok(named.is_some() && named == parent.map(ToString::to_string).as_deref())
}

/// Returns whether a person answers for a tip: it is what the person named, or that rests on it.
fn accepted(mirror: &Mirror, tip: Oid, accepted: Option<&Revision>) -> bool {
    let accepted = accepted.and_then(|accepted| accepted.as_str().parse::<Oid>().ok());
    accepted.is_some_and(|accepted| mirror.is_ancestor(tip, accepted).unwrap_or(false))
}

fn internal(error: impl std::fmt::Display) -> RecorderError {
    RecorderError::Internal {
        message: error.to_string(),
    }
}
