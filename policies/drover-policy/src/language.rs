//! The language by itself: one expression, with values of one's own instead of facts about a group.
//! Examples in the documentation, conformance tests and fuzzing go through here, which is the same
//! way that the expressions of policies go.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelOptional,
    CelString, CelTimestamp, CelType, CelUInt, Kind,
};
use cel::common::value::Val;
use cel::{Context, Value};
use drover_model::{
    Calendar, CalendarDays, CalendarName, Day, DecisionPoint, NotOk, SourceSpan, Timestamp, Zone,
};

use crate::check::{self, Declared};
use crate::definitions::{CALENDARS, Calendars, Definitions, METRICS, MetricValue};
use crate::explain::explain;
use crate::functions;
use crate::guard;
use crate::limits::EXPRESSION_STEPS_MAX;
use crate::meter;
use crate::parse::parse;
use crate::stack::{contained, on_large_stack};
use crate::types::{Fields, Type};
use crate::value::{self, Boxed, Entries};

/// A value of an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    /// `null`.
    Null,
    /// `true` and `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that is not negative: `3u`.
    Uint(u64),
    /// A number with a fraction.
    Double(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Datum>),
    /// A map, its entries in a fixed order.
    Map(Vec<(Datum, Datum)>),
    /// A point in time.
    Time(Timestamp),
    /// A type, by its name.
    Type(String),
    /// A value that may be missing.
    Optional(Option<Box<Datum>>),
    /// Anything else, as people read it: a duration, an address, a version.
    Other(String),
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It was refused before it was evaluated.
    Refused {
        /// What is wrong, and what to do about it.
        message: String,
        /// Byte offset of the place in the source.
        offset: usize,
    },
    /// Its evaluation failed.
    Failed(String),
    /// Its evaluation ran into the budget.
    Exhausted,
    /// A bug in the evaluator.
    Panicked(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { message, .. } => write!(f, "refused: {message}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Exhausted => f.write_str("the budget is used up"),
            Self::Panicked(why) => write!(f, "panicked: {why}"),
        }
    }
}

/// Whether an expression is checked before it is evaluated, as those of policies are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checking {
    /// It is, and refused when a mistake is found.
    Strict,
    /// It is not: mistakes show when it is evaluated. The limits hold all the same.
    None,
}

/// What an expression is evaluated with.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The namespace that names are looked up in first. Empty: none.
    pub container: &'a str,
    /// Values by name. Beside them there is nothing but one metric and one calendar of examples; `now` is
    /// one of them if it is to be known.
    pub values: &'a [(String, Datum)],
    /// Whether it is checked.
    pub checking: Checking,
}

/// Evaluates one expression.
///
/// # Errors
///
/// [`Fault::Refused`] when it cannot be parsed, is beyond the limits or has a mistake,
/// [`Fault::Failed`] and [`Fault::Exhausted`] when its evaluation does not come to an end, and
/// [`Fault::Panicked`] for a bug.
pub fn evaluate(source: &str, surroundings: Surroundings<'_>) -> Result<Datum, Fault> {
    on_large_stack(|| {
        contained(|| evaluate_here(source, surroundings))
            .unwrap_or_else(|failure| Err(Fault::Panicked(failure.explain())))
    })
    .unwrap_or_else(|failure| Err(Fault::Panicked(failure.explain())))
}

fn evaluate_here(source: &str, surroundings: Surroundings<'_>) -> Result<Datum, Fault> {
    let refused = |message: String, offset| Fault::Refused { message, offset };
    let parsed = parse(source).map_err(|mistake| refused(mistake.message, mistake.offset))?;
    let types = match surroundings.checking {
        Checking::None => BTreeMap::new(),
        Checking::Strict => {
            let (variables, all_variables) = (BTreeMap::new(), BTreeSet::new());
            let declared = Declared {
                point: Some(DecisionPoint::Gate),
                params: Arc::new(Fields {
                    name: "params",
                    types: BTreeMap::new(),
                }),
                variables: &variables,
                all_variables: &all_variables,
            };
            let given = surroundings.values.iter();
            let given = given.map(|(name, value)| (name.clone(), type_of(value)));
            let checked = check::check_with(source, &parsed, &declared, given.collect());
            if let Some(mistake) = checked.mistakes.first() {
                let hint = mistake.hint.as_ref();
                let hint = hint.map_or(String::new(), |hint| format!(" ({hint})"));
                return Err(refused(
                    format!("{}{hint}", mistake.message),
                    mistake.offset,
                ));
            }
            checked.types
        }
    };
    let root = guard::guarded(&parsed.root, &types);
    let environment = functions::environment_in(surroundings.container)
        .map_err(|error| refused(error.to_string(), 0))?;
    let calendars = example_calendars();
    let mut context = Context::with_env(environment);
    context.add_variable_as_val(METRICS, value::keyed(ExampleMetrics));
    context.add_variable_as_val(CALENDARS, value::keyed(Calendars(&calendars)));
    for (name, value) in surroundings.values {
        context.add_variable_as_val(name.as_str(), boxed(value));
    }
    let (result, used) = meter::metered(EXPRESSION_STEPS_MAX, || {
        Value::resolve_val(&root, &context).map(|value| datum(value.as_ref()))
    });
    if used.exhausted {
        return Err(Fault::Exhausted);
    }
    result.map_err(|error| Fault::Failed(explain(&error)))
}

