//! What policies were told in a recorded pass, put together again from `inputs/<group>.json` on the
//! state branch.

use std::collections::BTreeMap;
use std::sync::Arc;

use drover_model::{
    Classified, Decisions, Group, GroupName, Numbers, Readings, RecordedGroup, Revision, Timestamp,
};
use drover_plan::{ClassifyInput, ProviderFacts};
use drover_policy::{EarlyFacts, GroupFacts, GroupSummary, SourceFacts};
use drover_spec::record;

use crate::inputs::without_seen;
use crate::replay::{ReplayError, provider_facts};

/// What policies were told about one group in a recorded pass, as far as it is recorded: the commit's
/// author and message and the other groups are not part of it.
#[derive(Debug, Clone)]
pub struct RecordedFacts {
    /// The time of the pass.
    pub now: Timestamp,
    /// The commit of the source.
    pub source: Revision,
    /// The document in force.
    pub group: Arc<Group>,
    /// The recorded state before the plan.
    pub recorded: RecordedGroup,
    /// The instances.
    pub classified: Classified,
    /// The numbers of the pass.
    pub numbers: Numbers,
    /// What the policies of that time decided.
    pub decisions: Decisions,
    /// The provider.
    pub provider: ProviderFacts,
    /// What came of asking for metrics.
    pub readings: Readings,
    /// What policies are asked about before everything else.
    pub early: EarlyFacts,
}

impl RecordedFacts {
    /// Reads `inputs/<group>.json`.
    ///
    /// # Errors
    ///
    /// What cannot be read, or holds a document that this version does not understand.
    pub fn read(inputs: &str) -> Result<Self, ReplayError> {
        let inputs = record::decode_inputs(&without_seen(inputs))?;
        let group = inputs.desired.group().ok_or(ReplayError::Document)?;
        let recorded = inputs.recorded;
        let provider = provider_facts(&inputs.provider);
        let classify = ClassifyInput {
            now: inputs.now,
            group: &recorded.name,
            spec: &group.spec,
            listing: &inputs.listing,
            signals: &inputs.signals,
            memory: &inputs.memory,
            intents: &inputs.intents,
            recorded: &recorded,
            visibility: inputs.visibility,
            health: &[],
            surveyed: inputs.surveyed.as_ref(),
            provider: &provider,
            emptied: inputs.peers.emptied.as_ref(),
        };
        let plain = drover_plan::classify(&classify);
        let classified = drover_plan::classify(&ClassifyInput {
            health: &inputs.decisions.health,
            ..classify
        });
        let early = early_facts(&classify, &plain, &provider);
        let size = if recorded.stable.is_none() && recorded.size == 0 {
            group.spec.size
        } else {
            recorded.size
        };
        let drift = &inputs.decisions.drift;
        let numbers = drover_plan::numbers(&group.spec, size, &classified, &recorded, drift);
        Ok(Self {
            now: inputs.now,
            source: inputs.source,
            provider,
            decisions: inputs.decisions,
            readings: inputs.readings,
            group,
            recorded,
            classified,
            numbers,
            early,
        })
    }

    /// Returns the facts. The document in force stands for the one before it, too: which that was in
    /// the pass that accepted it is not recorded.
    pub fn group_facts<'a>(
        &'a self,
        source: &'a SourceFacts,
        groups: &'a BTreeMap<GroupName, GroupSummary>,
    ) -> GroupFacts<'a> {
        GroupFacts {
            now: self.now,
            group: &self.group,
            old: Some(&self.group.spec),
            numbers: &self.numbers,
            recorded: &self.recorded,
            classified: Some(&self.classified),
            source,
            groups,
            readings: &self.readings,
            early: Some(&self.early),
            drift: &self.decisions.drift,
        }
    }
}

/// Returns what `health` and `drift` are asked about, from the instances as they are without the answers.
pub(crate) fn early_facts(
    classify: &ClassifyInput<'_>,
    plain: &Classified,
    provider: &ProviderFacts,
) -> EarlyFacts {
    let (spec, recorded) = (classify.spec, classify.recorded);
    let target = drover_plan::target_digests(spec, provider, recorded);
    let have = plain.members.values().map(|member| &member.digests);
    let target = (&target, &spec.template);
    EarlyFacts {
        signals: drover_plan::health_signals(classify),
        differences: drover_plan::differences(have, recorded, target, &provider.classes),
    }
}
