//! JSON Schema, draft 7, from the same declarations that decode.

use drover_model::Kind;
use serde_json::{Map, Value as Json, json};

use crate::declare::{AGENT, Choice, Field, METADATA, Object, Presence, Preset, Shape};
use crate::decode::HTTP_METHODS;
use crate::document::{API_VERSION, spec_of};
use crate::formats::{
    DURATION_PATTERN, PERCENT_PATTERN, RATE_PATTERN, format_duration, format_rate,
};
use crate::limits;

/// The draft: the newest one that the editors' YAML language server knows.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The form of a name.
const NAME_PATTERN: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

/// Returns the JSON Schema (draft 7) of a kind of document.
pub fn schema(kind: Kind) -> Json {
    let mut spec = object(spec_of(kind));
    if kind == Kind::Provider {
        // The rest belongs to the provider's type.
        spec["additionalProperties"] = json!(true);
    }
    json!({
        "$schema": DRAFT,
        "title": kind.as_str(),
        "description": spec_of(kind).doc,
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": "The version of the format."},
            "kind": {"const": kind.as_str(), "description": "The kind of document."},
            "metadata": object(&METADATA),
            "spec": spec,
        },
    })
}

/// Returns the JSON Schema (draft 7) of the agent's own file.
pub fn agent_schema() -> Json {
    let mut schema = object(&AGENT);
    schema["$schema"] = json!(DRAFT);
    schema["title"] = json!("drover agent");
    schema
}

fn object(object: &Object) -> Json {
    let fields = || {
        let fields = object.fields.iter();
        fields.filter(|field| !matches!(field.shape, Shape::Later))
    };
    let properties: Map<String, Json> = fields()
        .map(|field| (field.name.to_owned(), property(field)))
        .collect();
    let required: Vec<&str> = fields()
        .filter(|field| matches!(field.presence, Presence::Required))
        .map(|field| field.name)
        .collect();
    let mut schema = json!({
        "type": "object",
        "description": object.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    match object.choice {
        Choice::Any => {}
        Choice::One => {
            schema["minProperties"] = json!(1);
            schema["maxProperties"] = json!(1);
        }
        Choice::OneOf(choices) => {
            let required = choices.iter().map(|name| json!({"required": [name]}));
            schema["oneOf"] = required.collect();
        }
    }
    schema
}

fn property(field: &Field) -> Json {
    let mut schema = shape(&field.shape);
    // The field's own sentence says more than that of the object it holds.
    schema["description"] = json!(field.doc);
    if let Presence::Default(preset) = field.presence {
        schema["default"] = default(preset);
    }
    schema
}

fn default(preset: Preset) -> Json {
    use drover_model::Amount;
    match preset {
        Preset::Integer(number) => json!(number),
        Preset::Boolean(flag) => json!(flag),
        Preset::Word(word) => json!(word),
        Preset::Amount(Amount::Count(count)) => json!(count),
        Preset::Amount(share @ Amount::Percent(_)) => json!(share.to_string()),
        Preset::Duration(duration) => json!(format_duration(duration)),
        Preset::Rate(rate) => json!(format_rate(rate)),
    }
}

/// A default that stands by itself: anything but a map that begins like a declaration.
fn plain_default(declaration: &Object) -> Json {
    let types = declaration.field("type").map(|field| shape(&field.shape));
    json!({"not": {
        "type": "object",
        "required": ["type"],
        "properties": {"type": types},
    }})
}

fn shape(shape_: &Shape) -> Json {
    match shape_ {
        Shape::Name => json!({"type": "string", "pattern": NAME_PATTERN}),
        Shape::Text { max } => json!({"type": "string", "minLength": 1, "maxLength": max}),
        Shape::Line { max } => json!({"type": "string", "maxLength": max}),
        Shape::Expression => {
            json!({"type": "string", "minLength": 1, "maxLength": limits::EXPRESSION_BYTES_MAX})
        }
        Shape::HttpPath => json!({"type": "string", "pattern": "^/([^/].*)?$"}),
        Shape::HttpMethod => json!({"enum": HTTP_METHODS}),
        Shape::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Amount { min, max } => json!({"oneOf": [
            {"type": "integer", "minimum": min, "maximum": max},
            {"type": "string", "pattern": PERCENT_PATTERN},
        ]}),
        Shape::Duration { .. } => json!({"type": "string", "pattern": DURATION_PATTERN}),
        Shape::Rate => json!({"type": "string", "pattern": RATE_PATTERN}),
        Shape::Time => json!({"type": "string", "format": "date-time"}),
        Shape::Word(words, _) => json!({"enum": words}),
        Shape::Words(words) => json!({"oneOf": [
            {"enum": words},
            {"type": "array", "items": {"enum": words}, "minItems": 1},
        ]}),
        Shape::Auto(other) => json!({"oneOf": [{"const": "auto"}, shape(other)]}),
        Shape::Object(inner) => object(inner),
        Shape::List { of, min } => json!({
            "type": "array",
            "items": shape(of),
            "minItems": min,
            "maxItems": limits::LIST_LENGTH_MAX,
        }),
        Shape::SecretTextMap => json!({
            "type": "object",
            "additionalProperties": {"anyOf": [{"type": "string"}, secret_reference()]},
        }),
        Shape::TextMap => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Shape::AnyMap => json!({"type": "object"}),
        Shape::Params(declaration) => json!({
            "type": "object",
            "additionalProperties": {"anyOf": [object(declaration), plain_default(declaration)]},
        }),
        Shape::Any => json!({}),
        Shape::Later => json!(false),
    }
}

/// A value that stands somewhere else: see [`drover_model::SecretRef`].
fn secret_reference() -> serde_json::Value {
    let source = |doc: &str| json!({"type": "string", "description": doc});
    json!({
        "type": "object",
        "description": "A secret: read by the agent when an instance is made, and recorded nowhere.",
        "properties": {"valueFrom": {
            "type": "object",
            "properties": {
                "env": source("A variable of the agent's environment that `secrets.env` of its file allows."),
                "file": source("A file that `secrets.files` of the agent's file allows: an absolute path."),
                "age": source("The value, encrypted with `age --armor` for the key of the agent."),
                "sops": {
                    "type": "object",
                    "description": "A value of a file that SOPS encrypted for the key of the agent.",
                    "properties": {
                        "file": source("The file: a path from the configuration's root on."),
                        "key": {
                            "description": "The keys that lead to the value: `db.password`, or a list.",
                            "anyOf": [
                                {"type": "string"},
                                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                            ],
                        },
                    },
                    "required": ["file", "key"],
                    "additionalProperties": false,
                },
            },
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
        }},
        "required": ["valueFrom"],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests;
