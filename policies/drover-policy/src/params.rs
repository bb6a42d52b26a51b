//! Parameters: what values they may have, and those that a binding or a test sets.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Binding, ParamFormat, ParamSchema, ParamType, PolicyParam, SourceSpan, Timestamp, Value,
    counted, plural,
};

use crate::check::{Form, NameOf};
use crate::definitions::{Definitions, Named};
use crate::meter;
use crate::policy::{CompiledPolicy, PolicyMistake};
use crate::types::{Type, closest, enumerated};
use crate::value;

#[cfg(test)]
mod tests;

/// What `duration()` takes.
const DURATION: &str = r"^[+-]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(h|m|s|ms|us|µs|ns))+)$";

/// What is wrong with a value, and what to do about it.
type Wrong = (String, Option<String>);

/// Returns the defaults of the parameters that have one.
pub(crate) fn defaults(params: &BTreeMap<String, PolicyParam>) -> BTreeMap<String, Value> {
    let defaults = params.iter().filter_map(|(name, param)| {
        let default = param.default.as_ref()?;
        // A whole number may stand for a double.
        let default = fit(name, param, default).unwrap_or_else(|_| default.clone());
        Some((name.clone(), default))
    });
    defaults.collect()
}

/// Returns the type that the check knows a parameter by.
pub(crate) fn type_of(param: &PolicyParam) -> Type {
    match (&param.schema, &param.default) {
        (Some(schema), _) => match schema.type_ {
            ParamType::List => Type::list(scalar_type(schema.items)),
            ParamType::Map => Type::map(Type::Dyn),
            other => scalar_type(other),
        },
        (None, Some(default)) => type_of_value(default),
        (None, None) => Type::Dyn,
    }
}

fn scalar_type(type_: ParamType) -> Type {
    match type_ {
        ParamType::Bool => Type::Bool,
        ParamType::Int => Type::Int,
        ParamType::Double => Type::Double,
        ParamType::String => Type::Text,
        ParamType::List | ParamType::Map | ParamType::Any => Type::Dyn,
    }
}

/// Returns the type of a value in a document.
pub(crate) fn type_of_value(value: &Value) -> Type {
    match value {
        Value::Null => Type::Dyn,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::UInt(_) => Type::Uint,
        Value::Float(_) => Type::Double,
        Value::String(_) => Type::Text,
        Value::List(elements) => Type::list(
            elements
                .iter()
                .map(type_of_value)
                .reduce(Type::join)
                .unwrap_or(Type::Dyn),
        ),
        Value::Map(_) => Type::map(Type::Dyn),
    }
}

/// Returns what is wrong with the declarations themselves.
pub(crate) fn mistakes(
    params: &BTreeMap<String, PolicyParam>,
) -> Vec<(SourceSpan, String, Option<String>)> {
    let mut found = Vec::new();
    for (name, param) in params {
        let Some(schema) = &param.schema else {
            continue;
        };
        let wrong = schema_mistake(schema).map(|why| format!("parameter `{name}`: {why}"));
        if let Some(why) = wrong {
            found.push((param.span.clone(), why, None));
            continue;
        }
        let values = schema
            .values
            .iter()
            .map(|value| ("a value of `enum`", value));
        let default = param.default.iter().map(|value| ("the default", value));
        // Values of `enum` are elements of a list, and it does not limit itself.
        let unlimited = PolicyParam {
            schema: Some(ParamSchema {
                values: Vec::new(),
                type_: subject(schema),
                ..schema.clone()
            }),
            ..param.clone()
        };
        let values = values.map(|(what, value)| (what, fit(name, &unlimited, value)));
        let default = default.map(|(what, value)| (what, fit(name, param, value)));
        for (what, fitted) in values.chain(default) {
            if let Err((why, hint)) = fitted {
                found.push((param.span.clone(), format!("{what}: {why}"), hint));
            }
        }
    }
    found
}

/// Returns the type that the limits are about: of a list, its elements.
fn subject(schema: &ParamSchema) -> ParamType {
    match schema.type_ {
        ParamType::List => schema.items,
        other => other,
    }
}

