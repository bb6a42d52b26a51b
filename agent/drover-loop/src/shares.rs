//! Dividing the budgets that groups share.
//!
//! Groups are planned independently of each other, so what all of them may do together is divided
//! before: a group asks for room with a hold, and gets its part in the next pass, whoever was served
//! longest ago first.
//!
//! **Invariant:** what groups have in flight and what was given to them is never more than the budget,
//! but for a budget that became smaller, and for what was out of service without asking.
//!
//! A group uses what it has out of service: what is on its way out, and what it took and has not made
//! good yet. When its rollout stops after failures, only the former counts, so that one bad group does
//! not keep the others waiting.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Amount, BudgetName, Disturbance, FleetBudget, GroupName, GroupPhase, Held, Hold, Reason, Share,
};

#[cfg(test)]
mod tests;

/// What is known of a group when budgets are divided.
#[derive(Debug, Clone)]
pub(crate) struct Partner {
    pub(crate) name: GroupName,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) size: u32,
    /// What it is short of, as far as is recorded: what it uses if this process did not plan it yet.
    pub(crate) short: u32,
    pub(crate) phase: GroupPhase,
    /// Its work of an earlier pass still goes on.
    pub(crate) busy: bool,
}

/// What groups have of the budgets that they share.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    stakes: BTreeMap<(BudgetName, GroupName), Stake>,
    /// The budgets that were divided last.
    budgets: BTreeMap<BudgetName, Terms>,
    /// Each group's last turn. It is the same for all budgets: otherwise two groups could each wait for
    /// the budget that the other one has room in.
    served: BTreeMap<GroupName, u64>,
    turn: u64,
}

/// What a budget allows.
#[derive(Debug, Clone)]
struct Terms {
    reasons: BTreeSet<Reason>,
    max: u32,
}

/// What a group has of a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Stake {
    /// How many instances it has out of service on the account of the budget.
    used: u32,
    /// How many it may take out of service in the plan that is under way.
    given: u32,
    asks: bool,
}

impl Shares {
    /// Divides what is left of each budget among the groups that asked for room. Returns each group's
    /// parts; those that did not ask have parts without room.
    pub(crate) fn divide(
        &mut self,
        budgets: &[FleetBudget],
        partners: &[Partner],
    ) -> BTreeMap<GroupName, Vec<Share>> {
        let known = |name: &BudgetName| budgets.iter().any(|budget| budget.name == *name);
        self.stakes.retain(|(budget, _), _| known(budget));
        self.budgets.retain(|budget, _| known(budget));
        let there: BTreeSet<&GroupName> = partners.iter().map(|partner| &partner.name).collect();
        self.served.retain(|group, _| there.contains(group));
        let mut parts: BTreeMap<GroupName, Vec<Share>> = BTreeMap::new();
        for budget in budgets {
            let of = |partner: &&Partner| budget.selector.matches(&partner.labels);
            let of_it: Vec<&Partner> = partners.iter().filter(of).collect();
            for (name, share) in self.divide_one(budget, &of_it) {
                parts.entry(name).or_default().push(share);
            }
        }
        parts
    }

    fn divide_one(
        &mut self,
        budget: &FleetBudget,
        partners: &[&Partner],
    ) -> Vec<(GroupName, Share)> {
        let key = |partner: &Partner| (budget.name.clone(), partner.name.clone());
        let names: BTreeSet<&GroupName> = partners.iter().map(|partner| &partner.name).collect();
        let ours =
            |(name, group): &(BudgetName, GroupName)| *name != budget.name || names.contains(group);
        self.stakes.retain(|key, _| ours(key));
        let mut used = 0;
        for partner in partners {
            let stake = self.stakes.entry(key(partner)).or_insert_with(|| Stake {
                used: if stopped(partner.phase) {
                    0
                } else {
                    partner.short
                },
                ..Stake::default()
            });
            if !partner.busy && std::mem::take(&mut stake.given) > 0 {
                // It was not planned since, and keeps nobody waiting until it is.
                stake.asks = false;
            }
            used += stake.used + stake.given;
        }
        let max = max_of(budget.max, partners);
        let terms = Terms {
            reasons: budget.reasons.clone(),
            max,
        };
        self.budgets.insert(budget.name.clone(), terms);
        let takers = partners.iter().filter(|partner| {
            let stake = self.stakes.get(&key(partner));
            stake.is_some_and(|stake| stake.used + stake.given > 0)
        });
        let taken_by: BTreeSet<GroupName> = takers.map(|partner| partner.name.clone()).collect();
        let mut waiting: Vec<(u64, &GroupName)> = partners
            .iter()
            .filter(|partner| !partner.busy)
            .filter_map(|partner| {
                self.stakes.get(&key(partner)).filter(|stake| stake.asks)?;
                let served = self.served.get(&partner.name).copied();
                Some((served.unwrap_or(0), &partner.name))
            })
            .collect();
        waiting.sort_unstable();
        let mut room: BTreeMap<&GroupName, u32> = BTreeMap::new();
        let left = max.saturating_sub(used);
        for (_, name) in waiting.iter().cycle().take(left as usize) {
            *room.entry(name).or_default() += 1;
        }
        let asked: BTreeSet<&GroupName> = waiting.iter().map(|(_, name)| *name).collect();
        for (name, given) in &room {
            let stake = self
                .stakes
                .entry((budget.name.clone(), (*name).clone()))
                .or_default();
            stake.given = *given;
        }
        let part = |partner: &&Partner| {
            let taken_by = taken_by.iter().filter(|name| **name != partner.name);
            let share = Share {
                budget: budget.name.clone(),
                reasons: budget.reasons.clone(),
                max,
                room: room.get(&partner.name).copied().unwrap_or(0),
                taken_by: if asked.contains(&partner.name) {
                    taken_by.cloned().collect()
                } else {
                    BTreeSet::new()
                },
            };
            (partner.name.clone(), share)
        };
        partners.iter().map(part).collect()
    }

