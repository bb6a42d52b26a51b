//! `drover import infrakit`: groups of InfraKit as documents. Instances that its specification has made are adopted by
//! their tags, and those of an older specification as outdated.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use drover_model::{ProviderName, Value, counted, label_of, plural};
use drover_provider_plugin::{
    Directory, Endpoint, InfrakitGroup, Place, PluginName, config_hash, describe_instances,
    inspect_groups,
};

use super::{Draft, Drafts, comments, entry, literal, literal_text, texts, write};
use crate::cli::ImportInfrakitArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::infrakit_flavors::{Reading, Translated, translated};
use crate::printable::printable;
use crate::ui::Ui;

mod specification;

use specification::{Found, Read, Specification};

/// The largest file that is read: more than any list of groups that people wrote.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The tags by which InfraKit knows its instances.
const GROUP_TAG: &str = "infrakit.group";
const HASH_TAG: &str = "infrakit.config.hash";

/// What stands there of instances that InfraKit is to take up as they are: it counts them as of its specification.
const BOOTSTRAP: &str = "bootstrap";

/// Everything is InfraKit's, whatever it looks like; `flavor-vanilla` and the like are the programs of the first releases.
const READING: Reading = Reading {
    escape: literal_text,
    prefix: "flavor-",
};

/// Runs the command.
pub(super) fn run(args: &ImportInfrakitArgs, ui: Ui) -> CommandResult {
    let source = &args.source;
    let found = source
        .metadata()
        .context(format!("cannot read {}", source.display()))?;
    let live = found.file_type().is_socket();
    let read = if live {
        let groups = from_socket(source)?.into_iter().map(Found::from);
        Read {
            groups: groups.collect(),
            ..Read::default()
        }
    } else {
        from_file(source, found.len())?
    };
    let mut import = Import {
        provider: args.provider.clone(),
        neighbours: source.parent().filter(|_| live).map(Directory::new),
        source: source.display().to_string(),
        drafts: Drafts::default(),
        plugins: BTreeMap::new(),
        failed: 0,
    };
    import.drafts.remarks.extend(read.remarks);
    for found in &read.groups {
        import.group(found);
    }
    import.providers()?;
    let failed = import.failed;
    let written = write(import.drafts, &args.output, ui)?;
    Ok(if failed > 0 { Exit::Failed } else { written })
}

fn from_file(path: &Path, length: u64) -> CommandResult<Read> {
    let attempted = format!("cannot read {}", path.display());
    if length > FILE_BYTES_MAX {
        return Err(CommandError::new(attempted).detail("it is larger than 4 MiB"));
    }
    let bytes = fs::read(path).context(attempted)?;
    let shown = path.display().to_string();
    specification::read(&shown, &bytes)
}

fn from_socket(path: &Path) -> CommandResult<Vec<InfrakitGroup>> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let name: PluginName = name
        .unwrap_or_default()
        .parse()
        .context(format!("{} is no plugin", path.display()))?;
    let place = Place::Fixed(Endpoint::Unix(path.to_owned()));
    let groups = asked(inspect_groups(&place, &name))?;
    groups.context("cannot ask for groups")
}

/// Waits for an answer of a plugin.
fn asked<T>(question: impl Future<Output = T>) -> CommandResult<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    Ok(runtime.block_on(question))
}

/// An import in the making.
struct Import {
    provider: Option<ProviderName>,
    /// Where the other plugins are, if the groups are live.
    neighbours: Option<Directory>,
    source: String,
    drafts: Drafts,
    /// The instance plugins, with the names of their Provider documents.
    plugins: BTreeMap<String, String>,
    failed: usize,
}

impl Import {
    fn remark(&mut self, group: &str, remark: &str) {
        self.drafts.remarks.push(format!("group {group}: {remark}"));
    }

    /// Drafts the document of one group. One that cannot be translated is told and left out.
    fn group(&mut self, found: &Found) {
        let id = &found.group.id;
        match self.draft(found) {
            Ok(draft) => self.drafts.files.push(draft),
            Err(why) => {
                self.failed += 1;
                self.remark(id, &format!("not imported: {why}"));
            }
        }
    }

    fn draft(&mut self, found: &Found) -> Result<Draft, String> {
        let group = &found.group;
        let id = &group.id;
        let name = label_of(id).ok_or("nothing of its name can be a document's name")?;
        if name != *id {
            self.remark(
                id,
                &format!("it is called {name}, as names of documents are DNS labels"),
            );
        }
        let spec = Specification::of(&group.properties)?;
        let prepared = translated(spec.flavor, READING)?;
        let hash = config_hash(spec.instance, spec.flavor).map_err(|error| error.to_string())?;
        let provider = self.provider_of(&spec.plugin)?;
        let mut notes = found.notes.clone();
        notes.extend(spec.notes.iter().cloned());
        notes.extend(prepared.notes.iter().map(|note| note.text().to_owned()));
        notes.extend(self.found(id, &spec, &hash));
        for note in &notes {
            self.remark(id, note);
        }
        Ok(Draft {
            path: format!("groups/{name}.yaml"),
            text: self.document(id, &name, &provider, (&spec, &prepared, &hash), &notes)?,
        })
    }

