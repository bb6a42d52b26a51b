//! The members of a quorum group as they stand: who holds which place, who is well, and what a majority
//! is. Counts; decides nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Hold, InstanceClass, InstanceId, Member, MemberId, QuorumSpec, Reason, RecordedQuorum,
    RosterView, SeatId, majority,
};

use super::register::{Entries, Register};
use crate::input::PlanInput;
use crate::intents::IntentIndex;
use crate::time::elapsed;

/// Where the holder of a place stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Available, and it stays for now.
    Well,
    /// On its way out.
    Going,
    /// On its way in.
    Coming,
    /// Failing or unknown, not for long enough to act.
    Doubtful,
    /// To be replaced.
    Bad,
}

/// The members as they stand.
pub(super) struct Council<'a> {
    wanted: Vec<&'a MemberId>,
    voters: BTreeSet<MemberId>,
    holders: BTreeMap<&'a MemberId, Vec<(&'a Member, Standing)>>,
    /// Who leads, where the membership list says so.
    leader: Option<&'a InstanceId>,
    healthy: usize,
}

impl<'a> Council<'a> {
    /// Counts. A member that is being drained, and that cannot be spared any more, counts as staying.
    pub(super) fn of(
        input: &PlanInput<'a>,
        intents: &IntentIndex<'_>,
        quorum: &'a QuorumSpec,
        known: &RecordedQuorum,
        register: Option<&Register<'a>>,
    ) -> Self {
        let mut council = Self {
            wanted: quorum.members.iter().map(|member| &member.id).collect(),
            voters: known.voters.clone(),
            holders: BTreeMap::new(),
            leader: None,
            healthy: 0,
        };
        let entries = register.and_then(Register::known);
        for member in input.classified.members.values() {
            if let Some(seat) = &member.seat {
                let ending = intents.destroy(&member.id).is_some();
                let mut standing = standing(member, ending || member.drain.is_some());
                if let Some(entries) = entries {
                    // Until it is ready the startup timeout itself watches over it, then `minReady`.
                    let limit = input.desired.spec().health.startup_timeout * 2;
                    let coming = standing == Standing::Coming;
                    let late = elapsed(member.created_at, input.now) >= limit && !coming;
                    standing = enrolled(standing, entries, &seat.member, late);
                    if entries.leads(&seat.member) {
                        council.leader = Some(&member.id);
                    }
                }
                let place = council.holders.entry(&seat.member).or_default();
                place.push((member, standing));
            }
        }
        council.healthy = council.count_healthy();
        let short = !quorum.allow_downtime && !council.is_quorate();
        council.keep_drained(intents, entries, short);
        council.healthy = council.count_healthy();
        council
    }

    /// What is drained and serves is not ended while it cannot be spared, so it is not going anywhere:
    /// none of them while they are `short`, and none that cannot leave the membership list.
    fn keep_drained(
        &mut self,
        intents: &IntentIndex<'_>,
        entries: Option<&Entries<'_>>,
        short: bool,
    ) {
        for (member, standing) in self.holders.values_mut().flatten() {
            let deleted = member
                .drain
                .as_ref()
                .is_some_and(|drain| drain.reason == Reason::Delete);
            let only_drained = member.drain.is_some() && intents.destroy(&member.id).is_none();
            let seat = member.seat.as_ref();
            let kept = match entries.zip(seat) {
                None => short,
                // Who has left is no member any more.
                Some((entries, seat)) => entries
                    .entry(&seat.member)
                    .is_some_and(|(id, _)| short || !entries.survives_removal(id)),
            };
            if only_drained && !deleted && kept && member.class == InstanceClass::Available {
                *standing = Standing::Well;
            }
        }
    }

    fn count_healthy(&self) -> usize {
        let well = |id: &&MemberId| {
            let place = self.holders.get(*id).into_iter().flatten();
            place
                .clone()
                .any(|(_, standing)| *standing == Standing::Well)
        };
        self.voters.iter().filter(well).count()
    }

