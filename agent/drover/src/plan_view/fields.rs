//! What differs between two documents of a group, and what a new one says, field by field.

use std::collections::BTreeMap;

use drover_model::{FieldChange, FieldClass, Template, Value};

use super::FieldView;
use crate::differences::{FieldDifference, differences};

/// The class of what is kept otherwise, without an effect on instances.
const SETTING: &str = "setting";

/// The class of everything that a new group's document says.
const NEW: &str = "new";

/// A group's document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) size: u32,
    pub(crate) template: &'a Template,
    /// As written.
    pub(crate) text: &'a str,
}

/// Returns what differs between two documents of a group: its size, its template with what each change needs, how it
/// is kept.
pub(crate) fn changed(
    before: Side<'_>,
    after: Side<'_>,
    classes: &BTreeMap<String, FieldClass>,
) -> Vec<FieldView> {
    let changes = drover_model::field_changes(before.template, after.template, classes);
    let mut fields = sized(before.size, after.size);
    fields.extend(template(&changes));
    fields.extend(ignored(before.template, after.template, classes));
    fields.extend(settings(before.text, after.text));
    fields
}

/// Returns the size, if it differs.
pub(super) fn sized(before: u32, after: u32) -> Vec<FieldView> {
    if before == after {
        return Vec::new();
    }
    vec![FieldView {
        field: "size".to_owned(),
        class: "scale".to_owned(),
        old: Some(before.to_string()),
        new: Some(after.to_string()),
    }]
}

/// Returns what differs between templates, each value down to what is not the same.
pub(super) fn template(changes: &[FieldChange]) -> Vec<FieldView> {
    let of = |change: &FieldChange| {
        let found = differences(&change.field, change.old.as_ref(), change.new.as_ref());
        viewed(found, change.class.as_str())
    };
    changes.iter().flat_map(of).collect()
}

/// Returns the properties that differ and ask for nothing.
fn ignored(
    before: &Template,
    after: &Template,
    classes: &BTreeMap<String, FieldClass>,
) -> Vec<FieldView> {
    let ignore = |class: &FieldClass| *class == FieldClass::Ignore;
    let names = classes.iter().filter(|(_, class)| ignore(class));
    let of = |(name, class): (&String, &FieldClass)| {
        let [before, after] = [before, after].map(|template| template.properties.get(name));
        let found = differences(&format!("properties.{name}"), before, after);
        viewed(found, class.as_str())
    };
    names.flat_map(of).collect()
}

/// Returns what differs beside size and template: how the group is kept.
pub(super) fn settings(before: &str, after: &str) -> Vec<FieldView> {
    let [before, after] = [before, after].map(|text| settings_of(&read(text)));
    viewed(differences("", Some(&before), Some(&after)), SETTING)
}

/// Returns what a new group's document says: what makes its instances first.
pub(crate) fn of_new(text: &str) -> Vec<FieldView> {
    let read = read(text);
    let spec = read.get("spec");
    let part = |name: &str| spec.and_then(|spec| spec.get(name));
    let mut found = Vec::new();
    for name in ["provider", "size"] {
        found.extend(differences(name, None, part(name)));
    }
    found.extend(differences("", None, part("template")));
    let mut settings = settings_of(&read);
    if let Value::Map(settings) = &mut settings {
        settings.remove("provider");
    }
    found.extend(differences("", None, Some(&settings)));
    viewed(found, NEW)
}

/// Returns what differs with its class.
pub(crate) fn viewed(found: Vec<FieldDifference>, class: &str) -> Vec<FieldView> {
    let view = |found: FieldDifference| FieldView {
        field: found.field,
        class: class.to_owned(),
        old: found.old,
        new: found.new,
    };
    found.into_iter().map(view).collect()
}

/// Reads a document that was read before.
pub(crate) fn read(text: &str) -> Value {
    drover_spec::parse_value("", text).unwrap_or(Value::Null)
}

/// Returns the labels and everything of `spec` but size and template.
fn settings_of(document: &Value) -> Value {
    let part = |of: &str| document.get(of).and_then(Value::as_map);
    let mut settings = part("spec").cloned().unwrap_or_default();
    settings.remove("size");
    settings.remove("template");
    let labels = part("metadata").and_then(|metadata| metadata.get("labels"));
    settings.extend(labels.map(|labels| ("labels".to_owned(), labels.clone())));
    Value::Map(settings)
}

impl FieldView {
    /// Returns what a line about it ends with: what the change needs. None: there is nothing to say.
    pub(super) fn needs(&self) -> Option<&str> {
        let class = self.class.as_str();
        (!matches!(class, NEW | "")).then_some(class)
    }
}
