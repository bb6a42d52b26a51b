//! Simulated membership lists: programs like etcd, which know their members, elect a leader among those
//! that work, and change their list only with a majority.
//!
//! A member works while its instance runs. What the agent does wrong is not refused but noted as a breach,
//! where the real program would have lost something.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use drover_apply::{RosterOrder, Rosters};
use drover_model::{
    CheckOutcome, EntryId, EntryRole, ErrorClass, GroupName, Keeper, MemberId, ProviderPhase,
    ProviderRef, Roster, RosterEntry, RosterView, Timestamp, majority,
};
use drover_provider::ProviderError;
use drover_provider_sim::SimWorld;

/// How long a learner takes to have what the leader has.
const CATCH_UP: Duration = Duration::from_secs(8);

/// A member whose instance runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    instance: ProviderRef,
    member: MemberId,
    address: String,
}

/// What the lists rest on, at one moment.
#[derive(Debug)]
pub struct Ground {
    now: Timestamp,
    running: Vec<Running>,
    /// Every place there is.
    places: BTreeMap<MemberId, String>,
}

impl Ground {
    /// Looks at the members of `group` in one world.
    pub fn of(world: &SimWorld, group: &GroupName, now: Timestamp) -> Self {
        let members = world.of_group(group, now).into_iter();
        let works = |instance: &drover_provider_sim::SimInstance| {
            instance.phase(now) == Some(ProviderPhase::Running)
                && instance.health(now) == CheckOutcome::Passing
        };
        let running = members.filter_map(|(_, instance)| {
            let seat = instance.ownership.as_ref()?.seat.clone()?;
            works(instance).then(|| Running {
                instance: instance.provider_ref.clone(),
                member: seat.member,
                address: instance.address.clone(),
            })
        });
        let running: Vec<Running> = running.collect();
        let mut places: BTreeMap<MemberId, String> = running
            .iter()
            .map(|one| (one.member.clone(), one.address.clone()))
            .collect();
        places.extend(world.places_of(group));
        Self {
            now,
            running,
            places,
        }
    }
}

