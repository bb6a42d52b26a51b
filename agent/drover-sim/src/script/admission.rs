//! Commands about windows, budgets, protected instances, expiry and other groups.

use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::{
    Budget, Cron, Expiry, GroupName, InstanceId, OrderVerb, Protect, Reason, Window, WindowKind,
    Zone,
};

use super::{ScriptError, Stage, amount, span};

impl Stage {
    /// Runs a command, if it is one of these. Returns whether it is.
    pub(super) fn admission(&mut self, words: &[&str]) -> Result<bool, ScriptError> {
        let done = match words {
            ["window", "none"] => {
                self.sim.edit(|spec| spec.windows.clear());
                Some(())
            }
            [
                "window",
                kind,
                m,
                h,
                dom,
                month,
                dow,
                "for",
                time,
                "in",
                zone,
                about @ ..,
            ] => {
                let cron = [*m, *h, *dom, *month, *dow].join(" ");
                self.window(kind, &cron, time, zone, about)
            }
            ["budget", reasons, max] => self.budget(reasons, max),
            ["protect", "none"] => {
                self.sim.edit(|spec| spec.protect.clear());
                Some(())
            }
            ["protect", instance, "from", reasons] => self.protect(instance, reasons, None),
            ["protect", instance, "from", reasons, "for", time] => {
                span(time).and_then(|time| self.protect(instance, reasons, Some(time)))
            }
            ["keep", instance, "for", time] => self.order(OrderVerb::Keep, instance, time),
            ["replace", instance] => self.order(OrderVerb::Replace, instance, "24h"),
            ["restart", instance] => self.order(OrderVerb::Restart, instance, "24h"),
            ["yield", instance] => self.order(OrderVerb::Yield, instance, "24h"),
            ["release", instance] => self.order(OrderVerb::Release, instance, "24h"),
            ["expiry", age, "jitter", percent] => self.expiry(age, percent),
            ["depends", group] => GroupName::parse(group).ok().map(|group| {
                self.sim.edit(|spec| spec.depends_on = vec![group]);
            }),
            ["peer", group, state] => self.peer(group, state),
            _ => return Ok(false),
        };
        match done {
            Some(()) => Ok(true),
            None => self.unclear(&words.join(" ")),
        }
    }

    fn order(&mut self, verb: OrderVerb, instance: &str, time: &str) -> Option<()> {
        let (instance, time) = (InstanceId::parse(instance).ok()?, span(time)?);
        self.sim.order(verb, &instance, time);
        Some(())
    }

    fn window(
        &mut self,
        kind: &str,
        cron: &str,
        time: &str,
        zone: &str,
        about: &[&str],
    ) -> Option<()> {
        let window = Window {
            kind: match kind {
                "allow" => WindowKind::Allow,
                "deny" => WindowKind::Deny,
                _ => return None,
            },
            cron: Cron::parse(cron).ok()?,
            duration: span(time)?,
            zone: Zone::parse(zone)?,
            reasons: match about {
                [] => Reason::voluntary(),
                ["of", list] => reasons(list)?,
                _ => return None,
            },
        };
        self.sim.edit(|spec| spec.windows.push(window));
        Some(())
    }

    fn budget(&mut self, about: &str, max: &str) -> Option<()> {
        let budget = Budget {
            reasons: reasons(about)?,
            max: amount(max)?,
        };
        self.sim.edit(|spec| spec.budgets.push(budget));
        Some(())
    }

    fn protect(&mut self, instance: &str, from: &str, time: Option<Duration>) -> Option<()> {
        let now = self.sim.now();
        let protect = Protect {
            instances: BTreeSet::from([InstanceId::parse(instance).ok()?]),
            from: reasons(from)?,
            until: time.and_then(|time| now.checked_add(time).ok()),
            because: Some("a long job".to_owned()),
        };
        self.sim.edit(|spec| spec.protect.push(protect));
        Some(())
    }

    fn expiry(&mut self, age: &str, percent: &str) -> Option<()> {
        let expiry = Expiry {
            age_max: span(age)?,
            jitter_percent: percent.parse().ok()?,
        };
        self.sim.edit(|spec| spec.expiry = Some(expiry));
        Some(())
    }

    fn peer(&mut self, group: &str, state: &str) -> Option<()> {
        let group = GroupName::parse(group).ok()?;
        match state {
            "converged" => self.sim.peers.converged.insert(group),
            "progressing" => self.sim.peers.converged.remove(&group),
            _ => return None,
        };
        Some(())
    }
}

fn reasons(list: &str) -> Option<BTreeSet<Reason>> {
    let known = |word: &str| {
        Reason::ALL
            .into_iter()
            .find(|reason| reason.as_str() == word)
    };
    list.split(',').map(known).collect()
}