    /// Returns every instance that is not proven to be gone and holds the place of `member`.
    pub(super) fn holders(&self, member: &MemberId) -> &[(&'a Member, Standing)] {
        self.holders.get(member).map_or(&[], Vec::as_slice)
    }

    pub(super) fn standing(&self, member: &Member) -> Standing {
        let all = self.holders.values().flatten();
        let mut found = all.filter(|(holder, _)| holder.id == member.id);
        found
            .next()
            .map_or(Standing::Going, |(_, standing)| *standing)
    }

    pub(super) fn standing_in(&self, wanted: Standing) -> Vec<&'a Member> {
        let all = self.holders.values().flatten();
        all.filter(|(_, standing)| *standing == wanted)
            .map(|(member, _)| *member)
            .collect()
    }

    /// Returns those that are not on their way out.
    pub(super) fn staying(&self) -> Vec<&'a Member> {
        let all = self.holders.values().flatten();
        all.filter(|(member, standing)| *standing != Standing::Going && member.drain.is_none())
            .map(|(member, _)| *member)
            .collect()
    }

    /// Returns those whose place the document does not have, in the order in which they go: those that
    /// are not well first, who leads last, the highest id first.
    pub(super) fn unwanted(&self) -> Vec<&'a Member> {
        let mut unwanted = self.staying();
        unwanted.retain(|member| !self.is_wanted(member));
        unwanted.sort_by_key(|member| {
            let well = self.standing(member) == Standing::Well;
            let place = member.seat.as_ref().map(|seat| &seat.member);
            (well, self.leads(member), Reverse(place))
        });
        unwanted
    }

    /// Returns whether `holder` leads, as far as known.
    pub(super) fn leads(&self, holder: &Member) -> bool {
        match self.leader {
            Some(leader) => *leader == holder.id,
            None => holder.leader == Some(true),
        }
    }

    /// Returns whether the first to go is not well.
    pub(super) fn unwanted_is_bad(&self) -> bool {
        let unwanted = self.unwanted();
        let first = unwanted.first();
        first.is_some_and(|member| self.standing(member) == Standing::Bad)
    }

    /// Returns where the document has the member that `holder` stands for; the last place if nowhere.
    pub(super) fn position(&self, holder: &Member) -> usize {
        let seat = holder.seat.as_ref().map(|seat| &seat.member);
        let mut wanted = self.wanted.iter();
        wanted
            .position(|id| Some(*id) == seat)
            .unwrap_or(self.wanted.len())
    }

    pub(super) fn is_wanted(&self, holder: &Member) -> bool {
        self.position(holder) < self.wanted.len()
    }

    pub(super) fn is_quorate(&self) -> bool {
        self.healthy >= majority(self.voters.len())
    }

    /// Returns how many members have no holder, whether or not the document has them.
    pub(super) fn absent(&self) -> usize {
        let voters = self.voters.iter();
        voters.filter(|id| self.holders(id).is_empty()).count()
    }

    /// Returns how many members may be missing.
    pub(super) fn tolerance(&self) -> usize {
        self.voters
            .len()
            .saturating_sub(majority(self.voters.len()))
    }

    /// Returns whether a majority stays well without `member`.
    pub(super) fn survives(&self, member: &Member) -> bool {
        self.survives_without(&[member])
    }

    /// Returns the same for several at once.
    pub(super) fn survives_without(&self, gone: &[&Member]) -> bool {
        let counted = |member: &&&Member| {
            let seat = member.seat.as_ref();
            let voter = seat.is_some_and(|seat| self.voters.contains(&seat.member));
            voter && self.standing(member) == Standing::Well
        };
        let well = gone.iter().filter(counted).count();
        self.healthy.saturating_sub(well) >= majority(self.voters.len())
    }

    /// Returns whether a majority is well once there is one member more that is not.
    pub(super) fn survives_newcomer(&self) -> bool {
        self.healthy >= majority(self.voters.len() + 1)
    }

    pub(super) fn at_risk(&self) -> Hold {
        Hold::QuorumAtRisk {
            healthy: self.healthy as u32,
            voters: self.voters.len() as u32,
            needed: majority(self.voters.len()) as u32,
        }
    }

    /// Returns which member is on its way in or out, `subject` apart.
    pub(super) fn in_transition(&self, subject: Option<&Member>) -> Option<String> {
        self.find(subject, |standing| match standing {
            Standing::Going => Some("on its way out"),
            Standing::Coming => Some("on its way in"),
            Standing::Well | Standing::Doubtful | Standing::Bad => None,
        })
    }

    /// Returns which member is not well, `subject` apart, or that nobody leads.
    pub(super) fn unsettled(&self, subject: Option<&Member>) -> Option<String> {
        let missing = self.voters.iter().find(|id| self.holders(id).is_empty());
        if let Some(id) = missing {
            return Some(format!("{id} is missing"));
        }
        let found = self.find(subject, |standing| match standing {
            Standing::Going => Some("on its way out"),
            Standing::Coming => Some("on its way in"),
            Standing::Doubtful => Some("not sure to be well"),
            Standing::Bad => Some("not well"),
            Standing::Well => None,
        });
        found.or_else(|| {
            let all = self.holders.values().flatten();
            let said: Vec<bool> = all.filter_map(|(member, _)| member.leader).collect();
            let leaderless = self.leader.is_none() && !said.is_empty() && !said.contains(&true);
            leaderless.then(|| "no member says that it leads".to_owned())
        })
    }

    /// Returns a member that is drained and cannot be spared: more members are what lets it go.
    pub(super) fn kept_drained(&self) -> Option<&'a Member> {
        let mut all = self.holders.values().flatten();
        let kept =
            all.find(|(member, standing)| member.drain.is_some() && *standing == Standing::Well);
        kept.map(|(member, _)| *member)
    }

    fn find(
        &self,
        subject: Option<&Member>,
        what: impl Fn(Standing) -> Option<&'static str>,
    ) -> Option<String> {
        self.holders.iter().find_map(|(id, place)| {
            place.iter().find_map(|(member, standing)| {
                let apart = subject.is_some_and(|subject| subject.id == member.id);
                let drained = member.drain.is_some() && *standing == Standing::Well;
                let what = if drained {
                    // Kept for now, and still a member that is not to stay.
                    what(Standing::Doubtful)
                } else {
                    what(*standing)
                };
                what.filter(|_| !apart)
                    .map(|what| format!("{id} is {what}"))
            })
        })
    }
}

