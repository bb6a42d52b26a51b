//! Groups of machines that were found somewhere, as documents of the EC2 provider: what the machines have in common,
//! the commonest where they differ, and what people must look at before the group is promoted.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{Value, label_of, plural};

use super::{Draft, comments, entry, literal, texts};

/// Most tags of a template: EC2 takes 50 on an instance, and drover's own are among them.
const TAGS_MAX: usize = 40;

/// The tag of a machine's scaling group.
pub(super) const SCALING_TAG: &str = "aws:autoscaling:groupName";

/// The tag in which Amazon keeps the version of the launch template that a machine comes from.
pub(super) const VERSION_TAG: &str = "aws:ec2launchtemplate:version";

/// Returns whether instances of a type have CPU credits: t2 and what came after it.
pub(super) fn is_burstable(type_: &str) -> bool {
    let rest = type_.strip_prefix('t');
    rest.is_some_and(|rest| rest.starts_with(|c: char| ('2'..='9').contains(&c)))
}

/// The property of the metadata service, and its field that IMDSv1 is refused by.
const METADATA: &str = "metadata";
const TOKENS: &str = "tokens";

/// A machine, in the words of `template.properties`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Machine {
    pub(super) id: String,
    pub(super) zone: Option<String>,
    pub(super) subnet: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    /// Properties by their names. What a machine does not have is not in it.
    pub(super) properties: BTreeMap<&'static str, Value>,
    /// What else it has, or may have, that no document gets.
    pub(super) unread: BTreeSet<String>,
}

impl Machine {
    fn answers_imdsv1(&self) -> bool {
        let metadata = self.properties.get(METADATA);
        let tokens = metadata.and_then(|metadata| metadata.get(TOKENS));
        tokens.and_then(Value::as_str) == Some("optional")
    }
}

/// A group of machines.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Found {
    /// What it was called where it was found.
    pub(super) called: String,
    /// Comments at the top of its document.
    pub(super) head: Vec<String>,
    /// What people must look at: comments too, and remarks on stderr.
    pub(super) notes: Vec<String>,
    /// The machines that run.
    pub(super) machines: Vec<Machine>,
    /// How many there shall be. None: as many as run.
    pub(super) size: Option<u64>,
    pub(super) bounds: Option<(u64, u64)>,
    /// The tags that all of them have and nothing else has.
    pub(super) match_tags: BTreeMap<String, String>,
    /// Properties that are known of the group itself, over those of its machines. Null: not to be written.
    pub(super) properties: BTreeMap<&'static str, Value>,
    pub(super) subnets: Vec<String>,
    pub(super) zones: Vec<String>,
}

/// A property's value, and how many machines have it.
#[derive(Debug, Clone, PartialEq)]
struct Commonest {
    value: Option<Value>,
    /// How many machines have it and how many have each of the others, where they differ.
    comment: Option<String>,
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::List(list)) => {
            let list: Vec<String> = list.iter().map(|one| shown(Some(one))).collect();
            list.join("+")
        }
        Some(value) => {
            let text = drover_spec::record::to_yaml(value);
            text.trim().replace('\n', ", ")
        }
    }
}

/// Returns the value that most have; of as many, the one that comes first.
fn commonest(values: &[Option<&Value>]) -> Commonest {
    let mut counted: Vec<(Option<&Value>, usize)> = Vec::new();
    for value in values {
        match counted.iter_mut().find(|(known, _)| known == value) {
            Some((_, count)) => *count += 1,
            None => counted.push((*value, 1)),
        }
    }
    // Stable: what came first stays first.
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let Some(((value, count), others)) = counted.split_first() else {
        return Commonest {
            value: None,
            comment: None,
        };
    };
    let comment = (!others.is_empty()).then(|| {
        let others = others
            .iter()
            .map(|(value, count)| format!("{count} have {}", shown(*value)));
        let others: Vec<String> = others.collect();
        format!(
            "{count} of {} have {}; {}",
            values.len(),
            shown(*value),
            others.join("; ")
        )
    });
    Commonest {
        value: value.cloned(),
        comment,
    }
}

