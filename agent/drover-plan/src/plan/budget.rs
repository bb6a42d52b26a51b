//! Budgets: how many disruptions may be in flight, in this group and in those that share one with it.

use std::collections::BTreeSet;

use drover_model::{Held, Hold, Member, Reason, Share};

use super::draft::Draft;
use super::held_for;
use crate::change::policy_hold;
use crate::numbers::serves;

impl Draft<'_> {
    fn in_flight_for(&self, reasons: &BTreeSet<Reason>) -> u32 {
        let of = |reason: &Reason| self.leaving_for.get(&Some(*reason)).copied().unwrap_or(0);
        // Why something leaves may be unknown after a loss of the journal; then it counts.
        let unknown = self.leaving_for.get(&None).copied().unwrap_or(0);
        let restarted = if reasons.contains(&Reason::Update) {
            self.coming_back
        } else {
            0
        };
        let kept = if reasons.contains(&Reason::Heal) {
            self.just_kept()
        } else {
            0
        };
        reasons.iter().map(of).sum::<u32>() + unknown + restarted + kept
    }

    /// Returns the budget of the group that has no room for `member`.
    ///
    /// Capacity that is missing for whatever cause uses up what is voluntary, and never what heals. An
    /// instance that does not serve costs a voluntary budget nothing: it is counted already.
    pub(super) fn over_budget(&self, member: &Member, reason: Reason) -> Option<Held> {
        let voluntary = reason.is_voluntary();
        if voluntary && !serves(member) {
            return None;
        }
        let missing = if voluntary {
            self.resolved.size.saturating_sub(self.available)
        } else {
            0
        };
        if let Some(held) = self.over_share(reason) {
            return Some(held);
        }
        if let Some(budget) = self.input.decisions.budgets.get(&reason) {
            let used = self.in_flight_for(&BTreeSet::from([reason])).max(missing);
            if used >= budget.max {
                let hold = policy_hold(&budget.verdict, Hold::BudgetByPolicy);
                return Some(held_for(reason, hold));
            }
        }
        let budgets = self.spec.budgets.iter();
        let about = budgets.filter(|budget| budget.reasons.contains(&reason));
        about
            .map(|budget| {
                // What is on its way out may be what is missing.
                let used = self.in_flight_for(&budget.reasons).max(missing);
                (used, budget.max.ceil_of(self.resolved.size).max(1))
            })
            .find(|(used, max)| used >= max)
            .map(|(used, max)| held_for(reason, Hold::BudgetExhausted { used, max }))
    }

    /// Returns the budget of the fleet of which the group has used up its part.
    fn over_share(&self, reason: Reason) -> Option<Held> {
        let mut shares = self.input.peers.shares.iter();
        let spent = |share: &&Share| {
            let begun = |reason: &Reason| self.begun.get(reason).copied().unwrap_or(0);
            let of_it = share.reasons.contains(&reason);
            of_it && share.reasons.iter().map(begun).sum::<u32>() >= share.room
        };
        let share = shares.find(spent)?;
        Some(held_for(
            reason,
            Hold::FleetBudgetExhausted {
                budget: share.budget.clone(),
                max: share.max,
                taken_by: share.taken_by.iter().cloned().collect(),
            },
        ))
    }

    /// Counts a disruption that this plan begins, unless it costs a budget nothing.
    pub(super) fn count_begun(&mut self, member: &Member, reason: Reason) {
        if !reason.is_voluntary() || serves(member) {
            *self.begun.entry(reason).or_default() += 1;
        }
    }
}
