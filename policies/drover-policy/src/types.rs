//! Static types of expressions: what is declared about variables, and what can be told about the
//! rest. What cannot be told is [`Type::Dyn`], and is left to the evaluation.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The type of an expression, as far as it is known before evaluation.
#[derive(Debug, Clone)]
pub(crate) enum Type {
    /// Anything.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    /// A text out of a fixed set, so that a comparison with any other word is a mistake.
    Word(&'static Words),
    Bytes,
    Timestamp,
    Duration,
    List(Box<Type>),
    /// A map from texts.
    Map(Box<Type>),
    /// A value with fixed fields.
    Record(&'static Shape),
    /// A value with the fields that a policy itself declares.
    Named(Arc<Fields>),
    /// The type or null.
    Nullable(Box<Type>),
    /// A value that may be missing: `map[?"key"]`, `optional.of(1)`.
    Optional(Box<Type>),
    /// An IP address.
    Ip,
    /// A network: an address with the length of a prefix.
    Cidr,
    Semver,
    Quantity,
    Url,
    /// A named format of texts.
    Format,
    /// A type as a value, what `type(x)` and `int` are.
    Kind,
}

/// The fields of [`Type::Named`].
#[derive(Debug)]
pub(crate) struct Fields {
    /// What it is called in messages.
    pub(crate) name: &'static str,
    pub(crate) types: BTreeMap<String, Type>,
}

/// A fixed set of words.
pub(crate) struct Words {
    /// What one is, such as `a reason`.
    pub(crate) name: &'static str,
    pub(crate) all: fn() -> Vec<&'static str>,
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A value with fixed fields.
#[derive(Debug)]
pub(crate) struct Shape {
    /// What it is called in messages and in the reference.
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [Field],
}

/// One field of a [`Shape`].
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) type_: fn() -> Type,
    /// A sentence for the reference.
    pub(crate) about: &'static str,
}

impl Shape {
    /// Returns the field `name`.
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// Sets of types, for the signatures of functions.
pub(crate) mod mask {
    pub(crate) const NULL: u32 = 1;
    pub(crate) const BOOL: u32 = 1 << 1;
    pub(crate) const INT: u32 = 1 << 2;
    pub(crate) const UINT: u32 = 1 << 3;
    pub(crate) const DOUBLE: u32 = 1 << 4;
    pub(crate) const TEXT: u32 = 1 << 5;
    pub(crate) const BYTES: u32 = 1 << 6;
    pub(crate) const TIMESTAMP: u32 = 1 << 7;
    pub(crate) const DURATION: u32 = 1 << 8;
    pub(crate) const LIST: u32 = 1 << 9;
    pub(crate) const MAP: u32 = 1 << 10;
    pub(crate) const RECORD: u32 = 1 << 11;
    pub(crate) const OPTIONAL: u32 = 1 << 12;
    pub(crate) const IP: u32 = 1 << 13;
    pub(crate) const CIDR: u32 = 1 << 14;
    pub(crate) const SEMVER: u32 = 1 << 15;
    pub(crate) const QUANTITY: u32 = 1 << 16;
    pub(crate) const TYPE: u32 = 1 << 17;
    pub(crate) const URL: u32 = 1 << 18;
    pub(crate) const FORMAT: u32 = 1 << 19;
    pub(crate) const NUMBER: u32 = INT | UINT | DOUBLE;
    pub(crate) const ANY: u32 = u32::MAX;

    /// Returns the names of the types in a set, for messages.
    pub(crate) fn names(set: u32) -> String {
        const NAMES: [(u32, &str); 20] = [
            (NULL, "null"),
            (BOOL, "bool"),
            (INT, "int"),
            (UINT, "uint"),
            (DOUBLE, "double"),
            (TEXT, "string"),
            (BYTES, "bytes"),
            (TIMESTAMP, "timestamp"),
            (DURATION, "duration"),
            (LIST, "list"),
            (MAP, "map"),
            (RECORD, "record"),
            (OPTIONAL, "optional"),
            (IP, "ip"),
            (CIDR, "cidr"),
            (SEMVER, "semver"),
            (QUANTITY, "quantity"),
            (TYPE, "type"),
            (URL, "url"),
            (FORMAT, "format"),
        ];
        if set == ANY {
            return "anything".to_owned();
        }
        let names: Vec<&str> = NAMES
            .iter()
            .filter(|(bit, _)| set & bit != 0)
            .map(|(_, name)| *name)
            .collect();
        names.join(" or ")
    }
}

impl Type {
    pub(crate) fn list(element: Type) -> Self {
        Self::List(Box::new(element))
    }

    pub(crate) fn map(value: Type) -> Self {
        Self::Map(Box::new(value))
    }

    pub(crate) fn nullable(type_: Type) -> Self {
        match type_ {
            Self::Dyn | Self::Null | Self::Nullable(_) => type_,
            other => Self::Nullable(Box::new(other)),
        }
    }

    /// Returns the type without the possibility of null, which only `==` looks at: everything else
    /// fails on null when it is evaluated.
    pub(crate) fn present(&self) -> &Type {
        match self {
            Self::Nullable(inner) => inner,
            other => other,
        }
    }

