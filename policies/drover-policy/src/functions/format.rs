//! Named formats, as Kubernetes has them: `format.dns1123Label().validate(text)`.

use std::fmt;

use cel::common::types::{CelList, CelOptional, CelString, DYN_TYPE, STRING_TYPE, Type as CelType};
use cel::{DeclarationError, Env};
use jiff::Timestamp;
use jiff::civil::Date;

use super::opaque::{Opaque, argument, held, type_of};
use super::url::Url;
use super::{Arguments, Outcome, no_overload, owned};
use crate::meter;
use crate::value;

pub(crate) const VALIDATE: &str = "@validate";

static FORMAT_TYPE: CelType = type_of("kubernetes.NamedFormat");

/// A format that a text may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A DNS label.
    Dns1123Label,
    /// What a name that is made from it may begin with.
    Dns1123LabelPrefix,
    /// DNS labels, joined by dots.
    Dns1123Subdomain,
    /// See [`Format::Dns1123LabelPrefix`].
    Dns1123SubdomainPrefix,
    /// A DNS label that begins with a letter.
    Dns1035Label,
    /// See [`Format::Dns1123LabelPrefix`].
    Dns1035LabelPrefix,
    /// A name, maybe with a DNS subdomain and a slash in front.
    QualifiedName,
    /// The value of a label.
    LabelValue,
    /// An absolute URL or a path.
    Uri,
    /// A UUID, with or without dashes.
    Uuid,
    /// Base64.
    Byte,
    /// A day.
    Date,
    /// A time with its offset.
    Datetime,
}

impl Opaque for Format {
    const TYPE: &'static CelType = &FORMAT_TYPE;
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const LABEL: &str = "lower case letters, digits and '-', a letter or digit at both ends";
const NAME: &str = "letters, digits, '-', '_' and '.', a letter or digit at both ends";

impl Format {
    const ALL: [Self; 13] = [
        Self::Dns1123Label,
        Self::Dns1123LabelPrefix,
        Self::Dns1123Subdomain,
        Self::Dns1123SubdomainPrefix,
        Self::Dns1035Label,
        Self::Dns1035LabelPrefix,
        Self::QualifiedName,
        Self::LabelValue,
        Self::Uri,
        Self::Uuid,
        Self::Byte,
        Self::Date,
        Self::Datetime,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Dns1123Label => "dns1123Label",
            Self::Dns1123LabelPrefix => "dns1123LabelPrefix",
            Self::Dns1123Subdomain => "dns1123Subdomain",
            Self::Dns1123SubdomainPrefix => "dns1123SubdomainPrefix",
            Self::Dns1035Label => "dns1035Label",
            Self::Dns1035LabelPrefix => "dns1035LabelPrefix",
            Self::QualifiedName => "qualifiedName",
            Self::LabelValue => "labelValue",
            Self::Uri => "uri",
            Self::Uuid => "uuid",
            Self::Byte => "byte",
            Self::Date => "date",
            Self::Datetime => "datetime",
        }
    }

    /// Returns everything that is wrong with a text.
    fn mistakes(self, text: &str) -> Vec<String> {
        match self {
            Self::Dns1123Label => sized(text, 63, is_label(text), LABEL),
            Self::Dns1123LabelPrefix => Self::Dns1123Label.mistakes(&completed(text)),
            Self::Dns1123Subdomain => {
                let good = text.split('.').all(is_label);
                let wanted = format!("{LABEL}, such parts joined by '.'");
                sized(text, 253, good, &wanted)
            }
            Self::Dns1123SubdomainPrefix => Self::Dns1123Subdomain.mistakes(&completed(text)),
            Self::Dns1035Label => {
                let good = is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase());
                sized(text, 63, good, &format!("{LABEL}, a letter in front"))
            }
            Self::Dns1035LabelPrefix => Self::Dns1035Label.mistakes(&completed(text)),
            Self::QualifiedName => qualified(text),
            Self::LabelValue => sized(text, 63, text.is_empty() || is_name(text), NAME),
            Self::Uri => told(
                Url::parse(text).is_some(),
                "must be an absolute URL or a path",
            ),
            Self::Uuid => told(
                is_uuid(text),
                "must be 32 hexadecimal digits, in groups of 8, 4, 4, 4 and 12",
            ),
            Self::Byte => told(is_base64(text), "must be base64"),
            Self::Date => {
                let good = text.len() == 10 && text.parse::<Date>().is_ok();
                told(good, "must be a day such as 2026-01-05")
            }
            Self::Datetime => {
                let separated = text
                    .as_bytes()
                    .get(10)
                    .is_some_and(|c| matches!(c, b'T' | b't'));
                let good = separated && text.parse::<Timestamp>().is_ok();
                told(good, "must be a time such as 2026-01-05T12:00:00Z")
            }
        }
    }
}

fn told(good: bool, wanted: &str) -> Vec<String> {
    if good {
        Vec::new()
    } else {
        vec![wanted.to_owned()]
    }
}

fn sized(text: &str, max: usize, good: bool, wanted: &str) -> Vec<String> {
    let mut mistakes = told(good, &format!("must be {wanted}"));
    mistakes.extend(told(
        text.len() <= max,
        &format!("must have at most {max} characters"),
    ));
    mistakes
}

