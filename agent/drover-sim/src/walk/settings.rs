//! How slow and how forgetful the provider of a random life is.

use std::time::Duration;

use drover_provider_sim::SimSettings;

use crate::Random;

pub(super) fn random_settings(random: &mut Random) -> SimSettings {
    let lag = Duration::from_secs(random.pick(&[0, 0, 1, 5, 30]));
    SimSettings {
        seed: random.next_u64(),
        boot: Duration::from_secs(random.pick(&[0, 1, 20, 50])),
        boot_jitter: Duration::from_secs(random.pick(&[0, 5])),
        ready: Duration::from_secs(random.pick(&[0, 3])),
        list_lag: lag,
        address_lag: lag * 2,
        phase_lag: Duration::from_secs(random.pick(&[0, 0, 2, 10])),
        stop: Duration::from_secs(random.pick(&[0, 1, 30, 200])),
        remember: Duration::from_secs(random.pick(&[0, 0, 60, 600])),
        batch_max: random.pick(&[1, 2, 100]),
        visibility: lag,
        ..SimSettings::default()
    }
}
