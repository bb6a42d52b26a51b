//! What an expression or a policy is evaluated with outside of a pass: a person's own values, or the
//! facts about a group and one question about it.

use std::collections::BTreeMap;

use cel::Context;
use drover_model::{Change, DecisionPoint, FieldChange, InstanceId, Member, Reason, Value};

use crate::cases::{self, Tree};
use crate::definitions::{CALENDARS, Definitions, METRICS};
use crate::evaluate;
use crate::facts::GroupFacts;
use crate::policy::CompiledPolicy;
use crate::value::{self, Boxed};
use crate::variables::{self, VARIABLES};

/// What is known.
#[derive(Debug, Clone, Copy)]
pub enum Given<'a> {
    /// Variables by name as a row of a test table sets them, `params` among them; what is left out
    /// has the same defaults.
    Values(&'a Value),
    /// The facts about a group, and what is asked about it.
    Facts(GroupFacts<'a>, Question<'a>),
}

/// What a decision point is asked about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question<'a> {
    /// The reason why an instance would be taken out of service.
    pub reason: Option<Reason>,
    /// The instance.
    pub instance: Option<&'a InstanceId>,
    /// The zone.
    pub zone: Option<&'a str>,
    /// The change.
    pub change: Option<&'a Change>,
    /// The field in which templates differ.
    pub field: Option<&'a FieldChange>,
}

/// Variables and parameters with their values, kept for the time of an evaluation.
pub(crate) struct Values<'a> {
    variables: Variables<'a>,
    pub(crate) params: BTreeMap<String, Value>,
}

enum Variables<'a> {
    Trees(BTreeMap<&'static str, Tree>, cases::facts::Facts),
    Facts(GroupFacts<'a>, Question<'a>, &'a Definitions),
}

impl<'a> Given<'a> {
    /// Returns the values that a policy of `point` has (None: what those of every point have), and
    /// `params` under those given.
    pub(crate) fn values(
        self,
        point: Option<DecisionPoint>,
        params: &Params<'_>,
        definitions: &'a Definitions,
    ) -> Result<Values<'a>, String> {
        match self {
            Self::Values(given) => {
                let facts = cases::facts::given(given, definitions)?;
                let given = cases::entries(given)?;
                Ok(Values {
                    variables: Variables::Trees(cases::given(point, given)?, facts),
                    params: params.with(given.get("params"))?,
                })
            }
            Self::Facts(facts, question) => {
                let unknown = question.instance.filter(|id| member(&facts, id).is_none());
                match unknown {
                    Some(id) => Err(format!("group {} has no instance {id}", facts.group.name)),
                    None => Ok(Values {
                        variables: Variables::Facts(facts, question, definitions),
                        params: params.with(None)?,
                    }),
                }
            }
        }
    }
}

/// The parameters of what is evaluated.
pub(crate) enum Params<'a> {
    /// Those of a policy, with values under which others may be given.
    Of(&'a CompiledPolicy, &'a BTreeMap<String, Value>),
    /// Whatever is given.
    Any,
}

impl Params<'_> {
    fn with(&self, given: Option<&Value>) -> Result<BTreeMap<String, Value>, String> {
        match (self, given) {
            (Self::Of(policy, params), given) => cases::params(policy, params, given),
            (Self::Any, None) => Ok(BTreeMap::new()),
            (Self::Any, Some(Value::Map(given))) => Ok(given.clone()),
            (Self::Any, Some(other)) => Err(format!("`params` is a map, not {}", other.kind())),
        }
    }
}

impl Values<'_> {
    /// Returns a context with the values.
    pub(crate) fn context(&self) -> Context<'_, '_> {
        let mut context = match &self.variables {
            Variables::Trees(trees, facts) => {
                let values = trees.iter().map(|(name, tree)| (*name, tree.boxed()));
                evaluate::context_of(values.chain(facts.boxed()))
            }
            Variables::Facts(facts, question, definitions) => {
                let names = VARIABLES.iter().map(|variable| variable.name);
                let names = names.chain([METRICS, CALENDARS]);
                let values = names
                    .filter_map(|name| Some((name, read(name, *facts, *question, definitions)?)));
                evaluate::context_of(values)
            }
        };
        context.add_variable_as_val("params", value::map(&self.params));
        context
    }
}

fn member<'a>(facts: &GroupFacts<'a>, id: &InstanceId) -> Option<&'a Member> {
    facts.classified?.members.get(id)
}

fn read<'a>(
    name: &str,
    facts: GroupFacts<'a>,
    question: Question<'a>,
    definitions: &'a Definitions,
) -> Option<Boxed<'a>> {
    match name {
        "reason" => question.reason.map(|reason| value::text(reason.as_str())),
        "zone" => question.zone.map(value::text),
        "instance" => {
            let member = member(&facts, question.instance?)?;
            Some(variables::instance(member, facts))
        }
        "signals" => {
            let signals = facts.early?.signals.get(question.instance?)?;
            Some(variables::signals(signals))
        }
        "field" | "class" | "old" | "new" => {
            let mut read = variables::field_change(question.field?).into_iter();
            read.find(|(field, _)| *field == name)
                .map(|(_, value)| value)
        }
        name => variables::read(name, facts, question.change, definitions),
    }
}
