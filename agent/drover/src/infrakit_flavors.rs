//! InfraKit's flavors as a document's: the one translation, for groups that are imported and for groups that are
//! committed to a running agent.

use drover_model::{FlavorName, Value};
use drover_provider_plugin::GoJson;

/// What flavors come to.
#[derive(Debug, Default)]
pub(crate) struct Translated {
    /// The flavors of the document, in their order.
    pub(crate) flavors: Vec<Value>,
    /// What people must know.
    pub(crate) notes: Vec<Note>,
    /// Whether a combo was within a combo: the document has one list.
    pub(crate) nested: bool,
}

/// Something that people must know of a translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// This has no place in a document.
    Lost(String),
    /// Nothing is lost.
    Told(String),
}

impl Note {
    /// Returns what it says.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Lost(text) | Self::Told(text) => text,
        }
    }
}

/// How flavors are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Escapes what a document would substitute in a text.
    pub(crate) escape: fn(&str) -> String,
    /// What names the programs of a flavor may have before its name, such as `flavor-`.
    pub(crate) prefix: &'static str,
}

/// Translates a flavor, `{Plugin, Properties}`, and what it combines.
///
/// # Errors
///
/// What is not as InfraKit has it, in words.
pub(crate) fn translated(flavor: &GoJson, reading: Reading) -> Result<Translated, String> {
    let mut translation = Translation {
        reading,
        into: Translated::default(),
        depth: 0,
    };
    translation.add(flavor)?;
    Ok(translation.into)
}

/// Returns whether a flavor has such a field.
fn is_of_flavor(name: &str) -> bool {
    let mut known = ["Plugin", "Properties"].iter();
    known.any(|one| one.eq_ignore_ascii_case(name))
}

struct Translation {
    reading: Reading,
    into: Translated,
    /// How many combos are around.
    depth: u32,
}

impl Translation {
    fn add(&mut self, flavor: &GoJson) -> Result<(), String> {
        let plugin = flavor.get("Plugin").and_then(GoJson::text);
        let plugin = plugin.unwrap_or_default();
        let properties = flavor.get("Properties");
        let kind = plugin.strip_prefix(self.reading.prefix).unwrap_or(plugin);
        match kind {
            "" => self.note(Note::Told("it has no flavor".to_owned())),
            "vanilla" => self.vanilla(properties)?,
            "combo" => self.combo(properties)?,
            "cloudInit" => {
                let properties = self.map_of("cloudInit", properties)?;
                self.push("cloudInit", properties);
            }
            _ => self.plugin(plugin, properties),
        }
        Ok(())
    }

    fn note(&mut self, note: Note) {
        self.into.notes.push(note);
    }

    fn push(&mut self, flavor: &str, fields: Value) {
        let flavor = [(flavor.to_owned(), fields)];
        self.into.flavors.push(flavor.into_iter().collect());
    }

    /// Returns the properties of a flavor as a document has them.
    fn map_of(&self, flavor: &str, properties: Option<&GoJson>) -> Result<Value, String> {
        match properties {
            None | Some(GoJson::Null) => Ok(Value::empty_map()),
            Some(properties @ GoJson::Map(_)) => {
                let value = properties.to_value().map_err(|error| error.to_string())?;
                Ok(value.map_texts(&self.reading.escape))
            }
            Some(_) => Err(format!(
                "the `Properties` of its flavor {flavor} are not a map"
            )),
        }
    }

    /// A flavor that is a plugin of InfraKit's.
    fn plugin(&mut self, plugin: &str, properties: Option<&GoJson>) {
        let named = FlavorName::parse(plugin).ok();
        let named = named.zip(self.map_of(plugin, properties).ok());
        let Some((name, properties)) = named else {
            return self.note(Note::Lost(format!(
                "the flavor {plugin} is not translated: what it puts onto new instances is missing, and so are its health and its drain"
            )));
        };
        let name = ("name".to_owned(), Value::String(name.to_string()));
        let fields = [name, ("properties".to_owned(), properties)];
        self.push("plugin", fields.into_iter().collect());
        self.note(Note::Told(format!(
            "the flavor {plugin} is asked of its plugin, which has to run beside the agent: without it nothing is made, and nothing counts as available"
        )));
    }

