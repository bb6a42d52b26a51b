//! The stages of a rollout: canaries, checkpoints, the partition, the bake time. Each limits how many
//! instances may have the target for now; what is missing beyond that is made from the last good
//! template. Everything is counted from the world and the clock, so nothing waits for an event.

use drover_model::{
    Amount, AnalysisDecision, AnalysisResult, Digests, HealRevision, Held, Hold, Member, OnFailure,
    PauseCause, Promote, Quarantine, Reason, Rollout, RolloutMode, Timestamp,
};

use super::draft::Draft;
use super::held_for;
use crate::change::policy_hold;
use crate::time::later;

/// What limits how many instances have the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Canaries that are not promoted.
    Canary,
    /// The checkpoint of so many instances, of the size at the beginning.
    Checkpoint(u32),
    /// `rollout.partition`.
    Partition,
}

/// A limit of how many instances have the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota {
    /// Most of them.
    pub(super) most: u32,
    /// What sets it.
    pub(super) stage: Stage,
}

/// Where a rollout stands at a stage.
enum Stand {
    /// Not there yet.
    Short,
    /// There, until a time where one is known.
    Rests(Hold, Option<Timestamp>),
    /// Past it.
    Passed,
}

/// Instances of the target that others take the places of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Replaced {
    /// Those that leave their room at a stage of the rollout to who follows them.
    pub(super) making_room: u32,
    /// Those whose successors may be of the target too, as far as the stage has room.
    pub(super) handing_on: u32,
}