    /// Takes up what a plan has done.
    pub(crate) fn planned(
        &mut self,
        group: &GroupName,
        phase: GroupPhase,
        disturbance: &Disturbance,
        holds: &[Held],
    ) {
        let mut served = false;
        for (budget, Terms { reasons, .. }) in &self.budgets {
            let key = (budget.clone(), group.clone());
            let Some(stake) = self.stakes.get_mut(&key) else {
                continue;
            };
            let begun = disturbance.begun.iter();
            let begun = begun.filter(|(reason, _)| reasons.contains(reason));
            let begun: u32 = begun.map(|(_, count)| count).sum();
            // Why something leaves may be unknown after a loss of the journal; then it counts.
            let leaving = disturbance.leaving.iter();
            let counts =
                |reason: &Option<Reason>| reason.is_none_or(|reason| reasons.contains(&reason));
            let leaving = leaving.filter(|(reason, _)| counts(reason));
            let leaving: u32 = leaving.map(|(_, count)| count).sum();
            let not_made_good = (stake.used + begun).min(disturbance.short);
            stake.used = if stopped(phase) {
                leaving
            } else {
                leaving.max(not_made_good)
            };
            stake.given = 0;
            served |= begun > 0;
            // Who waits for one budget needs room in all of them at once.
            stake.asks = holds.iter().any(|held| {
                let waits = matches!(held.hold, Hold::FleetBudgetExhausted { .. });
                waits && held.reason.is_some_and(|reason| reasons.contains(&reason))
            });
        }
        if served {
            self.turn += 1;
            self.served.insert(group.clone(), self.turn);
        }
    }

    /// Returns whether somebody asks for room that is there, so that another pass is worth while at once.
    pub(crate) fn has_room_for_somebody(&self) -> bool {
        self.budgets.iter().any(|(budget, Terms { max, .. })| {
            let stakes = self.stakes.iter().filter(|((name, _), _)| name == budget);
            let (mut used, mut asked) = (0, false);
            for (_, stake) in stakes {
                used += stake.used + stake.given;
                asked |= stake.asks && stake.given == 0;
            }
            asked && used < *max
        })
    }

    /// Takes note that a group's work ended in an unknown way: it may have done all that it could.
    pub(crate) fn lost(&mut self, group: &GroupName) {
        for ((_, name), stake) in &mut self.stakes {
            if name == group {
                stake.used += std::mem::take(&mut stake.given);
            }
        }
    }
}

/// Returns whether a group in this phase goes on to make good what it took.
fn stopped(phase: GroupPhase) -> bool {
    match phase {
        GroupPhase::Paused | GroupPhase::Converged | GroupPhase::Observed | GroupPhase::Deleted => {
            true
        }
        GroupPhase::Pending
        | GroupPhase::Bootstrapping
        | GroupPhase::Progressing
        | GroupPhase::Held
        | GroupPhase::Deleting => false,
    }
}

fn max_of(max: Amount, partners: &[&Partner]) -> u32 {
    let sizes = partners.iter().map(|partner| partner.size);
    max.ceil_of(sizes.fold(0, u32::saturating_add)).max(1)
}
