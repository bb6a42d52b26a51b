//! Decodes trees into values by the declared tables, collecting every mistake.
//!
//! A field that is missing or wrong is reported once and then stands in with its default, so that
//! decoding goes on and finds the other mistakes. Whether the result may be used is decided at the
//! end, by whether anything was reported.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use drover_model::{Amount, Rate, SourceSpan, Timestamp};

use crate::declare::{Choice, Field, Object, Presence, Preset, Shape};
use crate::diagnostic::{Diagnostic, Report};
use crate::formats::{format_duration, parse_duration, parse_percent, parse_rate, parse_time};
use crate::tree::{Content, Entry, Node, Place, Resolved, Style, resolve};

mod admission;
mod adopt;
mod binding;
pub(crate) mod check;
mod collections;
mod facts;
mod flavor;
mod group;
mod health;
mod metadata;
mod policy;
mod quorum;
mod suggest;

pub(crate) use binding::{decode_binding, decode_fleet, decode_provider};
pub(crate) use check::HTTP_METHODS;
pub(crate) use facts::{decode_calendar, decode_metric_source};
pub(crate) use flavor::flavors_of;
pub(crate) use group::{decode_group, spans_of};
pub(crate) use metadata::Metadata;
pub(crate) use policy::decode_policy;
pub use suggest::closest;

/// Says that a field probably belongs below the empty map that it stands beside.
pub(crate) fn outdented(above: &str) -> String {
    format!("it stands beside `{above}`, which is empty: indent it to put it below")
}

/// The fields of one written object, read by its declaration.
pub(crate) struct Fields<'a> {
    pub(crate) report: &'a Report,
    pub(crate) object: &'static Object,
    /// Where the object is called for: a place to say that something is missing from it.
    pub(crate) place: Place,
    entries: &'a [Entry],
    #[cfg(test)]
    read: std::cell::RefCell<BTreeSet<&'static str>>,
}

/// What to do with fields that the declaration does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// They are mistakes.
    Refuse,
    /// They belong to somebody else.
    Leave,
}

impl<'a> Fields<'a> {
    /// Opens `node` as `object`, reporting unknown, unsupported and missing fields.
    pub(crate) fn open(
        report: &'a Report,
        node: &'a Node,
        place: Place,
        object: &'static Object,
        others: Others,
    ) -> Self {
        let entries = match &node.content {
            Content::Map(entries, _) => entries.as_slice(),
            Content::Scalar(_) | Content::List(..) => {
                let message = format!("{} must be a map, found {}", object.name, node.kind());
                report.error("wrong-type", node.place, message);
                &[]
            }
        };
        let fields = Self {
            report,
            object,
            place,
            entries,
            #[cfg(test)]
            read: std::cell::RefCell::default(),
        };
        if node.entries().is_some() {
            fields.check_names(others);
        }
        fields
    }

    /// Opens an object that is not written, so that every field has its default.
    pub(crate) fn absent(report: &'a Report, place: Place, object: &'static Object) -> Self {
        Self {
            report,
            object,
            place,
            entries: &[],
            #[cfg(test)]
            read: std::cell::RefCell::default(),
        }
    }

    fn check_names(&self, others: Others) {
        let mut written = 0;
        for entry in self.entries {
            match self.object.field(&entry.key) {
                Some(Field {
                    shape: Shape::Later,
                    doc,
                    ..
                }) => {
                    written += 1;
                    let message = format!("`{}` is not supported yet", entry.key);
                    self.report.push(
                        Diagnostic::error(
                            "not-supported",
                            message,
                            self.report.span(entry.key_place),
                        )
                        .label((*doc).to_owned()),
                    );
                }
                Some(_) => written += 1,
                None if others == Others::Leave => {}
                None => self.unknown(entry),
            }
        }
        let choices = match self.object.choice {
            Choice::Any => return self.check_required(),
            Choice::One => self.names(),
            Choice::OneOf(choices) => {
                self.check_required();
                written = choices.iter().filter(|name| self.has(name)).count();
                listed(choices.iter().copied())
            }
        };
        if written != 1 {
            let message = format!("{} has exactly one of {choices}", self.object.name);
            let label = if written == 0 {
                "none of them here"
            } else {
                "several of them here"
            };
            let span = self.report.span(self.place);
            self.report
                .push(Diagnostic::error("wrong-choice", message, span).label(label));
        }
    }