impl Draft<'_> {
    /// Returns whether the document's template is in quarantine, and the last good one the target.
    pub(super) fn rolls_back(&self) -> bool {
        self.next.quarantine.is_some()
    }

    /// Returns the last good template, where it is another than the target and known in full. A group
    /// of nobody converges with any template, which says nothing about it.
    pub(super) fn last_good(&self) -> Option<Digests> {
        let stable = self.next.stable.as_ref()?;
        if self.next.stable_size == 0 {
            return None;
        }
        let known = self.next.templates.contains_key(stable);
        (known && *stable != self.target).then(|| stable.clone())
    }

    /// Returns the narrowest limit in force. None: every instance may have the target.
    ///
    /// A rollback has no stages: the last good template has passed them. Nor has a first template,
    /// as there is nothing that the other instances could be.
    pub(super) fn quota(&self, rollout: &Rollout) -> Option<Quota> {
        let size = self.resolved.size;
        if size == 0 || self.rolls_back() || self.last_good().is_none() {
            return None;
        }
        let spec = &self.spec.rollout;
        let canary = spec.canary.filter(|_| !rollout.stages.promoted);
        let canary = canary.map(|canary| Quota {
            most: canary.count.ceil_of(size).clamp(1, size),
            stage: Stage::Canary,
        });
        let begun_with = rollout.stages.size.unwrap_or(size);
        let threshold = |at: Amount| at.ceil_of(begun_with).max(1);
        let checkpoints = spec.checkpoints.iter();
        let checkpoint = checkpoints
            .map(|checkpoint| threshold(checkpoint.at))
            .filter(|at| *at > rollout.stages.passed)
            .min()
            .map(|at| Quota {
                most: at.min(size),
                stage: Stage::Checkpoint(at),
            });
        let partition = spec.partition.map(|partition| Quota {
            most: partition.ceil_of(size),
            stage: Stage::Partition,
        });
        let partition = partition.filter(|quota| quota.most < size);
        let all = [canary, checkpoint, partition];
        all.into_iter().flatten().min_by_key(|quota| quota.most)
    }

    /// Passes the stages that are over. Returns what the rollout rests at now, if it does.
    pub(super) fn advance(&self, rollout: &mut Rollout) -> Option<Held> {
        let serving = self.target_serving();
        while let Some(quota) = self.quota(rollout) {
            let reached = serving >= quota.most;
            let stand = match quota.stage {
                Stage::Canary => self.canary(rollout, quota.most, reached),
                Stage::Checkpoint(at) => self.checkpoint(rollout, at, reached),
                Stage::Partition if reached => {
                    Stand::Rests(Hold::Partition { at: quota.most }, None)
                }
                Stage::Partition => Stand::Short,
            };
            match stand {
                Stand::Short => return None,
                Stand::Passed => {}
                Stand::Rests(hold, until) => {
                    return Some(Held {
                        until,
                        ..held_for(Reason::Update, hold)
                    });
                }
            }
        }
        None
    }

    /// Watches canaries.
    fn canary(&self, rollout: &mut Rollout, count: u32, reached: bool) -> Stand {
        let Some(canary) = self.spec.rollout.canary.filter(|_| reached) else {
            return Stand::Short;
        };
        // More canaries than were watched so far, after a resize, are watched for the whole time.
        let since = match rollout.stages.canary {
            Some((watched, since)) if watched >= count => since,
            Some(_) | None => self.input.now,
        };
        rollout.stages.canary = Some((count, since));
        let promote = canary.promote;
        let until = match promote {
            Promote::Auto => Some(later(since, canary.hold)),
            Promote::Manual => None,
        };
        if until.is_some_and(|until| self.input.now >= until) {
            if let Some(hold) = self.analysis_pending() {
                return Stand::Rests(hold, None);
            }
            rollout.stages.promoted = true;
            return Stand::Passed;
        }
        Stand::Rests(Hold::CanaryHold { count, promote }, until)
    }

    /// Waits at a checkpoint.
    fn checkpoint(&self, rollout: &mut Rollout, at: u32, reached: bool) -> Stand {
        let before = rollout.stages.reached.filter(|(known, _)| *known == at);
        let since = match before {
            Some((_, since)) => since,
            None if reached => self.input.now,
            None => return Stand::Short,
        };
        rollout.stages.reached = Some((at, since));
        let size = rollout.stages.size.unwrap_or(self.resolved.size);
        let all = self.spec.rollout.checkpoints.iter();
        // Several that come to the same count are one.
        let wait = all
            .filter(|checkpoint| checkpoint.at.ceil_of(size).max(1) == at)
            .map(|checkpoint| checkpoint.wait)
            .max()
            .unwrap_or_default();
        let until = later(since, wait);
        if self.input.now >= until {
            if let Some(hold) = self.analysis_pending() {
                return Stand::Rests(hold, None);
            }
            rollout.stages.passed = at;
            rollout.stages.reached = None;
            return Stand::Passed;
        }
        Stand::Rests(Hold::Checkpoint { at }, Some(until))
    }

    /// Returns whether canaries are being watched: then a single failure is one too many.
    pub(super) fn watches_canaries(&self, rollout: &Rollout) -> bool {
        let stages = &rollout.stages;
        self.spec.rollout.canary.is_some() && stages.canary.is_some() && !stages.promoted
    }

    /// Returns the hold of the bake time, and notes its beginning. None: it is over, or there is none.
    pub(super) fn bake(&mut self) -> Option<Held> {
        let bake = self.spec.rollout.bake;
        if bake.is_zero() || self.rolls_back() || self.next.stable.as_ref() == Some(&self.target) {
            return None;
        }
        let now = self.input.now;
        let rollout = self.next.rollout.as_mut()?;
        let until = later(*rollout.stages.bake_since.get_or_insert(now), bake);
        if now >= until {
            let pending = self.analysis_pending()?;
            return Some(held_for(Reason::Update, pending));
        }
        Some(Held {
            until: Some(until),
            ..held_for(Reason::Update, Hold::Bake)
        })
    }

    /// Returns what policies say about the rollout. What is rolled back to has passed them before.
    fn analysis(&self) -> Option<&AnalysisDecision> {
        let analysis = self.input.decisions.analysis.as_ref();
        analysis.filter(|_| !self.rolls_back())
    }

    /// Returns the hold while policies do not let the rollout pass a stage.
    fn analysis_pending(&self) -> Option<Hold> {
        let analysis = self.analysis()?;
        let verdict = &analysis.verdict;
        match analysis.result {
            AnalysisResult::Pass => None,
            AnalysisResult::Inconclusive | AnalysisResult::Fail => {
                Some(policy_hold(verdict, Hold::AnalysisPending))
            }
        }
    }

    /// Returns the policy that calls the new template bad, once there is an instance of it that serves.
    pub(super) fn failed_analysis(&self) -> Option<String> {
        let analysis = self.analysis()?;
        let failed = analysis.result == AnalysisResult::Fail && self.target_serving() > 0;
        let verdict = &analysis.verdict;
        failed.then(|| format!("policy {} (binding {})", verdict.policy, verdict.binding))
    }

    /// Returns how many more instances of the target may be made in the places of `replaced`, and what the rest is
    /// made of. None: all of it may have the target.
    pub(super) fn room_for_target(&self, replaced: Replaced) -> Option<(u32, Digests)> {
        let rollout = self.next.rollout.as_ref()?;
        let good = self.last_good().filter(|_| !self.rolls_back())?;
        let stay = self.of_target().saturating_sub(replaced.making_room);
        let quota = self
            .quota(rollout)
            .map(|quota| quota.most.saturating_sub(stay));
        // Healing leaves as many with the target as there are: one that goes hands it on.
        let healed = stay.saturating_sub(replaced.handing_on);
        let healed = rollout
            .stages
            .updated
            .map(|most| most.saturating_sub(healed));
        let room = quota.into_iter().chain(healed).min()?;
        Some((room, good))
    }

    /// Notes how many instances the rollout itself wants at the target, where healing brings none.
    /// What a proactive rollout adds with a larger size it would only have to replace.
    pub(super) fn track_updated(&self, rollout: &mut Rollout) {
        if self.spec.heal_revision() != HealRevision::Current {
            rollout.stages.updated = None;
            return;
        }
        let grown = match self.spec.rollout.mode {
            RolloutMode::Proactive => {
                let before = self.input.recorded.size;
                self.resolved.size.saturating_sub(before)
            }
            RolloutMode::Opportunistic | RolloutMode::Manual => 0,
        };
        let known = rollout.stages.updated.unwrap_or_else(|| self.of_target());
        rollout.stages.updated = Some(known.saturating_add(grown));
    }

    /// Notes that the rollout wants as many instances at the target as there are, and `more`.
    pub(super) fn wants_updated(&mut self, more: u32) {
        let wanted = self.of_target().saturating_add(more);
        if let Some(rollout) = &mut self.next.rollout
            && let Some(updated) = &mut rollout.stages.updated
        {
            *updated = wanted.max(*updated);
        }
    }

    /// Puts the target into quarantine and makes the last good template the target, where the
    /// document says so and there is one. Never the last good one itself.
    pub(super) fn quarantine(&mut self, cause: &PauseCause) -> bool {
        let rollback = self.spec.rollout.on_failure == OnFailure::Rollback && !self.rolls_back();
        let Some(good) = self.last_good().filter(|_| rollback) else {
            return false;
        };
        self.next.quarantine = Some(Quarantine {
            digests: self.target.clone(),
            cause: cause.clone(),
            since: self.input.now,
        });
        self.target = good;
        self.next.target = Some(self.target.clone());
        // What failed was the other template.
        self.next.backoff = self
            .next
            .backoff
            .take()
            .filter(|backoff| !super::create::blames_template(backoff.class));
        true
    }

    /// Returns how many members have the target, those that this plan makes counted.
    pub(super) fn of_target(&self) -> u32 {
        let gets_it = |member: &&Member| match self.returning.get(&member.id) {
            Some(None) => true,
            Some(Some(_)) | None => self.current(member) || self.changing.contains(&member.id),
        };
        let there = self.remaining().filter(gets_it).count() as u32;
        there + self.made.get(&self.target).copied().unwrap_or(0)
    }

    fn target_serving(&self) -> u32 {
        let serving = |member: &&Member| self.proves_target(member);
        self.live().filter(serving).count() as u32
    }
}
