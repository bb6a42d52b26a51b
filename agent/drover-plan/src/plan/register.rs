//! The membership list of a quorum group's program beside the places of the group: whose entry is
//! whose, and what may become of the list. Counts; decides nothing.

use std::collections::BTreeMap;

use drover_model::{
    EntryId, EntryRole, Hold, Keeper, MemberId, QuorumSpec, RecordedQuorum, Roster, RosterEntry,
    RosterView, majority,
};

use crate::input::PlanInput;

/// What is known of the list.
#[derive(Debug)]
pub(super) enum Register<'a> {
    /// It cannot be read, or contradicts the places: nothing rests on it.
    Unclear(String),
    /// It is known, and each entry is of a place or never worked.
    Known(Entries<'a>),
}

/// The list, by member.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    pub(super) keeper: Keeper,
    roster: &'a Roster,
    held: BTreeMap<MemberId, EntryId>,
    addresses: BTreeMap<MemberId, &'a str>,
    /// Entries that nobody ever worked under, at nobody's place.
    strays: Vec<EntryId>,
}

impl<'a> Register<'a> {
    /// Compares the list with the places. None: the agent changes no list. It changes none before the
    /// group has worked, nor that of a single member, which nobody could add again.
    pub(super) fn of(
        input: &PlanInput<'a>,
        quorum: &QuorumSpec,
        known: &RecordedQuorum,
    ) -> Option<Self> {
        let keeper = quorum.membership.keeper()?;
        let wanted = |id: &MemberId| quorum.member(id).is_some();
        let single = quorum.members.len() == 1 && known.voters.iter().all(wanted);
        if !known.established || single {
            return None;
        }
        let roster = match input.roster {
            None => return Some(Self::Unclear("nobody was asked for it".to_owned())),
            Some(RosterView::Unclear { why }) => return Some(Self::Unclear(why.clone())),
            Some(RosterView::Known(roster)) => roster,
        };
        let places = input.classified.places.iter();
        let own = places.filter(|(seat, _)| seat.life == known.life);
        let addresses = own.map(|(seat, address)| (seat.member.clone(), address.as_str()));
        let mut entries = Entries {
            keeper,
            roster,
            held: BTreeMap::new(),
            addresses: addresses.collect(),
            strays: Vec::new(),
        };
        Some(match entries.assign() {
            Ok(()) => Self::Known(entries),
            Err(why) => Self::Unclear(why),
        })
    }

    pub(super) fn known(&self) -> Option<&Entries<'a>> {
        match self {
            Self::Known(entries) => Some(entries),
            Self::Unclear(_) => None,
        }
    }
}

impl<'a> Entries<'a> {
    /// Finds whose each entry is: by its address, which the place keeps.
    fn assign(&mut self) -> Result<(), String> {
        for (id, entry) in &self.roster.entries {
            let here = |address: &&str| entry.hosts.iter().any(|host| host == *address);
            let mut members = self.addresses.iter();
            let member = members.find(|(_, address)| here(address));
            let Some((member, _)) = member else {
                if entry.started {
                    let name = &entry.name;
                    let hosts = entry.hosts.join(", ");
                    return Err(format!(
                        "it has {name:?} at {hosts}, which is no member of this group"
                    ));
                }
                self.strays.push(*id);
                continue;
            };
            if !entry.name.is_empty() && entry.name != member.as_str() {
                let name = &entry.name;
                return Err(format!(
                    "the entry at the place of {member} is named {name:?}"
                ));
            }
            if self.held.insert(member.clone(), *id).is_some() {
                return Err(format!("{member} has two entries"));
            }
        }
        if self.roster.entries.contains_key(&self.roster.leader) {
            Ok(())
        } else {
            Err(format!("leader {} is not in it", self.roster.leader))
        }
    }

    pub(super) fn strays(&self) -> &[EntryId] {
        &self.strays
    }

    /// Returns the entries at places.
    pub(super) fn held(&self) -> impl Iterator<Item = (&MemberId, EntryId, &'a RosterEntry)> {
        let held = self.held.iter();
        held.filter_map(|(member, id)| Some((member, *id, self.roster.entries.get(id)?)))
    }

