//! How Go reads an object into a structure: keys in any case, the last of two that are alike, and structures that are
//! written twice as one.

use std::collections::BTreeMap;

use super::GoJson;

/// What a value is read into.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Whatever it is, kept as it is written. Of two the last one counts, `null` too.
    Any,
    /// A text. `null` leaves what was read before.
    Text,
    /// Kept as it is written, and read as another shape later. Of two the last one counts, `null` too.
    Later(&'static Shape),
    /// A structure, with its fields. Of two the fields are joined, and `null` leaves what was read before.
    Struct(&'static [(&'static str, Shape)]),
    /// Elements of one shape.
    List(&'static Shape),
}

/// A plugin with its properties, which are the plugin's own affair.
const PART: Shape = Shape::Struct(&[("Plugin", Shape::Text), ("Properties", Shape::Any)]);

/// What a group's specification may be: the group, what a file or a store wraps around it, or its properties.
static GROUP: Shape = Shape::Struct(&[
    ("ID", Shape::Text),
    ("Properties", Shape::Later(&GROUP)),
    ("Plugin", Shape::Text),
    ("kind", Shape::Text),
    (
        "metadata",
        Shape::Struct(&[("name", Shape::Text), ("id", Shape::Text)]),
    ),
    ("Record", Shape::Struct(&[("Spec", Shape::Later(&GROUP))])),
    ("Instance", PART),
    ("Flavor", PART),
    (
        "Allocation",
        Shape::Struct(&[("Size", Shape::Any), ("LogicalIDs", Shape::Any)]),
    ),
    (
        "Updating",
        Shape::Struct(&[
            ("Duration", Shape::Any),
            ("Count", Shape::Any),
            ("SkipBeforeInstanceDestroy", Shape::Any),
        ]),
    ),
]);

/// A group, or a list of them, as files have it.
pub(super) static GROUPS: Shape = Shape::List(&GROUP);

/// What a plugin answers that is asked for its groups.
pub(super) static ANSWER: Shape = Shape::Struct(&[("Groups", Shape::List(&GROUP))]);

impl Shape {
    /// Returns what the elements of a list are read into.
    pub(super) fn element(&self) -> &Self {
        match self {
            Self::List(element) => element,
            Self::Later(shape) => shape.element(),
            Self::Any | Self::Text | Self::Struct(_) => &Self::Any,
        }
    }

    /// Returns the field that a key names, and what its value is read into.
    pub(super) fn field(&self, key: &str) -> Option<(&'static str, &'static Self)> {
        match self {
            Self::Struct(fields) => {
                let mut fields = fields.iter();
                let found = fields.find(|(name, _)| is_alike(key, name));
                found.map(|(name, shape)| (*name, shape))
            }
            // One that stands where a list may.
            Self::Later(shape) | Self::List(shape) => shape.field(key),
            Self::Any | Self::Text => None,
        }
    }
}

/// Returns whether Go takes a key for a field's name: it folds two signs beyond ASCII to letters.
fn is_alike(key: &str, name: &str) -> bool {
    let folded = key.chars().map(|character| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    });
    folded.eq(name.chars().map(|letter| letter.to_ascii_lowercase()))
}

/// Adds a field that was read to those before it.
pub(super) fn add(map: &mut BTreeMap<String, GoJson>, name: String, value: GoJson, shape: &Shape) {
    let is_kept = matches!(shape, Shape::Text | Shape::Struct(_)) && value == GoJson::Null;
    if is_kept && map.contains_key(&name) {
        return;
    }
    match (shape, value) {
        (Shape::Struct(_), GoJson::Map(more)) => {
            if let Some(GoJson::Map(known)) = map.get_mut(&name) {
                for (key, value) in more {
                    let inner = shape.field(&key).map_or(&Shape::Any, |(_, inner)| inner);
                    add(known, key, value, inner);
                }
            } else {
                map.insert(name, GoJson::Map(more));
            }
        }
        (_, value) => {
            map.insert(name, value);
        }
    }
}
