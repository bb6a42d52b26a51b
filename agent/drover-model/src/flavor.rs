//! What prepares an instance: the flavors of a template.

use std::collections::BTreeMap;

use crate::{CloudInit, FlavorName, SecretRef, Template, TemplateParts, Value};

/// What prepares an instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Flavor {
    /// Init lines, environment and tags, as written.
    Vanilla(Vanilla),
    /// Parts of user data for cloud-init.
    CloudInit(CloudInit),
    /// A program of its own, which is asked for each instance.
    Plugin(PluginFlavor),
}

/// The `vanilla` flavor: init lines, environment, tags and attachments, with substitution and no logic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vanilla {
    /// Shell lines run in order before the command; a failing line fails the instance.
    pub init: Vec<String>,
    /// Environment variables of init and command.
    pub env: BTreeMap<String, String>,
    /// Those whose values are secrets. No name is in both.
    pub secrets: BTreeMap<String, SecretRef>,
    /// Tags put on the instance.
    pub tags: BTreeMap<String, String>,
    /// What is attached to the instance.
    pub attachments: Vec<Attachment>,
}

/// Something that is there already, such as a volume, and that InfraKit's plugins attach to an instance as it is made. Not
/// what follows the member of a quorum group, which is an [`AttachmentName`](crate::AttachmentName) and made by its provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachment {
    /// What the plugin knows it by.
    pub id: String,
    /// Its kind, in the plugin's words, such as `ebs`. May be empty.
    pub type_: String,
}

/// The `plugin` flavor: what it makes of an instance is known once its program was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginFlavor {
    /// Which plugin.
    pub name: FlavorName,
    /// The plugin's own properties, a map, as written.
    pub properties: Value,
    /// What the plugin answered for one instance. None: it was not asked, as in every document; only intents have
    /// answers.
    pub answer: Option<Box<FlavorAnswer>>,
}

/// What a flavor plugin made of one instance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FlavorAnswer {
    /// The part of the instance's init that is this flavor's own. Nothing in it is substituted.
    pub init: String,
    /// The tags that it added or changed. Nothing in them is substituted.
    pub tags: BTreeMap<String, String>,
    /// The provider's properties from this flavor on, in the form of a template: what the plugin changed is escaped.
    /// None: it changed none.
    pub properties: Option<Value>,
    /// What it attaches, after what the flavors before it attach. Nothing in it is substituted.
    pub attachments: Vec<Attachment>,
}

impl TemplateParts {
    /// Returns the flavors that are plugins, in order.
    pub fn plugin_flavors(&self) -> impl Iterator<Item = &PluginFlavor> {
        self.flavors.iter().filter_map(|flavor| match flavor {
            Flavor::Plugin(plugin) => Some(plugin),
            Flavor::Vanilla(_) | Flavor::CloudInit(_) => None,
        })
    }

    /// Returns the tags of an instance that plugins have answered, and that no later flavor sets.
    pub fn answered_tags(&self) -> BTreeMap<String, String> {
        let mut tags = BTreeMap::new();
        for flavor in &self.flavors {
            match flavor {
                Flavor::Vanilla(vanilla) => tags.retain(|name, _| !vanilla.tags.contains_key(name)),
                Flavor::CloudInit(_) => {}
                Flavor::Plugin(plugin) => {
                    let answered = plugin.answer.iter().flat_map(|answer| &answer.tags);
                    tags.extend(answered.map(|(name, tag)| (name.clone(), tag.clone())));
                }
            }
        }
        tags
    }
}

impl Template {
    /// Returns the template with an answer of its plugins that has these tags and nothing else, for who reads them off a
    /// record. Without a plugin they are nobody's.
    #[must_use]
    pub fn with_answered_tags(mut self, tags: BTreeMap<String, String>) -> Self {
        let last = self
            .flavors
            .iter_mut()
            .rev()
            .find_map(|flavor| match flavor {
                Flavor::Plugin(plugin) => Some(plugin),
                Flavor::Vanilla(_) | Flavor::CloudInit(_) => None,
            });
        if let Some(plugin) = last {
            plugin.answer = Some(Box::new(FlavorAnswer {
                tags,
                ..FlavorAnswer::default()
            }));
        }
        self
    }

    /// Returns the template as written: without what plugins answered for one instance.
    pub fn unanswered(&self) -> Self {
        if self.plugin_flavors().all(|plugin| plugin.answer.is_none()) {
            return self.clone();
        }
        let mut template = self.clone();
        for flavor in &mut template.flavors {
            if let Flavor::Plugin(plugin) = flavor {
                plugin.answer = None;
            }
        }
        template
    }
}
