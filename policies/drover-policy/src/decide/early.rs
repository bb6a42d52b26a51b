//! What is decided before everything else: the health of running instances, and what is done about
//! differences between templates.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Difference, DriftDecision, Enforcement, FieldClass, HealthOverride, HealthVerdict, InstanceId,
    Reason, Verdict,
};

use super::Table;
use crate::evaluate::{Clause, Scope};
use crate::variables;

/// What is not done where nobody knows how healthy instances are: whoever counts them would count
/// wrongly.
pub(super) const UNSURE_OF_HEALTH: [Reason; 7] = [
    Reason::Update,
    Reason::Drift,
    Reason::Heal,
    Reason::ScaleIn,
    Reason::Expiry,
    Reason::Rebalance,
    Reason::Cost,
];

/// What makes instances of another template what they are to be.
pub(super) const UPDATING: [Reason; 2] = [Reason::Update, Reason::Drift];

/// What policies said so far, before it is compared with what holds without them.
#[derive(Default)]
pub(super) struct Said {
    /// The verdicts on health, and the position of the one about each instance: the least favourable.
    health: Vec<Verdict>,
    of_instance: BTreeMap<InstanceId, (HealthVerdict, usize)>,
    /// What is done for each changed field of each difference, by their positions: the most.
    of_field: BTreeMap<(usize, usize), (FieldClass, Verdict)>,
}

impl<'a> Table<'a> {
    /// Asks about each running instance. Where the answer is not known, nothing is done about the
    /// instance, and nothing to the group that may wait.
    pub(super) fn health<'v>(&mut self, scope: &mut Scope<'_, 'v>)
    where
        'a: 'v,
    {
        let Some(early) = self.facts.early else {
            return;
        };
        let mut told = BTreeMap::new();
        let mut unknown = BTreeMap::new();
        for member in self.members() {
            let Some(signals) = early.signals.get(&member.id) else {
                continue;
            };
            let question = vec![
                ("instance", variables::instance(member, self.facts)),
                ("signals", variables::signals(signals)),
            ];
            let (word, verdict) = match scope.ask(question, |scope| scope.word()) {
                None => continue,
                Some(Ok(answer)) => answer,
                Some(Err(verdict)) => {
                    let clause = Clause::of_value(true);
                    let new = !unknown.contains_key(&clause);
                    let verdict = new.then_some(*verdict);
                    if let Some(verdict) = &verdict {
                        self.gate(&UNSURE_OF_HEALTH[..], vec![verdict.clone()]);
                    }
                    self.keep(&mut unknown, clause, verdict, member, &[Reason::Heal]);
                    continue;
                }
            };
            let mut words = HealthVerdict::ALL.into_iter();
            let health = words.find(|health| health.as_str() == word);
            let health = health.unwrap_or(HealthVerdict::Unknown);
            let used = verdict.enforcement == Enforcement::Deny;
            let position = *told.entry(health).or_insert_with(|| {
                let verdict = Verdict {
                    message: format!(
                        "{} is {word}; its signals say {}",
                        member.id,
                        signals.combined.as_str()
                    ),
                    ..verdict
                };
                self.decisions.trace.push(verdict.clone());
                self.said.health.push(verdict);
                self.said.health.len() - 1
            });
            let known = self.said.of_instance.get(&member.id);
            if used && known.is_none_or(|(known, _)| *known < health) {
                let said = (health, position);
                self.said.of_instance.insert(member.id.clone(), said);
            }
        }
    }

    /// Asks about each field in which templates differ. Where the answer is not known, the provider's
    /// holds, and nothing is done for it.
    pub(super) fn drift<'v>(&mut self, scope: &mut Scope<'_, 'v>)
    where
        'a: 'v,
    {
        let Some(early) = self.facts.early else {
            return;
        };
        for (at, difference) in early.differences.iter().enumerate() {
            for (field, change) in difference.changes.iter().enumerate() {
                let question = variables::field_change(change);
                let (word, verdict) = match scope.ask(question, |scope| scope.word()) {
                    None => continue,
                    Some(Ok(answer)) => answer,
                    Some(Err(verdict)) => {
                        self.gate(&UPDATING, vec![*verdict]);
                        continue;
                    }
                };
                let class = match class_of(word) {
                    FieldClass::Ignore => FieldClass::Ignore,
                    // Nobody can do less than the provider needs.
                    class => class.max(change.class),
                };
                let verdict = Verdict {
                    message: format!("{}: {}", change.field, class.as_str()),
                    ..verdict
                };
                self.decisions.trace.push(verdict.clone());
                if verdict.enforcement != Enforcement::Deny {
                    continue;
                }
                let known = self.said.of_field.get(&(at, field));
                if known.is_none_or(|(known, _)| *known < class) {
                    let said = (class, verdict);
                    self.said.of_field.insert((at, field), said);
                }
            }
        }
    }

    /// Keeps of what was said what differs from what holds without it.
    pub(super) fn settle(&mut self) {
        let Some(early) = self.facts.early else {
            return;
        };
        let said = std::mem::take(&mut self.said);
        let mut overrides: BTreeMap<usize, HealthOverride> = BTreeMap::new();
        for (id, (health, position)) in said.of_instance {
            let combined = early.signals.get(&id).map(|signals| signals.combined);
            if combined == Some(health) {
                continue;
            }
            let entry = overrides.entry(position).or_insert_with(|| HealthOverride {
                health,
                verdict: said.health[position].clone(),
                instances: BTreeSet::new(),
            });
            entry.instances.insert(id);
        }
        self.decisions.health = overrides.into_values().collect();
        for (at, difference) in early.differences.iter().enumerate() {
            let decision = decision_on(difference, |field| said.of_field.get(&(at, field)));
            self.decisions.drift.0.extend(decision);
        }
    }
}

/// Returns what is done for a difference, if that is not what the provider says. What is ignored beside
/// something that is not comes along with that, and needs what the provider says.
fn decision_on<'s>(
    difference: &Difference,
    said: impl Fn(usize) -> Option<&'s (FieldClass, Verdict)>,
) -> Option<DriftDecision> {
    let changes = difference.changes.iter().enumerate();
    let ignored = |field: usize| said(field).filter(|(class, _)| *class == FieldClass::Ignore);
    let decision = |class, verdict: &Verdict| DriftDecision {
        from: difference.from.clone(),
        to: difference.to.clone(),
        class,
        verdict: verdict.clone(),
    };
    if changes.clone().all(|(field, _)| ignored(field).is_some()) {
        let (_, first) = said(0)?;
        let fields: Vec<&str> = difference
            .changes
            .iter()
            .map(|it| it.field.as_str())
            .collect();
        let verdict = Verdict {
            message: format!("ignored: {}", fields.join(", ")),
            ..first.clone()
        };
        return Some(decision(FieldClass::Ignore, &verdict));
    }
    let most = changes.filter_map(|(field, change)| {
        let (class, verdict) = said(field)?;
        (*class > change.class).then_some((*class, verdict))
    });
    let (class, verdict) = most.max_by_key(|(class, _)| *class)?;
    (class > difference.from.change_to(&difference.to)).then(|| decision(class, verdict))
}

fn class_of(word: &str) -> FieldClass {
    let mut classes = FieldClass::ALL.into_iter();
    let found = classes.find(|class| class.as_str() == word);
    found.unwrap_or(FieldClass::Replace)
}
