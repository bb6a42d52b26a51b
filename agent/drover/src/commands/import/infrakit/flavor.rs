//! InfraKit's flavors as drover's.

use drover_model::{FlavorName, Value};
use drover_provider_plugin::GoJson;

use super::super::{literal, literal_text, texts};

/// What flavors come to.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// The flavors of the document.
    pub(super) flavors: Vec<Value>,
    /// What has no place in a document.
    pub(super) notes: Vec<String>,
}

/// Returns what a flavor comes to. What drover has no flavor for is told.
pub(super) fn prepared(flavor: &GoJson) -> Result<Prepared, String> {
    let mut prepared = Prepared::default();
    add(flavor, &mut prepared)?;
    Ok(prepared)
}

fn add(flavor: &GoJson, prepared: &mut Prepared) -> Result<(), String> {
    let plugin = flavor
        .get("Plugin")
        .and_then(GoJson::text)
        .unwrap_or_default();
    let properties = flavor.get("Properties");
    // `flavor-vanilla` and the like are the names of the programs of the first releases.
    let kind = plugin.strip_prefix("flavor-").unwrap_or(plugin);
    match kind {
        "" => {
            prepared.notes.push("it has no flavor".to_owned());
            Ok(())
        }
        "vanilla" => vanilla(properties, prepared),
        "combo" => combo(properties, prepared),
        _ => {
            let written = named(plugin, properties);
            prepared.notes.push(match &written {
                Some(_) => format!(
                    "the flavor {plugin} is asked of its plugin, which has to run beside the agent: without it nothing is made, and nothing counts as available"
                ),
                None => format!(
                    "the flavor {plugin} is not translated: what it puts onto new instances is missing, and so are its health and its drain"
                ),
            });
            prepared.flavors.extend(written);
            Ok(())
        }
    }
}

/// Returns the flavor that is a plugin of InfraKit's. None: a document cannot name it.
fn named(plugin: &str, properties: Option<&GoJson>) -> Option<Value> {
    let name = FlavorName::parse(plugin).ok()?;
    let properties = match properties {
        None | Some(GoJson::Null) => Value::empty_map(),
        Some(properties @ GoJson::Map(_)) => literal(&properties.to_value().ok()?),
        Some(_) => return None,
    };
    let fields = [
        ("name".to_owned(), Value::String(name.to_string())),
        ("properties".to_owned(), properties),
    ];
    let fields: Value = fields.into_iter().collect();
    Some([("plugin".to_owned(), fields)].into_iter().collect())
}

/// Several flavors, applied in order: a list, or a list under a name.
fn combo(properties: Option<&GoJson>, prepared: &mut Prepared) -> Result<(), String> {
    let named = properties.and_then(|properties| properties.get("Flavors"));
    let flavors = named.or(properties).and_then(GoJson::list);
    let flavors = flavors.ok_or("the `Properties` of its flavor combo are no list")?;
    flavors.iter().try_for_each(|flavor| add(flavor, prepared))
}

fn vanilla(properties: Option<&GoJson>, prepared: &mut Prepared) -> Result<(), String> {
    let field = |name: &str| properties.and_then(|properties| properties.get(name));
    let init = match field("Init") {
        None | Some(GoJson::Null) => Vec::new(),
        Some(GoJson::List(lines)) => lines
            .iter()
            .map(|line| {
                line.text()
                    .ok_or("a line of its flavor's `Init` is no text")
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err("the `Init` of its flavor is no list".to_owned()),
    };
    let mut tags = Vec::new();
    for (name, value) in field("Tags").and_then(GoJson::map).into_iter().flatten() {
        let value = value.text().ok_or("a tag of its flavor is no text")?;
        tags.push((name.as_str(), literal_text(value)));
    }
    let mut vanilla = Vec::new();
    if !init.is_empty() {
        let lines = init
            .into_iter()
            .map(|line| Value::String(literal_text(line)));
        vanilla.push(("init".to_owned(), Value::List(lines.collect())));
    }
    if !tags.is_empty() {
        let tags = texts(tags.iter().map(|(name, value)| (*name, value.as_str())));
        vanilla.push(("tags".to_owned(), tags));
    }
    if !vanilla.is_empty() {
        let vanilla: Value = vanilla.into_iter().collect();
        prepared
            .flavors
            .push([("vanilla".to_owned(), vanilla)].into_iter().collect());
    }
    let fields = properties.and_then(GoJson::map).into_iter().flatten();
    for (name, value) in fields {
        let known = ["Init", "Tags"]
            .iter()
            .any(|one| one.eq_ignore_ascii_case(name));
        let empty = matches!(value, GoJson::Null) || value.list().is_some_and(<[_]>::is_empty);
        if !known && !empty {
            prepared.notes.push(format!(
                "the field {name} of the flavor vanilla is not translated"
            ));
        }
    }
    Ok(())
}