impl Ground {
    /// Returns that nothing is there.
    pub(crate) fn empty(now: Timestamp) -> Self {
        Self {
            now,
            running: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Returns whether nothing is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// What goes wrong with the next change of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RosterFault {
    /// It is never seen.
    LostRequest,
    /// It is made, and nobody is told.
    LostReply,
    /// It is refused.
    Refused,
    /// It is made so much later than its caller gives up.
    Late(Duration),
}

#[derive(Debug, Clone)]
struct Entry {
    member: MemberId,
    address: String,
    role: EntryRole,
    /// Whose data the entry counts on, once it has worked.
    user: Option<ProviderRef>,
    /// Since when a learner follows.
    since: Option<Timestamp>,
}

/// One program's list.
#[derive(Debug, Default)]
struct Cluster {
    entries: BTreeMap<EntryId, Entry>,
    next: u64,
    term: u64,
    leader: Option<EntryId>,
    late: Vec<(Timestamp, RosterOrder)>,
}

#[derive(Debug, Default)]
struct Inner {
    clusters: BTreeMap<GroupName, Cluster>,
    faults: Vec<RosterFault>,
    unreadable: u32,
    breaches: Vec<String>,
}

type Look = Box<dyn Fn(&GroupName) -> Ground + Send + Sync>;

/// The lists of all groups.
pub struct SimRosters {
    look: Look,
    inner: Mutex<Inner>,
}

impl fmt::Debug for SimRosters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimRosters")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl SimRosters {
    /// Makes the lists of programs that run in what `look` shows.
    pub fn new(look: Look) -> Self {
        Self {
            look,
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets something go wrong with the next change.
    pub fn inject(&self, fault: RosterFault) {
        self.lock().faults.push(fault);
    }

    /// Lets the list be unreadable for so many looks.
    pub fn blind(&self, looks: u32) {
        self.lock().unreadable = looks;
    }

    /// Forgets the list of `group`: what was never known to work begins anew.
    pub fn forget(&self, group: &GroupName) {
        self.lock().clusters.remove(group);
    }

    /// Takes every fault away.
    pub fn clear_faults(&self) {
        let mut inner = self.lock();
        inner.faults.clear();
        inner.unreadable = 0;
    }

    /// Adds an entry that nobody ever works under, as a failed join by hand leaves it.
    pub fn add_ghost(&self, group: &GroupName, address: &str) {
        if let Some(cluster) = self.lock().clusters.get_mut(group) {
            let member = MemberId::parse("ghost").expect("a valid label");
            cluster.add(member, address.to_owned(), EntryRole::Learner);
        }
    }

    /// Adds a member that works and is none of the group's, or takes it away.
    pub fn set_stranger(&self, group: &GroupName, there: bool) {
        if let Some(cluster) = self.lock().clusters.get_mut(group) {
            let stranger = |entry: &Entry| entry.member.as_str() == "stranger";
            if !there {
                cluster.entries.retain(|_, entry| !stranger(entry));
            } else if !cluster.entries.values().any(stranger) {
                let member = MemberId::parse("stranger").expect("a valid label");
                let id = cluster.add(member, "198.51.100.7".to_owned(), EntryRole::Learner);
                if let Some(entry) = cluster.entries.get_mut(&id) {
                    entry.user = ProviderRef::parse("stranger").ok();
                }
            }
        }
    }

    /// Lets another member lead.
    pub fn move_leader(&self, group: &GroupName) {
        let ground = (self.look)(group);
        if let Some(cluster) = self.lock().clusters.get_mut(group) {
            let before = cluster.leader;
            let heir = cluster.entries.keys().copied().find(|id| {
                Some(*id) != before && cluster.votes(*id) && cluster.works(*id, &ground)
            });
            if heir.is_some() {
                cluster.leader = heir;
                cluster.term += 1;
            }
        }
    }

    /// Returns whether a majority of the voters of `group` works. None: there is no list yet.
    pub fn has_majority(&self, group: &GroupName) -> Option<bool> {
        let ground = (self.look)(group);
        let mut inner = self.lock();
        let Inner {
            clusters, breaches, ..
        } = &mut *inner;
        let cluster = clusters.get_mut(group)?;
        cluster.advance(&ground, breaches);
        let (all, well) = cluster.counts(None, &ground);
        Some(well >= majority(all))
    }

    /// Returns the members in the list with whether they vote, by their names.
    pub fn members(&self, group: &GroupName) -> BTreeMap<String, bool> {
        let inner = self.lock();
        let entries = inner.clusters.get(group).map(|cluster| &cluster.entries);
        let entries = entries.into_iter().flatten();
        entries
            .map(|(_, entry)| (entry.member.to_string(), entry.role == EntryRole::Voter))
            .collect()
    }

    /// Returns who leads.
    pub fn leader(&self, group: &GroupName) -> Option<MemberId> {
        let inner = self.lock();
        let cluster = inner.clusters.get(group)?;
        let entry = cluster.entries.get(&cluster.leader?)?;
        Some(entry.member.clone())
    }

    /// Returns whether the list counts on the data of an instance.
    pub fn counts_on(&self, group: &GroupName, instance: &ProviderRef) -> bool {
        let inner = self.lock();
        let cluster = inner.clusters.get(group);
        cluster.is_some_and(|cluster| {
            let mut entries = cluster.entries.values();
            entries.any(|entry| entry.user.as_ref() == Some(instance))
        })
    }

    /// Returns whether an instance works under an entry that votes.
    pub fn votes(&self, group: &GroupName, instance: &ProviderRef) -> bool {
        let inner = self.lock();
        let cluster = inner.clusters.get(group);
        cluster.is_some_and(|cluster| {
            let mut voters = cluster.entries.values();
            voters.any(|entry| {
                entry.user.as_ref() == Some(instance) && entry.role == EntryRole::Voter
            })
        })
    }

    /// Returns what the agent did that the program would have lost something by, and forgets it.
    pub fn take_breaches(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().breaches)
    }

    /// Returns what members at `addresses` say of the list.
    pub fn view(&self, group: &GroupName, addresses: &[String]) -> RosterView {
        let unclear = |why: &str| RosterView::Unclear {
            why: why.to_owned(),
        };
        let ground = (self.look)(group);
        let mut inner = self.lock();
        if inner.unreadable > 0 {
            inner.unreadable -= 1;
            return unclear("no member answers");
        }
        let Inner {
            clusters, breaches, ..
        } = &mut *inner;
        let cluster = clusters.entry(group.clone()).or_default();
        cluster.advance(&ground, breaches);
        let Some(leader) = cluster.leader else {
            return unclear("nobody leads");
        };
        let asked = |entry: &Entry| addresses.contains(&entry.address);
        let entries = cluster.entries.iter().map(|(id, entry)| {
            let answers = asked(entry) && cluster.works(*id, &ground);
            let entry = RosterEntry {
                name: if entry.user.is_some() {
                    entry.member.to_string()
                } else {
                    String::new()
                },
                role: entry.role,
                started: entry.user.is_some(),
                hosts: vec![entry.address.clone()],
                answers,
                lag: answers.then_some(0),
            };
            (*id, entry)
        });
        let roster = Roster {
            term: cluster.term,
            leader,
            entries: entries.collect(),
        };
        let voters: Vec<_> = roster.entries.values().filter(|one| one.votes()).collect();
        let well = voters.iter().filter(|entry| entry.answers).count();
        let speaks = roster.entries.get(&leader).is_some_and(|one| one.answers);
        if well < majority(voters.len()) || !speaks {
            return unclear("too few voters follow the leader");
        }
        RosterView::Known(roster)
    }

    fn order(&self, group: &GroupName, at: &str, order: &RosterOrder) -> Result<(), ProviderError> {
        let unknown = || ProviderError::new(ErrorClass::Unknown, "the answer was lost");
        let refused = |why: &str| ProviderError::new(ErrorClass::Throttled, why);
        let ground = (self.look)(group);
        let mut inner = self.lock();
        let Inner {
            clusters,
            breaches,
            faults,
            ..
        } = &mut *inner;
        let cluster = clusters.entry(group.clone()).or_default();
        cluster.advance(&ground, breaches);
        let fault = faults.pop();
        match fault {
            Some(RosterFault::LostRequest) => return Err(unknown()),
            Some(RosterFault::Refused) => return Err(refused("unhealthy cluster")),
            Some(RosterFault::Late(by)) => {
                let at = ground.now.checked_add(by).unwrap_or(Timestamp::MAX);
                cluster.late.push((at, order.clone()));
                return Err(unknown());
            }
            Some(RosterFault::LostReply) | None => {}
        }
        let listens = cluster.entries.iter().any(|(id, entry)| {
            entry.address == at && entry.role == EntryRole::Voter && cluster.works(*id, &ground)
        });
        let (all, well) = cluster.counts(None, &ground);
        if !listens || well < majority(all) {
            return Err(refused("no leader"));
        }
        if let Some(breach) = cluster.breach(order, &ground) {
            breaches.push(breach);
        }
        cluster.apply(order, &ground).map_err(|why| refused(&why))?;
        cluster.advance(&ground, breaches);
        if fault.is_some() {
            return Err(unknown());
        }
        Ok(())
    }
}

impl Cluster {
    fn add(&mut self, member: MemberId, address: String, role: EntryRole) -> EntryId {
        self.next += 1;
        let id = EntryId(self.next);
        let entry = Entry {
            member,
            address,
            role,
            user: None,
            since: None,
        };
        self.entries.insert(id, entry);
        id
    }

    fn votes(&self, id: EntryId) -> bool {
        let entry = self.entries.get(&id);
        entry.is_some_and(|entry| entry.role == EntryRole::Voter)
    }

    /// Returns whether the member of an entry works: the instance whose data the entry counts on runs.
    fn works(&self, id: EntryId, ground: &Ground) -> bool {
        let user = self.entries.get(&id).and_then(|entry| entry.user.as_ref());
        user.is_some_and(|user| ground.running.iter().any(|one| one.instance == *user))
    }

    /// Returns how many entries vote, and how many of those work; `except` in neither.
    fn counts(&self, except: Option<EntryId>, ground: &Ground) -> (usize, usize) {
        let voters = self.entries.keys().copied();
        let voters: Vec<EntryId> = voters
            .filter(|id| self.votes(*id) && Some(*id) != except)
            .collect();
        let well = voters.iter().filter(|id| self.works(**id, ground)).count();
        (voters.len(), well)
    }

    /// Lets happen what happens by itself: the first start, late changes, members that begin to work,
    /// elections.
    fn advance(&mut self, ground: &Ground, breaches: &mut Vec<String>) {
        if self.entries.is_empty() {
            if ground.running.len() < majority(ground.places.len()).max(1) {
                return;
            }
            for (member, address) in &ground.places {
                self.add(member.clone(), address.clone(), EntryRole::Voter);
            }
        }
        for (at, order) in std::mem::take(&mut self.late) {
            if at > ground.now {
                self.late.push((at, order));
            } else if self.breach(&order, ground).is_none() {
                // Nobody waits for the answer; what would lose the majority is refused by now.
                let _ = self.apply(&order, ground);
            }
        }
        let alone = self.counts(None, ground).0 == 1;
        for running in &ground.running {
            let mut entries = self.entries.values_mut();
            let Some(entry) = entries.find(|entry| entry.address == running.address) else {
                continue;
            };
            match &entry.user {
                None => {
                    entry.user = Some(running.instance.clone());
                    entry.since = Some(ground.now);
                }
                // What is attached to a single member comes back with it.
                Some(user)
                    if *user != running.instance && alone && entry.role == EntryRole::Voter =>
                {
                    entry.user = Some(running.instance.clone());
                }
                Some(user) if *user != running.instance => {
                    breaches.push(format!(
                        "{} joined as {}, whose entry counts on the data of {user}",
                        running.instance, running.member
                    ));
                    entry.user = Some(running.instance.clone());
                }
                Some(_) => {}
            }
        }
        let (all, well) = self.counts(None, ground);
        let leads = self
            .leader
            .is_some_and(|id| self.votes(id) && self.works(id, ground));
        if well < majority(all) {
            self.leader = None;
        } else if !leads {
            self.term += 1;
            let able = self.entries.keys().copied();
            self.leader = able
                .filter(|id| self.votes(*id) && self.works(*id, ground))
                .min_by_key(|id| id.0 % 3);
        }
    }

    /// Returns what would be lost by a change.
    fn breach(&self, order: &RosterOrder, ground: &Ground) -> Option<String> {
        let RosterOrder::Remove(id) = order else {
            return None;
        };
        if !self.votes(*id) {
            return None;
        }
        let (all, well) = self.counts(Some(*id), ground);
        (well < majority(all).max(1) || all < 2)
            .then(|| format!("removing {id} leaves {well} of {all} voters"))
    }

    fn apply(&mut self, order: &RosterOrder, ground: &Ground) -> Result<(), String> {
        match order {
            RosterOrder::Add { address } => {
                let known = self.entries.values().any(|entry| entry.address == *address);
                let learner = |entry: &Entry| entry.role == EntryRole::Learner;
                if known || self.entries.values().any(learner) {
                    return Err("member exists, or too many learners".to_owned());
                }
                let mut places = ground.places.iter();
                let place = places.find(|(_, place)| *place == address);
                let (member, _) = place.ok_or("nobody has that address")?;
                self.add(member.clone(), address.clone(), EntryRole::Learner);
            }
            RosterOrder::Remove(id) => {
                self.entries.remove(id);
            }
            RosterOrder::Promote(id) => {
                let works = self.works(*id, ground);
                let entry = self.entries.get_mut(id).ok_or("member not found")?;
                let since = entry.since.and_then(|at| at.checked_add(CATCH_UP).ok());
                if !works || since.is_none_or(|at| at > ground.now) {
                    return Err("the learner is not in sync with the leader".to_owned());
                }
                entry.role = EntryRole::Voter;
            }
            RosterOrder::HandOver { to } => {
                if !self.votes(*to) || !self.works(*to, ground) {
                    return Err("bad leader transferee".to_owned());
                }
                self.leader = Some(*to);
                self.term += 1;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Rosters for SimRosters {
    async fn read(
        &self,
        _keeper: Keeper,
        group: &GroupName,
        addresses: &[String],
        _limit: Duration,
    ) -> RosterView {
        self.view(group, addresses)
    }

    async fn change(
        &self,
        _keeper: Keeper,
        group: &GroupName,
        at: &str,
        order: &RosterOrder,
        _limit: Duration,
    ) -> Result<(), ProviderError> {
        self.order(group, at, order)
    }
}
