//! What a journal holds beside blobs, and what a change makes of it. Pure: both journals use it, so
//! the one in memory behaves as the one on disk does.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{Epoch, GroupName, Intent, IntentId, IntentKind, IntentState};

use super::{JournalChange, JournalError};

/// Open intents, and what is kept of the settled ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) next_intent: u64,
    pub(crate) intents: BTreeMap<IntentId, Intent>,
    pub(crate) groups: BTreeMap<GroupName, GroupMarks>,
    open: BTreeMap<GroupName, BTreeSet<IntentId>>,
}

/// What is kept of a group for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupMarks {
    /// The largest instance number ever intended.
    pub(crate) last_number: u64,
    /// The largest epoch that wrote intents.
    pub(crate) epoch: Epoch,
}

/// What accepted changes do to a [`State`] and to the blobs.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    /// Set once an intent was appended.
    pub(crate) next_intent: Option<u64>,
    pub(crate) intents: BTreeMap<IntentId, Option<Intent>>,
    pub(crate) groups: BTreeMap<GroupName, GroupMarks>,
    pub(crate) blobs: BTreeMap<String, Option<Vec<u8>>>,
}

impl State {
    /// Puts a state together from what was stored.
    pub(crate) fn from_parts(
        next_intent: u64,
        intents: BTreeMap<IntentId, Intent>,
        groups: BTreeMap<GroupName, GroupMarks>,
    ) -> Self {
        let mut open: BTreeMap<GroupName, BTreeSet<IntentId>> = BTreeMap::new();
        for intent in intents.values() {
            open.entry(intent.group.clone())
                .or_default()
                .insert(intent.id);
        }
        Self {
            next_intent,
            intents,
            groups,
            open,
        }
    }

    pub(crate) fn open_intents(&self, group: &GroupName) -> Vec<Intent> {
        let ids = self.open.get(group).into_iter().flatten();
        ids.filter_map(|id| self.intents.get(id).cloned()).collect()
    }

    pub(crate) fn open_groups(&self) -> BTreeSet<GroupName> {
        self.open.keys().cloned().collect()
    }

    pub(crate) fn last_number(&self, group: &GroupName) -> u64 {
        self.groups.get(group).map_or(0, |marks| marks.last_number)
    }

    /// Takes over what became durable.
    pub(crate) fn merge(&mut self, delta: Delta) {
        if let Some(next) = delta.next_intent {
            self.next_intent = next;
        }
        self.groups.extend(delta.groups);
        for (id, intent) in delta.intents {
            match intent {
                Some(intent) => {
                    self.open
                        .entry(intent.group.clone())
                        .or_default()
                        .insert(id);
                    self.intents.insert(id, intent);
                }
                None => self.close(id),
            }
        }
    }

    fn close(&mut self, id: IntentId) {
        let Some(intent) = self.intents.remove(&id) else {
            return;
        };
        if let Some(ids) = self.open.get_mut(&intent.group) {
            ids.remove(&id);
            if ids.is_empty() {
                self.open.remove(&intent.group);
            }
        }
    }
}

/// A state with changes that are not durable yet.
#[derive(Debug)]
pub(crate) struct Staged<'a> {
    base: &'a State,
    pub(crate) delta: Delta,
}

impl<'a> Staged<'a> {
    pub(crate) fn on(base: &'a State) -> Self {
        Self {
            base,
            delta: Delta::default(),
        }
    }

    /// Applies one write. A refused write leaves no trace, so that the others of a shared commit go on.
    ///
    /// # Errors
    ///
    /// `UnknownIntent`, `NotADrain`, `EpochBehind`.
    pub(crate) fn apply(
        &mut self,
        changes: Vec<JournalChange>,
    ) -> Result<Vec<IntentId>, JournalError> {
        let mut write = Write {
            below: self,
            delta: Delta::default(),
            appended: Vec::new(),
        };
        for change in changes {
            write.apply(change)?;
        }
        let Write {
            delta, appended, ..
        } = write;
        if delta.next_intent.is_some() {
            self.delta.next_intent = delta.next_intent;
        }
        self.delta.intents.extend(delta.intents);
        self.delta.groups.extend(delta.groups);
        self.delta.blobs.extend(delta.blobs);
        Ok(appended)
    }