/// Returns which limits contradict each other, or are about another type.
fn schema_mistake(schema: &ParamSchema) -> Option<String> {
    let subject = subject(schema);
    let is_list = schema.type_ == ParamType::List;
    let number = matches!(subject, ParamType::Int | ParamType::Double);
    let text = subject == ParamType::String;
    let about = |written: bool, allowed: bool, what: &str, of: &str| {
        (written && !allowed).then(|| format!("`{what}` is only for {of}"))
    };
    let limits = [
        about(
            schema.minimum.is_some(),
            number,
            "minimum",
            "int and double",
        ),
        about(
            schema.maximum.is_some(),
            number,
            "maximum",
            "int and double",
        ),
        about(schema.pattern.is_some(), text, "pattern", "string"),
        about(schema.format.is_some(), text, "format", "string"),
        about(schema.items_min.is_some(), is_list, "minItems", "list"),
        about(schema.items_max.is_some(), is_list, "maxItems", "list"),
        about(schema.items != ParamType::Any, is_list, "items", "list"),
    ];
    if let Some(found) = limits.into_iter().flatten().next() {
        return Some(found);
    }
    if let (Some(minimum), Some(maximum)) = (schema.minimum, schema.maximum)
        && minimum > maximum
    {
        return Some(format!(
            "the minimum {minimum} is above the maximum {maximum}"
        ));
    }
    if let (Some(min), Some(max)) = (schema.items_min, schema.items_max)
        && min > max
    {
        return Some(format!("minItems {min} is above maxItems {max}"));
    }
    let pattern = schema.pattern.as_ref()?;
    meter::pattern(pattern).err()
}

/// Returns `given` as a value of the parameter, or what is wrong with it.
pub(crate) fn fit(name: &str, param: &PolicyParam, given: &Value) -> Result<Value, Wrong> {
    let plain = |message: String| (message, None);
    match (&param.schema, &param.default) {
        (Some(schema), _) => fit_schema(name, schema, given),
        (None, None) => Ok(given.clone()),
        (None, Some(default)) => like(default, given).ok_or_else(|| {
            plain(if default.kind() == given.kind() {
                format!("the elements of parameter `{name}` are not like those of its default")
            } else {
                let (wanted, found) = (default.kind(), given.kind());
                format!("parameter `{name}` must be {wanted}, not {found}")
            })
        }),
    }
}

fn fit_schema(name: &str, schema: &ParamSchema, given: &Value) -> Result<Value, Wrong> {
    let wanted = schema.type_;
    if let (ParamType::List, Value::List(elements)) = (wanted, given) {
        let count = elements.len();
        let too_few = schema.items_min.filter(|min| count < *min as usize);
        let too_many = schema.items_max.filter(|max| count > *max as usize);
        if let Some(min) = too_few {
            return Err((
                format!(
                    "parameter `{name}` has {}, at least {} needed",
                    counted(count, "element"),
                    plural(min, "is", "are")
                ),
                None,
            ));
        }
        if let Some(max) = too_many {
            return Err((
                format!(
                    "parameter `{name}` has {}, at most {} allowed",
                    counted(count, "element"),
                    plural(max, "is", "are")
                ),
                None,
            ));
        }
        let what = format!("an element of parameter `{name}`");
        let elements = elements.iter();
        let fitted: Result<Vec<Value>, Wrong> = elements
            .map(|element| fit_scalar(&what, schema, schema.items, element))
            .collect();
        return fitted.map(Value::List);
    }
    fit_scalar(&format!("parameter `{name}`"), schema, wanted, given)
}

fn fit_scalar(
    what: &str,
    schema: &ParamSchema,
    wanted: ParamType,
    given: &Value,
) -> Result<Value, Wrong> {
    let value = match (wanted, given) {
        (ParamType::Any, given)
        | (ParamType::Bool, given @ Value::Bool(_))
        | (ParamType::Int, given @ Value::Int(_))
        | (ParamType::Double, given @ Value::Float(_))
        | (ParamType::String, given @ Value::String(_))
        | (ParamType::Map, given @ Value::Map(_)) => given.clone(),
        (ParamType::Double, Value::Int(number)) => Value::Float(*number as f64),
        (wanted, given) => {
            let message = format!("{what} must be {}, not {}", wanted.as_str(), given.kind());
            return Err((message, described(schema)));
        }
    };
    limit_mistake(schema, &value).map_or(Ok(value), |(why, hint)| {
        Err((format!("{what} {why}"), hint.or_else(|| described(schema))))
    })
}

