//! What a commit takes over of what others made. Documents say what is asked for, and not what there is: that is what an
//! agent recorded that watches by the document before, or nobody knows it yet.

use std::sync::Arc;

use drover_model::{Adopt, Group, GroupSpec, Manage, RecordedGroup, plural};
use drover_spec::Located;

use crate::plan_view::{PlanHold, PlanView};

/// What is known of what a commit takes over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Adoption<'a> {
    /// It takes nothing over.
    None,
    /// It takes over what the agent has seen so far, and that is what the change comes from.
    Seen(&'a RecordedGroup),
    /// It has taken over what it had room for, and takes over more of what the agent has seen where it grows.
    Held(&'a RecordedGroup),
    /// It takes over whatever the agent will find.
    Unknown,
}

impl<'a> Adoption<'a> {
    /// Returns what is taken over by a group that was `before` and is `after`.
    pub(super) fn of(
        before: Option<&Located<Arc<Group>>>,
        after: Option<&Group>,
        state: Option<&'a RecordedGroup>,
    ) -> Self {
        let Some((after, adopt)) = after.and_then(|it| Some((&it.spec, it.spec.adopt.as_ref()?)))
        else {
            return Self::None;
        };
        let Some(before) = before else {
            return Self::Unknown;
        };
        let spec = &before.value.spec;
        let same = asks_the_same(spec, after);
        match (spec.manage, after.manage) {
            // It goes on with what it does, and watching takes nothing over.
            (Manage::Full, Manage::Full) if same => Self::left(&before.text, state),
            (Manage::Full | Manage::Observe, Manage::Observe) => Self::None,
            (Manage::Observe, Manage::Full) if same => Self::watched(&before.text, adopt, state),
            (Manage::Full | Manage::Observe, Manage::Full) => Self::Unknown,
        }
    }

    /// Returns what an agent has seen by a document with this text.
    fn watched(text: &str, adopt: &Adopt, state: Option<&'a RecordedGroup>) -> Self {
        // By another document it may have looked for something else.
        match state.filter(|state| is_by(state, text)) {
            Some(state) if state.strangers.is_empty() => {
                let done = state.adopted.as_ref() == Some(&adopt.match_tags);
                if done { Self::None } else { Self::Unknown }
            }
            Some(state) if state.stable.is_some() => Self::Seen(state),
            Some(_) | None => Self::Unknown,
        }
    }

    /// Returns what an agent has left alone by a document with this text.
    fn left(text: &str, state: Option<&'a RecordedGroup>) -> Self {
        let holds = |state: &&RecordedGroup| {
            let strangers = &state.strangers;
            is_by(state, text) && !strangers.is_empty() && state.to_adopt().next().is_none()
        };
        state.filter(holds).map_or(Self::None, Self::Held)
    }

    /// Takes up what the group comes from.
    pub(super) fn begin(self, recorded: &mut RecordedGroup) {
        match self {
            Self::Seen(state) => {
                recorded.stable.clone_from(&state.stable);
                recorded.stable_size = state.stable_size;
                recorded.size = state.size;
                recorded.quorum.clone_from(&state.quorum);
                recorded.strangers.clone_from(&state.strangers);
                recorded.templates.extend(state.templates.clone());
            }
            Self::None | Self::Held(_) | Self::Unknown => {}
        }
    }
}

/// Leaves out of a change what no template makes outdated: instances that were adopted with `revision: keep`.
pub(super) fn tell_own_revisions(view: &mut PlanView, state: Option<&RecordedGroup>) {
    let instances = state.iter().flat_map(|state| state.instances.values());
    let own = instances.filter(|one| one.kept.is_none() && one.digests.is_own_revision());
    let own = own.count() as u32;
    let Some(change) = view.change.as_mut().filter(|_| own > 0) else {
        return;
    };
    let counts = [
        &mut change.replaces,
        &mut change.restarts,
        &mut change.changes,
    ];
    if counts.iter().all(|count| **count == 0) {
        return;
    }
    for count in counts {
        *count = count.saturating_sub(own);
    }
    view.holds.push(PlanHold {
        code: "OwnRevision".to_owned(),
        message: format!(
            "{} adopted with `revision: keep`, which no rollout replaces",
            plural(own as usize, "instance was", "instances were")
        ),
        reason: None,
        routine: true,
    });
}

/// Whether a group is recorded as in force by a document with this text.
fn is_by(state: &RecordedGroup, text: &str) -> bool {
    let accepted = state.accepted.as_ref();
    state.deleting.is_none() && accepted.is_some_and(|accepted| *accepted.text == *text)
}

/// Whether two documents look for the same in the same place.
fn asks_the_same(before: &GroupSpec, after: &GroupSpec) -> bool {
    (&before.adopt, &before.provider) == (&after.adopt, &after.provider)
}