/// What is appended to a prefix makes a dash at its end one in the middle: as in Kubernetes, the dash
/// and what is in front of it stand for a letter.
fn completed(prefix: &str) -> String {
    let mut rest = prefix.strip_suffix('-').unwrap_or_default().chars();
    match rest.next_back() {
        Some(_) => format!("{}a", rest.as_str()),
        None => prefix.to_owned(),
    }
}

fn is_label(text: &str) -> bool {
    let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(end) && text.ends_with(end) && text.chars().all(|c| end(c) || c == '-')
}

fn is_name(text: &str) -> bool {
    let end = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| end(c) || matches!(c, '-' | '_' | '.');
    text.starts_with(end) && text.ends_with(end) && text.chars().all(inner)
}

fn qualified(text: &str) -> Vec<String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let mut mistakes = Vec::new();
    if let Some(prefix) = prefix {
        let wrong = Format::Dns1123Subdomain.mistakes(prefix);
        mistakes.extend(wrong.into_iter().map(|why| format!("the prefix {why}")));
    }
    let wrong = sized(name, 63, is_name(name), NAME);
    mistakes.extend(wrong.into_iter().map(|why| format!("the name {why}")));
    mistakes
}

fn is_uuid(text: &str) -> bool {
    let mut rest = text;
    for (at, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        match rest.split_at_checked(length) {
            Some((digits, after)) if digits.chars().all(|c| c.is_ascii_hexdigit()) => rest = after,
            _ => return false,
        }
    }
    rest.is_empty()
}

fn is_base64(text: &str) -> bool {
    let data = text.trim_end_matches('=');
    let padding = text.len() - data.len();
    let digits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    !text.is_empty() && text.len().is_multiple_of(4) && padding <= 2 && data.chars().all(digits)
}

pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_type(FORMAT_TYPE.to_owned())?;
    env.add_overload("format.named", "format_named", vec![STRING_TYPE], named)?;
    env.add_overload(
        VALIDATE,
        "validate_format",
        vec![DYN_TYPE, DYN_TYPE],
        validate,
    )?;
    env.add_overload("format.dns1123Label", "format_1123_label", vec![], |_| {
        Ok(held(Format::Dns1123Label))
    })?;
    env.add_overload(
        "format.dns1123LabelPrefix",
        "format_1123_label_prefix",
        vec![],
        |_| Ok(held(Format::Dns1123LabelPrefix)),
    )?;
    env.add_overload(
        "format.dns1123Subdomain",
        "format_1123_subdomain",
        vec![],
        |_| Ok(held(Format::Dns1123Subdomain)),
    )?;
    env.add_overload(
        "format.dns1123SubdomainPrefix",
        "format_1123_subdomain_prefix",
        vec![],
        |_| Ok(held(Format::Dns1123SubdomainPrefix)),
    )?;
    env.add_overload("format.dns1035Label", "format_1035_label", vec![], |_| {
        Ok(held(Format::Dns1035Label))
    })?;
    env.add_overload(
        "format.dns1035LabelPrefix",
        "format_1035_label_prefix",
        vec![],
        |_| Ok(held(Format::Dns1035LabelPrefix)),
    )?;
    env.add_overload(
        "format.qualifiedName",
        "format_qualified_name",
        vec![],
        |_| Ok(held(Format::QualifiedName)),
    )?;
    env.add_overload("format.labelValue", "format_label_value", vec![], |_| {
        Ok(held(Format::LabelValue))
    })?;
    env.add_overload("format.uri", "format_uri", vec![], |_| {
        Ok(held(Format::Uri))
    })?;
    env.add_overload("format.uuid", "format_uuid", vec![], |_| {
        Ok(held(Format::Uuid))
    })?;
    env.add_overload("format.byte", "format_byte", vec![], |_| {
        Ok(held(Format::Byte))
    })?;
    env.add_overload("format.date", "format_date", vec![], |_| {
        Ok(held(Format::Date))
    })?;
    env.add_overload("format.datetime", "format_datetime", vec![], |_| {
        Ok(held(Format::Datetime))
    })
}

/// Returns the format of a name; nothing when there is none.
fn named<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let name = arguments[0]
        .downcast_ref::<CelString<'_>>()
        .ok_or_else(|| no_overload("format.named", &arguments))?;
    let found = Format::ALL.into_iter();
    let found = found
        .into_iter()
        .find(|format| format.name() == name.inner());
    Ok(owned(match found {
        Some(format) => CelOptional::of(held(format).into_owned()),
        None => CelOptional::none(),
    }))
}

/// Returns what is wrong with a text; nothing when it has the format.
fn validate<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let format: Format = *argument("validate", &arguments, 0)?;
    let text = arguments[1]
        .downcast_ref::<CelString<'_>>()
        .ok_or_else(|| no_overload("validate", &arguments))?;
    meter::charge_bytes(text.inner().len())?;
    let mistakes = format.mistakes(text.inner());
    if mistakes.is_empty() {
        return Ok(owned(CelOptional::none()));
    }
    let mistakes: Vec<value::Boxed<'v>> = mistakes.into_iter().map(value::owned_text).collect();
    let list: value::Boxed<'v> = Box::new(CelList::from(mistakes));
    Ok(owned(CelOptional::of(list)))
}
