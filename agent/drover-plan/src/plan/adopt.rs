//! Taking over what somebody else made. As long as there is something to adopt, nothing else is done: what a group
//! lacks is known only once everything that it has is its own. What its size has no room for it leaves alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_model::{
    Action, AdoptRevision, AdoptStep, Adoption, Cause, Digests, ErrorClass, GroupName, Held, Hold,
    InstanceId, Intent, IntentState, MemberId, Precondition, ProviderRef, QuorumSpec,
    RecordedGroup, RecordedQuorum, RecordedStranger, SeatId, SettlementOutcome, Stranger,
    Timestamp, Token, Trust, label_of,
};

use super::council::record;
use super::draft::Draft;
use super::follow_up::DECIDE_ANEW;
use super::room::{Sorted, is_held, owns_nothing};
use super::{STEPS_MAX, held, observes};
use crate::input::ProviderFacts;
use crate::time::{elapsed, later};

/// An adoption that came to nothing is tried again after this time.
const ADOPT_RETRY: Duration = Duration::from_secs(15);

/// One that the provider refused for good is tried again after this time, in case that it errs.
const REFUSED_RETRY: Duration = Duration::from_mins(5);

/// An adoption that the provider accepted and that shows no effect is repeated after this time; the call is
/// idempotent.
const ADOPT_REPEAT: Duration = Duration::from_mins(1);

/// An adoption without an answer is told of after this time, with what the provider said last: by then it was asked for
/// more than once.
const UNANSWERED_TOLD: Duration = Duration::from_secs(30);

/// While an owner is waited for, or a provider, the next look is after this time.
const ADOPT_LOOK: Duration = Duration::from_secs(15);

/// Most tags of an adopted instance that are kept for flavor plugins: as many as clouds allow.
const TAGS_MAX: usize = 50;

/// The longest of them, name and value: longer than clouds allow.
const TAG_BYTES_MAX: usize = 512;

/// Why a group that has nothing yet makes nothing either.
const NOTHING: &str = "nothing has all the tags of adopt.selector, and nothing is made beside what they should mean; correct them, or remove `adopt` to make the instances";

static NONE_MISSING: BTreeMap<ProviderRef, Timestamp> = BTreeMap::new();
static NONE_CONTESTED: BTreeMap<ProviderRef, BTreeSet<GroupName>> = BTreeMap::new();

/// What an answer tells a group of what it adopts.
struct Found<'a> {
    strangers: &'a [Stranger],
    missing: &'a BTreeMap<ProviderRef, Timestamp>,
    contested: &'a BTreeMap<ProviderRef, BTreeSet<GroupName>>,
    claimed: &'a [Stranger],
}

/// Strangers with what becomes of each: an adoption under way, or a new one.
type Wanted<'a> = Vec<(&'a Stranger, AdoptStep, Option<&'a Intent>)>;

impl<'a> Draft<'a> {
    /// Returns whether there is something to adopt, or may be.
    pub(super) fn adopts(&self) -> bool {
        let pending = match &self.input.classified.adoption {
            Some(Adoption::Known {
                strangers,
                missing,
                contested,
                claimed,
            }) => {
                let awaited = |handle| !is_held(self.input.recorded, handle);
                let acts = strangers.iter().any(|one| one.claimed_by.is_some());
                acts || !claimed.is_empty()
                    || !contested.is_empty()
                    || missing.keys().any(awaited)
                    || !self.sorted(strangers).taken.is_empty()
                    || self.has_nothing_to_adopt()
            }
            Some(Adoption::Unknown(_)) => {
                let adopt = self.spec.adopt.as_ref();
                let (recorded, provider) = (self.input.recorded, self.input.provider);
                !adopt.is_some_and(|adopt| has_adopted(recorded, &adopt.match_tags, provider))
            }
            None => false,
        };
        pending || self.adopting().next().is_some()
    }