/// Returns the tags that all of the machines have, but for those that are no one's to set, or name one machine.
pub(super) fn common_tags(machines: &[Machine]) -> BTreeMap<String, String> {
    let Some((first, others)) = machines.split_first() else {
        return BTreeMap::new();
    };
    let shared = first.tags.iter().filter(|(key, value)| {
        let settable = !key.starts_with("aws:") && !key.starts_with("drover.") && *key != "Name";
        settable
            && others
                .iter()
                .all(|other| other.tags.get(*key) == Some(*value))
    });
    let shared = shared.take(TAGS_MAX);
    shared
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

impl Found {
    /// Returns the name of its document.
    pub(super) fn name(&self) -> Result<String, String> {
        label_of(&self.called)
            .ok_or_else(|| "nothing of its name can be a document's name".to_owned())
    }

    /// Returns the properties in the order of their names, each with a comment where machines differ.
    fn chosen(&self) -> Vec<(&'static str, Value, Option<String>)> {
        let names: BTreeSet<&'static str> = self
            .machines
            .iter()
            .flat_map(|machine| machine.properties.keys().copied())
            .chain(self.properties.keys().copied())
            .collect();
        let chosen = names.into_iter().filter_map(|name| {
            if let Some(own) = self.properties.get(name) {
                let written = !matches!(own, Value::Null);
                return written.then(|| (name, own.clone(), None));
            }
            let all = self.machines.iter();
            let all: Vec<_> = all
                .map(|machine| machine.properties.get(name).cloned())
                .map(|value| value.and_then(|value| self.written(name, value)))
                .collect();
            let all: Vec<Option<&Value>> = all.iter().map(Option::as_ref).collect();
            let Commonest { value, comment } = commonest(&all);
            value.map(|value| (name, value, comment))
        });
        chosen.collect()
    }

    /// Returns what of a machine's property is written. `optional` is refused at every launch unless the provider's program
    /// allows it, and `required` would end what some of the machines still do: without either, machines keep what they have.
    fn written(&self, name: &str, value: Value) -> Option<Value> {
        if name != METADATA || !self.machines.iter().any(Machine::answers_imdsv1) {
            return Some(value);
        }
        let fields = value.as_map().into_iter().flatten();
        let kept: BTreeMap<String, Value> = fields
            .filter(|(field, _)| field.as_str() != TOKENS)
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect();
        (!kept.is_empty()).then(|| kept.into_iter().collect())
    }

    /// Says what becomes of IMDSv1, where machines answer it.
    fn imdsv1(&self) -> Option<String> {
        let answer = self.machines.iter().filter(|one| one.answers_imdsv1());
        let count = answer.count();
        (count > 0).then(|| format!(
            "{count} of {} IMDSv1, and will go on so: `metadata.tokens` is left out. What is made later refuses it; where something needs it, write `tokens: optional` and run drover-provider-ec2 with --allow-imdsv1",
            plural(self.machines.len(), "instance answers", "instances answer"),
        ))
    }

    fn places(&self) -> (Vec<String>, Vec<String>) {
        let of = |own: &[String], each: fn(&Machine) -> Option<&String>| -> Vec<String> {
            if !own.is_empty() {
                return own.to_vec();
            }
            let all: BTreeSet<&String> = self.machines.iter().filter_map(each).collect();
            all.into_iter().cloned().collect()
        };
        (
            of(&self.zones, |machine| machine.zone.as_ref()),
            of(&self.subnets, |machine| machine.subnet.as_ref()),
        )
    }

    /// Drafts its document, which only watches, and returns what people must know of it.
    ///
    /// # Errors
    ///
    /// Why it cannot be one.
    pub(super) fn draft(&self, provider: &str) -> Result<(Draft, Vec<String>), String> {
        let name = self.name()?;
        let mut notes = self.notes.clone();
        if name != self.called {
            notes.push(format!(
                "it is called {name}: names of documents are DNS labels"
            ));
        }
        let chosen = self.chosen();
        for (property, _, comment) in &chosen {
            notes.extend(comment.as_ref().map(|comment| {
                format!("`{property}` differs: {comment}. All of them count as current")
            }));
        }
        notes.extend(self.imdsv1());
        notes.push(self.unread());
        let mut text = comments(&self.head);
        text.push_str(&comments(&only_watched(&name)));
        text.push_str("#\n# What a person has to look at:\n");
        let listed: Vec<String> = notes.iter().map(|note| format!("- {note}")).collect();
        text.push_str(&comments(&listed));
        text.push_str("apiVersion: drover/v1alpha1\nkind: Group\n");
        text.push_str(&entry(0, "metadata", &texts([("name", name.as_str())])));
        text.push_str("spec:\n");
        text.push_str(&self.spec(provider, &chosen));
        let draft = Draft {
            path: format!("groups/{name}.yaml"),
            text,
        };
        let remarks = notes.iter().map(|note| format!("group {name}: {note}"));
        Ok((draft, remarks.collect()))
    }

    /// Returns the note on what of the machines is in no property.
    fn unread(&self) -> String {
        if self.properties.contains_key("launchTemplate") {
            return "not read: health checks".to_owned();
        }
        let each = self.machines.iter().flat_map(|machine| &machine.unread);
        let each: BTreeSet<&str> = each.map(String::as_str).collect();
        let always = ["user data", "volumes", "health checks"];
        let all: Vec<&str> = always.into_iter().chain(each).collect();
        format!(
            "not read: {}. What is made later has what this document says",
            all.join(", ")
        )
    }

    fn spec(&self, provider: &str, chosen: &[(&'static str, Value, Option<String>)]) -> String {
        let count = u64::try_from(self.machines.len()).unwrap_or(u64::MAX);
        let mut text = entry(1, "provider", &provider.into());
        text.push_str("  manage: observe\n");
        text.push_str(&format!("  size: {}\n", self.size.unwrap_or(count)));
        if let Some((min, max)) = self.bounds {
            text.push_str(&format!("  bounds: {{min: {min}, max: {max}}}\n"));
        }
        text.push_str("  adopt:\n    selector:\n");
        text.push_str(&entry(3, "matchTags", &tag_map(&self.match_tags)));
        text.push_str(&self.current());
        text.push_str("    revision: assume\n");
        let (zones, subnets) = self.places();
        let list =
            |list: &[String]| Value::List(list.iter().map(|one| one.as_str().into()).collect());
        if !zones.is_empty() {
            text.push_str("  placement:\n");
            text.push_str(&entry(2, "zones", &list(&zones)));
            text.push_str("    spread: even\n");
        }
        text.push_str("  template:\n    properties:\n");
        for (property, value, comment) in chosen {
            if let Some(comment) = comment {
                text.push_str(&format!(
                    "      {}",
                    comments(std::slice::from_ref(comment))
                ));
            }
            text.push_str(&entry(3, property, &literal(value)));
        }
        if !subnets.is_empty() {
            text.push_str(&entry(3, "subnets", &list(&subnets)));
        }
        let tags = common_tags(&self.machines);
        if !tags.is_empty() {
            text.push_str(
                "    # So that machines that are made later look like those that were found.\n",
            );
            text.push_str(&entry(2, "tags", &literal(&tag_map(&tags))));
        }
        text
    }

    /// Machines of older versions of the launch template are no current ones: a rollout replaces them.
    fn current(&self) -> String {
        let template = self.properties.get("launchTemplate");
        let version = template.and_then(|template| template.get("version"));
        let Some(version) = version.and_then(Value::as_str) else {
            return String::new();
        };
        let older = self.machines.iter();
        let older = older.filter(|one| one.tags.get(VERSION_TAG).is_some_and(|own| own != version));
        if older.count() == 0 {
            return String::new();
        }
        let tag: Value = [("matchTags".to_owned(), texts([(VERSION_TAG, version)]))]
            .into_iter()
            .collect();
        format!(
            "    # What was made from another version of the launch template counts as outdated.\n{}",
            entry(2, "current", &tag)
        )
    }
}

/// Says what the document does, and how it becomes more.
fn only_watched(name: &str) -> [String; 3] {
    [
        format!("It is only watched: once an agent has looked, `drover describe {name}` lists what was found under"),
        "`To adopt`. Then commit `manage: full`, and the instances are taken over as they run; it waits while".to_owned(),
        "somebody else still makes and ends them.".to_owned(),
    ]
}

fn tag_map(tags: &BTreeMap<String, String>) -> Value {
    texts(
        tags.iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    )
}

/// Drafts the Provider document of an account and region.
pub(super) fn provider(name: &str, region: &str, profile: Option<&str>) -> Draft {
    let mut text = comments(&[
        "Instances of an AWS account and region, over the program drover-provider-ec2, which the agent starts as".to_owned(),
        "the plugin `ec2` (plugins.start in the agent's file). Credentials are the program's own.".to_owned(),
    ]);
    text.push_str("apiVersion: drover/v1alpha1\nkind: Provider\n");
    text.push_str(&entry(0, "metadata", &texts([("name", name)])));
    text.push_str("spec:\n  type: plugin\n  plugin: ec2\n");
    let profile = profile.map(|profile| ("profile", profile));
    let settings = [("region", region)].into_iter().chain(profile);
    text.push_str(&entry(1, "settings", &texts(settings)));
    Draft {
        path: format!("providers/{name}.yaml"),
        text,
    }
}

#[cfg(test)]
mod tests;