    pub(super) fn entry(&self, member: &MemberId) -> Option<(EntryId, &'a RosterEntry)> {
        let id = self.held.get(member)?;
        Some((*id, self.roster.entries.get(id)?))
    }

    pub(super) fn leads(&self, member: &MemberId) -> bool {
        self.held.get(member) == Some(&self.roster.leader)
    }

    pub(super) fn leader(&self) -> EntryId {
        self.roster.leader
    }

    /// Returns whether an entry is in the list, and whether it votes.
    pub(super) fn votes(&self, entry: EntryId) -> Option<bool> {
        self.roster.entries.get(&entry).map(RosterEntry::votes)
    }

    /// Returns the address of a member that can be asked to change the list, other than that of `except`:
    /// the leader, who asks nobody else in turn, before others.
    pub(super) fn ask(&self, except: Option<EntryId>) -> Option<&'a str> {
        let leader = self.roster.leader;
        let mut able: Vec<_> = self
            .held()
            .filter(|(_, id, entry)| entry.votes() && entry.answers && Some(*id) != except)
            .collect();
        able.sort_by_key(|(_, id, _)| *id != leader);
        let (member, ..) = able.first()?;
        self.addresses.get(*member).copied()
    }

    /// Returns how many entries vote, and how many of those answer; `except` in neither.
    fn counts(&self, except: Option<EntryId>) -> (usize, usize) {
        let all = self.roster.entries.iter();
        let voters: Vec<_> = all
            .filter(|(id, entry)| entry.votes() && Some(**id) != except)
            .collect();
        let well = voters.iter().filter(|(_, entry)| entry.answers).count();
        (voters.len(), well)
    }

    /// Returns whether a majority of the others answers once `entry` is out. Of two, none can go: the
    /// other one alone would never be more than one failure from the end.
    pub(super) fn survives_removal(&self, entry: EntryId) -> bool {
        if self.votes(entry) != Some(true) {
            return true;
        }
        let (others, well) = self.counts(Some(entry));
        others >= 2 && well >= majority(others)
    }

    /// Returns whether a majority answers with one voter more, should that one fail.
    pub(super) fn survives_promotion(&self) -> bool {
        let (voters, well) = self.counts(None);
        well >= majority(voters + 1)
    }

    pub(super) fn at_risk(&self) -> Hold {
        let (voters, well) = self.counts(None);
        Hold::QuorumAtRisk {
            healthy: well as u32,
            voters: voters as u32,
            needed: majority(voters) as u32,
        }
    }

    /// Returns why the list is not as it should be at rest: every entry votes, answers, and is of a member
    /// that `known` counts, and every such member has one.
    pub(super) fn unsettled(&self, known: &RecordedQuorum) -> Option<String> {
        if let Some(stray) = self.strays.first() {
            return Some(format!("entry {stray} of the membership list is nobody's"));
        }
        let found = self.held().find_map(|(member, _, entry)| {
            let what = if !known.voters.contains(member) {
                "is in the membership list and not counted yet"
            } else if !entry.votes() {
                "does not vote yet"
            } else if !entry.answers {
                "does not answer as a member"
            } else {
                return None;
            };
            Some(format!("{member} {what}"))
        });
        let mut voters = known.voters.iter();
        found.or_else(|| {
            let missing = voters.find(|id| !self.held.contains_key(*id))?;
            Some(format!("{missing} is not in the membership list"))
        })
    }

    /// Returns whether an instance may be made for the entry: nobody ever worked under it, nor was meant
    /// to, and its data counts for nothing yet.
    pub(super) fn is_fresh(&self, member: &MemberId, known: &RecordedQuorum) -> bool {
        self.entry(member).is_some_and(|(id, entry)| {
            let unused = !entry.started && known.seated != Some(id);
            unused && entry.role == EntryRole::Learner
        })
    }

    /// Returns the members in the list, those of the document first and in its order.
    pub(super) fn members(&self, quorum: &QuorumSpec) -> Vec<MemberId> {
        let wanted = quorum.members.iter().map(|member| &member.id);
        let mut members: Vec<MemberId> = wanted
            .filter(|id| self.held.contains_key(*id))
            .cloned()
            .collect();
        let others = self.held.keys().filter(|id| quorum.member(id).is_none());
        members.extend(others.cloned());
        members
    }
}

#[cfg(test)]
mod tests;