    /// Notes that everything is adopted that there is room for. Where nobody can tell now, what was noted before stands.
    pub(super) fn note_adopted(&mut self) {
        let tags = self.spec.adopt.as_ref().map(|adopt| &adopt.match_tags);
        match &self.input.classified.adoption {
            None => self.next.adopted = None,
            Some(Adoption::Known { .. }) => {
                let noted = self.next.adopted.as_ref() == tags;
                if self.known().next().is_some() {
                    self.next.adopted = tags.cloned();
                } else if !noted {
                    self.next.adopted = None;
                }
            }
            Some(Adoption::Unknown(_)) => {}
        }
    }

    /// Records that there is something to adopt, and what of it is missing, whatever keeps this plan from it.
    pub(super) fn record_newly_found(&mut self) {
        let Some(Adoption::Known {
            strangers, missing, ..
        }) = &self.input.classified.adoption
        else {
            return;
        };
        let left_alone = |one: &Stranger| {
            let known = self.next.strangers.get(&one.provider_ref);
            one.claimed_by.is_none() && known.is_some_and(|known| known.instance.is_none())
        };
        if !strangers.iter().all(left_alone) {
            self.next.adopted = None;
        }
        for stranger in strangers {
            if let Some(known) = self.next.strangers.get_mut(&stranger.provider_ref) {
                known.missing_since = None;
            }
        }
        if self.next.deleting.is_some() {
            return;
        }
        if !matches!(self.input.classified.trust, Trust::Full) {
            // Absence that is not believed does not count later either.
            for known in self.next.strangers.values_mut() {
                known.missing_since = None;
            }
            return;
        }
        for (handle, since) in missing {
            if let Some(was) = self.input.recorded.strangers.get(handle) {
                let was = RecordedStranger {
                    missing_since: Some(*since),
                    ..was.clone()
                };
                self.next.strangers.insert(handle.clone(), was);
            }
        }
    }

    /// Tells that nobody knows what else there is to adopt. An answer that is only late is not worth a word: it
    /// withholds nothing.
    pub(super) fn tell_unknown_adoption(&mut self) {
        let Some(Adoption::Unknown(hold)) = &self.input.classified.adoption else {
            return;
        };
        self.look(later(self.input.now, ADOPT_LOOK));
        let mut told = self.holds.iter();
        let told = told.any(|held| matches!(held.hold, Hold::AdoptionUnknown { .. }));
        if !told && !matches!(hold, Hold::ObservationStale) {
            let why = hold.to_string();
            self.hold(held(Hold::AdoptionUnknown { why }));
        }
    }

    /// Returns whether the document adopts, nothing was adopted or made so far, and the group has nothing else: then its
    /// selector is wrong, or what it means is not shown, or not any more. In neither case is a second fleet wanted beside
    /// the first.
    fn has_nothing_to_adopt(&self) -> bool {
        let recorded = self.input.recorded;
        let over = |intent: &Intent| self.is_settled(intent);
        let nothing = self.known().next().is_none() && self.input.intents.iter().all(over);
        // A number that is used up proves nothing: the adoption may have had no effect.
        let had = recorded.settled.is_some() || recorded.adopted.is_some();
        let never = recorded.stable.is_none() || recorded.next_number <= 1 || !had;
        nothing && never && self.resolved.size > 0
    }

    /// Returns the adoptions under way.
    pub(super) fn adopting(
        &self,
    ) -> impl Iterator<Item = (&'a Intent, &'a AdoptStep)> + use<'a, '_> {
        let open = self.intents.adopts.iter();
        open.filter(|(intent, _)| !self.is_settled(intent)).copied()
    }

    /// Closes adoptions that had no effect and never will.
    pub(super) fn close_adoptions(&mut self) {
        let open: Vec<&Intent> = self.adopting().map(|(intent, _)| intent).collect();
        for intent in open {
            match &intent.state {
                IntentState::Intended => self.close(intent.id, SettlementOutcome::Superseded),
                IntentState::Failed {
                    class: ErrorClass::NotFound,
                    ..
                } => self.close(intent.id, SettlementOutcome::NoEffect),
                IntentState::Sent | IntentState::Acked { .. } | IntentState::Failed { .. } => {}
            }
        }
    }