/// The metrics of examples: `queue.depth` is 120 and ten seconds old, and no other is there.
#[derive(Clone, Copy)]
struct ExampleMetrics;

impl<'a> Entries<'a> for ExampleMetrics {
    const MAP: bool = true;

    fn entry(&self, key: &str) -> Option<Boxed<'a>> {
        let judged = match key {
            "queue.depth" => Ok((120.0, std::time::Duration::from_secs(10))),
            _ => Err(NotOk {
                age: None,
                why: "it is not one of the examples".to_owned(),
            }),
        };
        Some(MetricValue::boxed(key, judged))
    }

    fn keys(&self) -> Vec<&'a str> {
        vec!["queue.depth"]
    }
}

/// The calendars of examples: in `de`, Christmas is a holiday.
fn example_calendars() -> Definitions {
    let christmas = |day| CalendarDays {
        first: Day::Yearly { month: 12, day },
        last: Day::Yearly { month: 12, day },
        name: None,
    };
    let calendar = CalendarName::parse("de").ok().map(|name| Calendar {
        name,
        span: SourceSpan::start_of("calendars/de.yaml"),
        zone: Zone::parse("Europe/Berlin").unwrap_or_else(Zone::utc),
        days: vec![christmas(25), christmas(26)],
        digest: String::new(),
    });
    Definitions::new([], calendar.as_ref(), false)
}

fn type_of(value: &Datum) -> Type {
    match value {
        Datum::Null => Type::Null,
        Datum::Bool(_) => Type::Bool,
        Datum::Int(_) => Type::Int,
        Datum::Uint(_) => Type::Uint,
        Datum::Double(_) => Type::Double,
        Datum::Text(_) => Type::Text,
        Datum::Bytes(_) => Type::Bytes,
        Datum::Time(_) => Type::Timestamp,
        Datum::List(elements) => Type::list(
            elements
                .iter()
                .map(type_of)
                .reduce(Type::join)
                .unwrap_or(Type::Dyn),
        ),
        Datum::Map(_) | Datum::Type(_) | Datum::Optional(_) | Datum::Other(_) => Type::Dyn,
    }
}

fn boxed(value: &Datum) -> Boxed<'static> {
    match value {
        Datum::Null => Box::new(CelNull),
        Datum::Bool(value) => value::bool(*value),
        Datum::Int(value) => value::int(*value),
        Datum::Uint(value) => Box::new(CelUInt::from(*value)),
        Datum::Double(value) => Box::new(CelDouble::from(*value)),
        Datum::Text(text) | Datum::Other(text) => value::owned_text(text.clone()),
        Datum::Bytes(bytes) => Box::new(CelBytes::from(bytes.clone())),
        Datum::List(elements) => value::list(elements.iter().map(boxed).collect()),
        Datum::Map(entries) => {
            #[expect(
                clippy::disallowed_types,
                reason = "the evaluator's maps are hashed; loops over them go by sorted keys"
            )]
            let map: std::collections::HashMap<CelMapKey<'static>, Boxed<'static>> = entries
                .iter()
                .filter_map(|(key, value)| {
                    Some((CelMapKey::try_from(boxed(key)).ok()?, boxed(value)))
                })
                .collect();
            Box::new(CelMap::from(map))
        }
        Datum::Time(time) => value::time(*time),
        Datum::Type(name) => Box::new(CelType::new(name.clone())),
        Datum::Optional(None) => Box::new(CelOptional::none()),
        Datum::Optional(Some(held)) => Box::new(CelOptional::of(boxed(held))),
    }
}

