//! Launches that a provider refuses for its credentials, told to every group of that provider: a refused listing stops them
//! by itself, and where listing and ending are allowed and making is not, each would end an instance to find out.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_model::{ErrorClass, Hold, LaunchBackoff, ProviderName, Timestamp};

use super::Agent;

/// How long a refusal is believed after the next launch was due: the longest wait between two. The group that met it
/// may have nothing to make any more.
const BELIEVED: Duration = Duration::from_mins(15);

impl Agent {
    /// Returns the latest refusal that stands of a launch with each provider, by whichever group.
    pub(super) fn launches_refused(&self, now: Timestamp) -> BTreeMap<ProviderName, Hold> {
        let mut latest: BTreeMap<&ProviderName, &LaunchBackoff> = BTreeMap::new();
        for entry in self.groups.values() {
            let (Some(provider), Some(backoff)) =
                (&entry.recorded.provider, &entry.recorded.backoff)
            else {
                continue;
            };
            let until = backoff.until.checked_add(BELIEVED);
            let stands = until.is_ok_and(|until| now < until);
            if backoff.class != Some(ErrorClass::Auth) || !stands {
                continue;
            }
            let known = latest.entry(&provider.name).or_insert(backoff);
            if backoff.until >= known.until {
                *known = backoff;
            }
        }
        let hold = |(provider, backoff): (&ProviderName, &LaunchBackoff)| {
            let hold = Hold::LaunchesRefused {
                provider: provider.clone(),
                message: backoff.message.clone(),
            };
            (provider.clone(), hold)
        };
        latest.into_iter().map(hold).collect()
    }
}