    /// Returns the set that holds this type alone; everything for an unknown type.
    pub(crate) fn mask(&self) -> u32 {
        match self {
            Self::Dyn => mask::ANY,
            Self::Null => mask::NULL,
            Self::Bool => mask::BOOL,
            Self::Int => mask::INT,
            Self::Uint => mask::UINT,
            Self::Double => mask::DOUBLE,
            Self::Text | Self::Word(_) => mask::TEXT,
            Self::Bytes => mask::BYTES,
            Self::Timestamp => mask::TIMESTAMP,
            Self::Duration => mask::DURATION,
            Self::List(_) => mask::LIST,
            Self::Map(_) => mask::MAP,
            Self::Record(_) | Self::Named(_) => mask::RECORD,
            Self::Nullable(inner) => inner.mask(),
            Self::Optional(_) => mask::OPTIONAL,
            Self::Ip => mask::IP,
            Self::Cidr => mask::CIDR,
            Self::Semver => mask::SEMVER,
            Self::Quantity => mask::QUANTITY,
            Self::Url => mask::URL,
            Self::Format => mask::FORMAT,
            Self::Kind => mask::TYPE,
        }
    }

    pub(crate) fn optional(type_: Type) -> Self {
        Self::Optional(Box::new(type_))
    }

    /// Returns the type of the elements, if it is a list.
    pub(crate) fn element(&self) -> Type {
        match self.present() {
            Self::List(element) => (**element).clone(),
            _ => Self::Dyn,
        }
    }

    /// Returns the type of what an optional value holds.
    pub(crate) fn held(&self) -> Type {
        match self.present() {
            Self::Optional(held) => (**held).clone(),
            _ => Self::Dyn,
        }
    }

    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn)
    }

    /// Returns whether a value of the type has a fixed size, so that adding and comparing it
    /// costs one step.
    pub(crate) fn is_scalar(&self) -> bool {
        const SCALAR: u32 = mask::NULL
            | mask::BOOL
            | mask::NUMBER
            | mask::TIMESTAMP
            | mask::DURATION
            | mask::IP
            | mask::CIDR
            | mask::SEMVER
            | mask::QUANTITY
            | mask::URL
            | mask::FORMAT
            | mask::TYPE;
        let set = self.mask();
        set != mask::ANY && set & !SCALAR == 0
    }

    /// Returns whether values of the two types can be equal.
    pub(crate) fn comparable(&self, other: &Type) -> bool {
        let (left, right) = (self.mask(), other.mask());
        let nullable = |type_: &Type| matches!(type_, Self::Nullable(_) | Self::Null | Self::Dyn);
        if matches!(self, Self::Null) || matches!(other, Self::Null) {
            return nullable(self) && nullable(other);
        }
        let both_numbers = left & mask::NUMBER != 0 && right & mask::NUMBER != 0;
        left & right != 0 || both_numbers
    }

    /// Returns the type of a value that is of one type or of the other.
    pub(crate) fn join(self, other: Type) -> Type {
        match (self, other) {
            (Self::Null, other) | (other, Self::Null) => Self::nullable(other),
            (Self::Nullable(left), right) => Self::nullable(left.join(right.present().clone())),
            (left, Self::Nullable(right)) => Self::nullable(left.join(*right)),
            (Self::List(left), Self::List(right)) => Self::list(left.join(*right)),
            (Self::Map(left), Self::Map(right)) => Self::map(left.join(*right)),
            (Self::Optional(left), Self::Optional(right)) => Self::optional(left.join(*right)),
            (Self::Record(left), Self::Record(right)) if std::ptr::eq(left, right) => {
                Self::Record(left)
            }
            (Self::Word(left), Self::Word(right)) if std::ptr::eq(left, right) => Self::Word(left),
            (Self::Text | Self::Word(_), Self::Text | Self::Word(_)) => Self::Text,
            (left, right) if left.mask() == right.mask() && left.is_scalar() => left,
            (Self::Bytes, Self::Bytes) => Self::Bytes,
            _ => Self::Dyn,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("any"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::Text | Self::Word(_) => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Map(value) => write!(f, "map(string, {value})"),
            Self::Record(shape) => f.write_str(shape.name),
            Self::Named(fields) => f.write_str(fields.name),
            Self::Nullable(inner) => write!(f, "{inner} or null"),
            Self::Optional(held) => write!(f, "optional({held})"),
            Self::Ip => f.write_str("ip"),
            Self::Cidr => f.write_str("cidr"),
            Self::Semver => f.write_str("semver"),
            Self::Quantity => f.write_str("quantity"),
            Self::Url => f.write_str("url"),
            Self::Format => f.write_str("format"),
            Self::Kind => f.write_str("type"),
        }
    }
}

/// Returns the candidate that `name` was probably meant to be.
pub(crate) fn closest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = name.chars().count().div_ceil(3);
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(
                &name.to_ascii_lowercase(),
                &candidate.to_ascii_lowercase(),
            );
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Returns words as people enumerate them: `a, b and c`.
pub(crate) fn enumerated<W: AsRef<str>>(words: &[W], joint: &str) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {joint} {last}", rest.join(", ")),
        _ => words.concat(),
    }
}