    /// Adopts what there is to adopt, and does nothing else.
    pub(super) fn adopt(&mut self) {
        self.next.adopted = None;
        self.settle();
        self.look(later(self.input.now, ADOPT_LOOK));
        let found = match &self.input.classified.adoption {
            Some(Adoption::Known {
                strangers,
                missing,
                contested,
                claimed,
            }) => Found {
                strangers,
                missing,
                contested,
                claimed,
            },
            Some(Adoption::Unknown(hold)) => {
                self.hold(held(hold.clone()));
                return;
            }
            // The document adopts nothing any more: what was begun comes to its end.
            None => Found {
                strangers: &[],
                missing: &NONE_MISSING,
                contested: &NONE_CONTESTED,
                claimed: &[],
            },
        };
        let lacks = found.strangers.is_empty() && found.missing.is_empty();
        if lacks && self.has_nothing_to_adopt() {
            self.next.strangers.clear();
            let why = NOTHING.to_owned();
            self.hold(held(Hold::AdoptionRefused { why }));
            return;
        }
        let Sorted { taken, surplus } = self.sorted(found.strangers);
        let wanted = self.wanted_adoptions(&taken);
        self.record_strangers(&wanted);
        self.record_surplus(&surplus);
        let left = taken.len() as u32 + self.unseen(found.strangers);
        let missing = self.missed(&found);
        self.begin_from(left + surplus.len() as u32 + missing, &found, &wanted);
        self.tell_surplus();
        if let Some(held) = self.adoption_withheld(&found) {
            self.hold(held);
            return;
        }
        if missing > 0 {
            self.hold(held(Hold::StrangersMissing { missing }));
        }
        let nothing = left == 0 && missing > 0;
        if nothing || self.waits_for_creates(&found) {
            return;
        }
        self.carry_out(wanted, left);
    }

    /// Repeats creates of which nobody knows what they have made, before anything is adopted: what is found may be just
    /// that, with a part of its tags. Returns whether there are any.
    fn waits_for_creates(&mut self, found: &Found<'_>) -> bool {
        let mut open = self.unanswered();
        open.retain(|intent| !self.is_there(intent));
        if open.is_empty() || found.strangers.is_empty() {
            return false;
        }
        let slots: usize = open.iter().map(|intent| intent.slots().len()).sum();
        self.hold(held(Hold::UnknownOutcomes {
            count: slots as u32,
            said: self.last_said(None),
        }));
        // While something is missing nothing is made, not even what was decided before.
        if found.missing.is_empty() {
            for intent in open {
                self.repeat_when_due(intent);
            }
        }
        true
    }

    fn carry_out(&mut self, wanted: Wanted<'a>, left: u32) {
        if !observes(self.input) && owns_nothing(self.input.recorded) {
            // What is held is no part of what the group comes from.
            self.next.stable_size = self.next.stable_size.min(self.resolved.size);
        }
        if self.numbers_for(wanted.len() as u32).is_none() {
            self.hold(self.numbers_exhausted());
            return;
        }
        if let Err(why) = self.seat_adopted(&wanted) {
            self.hold(held(Hold::AdoptionRefused { why }));
            return;
        }
        for (stranger, step, begun) in wanted {
            if self.steps.len() >= STEPS_MAX {
                break;
            }
            if let Some(intent) = begun {
                self.follow_adoption(stranger, &step, intent);
                continue;
            }
            self.next.next_number = self
                .next
                .next_number
                .max(step.instance.number().saturating_add(1));
            let absent = vec![Precondition::Absent(step.instance.clone())];
            self.step(Action::Adopt(step), Cause::Adoption, absent);
        }
        self.hold(held(Hold::Adopting { left }));
    }