    fn intent(&self, id: IntentId) -> Option<&Intent> {
        match self.delta.intents.get(&id) {
            Some(staged) => staged.as_ref(),
            None => self.base.intents.get(&id),
        }
    }

    fn marks(&self, group: &GroupName) -> Option<GroupMarks> {
        let staged = self.delta.groups.get(group);
        staged.or_else(|| self.base.groups.get(group)).copied()
    }
}

/// One write on top of the ones staged before it.
struct Write<'a, 'b> {
    below: &'a Staged<'b>,
    delta: Delta,
    appended: Vec<IntentId>,
}

impl Write<'_, '_> {
    fn apply(&mut self, change: JournalChange) -> Result<(), JournalError> {
        match change {
            JournalChange::Append {
                group,
                epoch,
                at,
                intents,
            } => {
                self.mark(&group, epoch, &intents)?;
                for (kind, state) in intents {
                    let id = self.next_id();
                    let intent = Intent {
                        id,
                        group: group.clone(),
                        epoch,
                        issued_at: at,
                        kind,
                        state,
                        said: None,
                    };
                    self.delta.intents.insert(id, Some(intent));
                    self.appended.push(id);
                }
            }
            JournalChange::Advance { id, state } => self.edit(id, |intent| {
                intent.state = state;
                intent.said = None;
                Ok(())
            })?,
            JournalChange::Say { id, said } => self.edit(id, |intent| {
                intent.said = Some(said);
                Ok(())
            })?,
            JournalChange::UpdateDrain { id, begun, done } => self.edit(id, |intent| {
                let IntentKind::Drain {
                    begun: was_begun,
                    done: was_done,
                    ..
                } = &mut intent.kind
                else {
                    return Err(JournalError::NotADrain(id));
                };
                *was_begun = begun;
                *was_done = done;
                Ok(())
            })?,
            JournalChange::Settle(settlements) => {
                for settlement in settlements {
                    self.delta.intents.insert(settlement.intent, None);
                }
            }
            JournalChange::Put(entries) => self.delta.blobs.extend(entries),
        }
        Ok(())
    }

    fn next_id(&mut self) -> IntentId {
        let below = self.below.delta.next_intent;
        let next = self
            .delta
            .next_intent
            .or(below)
            .unwrap_or(self.below.base.next_intent);
        self.delta.next_intent = Some(next + 1);
        IntentId(next)
    }

    fn mark(
        &mut self,
        group: &GroupName,
        epoch: Epoch,
        intents: &[(IntentKind, IntentState)],
    ) -> Result<(), JournalError> {
        let found = self.delta.groups.get(group).copied();
        let mut marks = found
            .or_else(|| self.below.marks(group))
            .unwrap_or(GroupMarks {
                last_number: 0,
                epoch,
            });
        if epoch < marks.epoch {
            return Err(JournalError::EpochBehind {
                group: group.clone(),
                held: marks.epoch,
                ours: epoch,
            });
        }
        marks.epoch = epoch;
        for (kind, _) in intents {
            let slots = match kind {
                IntentKind::Create { slots, .. } => slots.as_slice(),
                IntentKind::Adopt(step) => std::slice::from_ref(&step.instance),
                IntentKind::Drain { .. }
                | IntentKind::Destroy { .. }
                | IntentKind::Update(_)
                | IntentKind::Roster(_) => &[],
            };
            for slot in slots {
                marks.last_number = marks.last_number.max(slot.number());
            }
        }
        self.delta.groups.insert(group.clone(), marks);
        Ok(())
    }

    fn edit(
        &mut self,
        id: IntentId,
        change: impl FnOnce(&mut Intent) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let found = match self.delta.intents.get(&id) {
            Some(staged) => staged.as_ref(),
            None => self.below.intent(id),
        };
        let mut intent = found.cloned().ok_or(JournalError::UnknownIntent(id))?;
        change(&mut intent)?;
        self.delta.intents.insert(id, Some(intent));
        Ok(())
    }
}
