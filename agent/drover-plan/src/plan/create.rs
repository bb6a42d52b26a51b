//! Making instances: names, tokens, batches, and what spaces failed launches out.

use drover_model::{
    Action, Cause, Digests, ErrorClass, Held, Hold, InstanceId, LaunchBackoff, Precondition,
    Reason, Seat, Template, Token, Trust, Value,
};

use super::draft::Draft;
use super::held;
use crate::input::{FenceScope, fence_scope};

/// Most instances that one pass makes of one group: more would need minutes of provider calls, and
/// a plan that old should be made anew.
pub(super) const CREATES_MAX: u32 = 500;

/// Provision calls of unknown outcome may concern this share of the group before new ones wait.
const UNKNOWN_SHARE: drover_model::Amount = drover_model::Amount::Percent(10);

impl Draft<'_> {
    /// Makes `count` instances of `digests`.
    pub(super) fn create(&mut self, count: u32, digests: &Digests, cause: Cause) {
        let Some(template) = self.template(digests) else {
            return;
        };
        // The prepared request of a batch must be the same for each of its slots.
        let batch_max = if differs_by_instance(&template) {
            1
        } else {
            self.input.provider.batch_max
        };
        for (zone, count) in self.spread(count, digests) {
            self.create_in(zone.as_ref(), count, batch_max, (digests, &template), cause);
        }
    }

    /// Makes `count` instances in one zone, a batch at a time.
    fn create_in(
        &mut self,
        zone: Option<&String>,
        count: u32,
        batch_max: u32,
        (digests, template): (&Digests, &Template),
        cause: Cause,
    ) {
        let mut left = count;
        while left > 0 {
            let batch = left.min(batch_max);
            self.launch(batch, zone, (digests, template), None, cause);
            left -= batch;
        }
    }

    /// Makes `count` instances in one call.
    pub(super) fn launch(
        &mut self,
        count: u32,
        zone: Option<&String>,
        (digests, template): (&Digests, &Template),
        seat: Option<Box<Seat>>,
        cause: Cause,
    ) {
        let Some(after) = self.numbers_for(count) else {
            self.hold(self.numbers_exhausted());
            return;
        };
        let slots: Vec<InstanceId> = (self.next.next_number..after)
            .map(|number| InstanceId::new(self.next.name.clone(), number))
            .collect();
        self.next.next_number = after;
        // Numbers are never used twice, so the first attempt is the only one with its name.
        let attempt = 0;
        let token = Token::derive(
            self.input.fleet,
            &self.next.uid,
            self.input.epoch,
            &slots[0],
            attempt,
        );
        let absent = slots.iter().cloned().map(Precondition::Absent).collect();
        let action = Action::Create {
            slots,
            attempt,
            token,
            digests: digests.clone(),
            zone: zone.cloned(),
            template: template.clone(),
            seat,
        };
        self.step(action, cause, absent);
        self.total += count;
        self.staying += count;
        *self.made.entry(digests.clone()).or_default() += count;
        let place = (digests.clone(), zone.cloned());
        *self.made_in.entry(place).or_default() += count;
    }

    /// Returns the next number after `count` more were given. None: there are not as many.
    pub(super) fn numbers_for(&self, count: u32) -> Option<u64> {
        let after = self.next.next_number.checked_add(u64::from(count))?;
        (after <= InstanceId::NUMBER_MAX).then_some(after)
    }

    pub(super) fn numbers_exhausted(&self) -> Held {
        let next = self.next.next_number;
        held(Hold::NumbersExhausted { next })
    }

    /// Returns how many of `wanted` instances of `digests` may be made for `cause` now, and what is in
    /// the way of the rest.
    pub(super) fn creatable(
        &self,
        wanted: u32,
        digests: &Digests,
        cause: Cause,
    ) -> (u32, Option<Held>) {
        if wanted == 0 {
            return (0, None);
        }
        if let Some(held) = self.launch_withheld(digests) {
            return (0, Some(held));
        }
        if let Some(held) = self.zones_closed() {
            return (0, Some(held));
        }
        let mut allowed = wanted;
        let mut reason = None;
        let mut limit_to = |most: u32, held: Held| {
            if most < allowed {
                allowed = most;
                reason = Some(held);
            }
        };
        let (room, over) = self.create_room(cause);
        limit_to(room, over);
        let mut limit = |most: u32, hold: Hold| limit_to(most, held(hold));
        let made: u32 = self.made.values().sum();
        limit(
            CREATES_MAX.saturating_sub(made),
            Hold::RolloutWindow {
                waiting: CREATES_MAX,
            },
        );
        if let Some(backoff) = &self.next.backoff {
            // After failures, few at a time until one of them works. What starts says nothing about room.
            let starting = if waits_for_room(backoff, cause) {
                0
            } else {
                self.starting()
            };
            let trying = starting + made;
            limit(
                self.spec.rollout.first_batch.max(1).saturating_sub(trying),
                Hold::LaunchBackoff {
                    failures: backoff.failures,
                    message: backoff.message.clone(),
                },
            );
        }
        let room = self.resolved.ceiling.saturating_sub(self.total);
        limit(room, self.ceiling_hold());
        (allowed, reason)
    }

    fn ceiling_hold(&self) -> Hold {
        match self.spec.limits.total_max {
            Some(limit) if limit <= self.resolved.ceiling => Hold::TotalLimit { limit },
            Some(_) | None => Hold::SurgeExhausted {
                ceiling: self.resolved.ceiling,
            },
        }
    }

    fn starting(&self) -> u32 {
        let starting = |class: &drover_model::InstanceClass| {
            matches!(class, drover_model::InstanceClass::Starting)
        };
        self.live().filter(|member| starting(&member.class)).count() as u32
    }

    /// Returns what withholds every launch of `digests` now.
    pub(super) fn launch_withheld(&self, digests: &Digests) -> Option<Held> {
        if let Some(held) = self.secret_missing(digests) {
            return Some(held);
        }
        if self.numbers_for(CREATES_MAX).is_none() {
            return Some(self.numbers_exhausted());
        }
        let unknown = self.unknown_creates();
        let unknown_max = UNKNOWN_SHARE.ceil_of(self.resolved.size).max(1);
        if unknown > unknown_max {
            return Some(held(self.unknown_outcomes()));
        }
        let backoff = self.next.backoff.as_ref()?;
        let concerns = *digests == self.target || !blames_template(backoff.class);
        (concerns && self.input.now < backoff.until).then(|| Held {
            until: Some(backoff.until),
            ..held(Hold::LaunchBackoff {
                failures: backoff.failures,
                message: backoff.message.clone(),
            })
        })
    }

    /// Forgets failures for want of room once one of the group has gone: it took up room, and the next launch says
    /// whether that is enough.
    pub(super) fn forget_want_of_room(&mut self) {
        let full = self.next.backoff.as_ref().is_some_and(lacks_room);
        if full && self.has_gone() {
            self.next.backoff = None;
        }
    }

    /// Returns whether an instance that was there last time is gone.
    fn has_gone(&self) -> bool {
        let recorded = &self.input.recorded.instances;
        let was_there = |id: &InstanceId| {
            let was = recorded.get(id);
            was.is_some_and(|was| was.provider_ref.is_some())
        };
        let classified = self.input.classified;
        matches!(classified.trust, Trust::Full) && classified.gone.keys().any(was_there)
    }

    /// Returns the hold for a secret that instances of `digests` need and that cannot be read.
    pub(super) fn secret_missing(&self, digests: &Digests) -> Option<Held> {
        let unread = |held: &&Held| fence_scope(&held.hold) == FenceScope::Creation;
        let mut unread = self.input.fences.iter().filter(unread).peekable();
        unread.peek()?;
        let template = self.template(digests)?;
        let needed = template.secrets();
        let needed: Vec<String> = needed.iter().map(ToString::to_string).collect();
        let concerns = |held: &&Held| matches!(&held.hold, Hold::SecretUnresolved { reference, .. } if needed.contains(reference));
        unread.find(concerns).cloned()
    }

    /// Returns whether the target waits after failed launches that its own template is blamed for.
    pub(super) fn target_backs_off(&self) -> bool {
        self.next
            .backoff
            .as_ref()
            .is_some_and(|backoff| blames_template(backoff.class) && self.input.now < backoff.until)
    }

    /// Counts the instances whose creation has no answer yet, and of which nobody knows whether they are there.
    pub(super) fn unknown_creates(&self) -> u32 {
        let unanswered = self.unanswered();
        let slots = unanswered.iter().flat_map(|intent| intent.slots());
        slots.filter(|id| !self.is_listed_instance(id)).count() as u32
    }
}

