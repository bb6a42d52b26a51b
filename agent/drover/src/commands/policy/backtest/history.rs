//! Recorded passes out of the state branch.

use std::collections::BTreeMap;
use std::sync::Arc;

use drover_git::Oid;
use drover_loop::RecordedFacts;
use drover_model::{Change, Group, GroupName, RecordedGroup, Revision, Timestamp};
use drover_policy::{GroupSummary, SourceFacts};
use drover_spec::record;

use super::super::live::{commit_facts, summaries};
use crate::commands::replay::INPUTS_FOLDER;
use crate::error::{CommandResult, Context as _};
use crate::snapshot::{GROUPS_FOLDER, Repository};

/// Most commits of the state branch that are looked at, the newest: an agent that makes six a minute
/// makes as many in two days, and deciding again about a thousand instances takes milliseconds.
const COMMITS_MAX: usize = 20_000;

/// The trailer that names the group of an entry.
const GROUP_TRAILER: &str = "Drover-Group";

/// A pass over a group that was recorded.
pub(super) struct Pass {
    pub(super) commit: Oid,
    parent: Option<Oid>,
    pub(super) group: GroupName,
}

/// Everything that can be known again about such a pass.
pub(super) struct Recorded {
    pub(super) facts: RecordedFacts,
    pub(super) source: SourceFacts,
    pub(super) groups: BTreeMap<GroupName, GroupSummary>,
    /// The state before the commit.
    pub(super) before: RecordedGroup,
    /// The document that was in force before the pass. None: there was none.
    pub(super) old: Option<Arc<Group>>,
    /// The change that the pass accepted.
    pub(super) change: Option<Change>,
}

/// The state branch, with what was read already.
pub(super) struct History<'a> {
    repository: &'a Repository,
    branch: &'a str,
    sources: BTreeMap<Revision, SourceFacts>,
    states: BTreeMap<Oid, Option<RecordedGroup>>,
}

impl<'a> History<'a> {
    /// Returns the history of a repository whose source is `branch`.
    pub(super) fn new(repository: &'a Repository, branch: &'a str) -> Self {
        Self {
            repository,
            branch,
            sources: BTreeMap::new(),
            states: BTreeMap::new(),
        }
    }

    /// Returns the recorded passes since a time, the oldest first.
    pub(super) fn passes(
        &self,
        group: Option<&GroupName>,
        since: Timestamp,
    ) -> CommandResult<Vec<Pass>> {
        let commits = crate::commands::entries(self.repository, group, COMMITS_MAX)?;
        let mut passes = Vec::new();
        for commit in commits.iter().rev().filter(|commit| commit.time >= since) {
            let parent = commit.parents.first().copied();
            let named = commit.trailers.iter();
            let named = named.filter(|(key, _)| key.eq_ignore_ascii_case(GROUP_TRAILER));
            for (_, name) in named {
                let Ok(name) = GroupName::parse(name) else {
                    continue;
                };
                if group.is_some_and(|group| *group != name) {
                    continue;
                }
                let path = inputs_path(&name);
                let now = self.oid(commit.id, &path)?;
                let before = match parent {
                    Some(parent) => self.oid(parent, &path)?,
                    None => None,
                };
                // An entry about something else leaves the inputs of the last plan as they are.
                if now.is_some() && now != before {
                    passes.push(Pass {
                        commit: commit.id,
                        parent,
                        group: name,
                    });
                }
            }
        }
        Ok(passes)
    }

    fn oid(&self, commit: Oid, path: &str) -> CommandResult<Option<Oid>> {
        let file = self.repository.mirror.recorded(commit, path);
        let file = file.context(format!("cannot read {path} of {}", commit.short()))?;
        Ok(file.map(|(oid, _)| oid))
    }

    fn text(&self, commit: Oid, path: &str) -> CommandResult<Option<String>> {
        let file = self.repository.mirror.recorded(commit, path);
        let file = file.context(format!("cannot read {path} of {}", commit.short()))?;
        Ok(file.map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Reads a pass; or says why this version cannot.
    pub(super) fn read(&mut self, pass: &Pass) -> CommandResult<Result<Recorded, String>> {
        let inputs = self.text(pass.commit, &inputs_path(&pass.group))?;
        let facts = match RecordedFacts::read(&inputs.unwrap_or_default()) {
            Ok(facts) => facts,
            Err(error) => return Ok(Err(error.to_string())),
        };
        // Other groups are known as the pass before left them.
        let groups = self.groups(pass.parent.unwrap_or(pass.commit))?;
        let before = match pass.parent {
            Some(parent) => {
                let path = format!("{GROUPS_FOLDER}/{}.yaml", pass.group);
                self.text(parent, &path)?
                    .and_then(|text| record::decode(&text).ok())
            }
            None => None,
        };
        let before = before.unwrap_or_else(|| {
            let now = &facts.recorded;
            RecordedGroup::new(now.name.clone(), now.uid.clone(), now.epoch)
        });
        let old = document(&before);
        let accepted = |recorded: &RecordedGroup| {
            recorded
                .accepted
                .as_ref()
                .map(|accepted| accepted.text.clone())
        };
        let change = if accepted(&before) == accepted(&facts.recorded) {
            None
        } else {
            change(&before, &facts)
        };
        Ok(Ok(Recorded {
            source: self.source(&facts.source),
            facts,
            groups,
            before,
            old,
            change,
        }))
    }

    fn source(&mut self, revision: &Revision) -> SourceFacts {
        if let Some(known) = self.sources.get(revision) {
            return known.clone();
        }
        // The branch is fetched once: what is not there then was rewritten.
        let branch = self.sources.is_empty().then_some(self.branch);
        let found = commit_facts(&self.repository.mirror, revision, branch);
        self.sources.insert(revision.clone(), found.clone());
        found
    }

    fn groups(&mut self, commit: Oid) -> CommandResult<BTreeMap<GroupName, GroupSummary>> {
        let files = self.repository.group_files(commit);
        let files = files.context(format!("cannot read commit {}", commit.short()))?;
        for (path, oid) in &files {
            if self.states.contains_key(oid) {
                continue;
            }
            let bytes = self.repository.read_recorded(*oid);
            let bytes = bytes.context(format!("cannot read {path}"))?;
            let state = record::decode(&String::from_utf8_lossy(&bytes)).ok();
            self.states.insert(*oid, state);
        }
        let oids = files.iter().map(|(_, oid)| oid);
        Ok(summaries(
            oids.filter_map(|oid| self.states.get(oid)?.as_ref()),
        ))
    }
}

fn inputs_path(group: &GroupName) -> String {
    format!("{INPUTS_FOLDER}/{group}.json")
}

/// Returns the document in force in a recorded state.
fn document(recorded: &RecordedGroup) -> Option<Arc<Group>> {
    let accepted = recorded.accepted.as_ref()?;
    drover_spec::parse_document(&accepted.path, accepted.line, &accepted.text).into_group()
}

/// Returns the change that was accepted between a state and the pass after it.
fn change(before: &RecordedGroup, facts: &RecordedFacts) -> Option<Change> {
    let spec = &facts.group.spec;
    let sized = facts.decisions.size.is_some();
    let digests = drover_plan::target_digests(spec, &facts.provider, before);
    drover_plan::change(&drover_plan::ChangeInput {
        group: &before.name,
        recorded: before,
        to: Some((spec, drover_plan::change_size(spec, before, sized), digests)),
        policies: BTreeMap::new(),
        drift: &facts.decisions.drift,
    })
}