    fn document(
        &self,
        id: &str,
        name: &str,
        provider: &str,
        (spec, prepared, hash): (&Specification<'_>, &Translated, &str),
        notes: &[String],
    ) -> Result<String, String> {
        let mut head = vec![
            format!("The InfraKit group {id}, from {}.", self.source),
            format!("It is only watched: once an agent has looked, `drover describe {name}` lists what was found under"),
            "`To adopt`. Free the group in InfraKit, then commit `manage: full`, and its instances are taken over".to_owned(),
            "as they run.".to_owned(),
        ];
        if !notes.is_empty() {
            head.push(String::new());
            head.push("What a person has to look at:".to_owned());
            head.extend(notes.iter().map(|note| format!("- {note}")));
        }
        let mut text = comments(&head);
        text.push_str("apiVersion: drover/v1alpha1\nkind: Group\n");
        text.push_str(&entry(0, "metadata", &texts([("name", name)])));
        text.push_str("spec:\n");
        text.push_str(&entry(1, "provider", &provider.into()));
        text.push_str(&spec.sized());
        text.push_str("  manage: observe\n  adopt:\n");
        let tags = |name, value| -> Value {
            [("matchTags".to_owned(), texts([(name, value)]))]
                .into_iter()
                .collect()
        };
        text.push_str(&entry(2, "selector", &tags(GROUP_TAG, id)));
        text.push_str("    # What was made from an older specification counts as outdated.\n");
        text.push_str("    # `bootstrap` is what InfraKit takes up as it is.\n");
        let mut current = tags(HASH_TAG, hash);
        if let Value::Map(current) = &mut current {
            let also = Value::List(vec![tags(HASH_TAG, BOOTSTRAP)]);
            current.insert("or".to_owned(), also);
        }
        text.push_str(&entry(2, "current", &current));
        text.push_str("    revision: assume\n  template:\n");
        let properties = spec.properties()?;
        text.push_str(&entry(2, "properties", &literal(&properties)));
        if !prepared.flavors.is_empty() {
            let flavors = Value::List(prepared.flavors.clone());
            text.push_str(&entry(2, "flavors", &flavors));
        }
        text.push_str("    # So that InfraKit knows them again, should they be handed back.\n");
        let kept = texts([(HASH_TAG, hash), (GROUP_TAG, id)]);
        text.push_str(&entry(2, "tags", &kept));
        Ok(text)
    }

    /// Returns the name of the Provider document of an instance plugin.
    fn provider_of(&mut self, plugin: &str) -> Result<String, String> {
        let name = match &self.provider {
            Some(name) => name.to_string(),
            None => label_of(plugin).ok_or("its instance plugin has no name")?,
        };
        let name = self.plugins.entry(plugin.to_owned()).or_insert(name);
        Ok(name.clone())
    }

    /// Drafts the Provider documents.
    fn providers(&mut self) -> CommandResult<()> {
        if self.provider.is_some() && self.plugins.len() > 1 {
            let plugins: Vec<&str> = self.plugins.keys().map(String::as_str).collect();
            return Err(CommandError::usage(
                "--provider names one document, the groups have several instance plugins",
            )
            .detail(printable(&plugins.join(", ")).into_owned())
            .hint("leave --provider out"));
        }
        for (plugin, name) in &self.plugins {
            let mut text = comments(&[
                "The instance plugin of groups of InfraKit. `drover plugin conform` checks whether it keeps drover's contract.".to_owned(),
            ]);
            text.push_str("apiVersion: drover/v1alpha1\nkind: Provider\n");
            text.push_str(&entry(0, "metadata", &texts([("name", name.as_str())])));
            let spec = texts([("type", "plugin"), ("plugin", plugin.as_str())]);
            text.push_str(&entry(0, "spec", &spec));
            self.drafts.files.push(Draft {
                path: format!("providers/{name}.yaml"),
                text,
            });
        }
        Ok(())
    }

    /// Looks at the instances of a live group, and returns what is to be known of them.
    fn found(&self, id: &str, spec: &Specification<'_>, hash: &str) -> Vec<String> {
        let Some(folder) = &self.neighbours else {
            return Vec::new();
        };
        let Ok(plugin) = spec.plugin.parse::<PluginName>() else {
            return Vec::new();
        };
        let place = Place::Named(folder.clone());
        let answer = asked(describe_instances(&place, &plugin, (GROUP_TAG, id)));
        let found = match answer {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                return vec![format!("its instances could not be looked at: {error}")];
            }
            Err(error) => return vec![format!("its instances could not be looked at: {error}")],
        };
        let mut notes = Vec::new();
        let has = |tags: &BTreeMap<String, String>, value: &str| {
            tags.get(HASH_TAG).is_some_and(|tag| tag == value)
        };
        let is_current = |tags| has(tags, hash) || has(tags, BOOTSTRAP);
        let taken_up = found.iter().filter(|one| has(&one.tags, BOOTSTRAP));
        let taken_up: Vec<&str> = taken_up.map(|one| one.id.as_str()).collect();
        if !taken_up.is_empty() {
            notes.push(format!(
                "of {}, {} to be taken up as found ({HASH_TAG}: {BOOTSTRAP}) and current: {}",
                counted(found.len(), "instance"),
                plural(taken_up.len(), "is", "are"),
                taken_up.join(", ")
            ));
        }
        let outdated: Vec<&str> = found
            .iter()
            .filter(|one| !is_current(&one.tags))
            .map(|one| one.id.as_str())
            .collect();
        if !outdated.is_empty() {
            notes.push(format!(
                "of {}, {} of another specification and outdated, so that a rollout replaces them: {}",
                counted(found.len(), "instance"),
                plural(outdated.len(), "is", "are"),
                outdated.join(", ")
            ));
        }
        let wanted = spec.size();
        if found.len() as u64 != wanted {
            notes.push(format!(
                "it has {} and wants {wanted}",
                counted(found.len(), "instance")
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests;
