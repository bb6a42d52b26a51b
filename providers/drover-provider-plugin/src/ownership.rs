//! Whose an instance is: by the ledger where that has its token, else by its tags, which plugins may cut or lose.

use std::collections::BTreeMap;

use drover_model::{FleetName, Ownership, Token};
use drover_provider::ProviderError;

use crate::call::{CallError, shortened};
use crate::infrakit::Description;
use crate::instance::Inner;
use crate::ledger::State;
use crate::{spec, tags};

impl Inner {
    /// Returns the owner of an instance. What is noted of the call that made it goes before its tags: clouds cut what is
    /// too long for them.
    pub(crate) fn owner_of(&self, description: &Description) -> Option<Ownership> {
        let noted = self.noted_owner(description);
        noted.or_else(|| tags::owner(&description.tags))
    }

    fn noted_owner(&self, description: &Description) -> Option<Ownership> {
        let tags = &description.tags;
        if tags::get(tags, tags::RELEASED).is_some() {
            return None;
        }
        let token = Token::parse(tags::get(tags, tags::TOKEN)?).ok()?;
        let entry = self.ledger.get(&token)?;
        let is_it = entry.id.as_ref() == Some(&description.id);
        match entry.state {
            State::Made | State::Ended if is_it => {}
            State::Made
            | State::Ended
            | State::Sent
            | State::Acked
            | State::Refused
            | State::Failed => return None,
        }
        let owner = tags::owner(&tags::noted(&entry.owner))?;
        (tags::get(tags, tags::FLEET)? == owner.fleet.as_str()).then_some(owner)
    }

    /// Returns why it is not known whose an instance of the fleet is: one of its tags cannot be read, and nothing else says
    /// it. Tags that are missing are another matter: an adoption may be under way.
    pub(crate) fn is_altered(&self, description: &Description) -> Option<String> {
        let (name, value) = tags::unreadable(&description.tags)?;
        let Description { id, .. } = description;
        Some(format!(
            "plugin {}: Instance.DescribeInstances: the tag {name} of {id} came back as {:?}, which no drover has sent; nobody knows whose it is",
            self.caller.name,
            shortened(value)
        ))
    }

    /// Makes sure that the plugin keeps the tags that it is sent: what has come back without them is listed nowhere, and
    /// would be made again and again.
    pub(crate) async fn keeps_tags(&self) -> Result<(), ProviderError> {
        let unlisted = self.ledger.unlisted();
        let unlisted = unlisted.into_iter().filter(|entry| self.is_past(entry));
        let unlisted: Vec<_> = unlisted.collect();
        if unlisted.is_empty() {
            return Ok(());
        }
        let all = self.describe(&BTreeMap::new()).await;
        let all = all.map_err(CallError::into_provider_error)?;
        for entry in unlisted {
            let mut all = all.iter();
            let Some(found) = all.find(|one| entry.id.as_ref() == Some(&one.id)) else {
                // It is gone, whatever its tags were.
                self.ledger.listed(std::iter::once(entry.token.as_str()));
                continue;
            };
            let sent = tags::noted(&entry.owner);
            if !found.tags.contains_key(tags::RELEASED)
                && let Some(why) = self.came_back("Instance.Provision", None, &sent, found)
            {
                let message = format!("{why}; nothing more is made before it keeps its tags");
                return Err(spec::invalid(message));
            }
            self.ledger.listed(std::iter::once(entry.token.as_str()));
        }
        Ok(())
    }

    /// Returns which tag a call has made something else of than it was sent. One that is as it was before may only be late.
    pub(crate) fn came_back(
        &self,
        method: &str,
        before: Option<&BTreeMap<String, String>>,
        sent: &BTreeMap<String, String>,
        found: &Description,
    ) -> Option<String> {
        let id = &found.id;
        let (name, now) = sent.iter().find_map(|(name, value)| {
            let now = found.tags.get(name);
            let is_late = before.is_some_and(|before| {
                let was = before.get(name).map_or("", String::as_str);
                let is_cut = !was.is_empty() && value.starts_with(was);
                now == before.get(name) && !is_cut
            });
            (now != Some(value) && !is_late).then_some((name, now))
        })?;
        let plugin = &self.caller.name;
        let now = now.map_or_else(
            || "did not come back".to_owned(),
            |now| format!("came back as {:?}", shortened(now)),
        );
        Some(format!(
            "plugin {plugin}: {method}: the tag {name} of {id} {now}"
        ))
    }
}

/// Returns the first owner's tag that keeps an instance from being adopted. What an adoption, or a release, has left that
/// was cut short is none of them: it is written over.
pub(crate) fn foreign<'a>(
    tags: &'a BTreeMap<String, String>,
    owner: &Ownership,
    to_be: &BTreeMap<String, String>,
) -> Option<(&'static str, &'a str)> {
    let fleet = tags::get(tags, tags::FLEET);
    let group = tags::get(tags, tags::GROUP);
    let is_released = is_void(tags);
    let is_own = fleet == Some(owner.fleet.as_str())
        && group.is_none_or(|group| group == owner.group.as_str());
    let mut owning = tags::OWNING.into_iter();
    owning.find_map(|name| {
        let value = tags::get(tags, name)?;
        let is_same = to_be.get(name).is_some_and(|to_be| to_be == value);
        (!is_same && !is_own && !is_released).then_some((name, value))
    })
}

/// Returns whether owner's tags are what a release has left: it says first whose they were.
fn is_void(tags: &BTreeMap<String, String>) -> bool {
    let released = tags::get(tags, tags::RELEASED);
    let fleet = tags::get(tags, tags::FLEET);
    released.is_some() && (fleet.is_none() || fleet == released)
}

/// Returns the other fleet that is taking over what has these tags, or has let go of it in the middle.
pub(crate) fn other_fleet<'a>(
    tags: &'a BTreeMap<String, String>,
    ours: Option<&FleetName>,
) -> Option<&'a str> {
    let fleet = tags::get(tags, tags::FLEET)?;
    let is_other = ours.is_some_and(|ours| ours.as_str() != fleet);
    (is_other && !is_void(tags)).then_some(fleet)
}