fn standing(member: &Member, leaving: bool) -> Standing {
    match member.class {
        InstanceClass::Terminating => Standing::Going,
        _ if leaving => Standing::Going,
        InstanceClass::Exited(_)
        | InstanceClass::Failed { .. }
        | InstanceClass::Unhealthy { .. }
        | InstanceClass::Lost { .. } => Standing::Bad,
        InstanceClass::Suspect { .. } => Standing::Doubtful,
        InstanceClass::Starting | InstanceClass::Warming => Standing::Coming,
        InstanceClass::Available => Standing::Well,
    }
}

/// Returns where a member stands, with what the membership list says of it. What the list does not have
/// is no member, however well it looks; what does not vote yet is on its way, but not for ever.
fn enrolled(standing: Standing, entries: &Entries<'_>, member: &MemberId, late: bool) -> Standing {
    match standing {
        Standing::Going | Standing::Bad | Standing::Doubtful => standing,
        Standing::Well | Standing::Coming => match entries.entry(member) {
            None => Standing::Bad,
            Some((_, entry)) if !entry.votes() && late => Standing::Bad,
            Some((_, entry)) if !entry.votes() => Standing::Coming,
            Some((_, entry)) if standing == Standing::Well && !entry.answers => Standing::Doubtful,
            Some(_) => standing,
        },
    }
}

/// Returns what is to be recorded of the members: what is known, with what this observation adds.
///
/// # Errors
///
/// What speaks for a group having existed of which nothing is known.
pub(super) fn record(input: &PlanInput<'_>, quorum: &QuorumSpec) -> Result<RecordedQuorum, String> {
    let mut known = match &input.recorded.quorum {
        Some(known) => known.clone(),
        None => adopted(input)?.map_or_else(|| first(input, quorum), Ok)?,
    };
    let members = || input.classified.members.values();
    let seats = members().filter_map(|member| member.seat.as_ref());
    known.voters.extend(seats.map(|seat| seat.member.clone()));
    known.established |= established(input, quorum);
    if known.established {
        forget_unwanted(input, quorum, &mut known);
    } else {
        let wanted = quorum.members.iter().map(|member| member.id.clone());
        known.voters.extend(wanted);
    }
    Ok(known)
}