fn described(schema: &ParamSchema) -> Option<String> {
    schema.description.clone()
}

/// Returns which limit a value of the right type breaks.
fn limit_mistake(schema: &ParamSchema, value: &Value) -> Option<Wrong> {
    let shown = || value::show(value::document(value).as_ref());
    if !schema.values.is_empty() && !schema.values.iter().any(|known| same(known, value)) {
        let known: Vec<String> = schema
            .values
            .iter()
            .map(|known| value::show(value::document(known).as_ref()))
            .collect();
        let close = closest(&shown(), known.iter().map(String::as_str));
        let hint = close.map(|close| format!("did you mean `{close}`?"));
        let message = format!("must be {}, not {}", enumerated(&known, "or"), shown());
        return Some((message, hint));
    }
    let number = match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    };
    if let Some(number) = number {
        if let Some(minimum) = schema.minimum.filter(|minimum| number < *minimum) {
            return Some((format!("must be at least {minimum}, not {}", shown()), None));
        }
        if let Some(maximum) = schema.maximum.filter(|maximum| number > *maximum) {
            return Some((format!("must be at most {maximum}, not {}", shown()), None));
        }
    }
    let text = value.as_str()?;
    if let Some(pattern) = &schema.pattern
        && meter::pattern(pattern).is_ok_and(|regex| !regex.is_match(text))
    {
        return Some((
            format!("must match {pattern}, which {} does not", shown()),
            None,
        ));
    }
    let (why, hint) = format_mistake(schema.format?, text)?;
    Some((
        format!("must be a {}: {why}", schema.format?.as_str()),
        hint,
    ))
}

/// Whether two values are equal, a whole number and a double among them.
fn same(known: &Value, value: &Value) -> bool {
    match (known, value) {
        (Value::Int(known), Value::Float(value)) => {
            (*known as f64).partial_cmp(value) == Some(std::cmp::Ordering::Equal)
        }
        (known, value) => known == value,
    }
}

fn format_mistake(format: ParamFormat, text: &str) -> Option<Wrong> {
    let form = |form: Form| {
        let (why, hint) = form.mistake(text)?;
        Some((why, hint.map(str::to_owned)))
    };
    let unless = |good: bool, example: &str| {
        (!good).then(|| (format!("`{text}` is not such as {example}"), None))
    };
    match format {
        ParamFormat::Timezone => form(Form::Zone),
        ParamFormat::Cron => form(Form::Cron),
        ParamFormat::Regex => form(Form::Pattern),
        ParamFormat::Duration => {
            let good = meter::pattern(DURATION).is_ok_and(|regex| regex.is_match(text));
            unless(good, "90s or 1h30m")
        }
        ParamFormat::Timestamp => {
            let parsed = text.parse::<Timestamp>().is_ok();
            unless(parsed, "2026-01-05T12:00:00Z")
        }
    }
}

/// Returns the parameters of a binding: the policy's defaults under its own values.
pub(crate) fn merged(
    policy: &CompiledPolicy,
    binding: &Binding,
    definitions: &Definitions,
) -> Result<BTreeMap<String, Value>, Vec<PolicyMistake>> {
    let mut params = policy.params.clone();
    let mut mistakes = Vec::new();
    let mistake = |span: &SourceSpan, message: String, hint: Option<String>| PolicyMistake {
        policy: Some(policy.name.clone()),
        binding: Some(binding.name.clone()),
        span: span.clone(),
        message,
        hint,
    };
    for (name, given) in &binding.params {
        let span = binding.param_spans.get(name).unwrap_or(&binding.span);
        let Some(param) = policy.declared.get(name) else {
            let known = policy.declared.keys().map(String::as_str);
            let hint = closest(name, known).map(|close| format!("did you mean `{close}`?"));
            let message = format!("policy {} has no parameter `{name}`", policy.name);
            mistakes.push(mistake(span, message, hint));
            continue;
        };
        let fitted = fit(name, param, given).and_then(|value| form_used(policy, name, value));
        match fitted {
            Ok(value) => {
                params.insert(name.clone(), value);
            }
            Err((why, hint)) => {
                let message = format!("{why}, in policy {}", policy.name);
                mistakes.push(mistake(span, message, hint));
            }
        }
    }
    for (name, why) in unset(policy, &params) {
        let given = binding.params.contains_key(&name);
        if !given {
            mistakes.push(mistake(&binding.policy_span, why.0, why.1));
        }
    }
    mistakes.extend(unknown_names(policy, binding, &params, definitions));
    if mistakes.is_empty() {
        Ok(params)
    } else {
        Err(mistakes)
    }
}

