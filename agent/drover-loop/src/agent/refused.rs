//! Launches that a provider refuses for its credentials, told to every group of that provider: a refused listing stops them
//! by itself, and where listing and ending are allowed and making is not, each would end an instance to find out.

use std::time::Duration;

use drover_model::{ErrorClass, GroupName, Hold, Timestamp};

use super::Agent;

/// How long a refusal is believed after the next launch was due: the longest wait between two. The group that met it
/// may have nothing to make any more.
const BELIEVED: Duration = Duration::from_mins(15);

impl Agent {
    /// Returns the latest refusal that stands of a launch with the provider of a group, by whichever group.
    pub(super) fn launches_refused(&self, name: &GroupName, now: Timestamp) -> Option<Hold> {
        let entry = self.groups.get(name)?;
        let provider = &entry.recorded.provider.as_ref()?.name;
        let backoffs = self.groups.values().filter_map(|other| {
            let theirs = other.recorded.provider.as_ref()?;
            let backoff = other.recorded.backoff.as_ref()?;
            let refused = backoff.class == Some(ErrorClass::Auth) && theirs.name == *provider;
            refused.then_some(backoff)
        });
        let stands = backoffs.filter(|backoff| {
            let until = backoff.until.checked_add(BELIEVED);
            until.is_ok_and(|until| now < until)
        });
        let latest = stands.max_by_key(|backoff| backoff.until)?;
        Some(Hold::LaunchesRefused {
            provider: provider.clone(),
            message: latest.message.clone(),
        })
    }
}