/// Takes over a group whose record was lost: by the tags of its instances and what is attached.
fn adopted(input: &PlanInput<'_>) -> Result<Option<RecordedQuorum>, String> {
    let members = input.classified.members.values();
    let seats: Vec<_> = members.filter_map(|member| member.seat.as_ref()).collect();
    let lives: BTreeSet<_> = seats.iter().map(|seat| &seat.life).collect();
    let mut lives = lives.into_iter();
    let Some(life) = lives.next() else {
        return Ok(None);
    };
    if lives.next().is_some() {
        return Err("its instances belong to several lives of the group".to_owned());
    }
    let attached = input.classified.attached.iter();
    let attached = attached.filter(|seat| seat.life == *life);
    let seats = seats.iter().copied().chain(attached);
    let voters: BTreeSet<MemberId> = seats.map(|seat| seat.member.clone()).collect();
    Ok(Some(RecordedQuorum {
        life: life.clone(),
        stable: voters.clone(),
        voters,
        established: true,
        calm_since: None,
        seated: None,
    }))
}

/// Begins the record of a group that provably never existed.
fn first(input: &PlanInput<'_>, quorum: &QuorumSpec) -> Result<RecordedQuorum, String> {
    let why = if let Some(seat) = input.classified.attached.first() {
        Some(format!(
            "member {} of a life {} has something attached; restore the record, or remove it by hand if nobody needs it",
            seat.member, seat.life
        ))
    } else if input.recorded.next_number > 1 || !input.intents.is_empty() {
        Some("instances of this group were made before".to_owned())
    } else if !input.classified.gone.is_empty() || !input.recorded.instances.is_empty() {
        Some("the provider still knows of instances that have ended".to_owned())
    } else {
        None
    };
    match why {
        Some(why) => Err(why),
        None => Ok(RecordedQuorum {
            life: input.recorded.uid.clone(),
            voters: quorum
                .members
                .iter()
                .map(|member| member.id.clone())
                .collect(),
            stable: BTreeSet::new(),
            established: false,
            calm_since: None,
            seated: None,
        }),
    }
}

/// Returns whether a majority is ready: from then on it may have decided something.
fn established(input: &PlanInput<'_>, quorum: &QuorumSpec) -> bool {
    let ready = |member: &&Member| {
        let memory = input.classified.memory.get(&member.id);
        let once = memory.is_some_and(|memory| memory.ready_at.is_some());
        once || matches!(
            member.class,
            InstanceClass::Warming | InstanceClass::Available
        )
    };
    let members = input.classified.members.values().filter(ready);
    let ready: BTreeSet<_> = members
        .filter_map(|member| member.seat.as_ref())
        .map(|seat| &seat.member)
        .collect();
    ready.len() >= majority(quorum.members.len())
}

/// Lets go of members that the document does not have and nothing holds, as long as the others are a
/// majority of all: a majority that was lost is not talked away.
fn forget_unwanted(input: &PlanInput<'_>, quorum: &QuorumSpec, known: &mut RecordedQuorum) {
    let members = || {
        input
            .classified
            .members
            .values()
            .filter_map(|member| Some((&member.seat.as_ref()?.member, member)))
    };
    let held: BTreeSet<_> = members().map(|(id, _)| id).collect();
    if quorum.membership.keeper().is_some() {
        // Who is in a list that the agent changes, the list says: a majority stands behind it.
        if let Some(RosterView::Known(roster)) = input.roster {
            let life = known.life.clone();
            let listed = |id: &MemberId| {
                let seat = SeatId {
                    life: life.clone(),
                    member: id.clone(),
                };
                let address = input.classified.places.get(&seat);
                let mut entries = roster.entries.values();
                address.is_some_and(|address| entries.any(|entry| entry.hosts.contains(address)))
            };
            known
                .voters
                .retain(|id| quorum.member(id).is_some() || held.contains(id) || listed(id));
        }
        return;
    }
    let healthy = members()
        .filter(|(id, member)| {
            known.voters.contains(*id) && member.class == InstanceClass::Available
        })
        .count();
    let quorate = healthy >= majority(known.voters.len());
    if quorate || quorum.allow_downtime {
        known
            .voters
            .retain(|id| quorum.member(id).is_some() || held.contains(id));
    }
}