/// Returns a mistake for each parameter that names a metric or a calendar which no document defines.
fn unknown_names(
    policy: &CompiledPolicy,
    binding: &Binding,
    params: &BTreeMap<String, Value>,
    definitions: &Definitions,
) -> Vec<PolicyMistake> {
    let names = policy
        .expressions()
        .flat_map(|expression| &expression.names);
    let named: BTreeSet<(&String, Named)> = names
        .filter_map(|used| match &used.name {
            NameOf::Param(param) => Some((param, used.named)),
            NameOf::Literal(_) => None,
        })
        .collect();
    let mistake = |(param, named): (&String, Named)| {
        let name = params
            .get(param)?
            .as_str()
            .filter(|name| !name.is_empty())?;
        let (message, hint) = named.mistake(name, definitions)?;
        let span = binding
            .param_spans
            .get(param)
            .unwrap_or(&binding.policy_span);
        Some(PolicyMistake {
            policy: Some(policy.name.clone()),
            binding: Some(binding.name.clone()),
            span: span.clone(),
            message: format!("parameter `{param}`: {message}"),
            hint: Some(hint),
        })
    };
    named.into_iter().filter_map(mistake).collect()
}

/// Returns the parameters that have no value, and what to say about each.
pub(crate) fn unset(
    policy: &CompiledPolicy,
    params: &BTreeMap<String, Value>,
) -> Vec<(String, Wrong)> {
    let unset = policy.declared.iter();
    let unset = unset.filter(|(name, _)| !params.contains_key(*name));
    unset
        .map(|(name, param)| {
            let message = format!("policy {} needs parameter `{name}`", policy.name);
            let described = param.schema.as_ref().and_then(described);
            let hint = described.map_or_else(
                || "set it in `params`; it has no default".to_owned(),
                |described| format!("set it in `params`: {described}"),
            );
            (name.clone(), (message, Some(hint)))
        })
        .collect()
}

/// Checks that a text has the forms that the policy's expressions need.
fn form_used(policy: &CompiledPolicy, name: &str, value: Value) -> Result<Value, Wrong> {
    let forms: BTreeSet<Form> = policy
        .expressions()
        .flat_map(|expression| &expression.uses)
        .filter(|used| used.param == name)
        .map(|used| used.form)
        .collect();
    let wrong = value
        .as_str()
        .and_then(|text| forms.iter().find_map(|form| form.mistake(text)));
    match wrong {
        None => Ok(value),
        Some((message, hint)) => Err((message, hint.map(str::to_owned))),
    }
}

/// Returns `given` as a value of the default's type, if it is one. A null default takes anything.
fn like(default: &Value, given: &Value) -> Option<Value> {
    match (default, given) {
        (Value::Null, _)
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Int(_), Value::Int(_))
        | (Value::UInt(_), Value::UInt(_))
        | (Value::Float(_), Value::Float(_))
        | (Value::String(_), Value::String(_))
        | (Value::Map(_), Value::Map(_)) => Some(given.clone()),
        // `1` where the default is `1.5`: the policy computes with doubles.
        (Value::Float(_), Value::Int(number)) => Some(Value::Float(*number as f64)),
        (Value::List(defaults), Value::List(elements)) => {
            let Some(first) = defaults.first() else {
                return Some(given.clone());
            };
            let elements: Option<Vec<Value>> = elements
                .iter()
                .map(|element| like(first, element))
                .collect();
            elements.map(Value::List)
        }
        _ => None,
    }
}
