//! The reference of the language, from the same tables that the checker and the evaluation use.

use std::collections::BTreeSet;

use drover_model::DecisionPoint;

use crate::functions;
use crate::types::{Shape, Type};
use crate::variables::VARIABLES;

#[cfg(test)]
mod tests;

/// Everything that a policy's expressions may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The variables in the order in which they are explained.
    pub variables: Vec<VariableReference>,
    /// The functions, in order: `size`, `string.contains`, `math.abs`.
    pub functions: Vec<String>,
    /// The loops and other macros, as they are written.
    pub macros: Vec<&'static str>,
}

/// One variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableReference {
    /// The name.
    pub name: &'static str,
    /// The type, such as `list(instance)`.
    pub type_: String,
    /// The decision points that have it.
    pub points: Vec<DecisionPoint>,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// Its fields, and theirs, by path: `rollout.maxSurge` of `spec`.
    pub fields: Vec<FieldReference>,
}

/// One field of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldReference {
    /// The path below the variable; `[]` is an element of a list, `[name]` of a map.
    pub path: String,
    /// The type.
    pub type_: String,
    /// The words that it may have, where they are fixed.
    pub words: Vec<&'static str>,
    /// What it is, in a sentence.
    pub about: &'static str,
}

/// Returns the reference of the language.
pub fn reference() -> Reference {
    let variables = VARIABLES
        .iter()
        .map(|variable| {
            let type_ = (variable.type_)();
            let mut fields = Vec::new();
            collect(&type_, "", &mut fields);
            VariableReference {
                name: variable.name,
                type_: type_.to_string(),
                points: DecisionPoint::ALL
                    .into_iter()
                    .filter(|point| variable.available_in(*point))
                    .collect(),
                about: variable.about,
                fields,
            }
        })
        .collect();
    let functions: BTreeSet<String> = functions::signatures()
        .filter(|signature| !signature.name.starts_with('@'))
        .map(|signature| {
            let name = functions::written_name(signature.name);
            let receiver = signature.arguments.first().filter(|_| signature.member);
            match receiver {
                Some(set) => format!("{}.{name}", crate::types::mask::names(*set)),
                None => name.to_owned(),
            }
        })
        .collect();
    Reference {
        variables,
        functions: functions.into_iter().collect(),
        macros: functions::MACROS.iter().map(|(_, usage)| *usage).collect(),
    }
}

fn collect(type_: &Type, path: &str, fields: &mut Vec<FieldReference>) {
    match type_.present() {
        Type::Record(shape) => collect_shape(shape, path, fields),
        Type::List(element) => collect(element, &format!("{path}[]"), fields),
        Type::Map(value) => collect(value, &format!("{path}[name]"), fields),
        _ => {}
    }
}

fn collect_shape(shape: &Shape, path: &str, fields: &mut Vec<FieldReference>) {
    for field in shape.fields {
        let type_ = (field.type_)();
        let path = if path.is_empty() {
            field.name.to_owned()
        } else {
            format!("{path}.{}", field.name)
        };
        fields.push(FieldReference {
            path: path.clone(),
            type_: type_.to_string(),
            words: match type_.present() {
                Type::Word(words) => (words.all)(),
                _ => Vec::new(),
            },
            about: field.about,
        });
        collect(&type_, &path, fields);
    }
}
