//! The declarations of every document's fields.
//!
//! One table per object says each field's name, meaning, form, bounds and default. The decoder, the
//! detection of unknown fields, and the JSON Schema all follow from it, so they cannot disagree.

use std::time::Duration;

use drover_model::{Amount, Rate};

mod admission;
mod adopt;
mod agent;
mod facts;
mod group;
mod operation;
mod others;
mod quorum;
mod rollout;

pub(crate) use admission::*;
pub(crate) use adopt::*;
pub(crate) use agent::*;
pub(crate) use facts::*;
pub(crate) use group::*;
pub(crate) use operation::*;
pub(crate) use others::*;
pub(crate) use quorum::*;

/// The fields of one object.
#[derive(Debug)]
pub(crate) struct Object {
    /// What it is called in messages, such as `a health check`.
    pub(crate) name: &'static str,
    /// One sentence for editors and the reference page.
    pub(crate) doc: &'static str,
    /// How many of the fields are written.
    pub(crate) choice: Choice,
    pub(crate) fields: &'static [Field],
}

/// How many of an object's fields are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Any of them.
    Any,
    /// Exactly one: the object is a choice.
    One,
    /// Exactly one of these, and any of the others.
    OneOf(&'static [&'static str]),
}

/// One field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// One sentence for editors and the reference page. For [`Shape::Later`], what it is about.
    pub(crate) doc: &'static str,
    pub(crate) shape: Shape,
    pub(crate) presence: Presence,
}

/// Whether a field must be written, and what holds when it is not.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Presence {
    Required,
    Optional,
    Default(Preset),
}

/// A default.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Preset {
    Integer(u32),
    Boolean(bool),
    Word(&'static str),
    Amount(Amount),
    Duration(Duration),
    Rate(Rate),
}

/// What a value may be.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A DNS label.
    Name,
    /// A text of one to so many characters.
    Text { max: usize },
    /// A text of at most so many characters, which may be none.
    Line { max: usize },
    /// A CEL expression.
    Expression,
    /// A path of an HTTP request.
    HttpPath,
    /// An HTTP method.
    HttpMethod,
    /// A whole number, bounds inclusive.
    Integer { min: u32, max: u32 },
    /// True or false.
    Boolean,
    /// A whole number or a share, bounds of the number inclusive, a share at least as large.
    Amount { min: u32, max: u32 },
    /// A duration, bounds inclusive.
    Duration { min: Duration, max: Duration },
    /// So many instances within so much time, such as `10%/1m`.
    Rate,
    /// A time in UTC.
    Time,
    /// One of these words; those of the second list are not supported yet.
    Word(&'static [&'static str], &'static [&'static str]),
    /// One of these words, or a list of them.
    Words(&'static [&'static str]),
    /// `auto`, or something else.
    Auto(&'static Shape),
    /// An object with declared fields.
    Object(&'static Object),
    /// A list of at least so many entries.
    List { of: &'static Shape, min: usize },
    /// A map from any key to a text; what keys and values may be is in the doc.
    TextMap,
    /// The same, and values may be references to secrets.
    SecretTextMap,
    /// A map of anything.
    AnyMap,
    /// A map from names to a default, or to a declaration of a parameter.
    Params(&'static Object),
    /// Anything.
    Any,
    /// A field of the format that this version does not honour yet.
    Later,
}

const fn field(name: &'static str, shape: Shape, presence: Presence, doc: &'static str) -> Field {
    Field {
        name,
        doc,
        shape,
        presence,
    }
}

const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    field(name, shape, Presence::Required, doc)
}

const fn optional(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    field(name, shape, Presence::Optional, doc)
}

const fn preset(name: &'static str, shape: Shape, preset: Preset, doc: &'static str) -> Field {
    field(name, shape, Presence::Default(preset), doc)
}

/// Declares a field of the format that this version does not honour yet.
const fn later(name: &'static str, about: &'static str) -> Field {
    field(name, Shape::Later, Presence::Optional, about)
}

const fn any(name: &'static str, doc: &'static str, fields: &'static [Field]) -> Object {
    Object {
        name,
        doc,
        choice: Choice::Any,
        fields,
    }
}

const fn one(name: &'static str, doc: &'static str, fields: &'static [Field]) -> Object {
    Object {
        name,
        doc,
        choice: Choice::One,
        fields,
    }
}

const fn one_of(
    name: &'static str,
    doc: &'static str,
    choices: &'static [&'static str],
    fields: &'static [Field],
) -> Object {
    Object {
        name,
        doc,
        choice: Choice::OneOf(choices),
        fields,
    }
}

/// A TCP port.
const PORT: Shape = Shape::Integer {
    min: 1,
    max: u16::MAX as u32,
};

/// Builds a duration shape from milliseconds and hours, the units in which the bounds are round.
const fn duration(min_millis: u64, max_hours: u64) -> Shape {
    Shape::Duration {
        min: Duration::from_millis(min_millis),
        max: Duration::from_hours(max_hours),
    }
}

impl Object {
    /// Returns the declaration of `name`.
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}