    /// Counts what is missing and not being adopted: that is on its way from one answer into the other.
    fn missed(&self, found: &Found<'_>) -> u32 {
        let recorded = self.input.recorded;
        let awaited = found.missing.keys();
        let awaited = awaited.filter(|handle| !is_held(recorded, handle));
        let mut missing: BTreeSet<&ProviderRef> = awaited.collect();
        for (intent, step) in self.adopting() {
            if matches!(intent.state, IntentState::Sent | IntentState::Acked { .. }) {
                missing.remove(&step.provider_ref);
            }
        }
        missing.len() as u32
    }

    /// Counts the adoptions under way of which neither the listing nor the survey shows anything.
    fn unseen(&self, strangers: &[Stranger]) -> u32 {
        let seen = |handle: &ProviderRef| strangers.iter().any(|one| one.provider_ref == *handle);
        let open = self.adopting().filter(|(intent, step)| {
            let sent = matches!(intent.state, IntentState::Sent | IntentState::Acked { .. });
            sent && !seen(&step.provider_ref)
        });
        open.count() as u32
    }

    /// Returns what becomes of each stranger. A number is used up only by a step: who waits for an owner keeps its
    /// own.
    fn wanted_adoptions(&self, strangers: &[&'a Stranger]) -> Wanted<'a> {
        let open: BTreeMap<&ProviderRef, (&'a Intent, &'a AdoptStep)> = self
            .adopting()
            .filter(|(intent, _)| goes_on(intent))
            .map(|(intent, step)| (&step.provider_ref, (intent, step)))
            .collect();
        let mut wanted = Vec::new();
        let mut number = self.next.next_number;
        for &stranger in strangers {
            if let Some((intent, step)) = open.get(&stranger.provider_ref) {
                wanted.push((stranger, (*step).clone(), Some(*intent)));
                continue;
            }
            let instance = InstanceId::new(self.next.name.clone(), number);
            number = number.saturating_add(1);
            let input = self.input;
            let token = Token::derive(input.fleet, &self.next.uid, input.epoch, &instance, 0);
            let step = AdoptStep {
                instance,
                provider_ref: stranger.provider_ref.clone(),
                token,
                digests: self.digests_of(stranger),
                seat: self.place_for(stranger),
                tags: self.tags_for_flavors(stranger),
            };
            wanted.push((stranger, step, None));
        }
        wanted
    }

    /// Returns what an adopted instance counts as.
    pub(super) fn digests_of(&self, stranger: &Stranger) -> Digests {
        let adopt = self.spec.adopt.as_ref();
        let keeps = adopt.is_some_and(|adopt| adopt.revision == AdoptRevision::Keep);
        let current = adopt.is_none_or(|adopt| adopt.is_current(stranger));
        if keeps {
            Digests::of_own_revision()
        } else if current {
            self.target.clone()
        } else {
            Digests::of_unknown_template()
        }
    }

    /// Returns the tags of a stranger that the flavor plugins of the template are to see. Who owns it is known otherwise.
    fn tags_for_flavors(&self, stranger: &Stranger) -> BTreeMap<String, String> {
        if self.spec.template.plugin_flavors().next().is_none() {
            return BTreeMap::new();
        }
        let tags = stranger.tags.iter();
        let tags = tags.filter(|(name, tag)| {
            !name.starts_with("drover.") && name.len() + tag.len() <= TAG_BYTES_MAX
        });
        let tags = tags.take(TAGS_MAX);
        tags.map(|(name, tag)| (name.clone(), tag.clone()))
            .collect()
    }

    pub(super) fn place_for(&self, stranger: &Stranger) -> Option<SeatId> {
        self.spec.quorum.as_ref()?;
        let member = MemberId::parse(&label_of(stranger.member.as_deref()?)?).ok()?;
        let known = self.input.recorded.quorum.as_ref();
        let seated = self.known().find_map(|member| member.seat.as_ref());
        let life = known.map(|known| &known.life);
        let life = life.or(seated.map(|seat| &seat.life));
        Some(SeatId {
            life: life.unwrap_or(&self.next.uid).clone(),
            member,
        })
    }

    fn record_strangers(&mut self, wanted: &Wanted<'_>) {
        let strangers = wanted.iter().map(|(stranger, step, _)| {
            let outdated = !self.counts_as_current(&step.digests);
            let recorded = RecordedStranger {
                instance: Some(step.instance.clone()),
                outdated,
                member: step.seat.as_ref().map(|seat| seat.member.clone()),
                address: stranger.address.clone(),
                zone: stranger.zone.clone(),
                claimed_by: stranger.claimed_by.clone(),
                missing_since: None,
            };
            (stranger.provider_ref.clone(), recorded)
        });
        self.next.strangers = strangers.collect();
    }

    /// Notes what the group comes from: what there is. So the change that a person reviews counts what is made and
    /// ended beside it, and not what is taken over. Who only watches follows a former owner who scales.
    fn begin_from(&mut self, left: u32, found: &Found<'_>, wanted: &Wanted<'_>) {
        let members = self.input.classified.members.len() as u32;
        let follows = observes(self.input) && members == 0;
        if left == 0 || (self.next.stable.is_some() && !follows) {
            return;
        }
        let outdated = |step: &AdoptStep| !self.counts_as_current(&step.digests);
        let before = &self.input.recorded.strangers;
        let mut missing = found.missing.keys().filter_map(|handle| before.get(handle));
        let outdated = wanted.iter().any(|(_, step, _)| outdated(step))
            || missing.any(|stranger| stranger.outdated);
        self.next.stable = Some(if outdated {
            Digests::of_unknown_template()
        } else {
            self.target.clone()
        });
        self.next.stable_size = members + left;
    }

    /// Gives the strangers of a quorum group their places.
    ///
    /// # Errors
    ///
    /// What keeps them from having one.
    fn seat_adopted(&mut self, wanted: &Wanted<'_>) -> Result<(), String> {
        let Some(quorum) = &self.spec.quorum else {
            return Ok(());
        };
        let mut taken: BTreeSet<MemberId> = BTreeSet::new();
        let seats = self.known().filter_map(|member| member.seat.as_ref());
        taken.extend(seats.map(|seat| seat.member.clone()));
        let mut adopted = Vec::new();
        for (stranger, step, begun) in wanted {
            let member = place_of(quorum, stranger, step)?;
            if begun.is_none() && !taken.insert(member.clone()) {
                return Err(format!(
                    "{} is the member {member}, and so is another instance",
                    stranger.provider_ref
                ));
            }
            adopted.push(member);
        }
        if quorum.membership.keeper().is_some() {
            return Err("with `membership: dynamic` the list's entries are told by the addresses of places, which adopted members do not have; adopt with `membership: static`".to_owned());
        }
        let seated = self.known().any(|member| member.seat.is_some());
        let mut known = if self.input.recorded.quorum.is_some() || seated {
            record(self.input, quorum)?
        } else {
            RecordedQuorum {
                life: self.next.uid.clone(),
                voters: BTreeSet::new(),
                stable: BTreeSet::new(),
                established: true,
                calm_since: None,
                seated: None,
            }
        };
        known.established = true;
        known.voters.extend(adopted);
        self.next.quorum = Some(known);
        Ok(())
    }

    /// Returns why nothing may be adopted, or done to what was adopted while its former owner acts again.
    fn adoption_withheld(&self, found: &Found<'_>) -> Option<Held> {
        if let Some((stranger, groups)) = found.contested.first_key_value() {
            return Some(held(Hold::AdoptionContested {
                stranger: stranger.clone(),
                groups: groups.clone(),
            }));
        }
        let told = found.strangers.iter().chain(found.claimed);
        let mut owners: Vec<String> = told.filter_map(|one| one.claimed_by.clone()).collect();
        if found.strangers.is_empty() {
            // Who had them when they were last seen is not known to have let go.
            let before = &self.input.recorded.strangers;
            let missing = found.missing.keys().filter_map(|handle| before.get(handle));
            let before = missing.filter_map(|one| one.claimed_by.as_ref());
            owners.extend(before.map(|owner| format!("not shown now; when last seen, {owner}")));
        }
        let instances = owners.len() as u32;
        let owner = owners.first()?.clone();
        Some(held(Hold::OwnerStillActs { owner, instances }))
    }

    /// Follows an adoption under way up.
    fn follow_adoption(&mut self, stranger: &Stranger, step: &AdoptStep, intent: &'a Intent) {
        let due = match &intent.state {
            // Closed already.
            IntentState::Intended => return,
            IntentState::Sent => {
                let long = elapsed(intent.issued_at, self.input.now) >= UNANSWERED_TOLD;
                if let Some(said) = intent.said.as_ref().filter(|_| long) {
                    let why = format!("{}: {said}", step.provider_ref);
                    self.hold(held(Hold::AdoptionRefused { why }));
                }
                self.repeat_when_due(intent);
                return;
            }
            IntentState::Acked { at, .. } => later(*at, ADOPT_REPEAT),
            IntentState::Failed { class, message, at } => {
                let why = format!("{}: {message}", step.provider_ref);
                self.hold(held(Hold::AdoptionRefused { why }));
                // The document says something else by now.
                let seat = self.place_for(stranger);
                if step.digests != self.digests_of(stranger) || step.seat != seat {
                    self.close(intent.id, SettlementOutcome::NoEffect);
                    self.wake(later(self.input.now, DECIDE_ANEW));
                    return;
                }
                let refused = *class == ErrorClass::InvalidSpec;
                later(*at, if refused { REFUSED_RETRY } else { ADOPT_RETRY })
            }
        };
        if due > self.input.now {
            self.wake(due);
        } else {
            self.repeat(intent);
        }
    }
}

/// Returns whether a group has adopted everything that it could find by these tags of `adopt.selector` and had room
/// for, in the same place: what it has is its own then, and a survey that fails is no reason to leave that alone.
pub fn has_adopted(
    recorded: &RecordedGroup,
    tags: &BTreeMap<String, String>,
    provider: &ProviderFacts,
) -> bool {
    let there = recorded.provider.as_ref().is_some_and(|before| {
        (&before.name, &before.type_, &before.settings)
            == (&provider.name, &provider.type_, &provider.settings)
    });
    // Whoever has a place is told by a survey alone.
    let held = !recorded.instances.is_empty() && recorded.quorum.is_none();
    let rests = recorded.strangers.is_empty() || (held && recorded.to_adopt().next().is_none());
    there && rests && recorded.adopted.as_ref() == Some(tags)
}

/// Returns whether an adoption is followed up, rather than closed.
pub(super) fn goes_on(intent: &Intent) -> bool {
    match &intent.state {
        IntentState::Intended => false,
        IntentState::Failed { class, .. } => *class != ErrorClass::NotFound,
        IntentState::Sent | IntentState::Acked { .. } => true,
    }
}

/// Returns which member of the document a stranger is.
fn place_of(
    quorum: &QuorumSpec,
    stranger: &Stranger,
    step: &AdoptStep,
) -> Result<MemberId, String> {
    let handle = &stranger.provider_ref;
    let named = stranger.member.as_deref();
    let named = named.ok_or_else(|| format!("nothing says which member {handle} is"))?;
    let seat = step.seat.as_ref();
    let spec = seat.and_then(|seat| quorum.member(&seat.member));
    let spec = spec.ok_or_else(|| {
        format!("{handle} is the member {named:?}, which the document does not have")
    })?;
    if spec.attachments.is_empty() {
        return Ok(spec.id.clone());
    }
    let id = &spec.id;
    Err(format!(
        "the member {id} has attachments in the document, and nobody can tell what of {handle} they are; take it over without them"
    ))
}
