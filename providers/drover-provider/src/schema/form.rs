//! The form of a text: what it must look like, in words for people and as the keywords of JSON Schema.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use drover_model::Value;
use regex::{Regex, RegexBuilder};

/// The longest pattern, in bytes: ten times what any provider of this repository has.
const PATTERN_MAX: usize = 1_000;

/// The most memory that a pattern takes, in bytes, for its program and for its cache each: patterns come from plugins.
const COMPILED_MAX: usize = 64 * 1024;

/// What a text looks like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Form {
    /// What it matches.
    pub pattern: Option<Pattern>,
    /// What it does not match.
    pub not: Option<Pattern>,
    /// The fewest characters.
    pub min: usize,
    /// The most characters. None: any number.
    pub max: Option<usize>,
    /// What such a text is, with its article, for messages. Empty: they name the pattern.
    pub what: String,
    /// One such text, for messages. Empty: none.
    pub example: String,
}

impl Form {
    /// Returns the form of texts that match `pattern`: what they are, with one of them.
    ///
    /// # Panics
    ///
    /// The pattern is none that is [understood](Pattern::parse).
    pub fn of(pattern: &str, what: &str, example: &str) -> Self {
        Self {
            pattern: Some(Pattern::of(pattern)),
            what: what.to_owned(),
            example: example.to_owned(),
            ..Self::default()
        }
    }

    /// Returns the form of texts that do not match `pattern`.
    ///
    /// # Panics
    ///
    /// As [`of`](Self::of).
    pub fn but(pattern: &str, what: &str) -> Self {
        Self {
            not: Some(Pattern::of(pattern)),
            what: what.to_owned(),
            ..Self::default()
        }
    }

    /// Returns the form of what a process can be given: arguments, variables and paths end at a NUL character.
    pub fn of_processes() -> Self {
        Self::but("\0", "a text without NUL characters")
    }

    /// Returns the form of the program that a process runs.
    pub fn program() -> Self {
        let form = Self::but(
            "\0",
            "a program's name, not empty and without NUL characters",
        );
        form.within(1, None)
    }

    /// Returns the form of the names of environment variables.
    pub fn variable() -> Self {
        let what = "a variable's name: not empty, without `=` and NUL characters";
        Self::but("[=\0]", what).within(1, None)
    }

    /// Adds how many characters there are.
    #[must_use]
    pub fn within(mut self, min: usize, max: Option<usize>) -> Self {
        self.min = min;
        self.max = max;
        self
    }

    /// Returns whether a text is of this form.
    pub fn fits(&self, text: &str) -> bool {
        let length = text.chars().count();
        let matches = |pattern: &Pattern| pattern.matches(text);
        length >= self.min
            && self.max.is_none_or(|max| length <= max)
            && self.pattern.as_ref().is_none_or(matches)
            && !self.not.as_ref().is_some_and(matches)
    }

    /// Says what is expected.
    pub(super) fn expected(&self) -> String {
        let mut said = if !self.what.is_empty() {
            self.what.clone()
        } else if let Some(pattern) = &self.pattern {
            format!("a text that matches {pattern}")
        } else if let Some(not) = &self.not {
            format!("a text that does not match {not}")
        } else {
            let most = self.max.map(|max| format!(" to {max}"));
            format!(
                "a text of {}{} characters",
                self.min,
                most.as_deref().unwrap_or(" or more")
            )
        };
        if !self.example.is_empty() {
            said.push_str(" such as ");
            said.push_str(&self.example);
        }
        said
    }

    /// Returns the keywords of JSON Schema.
    pub(super) fn to_json_schema(&self) -> BTreeMap<String, Value> {
        let mut schema = BTreeMap::from([("type".to_owned(), Value::from("string"))]);
        let mut add = |name: &str, value: Value| {
            schema.insert(name.to_owned(), value);
        };
        let pattern = |pattern: &Pattern| Value::from(pattern.as_str());
        if let Some(written) = &self.pattern {
            add("pattern", pattern(written));
        }
        if let Some(not) = &self.not {
            let not = BTreeMap::from([("pattern".to_owned(), pattern(not))]);
            add("not", Value::Map(not));
        }
        if self.min > 0 {
            add("minLength", Value::Int(self.min as i64));
        }
        if let Some(max) = self.max {
            add("maxLength", Value::Int(max as i64));
        }
        if !self.what.is_empty() {
            add("title", self.what.as_str().into());
        }
        if !self.example.is_empty() {
            add("examples", Value::List(vec![self.example.as_str().into()]));
        }
        schema
    }
}

/// A regular expression, in the part of the language that JSON Schema and the matcher here read alike.
#[derive(Clone)]
pub struct Pattern {
    written: String,
    compiled: Regex,
}

impl Pattern {
    /// Reads a pattern. Matching takes time in proportion to the text, whatever the pattern is.
    ///
    /// # Errors
    ///
    /// Why it is not understood.
    pub fn parse(written: &str) -> Result<Self, String> {
        if written.len() > PATTERN_MAX {
            return Err(format!("more than {PATTERN_MAX} bytes"));
        }
        let compiled = RegexBuilder::new(&translated(written)?)
            .size_limit(COMPILED_MAX)
            .dfa_size_limit(COMPILED_MAX)
            .nest_limit(32)
            .build();
        let compiled = compiled.map_err(|_| "no such expression, or too large a one".to_owned())?;
        Ok(Self {
            written: written.to_owned(),
            compiled,
        })
    }

    fn of(written: &str) -> Self {
        Self::parse(written).expect("the patterns of this program are understood, as tests see")
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Returns whether it is found in a text.
    pub fn matches(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.written)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.written)
    }
}

/// Returns an expression of JavaScript's, which JSON Schema has, as the matcher here reads it. What the two read
/// differently is refused: a class of Unicode, a flag, a look around, a reference back.
fn translated(written: &str) -> Result<String, String> {
    let mut out = String::with_capacity(written.len());
    let mut rest = written.chars().peekable();
    let mut in_class = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' => escape(&mut rest, in_class, &mut out)?,
            '[' if in_class => out.push_str("\\["),
            '[' => {
                in_class = true;
                out.push(c);
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if rest.peek() == Some(&']') {
                    return Err("an empty class".to_owned());
                }
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            // Two of them mean an intersection or a difference of classes here.
            '&' | '~' if in_class => out.extend(['\\', c]),
            '-' if in_class && rest.peek() == Some(&'-') => {
                return Err("`--` in a class".to_owned());
            }
            '(' if !in_class && rest.peek() == Some(&'?') => {
                rest.next();
                if rest.next() != Some(':') {
                    return Err("`(?` of anything but `(?:`".to_owned());
                }
                out.push_str("(?:");
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn escape(rest: &mut Peekable<Chars<'_>>, in_class: bool, out: &mut String) -> Result<(), String> {
    let class = match rest.next() {
        Some('d') => "0-9",
        Some('w') => "A-Za-z0-9_",
        Some(c) if c.is_ascii_punctuation() || "tnr".contains(c) => {
            out.extend(['\\', c]);
            return Ok(());
        }
        Some(c) => return Err(format!("`\\{c}`")),
        None => return Err("a `\\` at its end".to_owned()),
    };
    if in_class {
        out.push_str(class);
    } else {
        out.extend(["[", class, "]"]);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