/// Returns whether launches for `cause` wait for nothing but room, for something that is missing or is about to be.
fn waits_for_room(backoff: &LaunchBackoff, cause: Cause) -> bool {
    let missing = match cause {
        Cause::ScaleOut | Cause::Because(Reason::Interruption) => true,
        Cause::Because(_)
        | Cause::FailedLaunch
        | Cause::Completed
        | Cause::KeptOver
        | Cause::FollowUp
        | Cause::Adoption => false,
    };
    missing && lacks_room(backoff)
}

/// Returns whether launches failed because the provider had no room.
fn lacks_room(backoff: &LaunchBackoff) -> bool {
    matches!(
        backoff.class,
        Some(ErrorClass::Capacity | ErrorClass::Quota)
    )
}

/// Returns whether a failed launch speaks against its template, rather than against the provider.
pub(super) fn blames_template(class: Option<ErrorClass>) -> bool {
    match class {
        None | Some(ErrorClass::InvalidSpec) => true,
        Some(
            ErrorClass::Throttled
            | ErrorClass::Capacity
            | ErrorClass::Quota
            | ErrorClass::Auth
            | ErrorClass::Partial
            | ErrorClass::Unknown
            | ErrorClass::NotFound,
        ) => false,
    }
}

/// Returns whether a template differs from instance to instance once its facts are filled in and its flavor plugins
/// are asked.
pub(super) fn differs_by_instance(template: &Template) -> bool {
    template.plugin_flavors().next().is_some()
        || value_mentions(&template.properties)
        || value_mentions(&template.flavors_as_written)
        || template.tags.values().any(|tag| text_mentions(tag))
}

fn text_mentions(text: &str) -> bool {
    text.contains("${instance.")
}

fn value_mentions(value: &Value) -> bool {
    match value {
        Value::String(text) => text_mentions(text),
        Value::List(list) => list.iter().any(value_mentions),
        Value::Map(map) => map
            .iter()
            .any(|(key, value)| text_mentions(key) || value_mentions(value)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) => false,
    }
}
