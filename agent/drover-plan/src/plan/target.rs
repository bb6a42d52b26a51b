//! Which template instances should have.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Activity, Difference, Digests, FieldClass, GroupSpec, Held, Hold, PauseCause, Reason,
    RecordedGroup, RolloutState, Template, field_changes,
};

use super::draft::Draft;
use super::held;
use super::window::is_window;
use crate::input::ProviderFacts;

/// Returns the digests of the template that `spec` asks for.
///
/// A template that is recorded word for word keeps the digests under which it is recorded: neither
/// a new agent nor a provider that changed its mind about a field makes anything outdated.
pub fn target_digests(
    spec: &GroupSpec,
    provider: &ProviderFacts,
    recorded: &RecordedGroup,
) -> Digests {
    let same_type = recorded
        .provider
        .as_ref()
        .is_none_or(|before| before.type_ == provider.type_);
    let known = |digests: &&Digests| {
        recorded
            .templates
            .get(*digests)
            .is_some_and(|template| same_text(template, &spec.template))
    };
    let preferred = [recorded.target.as_ref(), recorded.stable.as_ref()];
    let found = preferred
        .into_iter()
        .flatten()
        .find(known)
        .or_else(|| recorded.templates.keys().find(known));
    match found {
        Some(digests) if same_type => digests.clone(),
        Some(_) | None => Digests::of(&provider.type_, &spec.template, &provider.classes),
    }
}

/// Returns how the templates that instances have, or that a rollout ended with, differ from those that
/// they may get: the target, and the last good one. What has no recorded template is left out.
pub fn differences<'a>(
    have: impl IntoIterator<Item = &'a Digests>,
    recorded: &'a RecordedGroup,
    (target, template): (&'a Digests, &'a Template),
    classes: &BTreeMap<String, FieldClass>,
) -> Vec<Difference> {
    let known = |digests: &'a Digests| Some((digests, recorded.templates.get(digests)?));
    let ends = [recorded.target.as_ref(), recorded.stable.as_ref()];
    let have: BTreeSet<&Digests> = have.into_iter().chain(ends.into_iter().flatten()).collect();
    let mut to = BTreeMap::from([(target, template)]);
    to.extend(
        recorded
            .stable
            .as_ref()
            .and_then(known)
            .filter(|(stable, _)| *stable != target),
    );
    // Should the target fail after all, this is the last good one again.
    let before = recorded.proving.as_ref().map(|proving| &proving.before);
    to.extend(
        before
            .and_then(known)
            .filter(|(before, _)| *before != target),
    );
    let mut differences = Vec::new();
    for (from, old) in have.into_iter().filter_map(known) {
        for (to, new) in &to {
            if from != *to && from.version() == to.version() {
                differences.push(Difference {
                    from: from.clone(),
                    to: (*to).clone(),
                    changes: field_changes(old, new, classes),
                });
            }
        }
    }
    differences
}

fn same_text(one: &Template, other: &Template) -> bool {
    one.properties == other.properties
        && one.flavors_as_written == other.flavors_as_written
        && one.tags == other.tags
}

/// The template that missing instances are made from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fresh {
    /// The one in the document.
    Target,
    /// The last good one.
    Stable(Digests),
    /// None: the hold says why.
    Nothing(drover_model::Held),
}

impl Draft<'_> {
    /// Returns what missing instances are made from.
    ///
    /// The target, except while it is paused, may not be rolled out now, fails to launch, or waits for a
    /// secret: then missing capacity comes back with the last good template, where there is one.
    pub(super) fn fresh(&self) -> Fresh {
        let good = self.last_good();
        // What replaces an instance for another cause is no disruption: once the target works, a
        // closed window does not bring the last template back.
        let begun = |held: &Held| is_window(held) && self.target_serves();
        let withheld = self
            .withheld(Reason::Update)
            .is_some_and(|held| !begun(&held));
        let failing = self.target_backs_off() || self.secret_missing(&self.target).is_some();
        match (good, self.pause()) {
            (Some(good), Some(_)) => Fresh::Stable(good),
            (Some(good), None) if withheld || failing => Fresh::Stable(good),
            // A rollback that is paused goes back to what there is nothing better than.
            (None, Some(cause)) if self.next.stable.as_ref() != Some(&self.target) => {
                Fresh::Nothing(held(Hold::RolloutPaused(cause)))
            }
            (Some(_) | None, None) | (None, Some(_)) => Fresh::Target,
        }
    }

    /// Returns why the rollout is paused after failures, if it is.
    pub(super) fn pause(&self) -> Option<PauseCause> {
        match self.next.rollout.as_ref().map(|rollout| &rollout.state) {
            Some(RolloutState::Paused(cause)) => Some(cause.clone()),
            Some(RolloutState::Progressing) | None => None,
        }
    }

    /// Returns the digests that an instance is wanted to have now.
    pub(super) fn wanted(&self) -> &Digests {
        match &self.fresh {
            Fresh::Stable(stable) => stable,
            Fresh::Target | Fresh::Nothing(_) => &self.target,
        }
    }

    /// Returns why `activity` is switched off, as a hold: by the document, or while the source is out of reach.
    pub(super) fn suspended(&self, activity: Activity) -> Option<drover_model::Held> {
        let outage = self.input.fences.iter().find(|held| match held.hold {
            Hold::SourceOutage { mode, .. } => mode.withholds(activity),
            _ => false,
        });
        if let Some(held) = outage {
            return Some(held.clone());
        }
        let suspend = self.spec.suspended(activity, self.input.now)?;
        Some(drover_model::Held {
            until: suspend.until,
            ..held(Hold::Suspended {
                activity,
                because: suspend.because.clone(),
            })
        })
    }
}
