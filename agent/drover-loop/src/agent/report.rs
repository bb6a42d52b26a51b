//! What the agent tells after a pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{GroupName, Held, Timestamp};

use super::Agent;
use super::groups::UNFINISHED_POLL;
use crate::status::{AgentStatus, GroupReport, GroupStatus, PassReport};

impl Agent {
    pub(super) fn report(
        &mut self,
        now: Timestamp,
        took: Duration,
        holds: &[Held],
        commits_before: u64,
    ) -> PassReport {
        let groups: BTreeMap<GroupName, Arc<GroupReport>> = self
            .groups
            .iter()
            .map(|(name, entry)| (name.clone(), Arc::clone(&entry.status.report)))
            .collect();
        let unfinished =
            self.tasks.len() + usize::from(self.scopes.is_asking() || self.surveys.is_asking());
        let poll = (unfinished > 0).then(|| now.checked_add(UNFINISHED_POLL).ok());
        let wakes = groups.values().filter_map(|report| report.wake_at);
        let timers = groups.values().filter_map(|report| report.timer_at);
        let others = [poll.flatten(), self.publish_at, self.tenure.until()];
        // Another pass at once where this one ended with something undone that needs no waiting.
        let applicable = self.tenure.may_act() && self.snapshot.is_some();
        let undone = (self.desired_stale && applicable) || self.shares.has_room_for_somebody();
        let again = undone.then_some(now);
        PassReport {
            pass: self.pass,
            at: now,
            took,
            revision: self.applied.clone(),
            holds: holds.to_vec(),
            diagnostics: Arc::clone(&self.diagnostics),
            commits: (self.write_back.commits - commits_before) as usize,
            mutations: std::mem::take(&mut self.mutations),
            planned: std::mem::take(&mut self.planned),
            wake_at: wakes.chain(others.into_iter().flatten()).chain(again).min(),
            timer_at: timers
                .chain(others.into_iter().flatten())
                .chain(again)
                .min(),
            unfinished,
            groups,
        }
    }

    pub(super) fn publish_status(&mut self, pass: Option<Arc<PassReport>>, holds: &[Held]) {
        let waiting = self
            .groups
            .values()
            .filter(|entry| entry.pending.commit)
            .count();
        let now = pass.as_ref().map(|pass| pass.at);
        let lag = match (self.unpublished_since, now) {
            (Some(since), Some(now)) => now.duration_since(since).unsigned_abs(),
            _ => Duration::ZERO,
        };
        let groups: BTreeMap<GroupName, Arc<GroupStatus>> = self
            .groups
            .iter()
            .map(|(name, entry)| (name.clone(), Arc::clone(&entry.status)))
            .collect();
        let mut write_back = self.write_back.clone();
        write_back.pending += waiting;
        write_back.lag = lag;
        self.status.send_replace(Arc::new(AgentStatus {
            agent: self.settings.name.clone(),
            fleet: self.settings.fleet.clone(),
            epoch: self.tenure.epoch(),
            source: self.source_status.clone(),
            operations: self.operations.clone(),
            write_back,
            providers: self.provider_notes.clone(),
            orphans: self.orphans.orphans(),
            metrics: self.metrics.status.clone(),
            groups,
            holds: holds.to_vec(),
            diagnostics: Arc::clone(&self.diagnostics),
            pass,
        }));
    }
}