    /// Several flavors, applied in order: a list, or a list under a name.
    fn combo(&mut self, properties: Option<&GoJson>) -> Result<(), String> {
        let named = properties.and_then(|properties| properties.get("Flavors"));
        let flavors = named.or(properties).and_then(GoJson::list);
        let flavors = flavors.ok_or("the `Properties` of its flavor combo are no list")?;
        self.into.nested |= self.depth > 0;
        self.depth += 1;
        let fields = flavors.iter().filter_map(GoJson::map).flatten();
        for (name, _) in fields.filter(|(name, _)| !is_of_flavor(name)) {
            self.note(Note::Lost(format!(
                "the field {name} of a flavor within combo is not translated"
            )));
        }
        flavors.iter().try_for_each(|flavor| self.add(flavor))?;
        self.depth -= 1;
        Ok(())
    }

    fn vanilla(&mut self, properties: Option<&GoJson>) -> Result<(), String> {
        // Refused here, whatever is in it.
        if let Some(GoJson::Text(_) | GoJson::List(_) | GoJson::Number(_) | GoJson::Bool(_)) =
            properties
        {
            return Err("the `Properties` of its flavor vanilla are not a map".to_owned());
        }
        let field = |name: &str| properties.and_then(|properties| properties.get(name));
        let mut vanilla = Vec::new();
        let init = self.init(field("Init"))?;
        if !init.is_empty() {
            vanilla.push(("init".to_owned(), Value::List(init)));
        }
        for (name, what) in [("Tags", "a tag"), ("Env", "a variable")] {
            let texts = self.texts(field(name), what)?;
            if !texts.is_empty() {
                let texts: Value = texts.into_iter().collect();
                vanilla.push((name.to_ascii_lowercase(), texts));
            }
        }
        let attachments = self.attachments(field("Attachments"))?;
        if !attachments.is_empty() {
            vanilla.push(("attachments".to_owned(), Value::List(attachments)));
        }
        if !vanilla.is_empty() {
            self.push("vanilla", vanilla.into_iter().collect());
        }
        let fields = properties.and_then(GoJson::map).into_iter().flatten();
        for (name, value) in fields {
            let mut known = ["Init", "Tags", "Env", "Attachments"].iter();
            let known = known.any(|one| one.eq_ignore_ascii_case(name));
            let empty = match value {
                GoJson::Null => true,
                GoJson::Text(text) => text.is_empty(),
                GoJson::List(list) => list.is_empty(),
                GoJson::Map(map) => map.is_empty(),
                GoJson::Bool(_) | GoJson::Number(_) => false,
            };
            if !known && !empty {
                self.note(Note::Lost(format!(
                    "the field {name} of the flavor vanilla is not translated"
                )));
            }
        }
        Ok(())
    }

    fn init(&self, init: Option<&GoJson>) -> Result<Vec<Value>, String> {
        let lines = match init {
            None | Some(GoJson::Null) => return Ok(Vec::new()),
            Some(GoJson::List(lines)) => lines.iter(),
            Some(_) => return Err("the `Init` of its flavor is no list".to_owned()),
        };
        let escaped = lines.map(|line| {
            let line = line.text();
            let line = line.ok_or("a line of its flavor's `Init` is no text")?;
            Ok(Value::String((self.reading.escape)(line)))
        });
        escaped.collect()
    }

    /// What the instance plugin attaches, as a document has it.
    fn attachments(&self, list: Option<&GoJson>) -> Result<Vec<Value>, String> {
        let list = match list {
            None | Some(GoJson::Null) => return Ok(Vec::new()),
            Some(GoJson::List(list)) => list.iter(),
            Some(_) => return Err("the `Attachments` of its flavor are no list".to_owned()),
        };
        let attachments = list.map(|one| {
            let text = |name: &str| {
                let text = one.get(name).filter(|text| !matches!(text, GoJson::Null));
                let text = text.map(|text| {
                    text.text()
                        .ok_or("an attachment of its flavor is no `ID` and `Type`, both texts")
                });
                Ok::<_, String>(text.transpose()?.filter(|text| !text.is_empty()))
            };
            let id = text("ID")?.ok_or("an attachment of its flavor has no `ID`")?;
            let parts = [("id", Some(id)), ("type", text("Type")?)].into_iter();
            let parts = parts.filter_map(|(name, text)| {
                let text = (self.reading.escape)(text?);
                Some((name.to_owned(), Value::String(text)))
            });
            Ok(parts.collect())
        });
        attachments.collect()
    }

    fn texts(&self, map: Option<&GoJson>, what: &str) -> Result<Vec<(String, Value)>, String> {
        let entries = map.and_then(GoJson::map).into_iter().flatten();
        let texts = entries.map(|(name, value)| {
            let text = value.text();
            let text = text.ok_or_else(|| format!("{what} of its flavor is no text"))?;
            Ok((name.clone(), Value::String((self.reading.escape)(text))))
        });
        texts.collect()
    }
}