/// Returns a value of a type that the check found: unlike [`datum`] it knows the fields of records.
pub(crate) fn datum_as(value: &dyn Val, type_: &Type) -> Datum {
    if value.get_type().kind() == Kind::NullType {
        return Datum::Null;
    }
    let indexed = |key: &str| {
        let held = value.as_indexer()?.get(&CelString::from(key)).ok()?;
        Some(held.as_ref().clone_as_boxed())
    };
    match type_.present() {
        Type::Record(shape) => {
            let fields = shape.fields.iter().filter_map(|field| {
                let held = indexed(field.name)?;
                let held = datum_as(held.as_ref(), &(field.type_)());
                Some((Datum::Text(field.name.to_owned()), held))
            });
            Datum::Map(fields.collect())
        }
        Type::Named(fields) => {
            let fields = fields.types.iter().filter_map(|(name, type_)| {
                let held = indexed(name)?;
                Some((Datum::Text(name.clone()), datum_as(held.as_ref(), type_)))
            });
            Datum::Map(fields.collect())
        }
        Type::List(element) => match value.downcast_ref::<CelList<'_>>() {
            Some(list) => {
                let elements = list.inner().iter();
                Datum::List(
                    elements
                        .map(|held| datum_as(held.as_ref(), element))
                        .collect(),
                )
            }
            None => datum(value),
        },
        Type::Optional(held) => match value.downcast_ref::<CelOptional<'_>>() {
            Some(optional) => {
                let held = optional.option().map(|value| datum_as(value, held));
                Datum::Optional(held.map(Box::new))
            }
            None => datum(value),
        },
        Type::Map(held) => map_as(value, held),
        // Of a document: a map of anything.
        Type::Dyn if value.get_type().kind() == Kind::Map => map_as(value, &Type::Dyn),
        Type::Dyn if value.get_type().kind() == Kind::List => {
            datum_as(value, &Type::list(Type::Dyn))
        }
        _ => datum(value),
    }
}

fn map_as(value: &dyn Val, type_: &Type) -> Datum {
    let (Ok(keys), Some(indexer)) = (crate::guards::keys(value), value.as_indexer()) else {
        return datum(value);
    };
    let entries = keys.iter().filter_map(|key| {
        let held = indexer.get(key.as_ref()).ok()?;
        Some((datum(key.as_ref()), datum_as(held.as_ref(), type_)))
    });
    Datum::Map(entries.collect())
}

fn datum(value: &dyn Val) -> Datum {
    if let Some(value) = value.downcast_ref::<CelBool>() {
        Datum::Bool(*value.inner())
    } else if let Some(value) = value.downcast_ref::<CelInt>() {
        Datum::Int(*value.inner())
    } else if let Some(value) = value.downcast_ref::<CelUInt>() {
        Datum::Uint(*value.inner())
    } else if let Some(value) = value.downcast_ref::<CelDouble>() {
        Datum::Double(*value.inner())
    } else if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        Datum::Text(text.inner().to_owned())
    } else if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        Datum::Bytes(bytes.inner().to_vec())
    } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        Datum::List(
            list.inner()
                .iter()
                .map(|element| datum(element.as_ref()))
                .collect(),
        )
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        let mut entries: Vec<(Datum, Datum)> = map
            .inner()
            .iter()
            .map(|(key, value)| (datum(key.inner()), datum(value.as_ref())))
            .collect();
        entries.sort_by_cached_key(|(key, _)| format!("{key:?}"));
        Datum::Map(entries)
    } else if let Some(type_) = value.downcast_ref::<CelType>() {
        Datum::Type(type_.name().to_owned())
    } else if let Some(optional) = value.downcast_ref::<CelOptional<'_>>() {
        Datum::Optional(optional.option().map(|held| Box::new(datum(held))))
    } else if let Some(time) = value.downcast_ref::<CelTimestamp>() {
        let time = time.inner();
        Timestamp::new(time.timestamp(), time.timestamp_subsec_nanos() as i32)
            .map_or_else(|_| Datum::Other(time.to_rfc3339()), Datum::Time)
    } else if value.get_type().kind() == Kind::NullType {
        Datum::Null
    } else {
        Datum::Other(value::show(value))
    }
}