    fn check_required(&self) {
        for field in self.object.fields {
            let missing = matches!(field.presence, Presence::Required)
                && !self.entries.iter().any(|entry| entry.key == field.name);
            if missing {
                let message = format!("`{}` is missing from {}", field.name, self.object.name);
                self.report.push(
                    Diagnostic::error("missing-field", message, self.report.span(self.place))
                        .hint(as_hint(field.doc)),
                );
            }
        }
    }

    fn unknown(&self, entry: &Entry) {
        let message = format!("unknown field `{}`", entry.key);
        let diagnostic =
            Diagnostic::error("unknown-field", message, self.report.span(entry.key_place))
                .label(format!("{} has no such field", self.object.name));
        if let Some(above) = self.empty_above(entry) {
            return self.report.push(diagnostic.hint(outdented(&above.key)));
        }
        let known = self.object.fields.iter().map(|field| field.name);
        self.report.push(match closest(&entry.key, known) {
            Some(name) => diagnostic.hint(format!("did you mean `{name}`?")),
            None => diagnostic.hint(format!("the fields are {}", self.names())),
        });
    }

    /// Returns the empty map that a field of this name stands beside, and belongs below.
    fn empty_above(&self, entry: &Entry) -> Option<&'a Entry> {
        self.entries.iter().find(|above| {
            let has_field = match self.object.field(&above.key).map(|field| &field.shape) {
                Some(Shape::Object(object)) => object.field(&entry.key).is_some(),
                Some(_) | None => false,
            };
            let scalar = above.value.scalar();
            has_field && scalar.is_some_and(|it| it.resolved == Resolved::Null)
        })
    }

    fn names(&self) -> String {
        let names = self.object.fields.iter();
        let names = names.filter(|field| !matches!(field.shape, Shape::Later));
        listed(names.map(|field| field.name))
    }

    /// Returns whether the field is written, whatever its value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == name)
    }

    /// Returns the written fields that the declaration does not have.
    pub(crate) fn others(&self) -> impl Iterator<Item = &'a Entry> {
        let object = self.object;
        self.entries
            .iter()
            .filter(move |entry| object.field(&entry.key).is_none())
    }

    /// Returns the declaration of `name` and the entry, if it is written.
    pub(crate) fn get(&self, name: &'static str) -> (&'static Field, Option<&'a Entry>) {
        let field = self
            .object
            .field(name)
            .expect("the decoder reads declared fields only");
        #[cfg(test)]
        self.read.borrow_mut().insert(name);
        (field, self.entries.iter().find(|entry| entry.key == name))
    }

    /// Returns the span of a field's value, or of the object where it is not written.
    pub(crate) fn span_of(&self, name: &'static str) -> SourceSpan {
        let entry = self.entries.iter().find(|entry| entry.key == name);
        self.report
            .span(entry.map_or(self.place, |entry| entry.value.place))
    }

    /// Reports that a value is not what its field asks for.
    pub(crate) fn wrong(&self, entry: &Entry, expected: &str) {
        let message = format!(
            "`{}` must be {expected}, found {}",
            entry.key,
            entry.value.kind()
        );
        let diagnostic =
            Diagnostic::error("wrong-type", message, self.report.span(entry.value.place));
        let scalar = entry.value.scalar();
        self.report.push(match scalar {
            Some(scalar) if scalar.resolved == Resolved::Null => {
                diagnostic.hint("write a value or remove the key")
            }
            Some(scalar)
                if scalar.style == Style::Quoted
                    && resolve(&scalar.text).is_ok_and(|meant| meant != Resolved::Text) =>
            {
                diagnostic.hint("remove the quotes")
            }
            Some(scalar) if expected.starts_with("a string") => {
                diagnostic.hint(format!("put it in quotes: \"{}\"", scalar.text))
            }
            Some(_) | None => diagnostic,
        });
    }

    /// Reports that a value of the right type is not acceptable.
    pub(crate) fn bad(&self, entry: &Entry, why: impl Display) {
        let message = format!("`{}` {why}", entry.key);
        self.report.error("bad-value", entry.value.place, message);
    }

    /// Reads a field as text.
    fn string(&self, name: &'static str) -> Option<(&'a Entry, &'a str)> {
        let (_, entry) = self.get(name);
        let entry = entry?;
        let text = entry.value.text();
        if text.is_none() {
            self.wrong(entry, "a string");
        }
        Some((entry, text?))
    }

    /// Reads a name or another id.
    pub(crate) fn id<T>(&self, name: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let (entry, text) = self.string(name)?;
        match text.parse() {
            Ok(id) => Some(id),
            Err(error) => {
                self.bad(entry, format!("{error}"));
                None
            }
        }
    }

    /// Reads a text within its length; the declared default where it is not written.
    pub(crate) fn text(&self, name: &'static str) -> Option<String> {
        let (field, entry) = self.get(name);
        if entry.is_none() {
            return match field.presence {
                Presence::Default(Preset::Word(word)) => Some(word.to_owned()),
                Presence::Required | Presence::Optional | Presence::Default(_) => None,
            };
        }
        let (entry, text) = self.string(name)?;
        match check::scalar_text(&field.shape, text) {
            Ok(()) => Some(text.to_owned()),
            Err(why) => {
                self.bad(entry, why);
                None
            }
        }
    }

    /// Reads one of the declared words; the default where it is not written or wrong.
    pub(crate) fn word(&self, name: &'static str) -> &'static str {
        let (field, entry) = self.get(name);
        let Shape::Word(words, later) = &field.shape else {
            unreachable!("`{name}` is declared as a word");
        };
        let preset = match field.presence {
            Presence::Default(Preset::Word(word)) => word,
            Presence::Required | Presence::Optional | Presence::Default(_) => words[0],
        };
        let Some(entry) = entry else {
            return preset;
        };
        check::word(self.report, &entry.key, &entry.value, words, later).unwrap_or(preset)
    }

    /// Reads a whole number within its bounds; the default where it is not written or wrong.
    pub(crate) fn integer(&self, name: &'static str) -> u32 {
        let (field, entry) = self.get(name);
        let preset = match field.presence {
            Presence::Default(Preset::Integer(number)) => number,
            Presence::Required | Presence::Optional | Presence::Default(_) => 0,
        };
        entry.map_or(preset, |entry| {
            self.integer_of(&field.shape, entry).unwrap_or(preset)
        })
    }

    fn integer_of(&self, shape: &Shape, entry: &Entry) -> Option<u32> {
        let Shape::Integer { min, max } = shape else {
            unreachable!("`{}` is declared as an integer", entry.key);
        };
        let expected = format!("a whole number from {min} to {max}");
        match entry.value.scalar().map(|scalar| scalar.resolved) {
            Some(Resolved::Int(number)) => match u32::try_from(number) {
                Ok(number) if (min..=max).contains(&&number) => Some(number),
                _ => {
                    self.bad(entry, format!("must be {expected}"));
                    None
                }
            },
            Some(Resolved::UInt(_)) => {
                self.bad(entry, format!("must be {expected}"));
                None
            }
            _ => {
                self.wrong(entry, &expected);
                None
            }
        }
    }

    /// Reads a port. Zero stands in for a wrong one.
    pub(crate) fn port(&self, name: &'static str) -> u16 {
        u16::try_from(self.integer(name)).unwrap_or(0)
    }

    /// Reads true or false; the default where it is not written or wrong.
    pub(crate) fn boolean(&self, name: &'static str) -> bool {
        let (field, entry) = self.get(name);
        let preset = matches!(field.presence, Presence::Default(Preset::Boolean(true)));
        let Some(entry) = entry else { return preset };
        if let Some(Resolved::Bool(value)) = entry.value.scalar().map(|scalar| scalar.resolved) {
            return value;
        }
        self.wrong(entry, "true or false");
        preset
    }

    /// Reads an amount; the default where it is not written or wrong.
    pub(crate) fn amount(&self, name: &'static str) -> Amount {
        let (field, entry) = self.get(name);
        let preset = match field.presence {
            Presence::Default(Preset::Amount(amount)) => amount,
            Presence::Required | Presence::Optional | Presence::Default(_) => Amount::Count(0),
        };
        entry.map_or(preset, |entry| {
            self.amount_of(&field.shape, entry).unwrap_or(preset)
        })
    }

    fn amount_of(&self, shape: &Shape, entry: &Entry) -> Option<Amount> {
        let Shape::Amount { min, max } = *shape else {
            unreachable!("`{}` is declared as an amount", entry.key);
        };
        let Some(scalar) = entry.value.scalar() else {
            self.wrong(entry, "a whole number or a share such as \"10%\"");
            return None;
        };
        let amount = match scalar.resolved {
            Resolved::Int(number) => match u32::try_from(number) {
                Ok(number) if (min..=max).contains(&number) => Some(Amount::Count(number)),
                _ => None,
            },
            Resolved::Text => parse_percent(&scalar.text)
                .ok()
                .filter(|amount| matches!(amount, Amount::Percent(share) if *share >= min)),
            Resolved::Null | Resolved::Bool(_) | Resolved::UInt(_) | Resolved::Float(_) => None,
        };
        if amount.is_none() {
            let expected = format!(
                "must be a whole number from {min} to {max}, or a share from \"{min}%\" to \"100%\""
            );
            self.bad(entry, expected);
        }
        amount
    }

    /// Reads a duration within its bounds; the default where it is not written or wrong.
    pub(crate) fn duration(&self, name: &'static str) -> Duration {
        let (field, entry) = self.get(name);
        let preset = match field.presence {
            Presence::Default(Preset::Duration(duration)) => duration,
            Presence::Required | Presence::Optional | Presence::Default(_) => Duration::ZERO,
        };
        entry.map_or(preset, |entry| {
            self.duration_of(&field.shape, entry).unwrap_or(preset)
        })
    }

    /// Reads a rate; the default where it is not written or wrong.
    ///
    /// # Panics
    ///
    /// Where the field is declared without a default.
    pub(crate) fn rate(&self, name: &'static str) -> Rate {
        let (field, entry) = self.get(name);
        let Presence::Default(Preset::Rate(preset)) = field.presence else {
            unreachable!("`{name}` is declared with a default rate");
        };
        let Some(entry) = entry else { return preset };
        let Some(text) = entry.value.text() else {
            self.wrong(entry, "a rate such as \"4/1m\" or \"10%/1m\"");
            return preset;
        };
        parse_rate(text).unwrap_or_else(|error| {
            self.bad(entry, error);
            preset
        })
    }

    fn duration_of(&self, shape: &Shape, entry: &Entry) -> Option<Duration> {
        let Shape::Duration { min, max } = *shape else {
            unreachable!("`{}` is declared as a duration", entry.key);
        };
        let Some(text) = entry.value.text() else {
            self.wrong(entry, "a duration such as 90s, 10m or 1h30m");
            return None;
        };
        match parse_duration(text) {
            Ok(duration) if (min..=max).contains(&duration) => Some(duration),
            Ok(_) => {
                let (min, max) = (format_duration(min), format_duration(max));
                self.bad(entry, format!("must be from {min} to {max}"));
                None
            }
            Err(error) => {
                self.bad(entry, error);
                None
            }
        }
    }

    /// Returns the entry of an `auto` field and the form of its other values, unless it is not
    /// written or says `auto`.
    fn unless_auto(&self, name: &'static str) -> Option<(&'static Shape, &'a Entry)> {
        let (field, entry) = self.get(name);
        let Shape::Auto(shape) = &field.shape else {
            unreachable!("`{name}` is declared as auto");
        };
        let entry = entry?;
        (entry.value.text() != Some("auto")).then_some((*shape, entry))
    }

    /// Reads `auto` (None) or a whole number.
    pub(crate) fn auto_integer(&self, name: &'static str) -> Option<u32> {
        let (shape, entry) = self.unless_auto(name)?;
        self.integer_of(shape, entry)
    }

    /// Reads `auto` (None) or a duration.
    pub(crate) fn auto_duration(&self, name: &'static str) -> Option<Duration> {
        let (shape, entry) = self.unless_auto(name)?;
        self.duration_of(shape, entry)
    }

    /// Reads `auto` (None) or an amount.
    pub(crate) fn auto_amount(&self, name: &'static str) -> Option<Amount> {
        let (shape, entry) = self.unless_auto(name)?;
        self.amount_of(shape, entry)
    }

    /// Reads a time.
    pub(crate) fn time(&self, name: &'static str) -> Option<Timestamp> {
        let (entry, text) = self.string(name)?;
        match parse_time(text) {
            Ok(time) => Some(time),
            Err(error) => {
                self.bad(entry, error);
                None
            }
        }
    }

    /// Reads one of the declared words, or a list of them.
    pub(crate) fn words(&self, name: &'static str) -> BTreeSet<&'static str> {
        let (field, entry) = self.get(name);
        let Shape::Words(words) = &field.shape else {
            unreachable!("`{name}` is declared as words");
        };
        let Some(entry) = entry else {
            return BTreeSet::new();
        };
        let Content::List(items, _) = &entry.value.content else {
            let word = check::word(self.report, &entry.key, &entry.value, words, &[]);
            return word.into_iter().collect();
        };
        if items.is_empty() {
            self.bad(entry, "must name at least one");
        }
        items
            .iter()
            .filter_map(|item| check::word(self.report, &entry.key, item, words, &[]))
            .collect()
    }

    /// Opens a nested object. One that is not written has every default.
    pub(crate) fn object(&self, name: &'static str) -> Fields<'a> {
        let (field, entry) = self.get(name);
        let Shape::Object(object) = field.shape else {
            unreachable!("`{name}` is declared as an object");
        };
        match entry {
            Some(entry) => Fields::open(
                self.report,
                &entry.value,
                entry.key_place,
                object,
                Others::Refuse,
            ),
            None => Fields::absent(self.report, self.place, object),
        }
    }

    /// Opens a nested object if it is written.
    pub(crate) fn optional_object(&self, name: &'static str) -> Option<Fields<'a>> {
        self.get(name).1?;
        Some(self.object(name))
    }
}

/// Turns the sentence of a declaration into a hint.
fn as_hint(doc: &str) -> String {
    let doc = doc.strip_suffix('.').unwrap_or(doc);
    let mut characters = doc.chars();
    let first = characters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// A decoder that forgets a declared field would silently ignore it: the tests notice.
#[cfg(test)]
impl Drop for Fields<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let read = self.read.borrow();
        let declared = self.object.fields.iter();
        let forgotten: Vec<_> = declared
            .filter(|field| !matches!(field.shape, Shape::Later) && !read.contains(field.name))
            .map(|field| field.name)
            .collect();
        assert!(
            forgotten.is_empty(),
            "the decoder of {} never reads {forgotten:?}",
            self.object.name
        );
    }
}

#[cfg(test)]
mod tests;
