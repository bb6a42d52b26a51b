//! What a random life has of windows, budgets, protection, expiry, dependencies and hourly limits.

use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::{
    Amount, Budget, Cron, Expiry, GroupName, GroupSpec, InstanceId, Protect, Reason, Window,
    WindowKind, Zone,
};

use super::Life;
use crate::Random;

/// Windows, budgets, protection, expiry and hourly limits, each in some groups only.
pub(super) fn random_admission(random: &mut Random, spec: &mut GroupSpec) {
    let cron = |text: &str| Cron::parse(text).expect("a valid expression");
    if random.percent(30) {
        let (cron_text, minutes) =
            random.pick(&[("*/20 * * * *", 8), ("0 * * * *", 25), ("7 */2 * * *", 60)]);
        spec.windows.push(Window {
            kind: random.pick(&[WindowKind::Allow, WindowKind::Allow, WindowKind::Deny]),
            cron: cron(cron_text),
            duration: Duration::from_mins(minutes),
            zone: Zone::utc(),
            reasons: random.pick(&[
                Reason::voluntary(),
                BTreeSet::from([Reason::Update]),
                BTreeSet::from([Reason::ScaleIn, Reason::Expiry]),
            ]),
        });
    }
    if random.percent(30) {
        spec.budgets.push(Budget {
            reasons: random.pick(&[
                Reason::voluntary(),
                BTreeSet::from([Reason::Heal]),
                BTreeSet::from([Reason::Update, Reason::Heal]),
            ]),
            max: random.pick(&[Amount::Count(1), Amount::Percent(20)]),
        });
    }
    if random.percent(20) {
        spec.expiry = Some(Expiry {
            age_max: Duration::from_mins(random.pick(&[20, 200, 2000])),
            jitter_percent: random.pick(&[0, 10, 50]),
        });
    }
    if random.percent(20) {
        spec.protect.push(random_protection(random));
    }
    if random.percent(15) {
        spec.depends_on.push(other_group());
    }
    if random.percent(10) {
        spec.limits.create_hourly_max = Some(10 + random.below(30));
        spec.limits.destroy_hourly_max = Some(3 + random.below(10));
    }
}

fn random_protection(random: &mut Random) -> Protect {
    let instances = (0..=random.below(3)).map(|_| {
        let name = format!("web-{}", 1 + random.below(20));
        InstanceId::parse(&name).expect("a valid name")
    });
    Protect {
        instances: instances.collect(),
        from: random.pick(&[
            Reason::voluntary(),
            BTreeSet::from([Reason::Update, Reason::Heal]),
            BTreeSet::from([Reason::ScaleIn]),
        ]),
        until: None,
        because: None,
    }
}

/// The group that others depend on. Nobody simulates it: it converges as fate has it.
fn other_group() -> GroupName {
    GroupName::parse("db").expect("a valid label")
}

/// Takes away what keeps a group from ever being at rest.
pub(super) fn let_rest(spec: &mut GroupSpec) {
    spec.windows.clear();
    spec.protect.clear();
    spec.depends_on.clear();
    spec.expiry = None;
    spec.limits.create_hourly_max = Some(u32::MAX);
    spec.limits.destroy_hourly_max = Some(u32::MAX);
}

impl Life {
    /// The group that this one may depend on converges, or is on the way.
    pub(super) fn other_group(&mut self) {
        self.sim.peers.converged.clear();
        if self.random.percent(70) {
            self.sim.peers.converged.insert(other_group());
        } else {
            self.count("dependency", "not converged");
        }
    }

    /// A person protects instances, or no longer does.
    pub(super) fn protect(&mut self) {
        self.count("document", "other protection");
        let protection = random_protection(&mut self.random);
        let ends = self.random.percent(50);
        self.sim.edit(|spec| {
            spec.protect.clear();
            if !ends {
                spec.protect.push(protection);
            }
        });
    }
}
