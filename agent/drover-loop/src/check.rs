//! Checks that need to know the provider types: what a Provider document and a group's properties
//! may hold. Used by the pass and by `drover validate` alike.

use std::borrow::Cow;
use std::collections::BTreeMap;

use drover_model::{
    CloudInit, Flavor, Group, GroupUid, InstanceId, ProviderDoc, ProviderName, Seat, SeatId,
    SecretRef, SourceSpan, Value, Vanilla, key_path, value_path,
};
use drover_provider::{
    AttachmentUse, Described, Facts, FieldPart, InitUse, Manifest, Mistake, ProviderError,
    USER_DATA_MAX, unknown_substitutions, user_data,
};
use drover_spec::{Diagnostic, Glimpse, Repository};

use crate::registry::{Registry, RegistryError};

mod of_group;

/// What the programs behind Provider documents say of them.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// What a document takes.
    pub described: BTreeMap<ProviderName, Described>,
    /// Why a document's program says nothing.
    pub failed: BTreeMap<ProviderName, ProviderError>,
}

impl Asked {
    /// Asks about every document of a repository that the types find no mistake in.
    pub fn of(
        repository: &Repository,
        registry: &Registry,
        ask: &dyn Fn(&ProviderDoc) -> Result<Option<Described>, ProviderError>,
    ) -> Self {
        let mut asked = Self::default();
        let documents = repository.providers.values();
        for document in documents.map(|located| &located.value) {
            if !check_provider(document, registry).is_empty() {
                continue;
            }
            match ask(document) {
                Ok(None) => {}
                Ok(Some(described)) => {
                    asked.described.insert(document.name.clone(), described);
                }
                Err(error) => {
                    asked.failed.insert(document.name.clone(), error);
                }
            }
        }
        asked
    }

    /// Returns what groups on a document are checked against: what its program says, else its type.
    pub fn manifest<'a>(&self, provider: &ProviderName, type_: &'a Manifest) -> Cow<'a, Manifest> {
        match self.described.get(provider) {
            None => Cow::Borrowed(type_),
            Some(described) => Cow::Owned(Manifest {
                properties: described.properties.clone(),
                // What says more of itself is no plugin of InfraKit.
                attachments: AttachmentUse::Refused,
                ..type_.clone()
            }),
        }
    }

    /// Returns every mistake that a document's program finds in it.
    fn mistakes(&self, provider: &ProviderDoc) -> Vec<Diagnostic> {
        let described = self.described.get(&provider.name);
        let mistakes = described.map_or(&[][..], |described| &described.mistakes);
        let at = |path: &str| locate(&provider.setting_spans, path, &provider.span);
        let mistakes = mistakes.iter().cloned();
        mistakes
            .map(|mistake| diagnostic("provider-setting", mistake, &at))
            .collect()
    }
}

/// Returns every mistake that the provider types, and the programs that were asked, find in a repository.
pub fn check_repository(
    repository: &Repository,
    registry: &Registry,
    asked: &Asked,
) -> Vec<Diagnostic> {
    let documents = &repository.providers;
    let providers = documents.values().map(|located| &located.value);
    let mut found: Vec<Diagnostic> = providers
        .clone()
        .flat_map(|provider| {
            let mistakes = check_provider(provider, registry).into_iter();
            mistakes.chain(asked.mistakes(provider))
        })
        .collect();
    let by_name: BTreeMap<&ProviderName, &ProviderDoc> = providers
        .map(|provider| (&provider.name, provider))
        .collect();
    for located in repository.groups.values() {
        let group = &located.value;
        // A provider that is not there, or of no known type, has its own diagnostic.
        if let Some(provider) = by_name.get(&group.spec.provider)
            && let Ok(manifest) = registry.manifest(&provider.type_)
        {
            let manifest = asked.manifest(&provider.name, manifest);
            found.extend(check_group(group, &manifest));
            found.extend(of_group::check_with_settings(group, provider, &manifest));
        }
        found.extend(check_flavor_plugins(group, registry));
    }
    let broken = repository.broken.iter();
    for glimpse in broken.filter_map(|broken| broken.glimpse.as_ref()) {
        if let Some(provider) = by_name.get(&glimpse.provider)
            && let Ok(manifest) = registry.manifest(&provider.type_)
        {
            let manifest = asked.manifest(&provider.name, manifest);
            found.extend(check_glimpse(glimpse, provider, &manifest));
        }
        let group = glimpse.group.as_ref();
        found.extend(group.and_then(|group| check_flavor_plugins(group, registry)));
    }
    found
}

/// Returns every mistake of a group that has others, which would hide them: those in its properties, and what its provider
/// finds wrong with the rest.
fn check_glimpse(
    glimpse: &Glimpse,
    provider: &ProviderDoc,
    manifest: &Manifest,
) -> Vec<Diagnostic> {
    let at = |path: &str| locate(&glimpse.property_spans, path, &glimpse.provider_span);
    let mut found = properties(&glimpse.properties, manifest, &at);
    if let Some(group) = &glimpse.group {
        found.extend(check_rest(group, manifest));
        found.extend(of_group::check_with_settings(group, provider, manifest));
    }
    found
}

/// Returns every mistake in properties.
fn properties(
    properties: &Value,
    manifest: &Manifest,
    at: &dyn Fn(&str) -> SourceSpan,
) -> Vec<Diagnostic> {
    let mut mistakes = manifest.properties.check(properties);
    broken_secrets("", properties, &mut mistakes);
    let mistakes = mistakes.into_iter();
    mistakes
        .map(|mistake| diagnostic("provider-property", mistake, at))
        .collect()
}

/// Returns every mistake in a Provider document.
pub fn check_provider(provider: &ProviderDoc, registry: &Registry) -> Vec<Diagnostic> {
    let manifest = match registry.manifest(&provider.type_) {
        Ok(manifest) => manifest,
        Err(error) => {
            let code = match error {
                RegistryError::NotAllowed { .. } => "provider-not-allowed",
                RegistryError::Unknown { .. }
                | RegistryError::Settings { .. }
                | RegistryError::Open(_) => "unknown-provider-type",
            };
            let span = provider.type_span.clone();
            return vec![Diagnostic::error(code, error.to_string(), span)];
        }
    };
    let mistakes = manifest.settings.check(&provider.settings);
    let at = |path: &str| locate(&provider.setting_spans, path, &provider.span);
    mistakes
        .into_iter()
        .map(|mistake| diagnostic("provider-setting", mistake, &at))
        .collect()
}

/// Returns every mistake in a group's template against the manifest of its provider's type.
pub fn check_group(group: &Group, manifest: &Manifest) -> Vec<Diagnostic> {
    let template = &group.spec.template;
    let at = |path: &str| locate(&group.property_spans, path, &group.span);
    let mut found = properties(&template.properties, manifest, &at);
    let mut texts = Vec::new();
    collect_texts("", &template.properties, &mut texts);
    for (path, text) in texts {
        found.extend(substitutions(text, &at(&path)));
    }
    for text in template.tags.values() {
        found.extend(substitutions(text, &at("")));
    }
    for flavor in &template.flavors {
        let texts: Vec<&str> = match flavor {
            Flavor::Vanilla(Vanilla {
                init,
                env,
                // References have no substitutions.
                secrets: _,
                tags,
                attachments,
            }) => {
                let texts = init.iter().chain(env.values()).chain(tags.values());
                let attached = attachments.iter();
                let attached = attached.flat_map(|one| [&one.id, &one.type_]);
                texts.chain(attached).map(String::as_str).collect()
            }
            Flavor::CloudInit(CloudInit { parts }) => {
                parts.iter().map(|part| part.content.as_str()).collect()
            }
            Flavor::Plugin(plugin) => {
                let mut texts = Vec::new();
                collect_texts("", &plugin.properties, &mut texts);
                texts.into_iter().map(|(_, text)| text).collect()
            }
        };
        for text in texts {
            found.extend(substitutions(text, &at("")));
        }
    }
    found.extend(check_rest(group, manifest));
    found
}

/// Returns every mistake of a group beside its properties and what texts name.
fn check_rest(group: &Group, manifest: &Manifest) -> Vec<Diagnostic> {
    let mut found = of_group::check(group, manifest);
    found.extend(check_attachments(group, manifest));
    found.extend(check_user_data(group, manifest));
    found.extend(secrets_in_user_data(group, manifest));
    found
}

/// Returns the place of a field of a group, by its path below `spec`.
fn place(group: &Group, path: &str) -> SourceSpan {
    locate(&group.spec_spans, path, &group.span)
}

/// Returns the place of the name of a field of a flavor, by its path below the flavor.
fn of_flavor(group: &Group, position: usize, path: &str) -> SourceSpan {
    let path = format!("template.flavors[{position}].{path}");
    place(group, &key_path(&path))
}

/// Returns a mistake for a flavor that is a program, where the agent's file allows none.
fn check_flavor_plugins(group: &Group, registry: &Registry) -> Option<Diagnostic> {
    let is_plugin = |flavor: &Flavor| matches!(flavor, Flavor::Plugin(_));
    let at = group.spec.template.flavors.iter().position(is_plugin)?;
    if registry.allows_flavor_plugins() {
        return None;
    }
    let span = of_flavor(group, at, "plugin");
    let message =
        "flavor plugins are not allowed; add plugin to providers.allow in the agent's file";
    Some(Diagnostic::error("flavor-not-allowed", message, span))
}

/// Returns a mistake for attachments that nobody would attach. What plugins answer is not known.
fn check_attachments(group: &Group, manifest: &Manifest) -> Option<Diagnostic> {
    let attaches = |flavor: &Flavor| match flavor {
        Flavor::Vanilla(vanilla) => !vanilla.attachments.is_empty(),
        Flavor::CloudInit(_) | Flavor::Plugin(_) => false,
    };
    match manifest.attachments {
        AttachmentUse::HandedOver => return None,
        AttachmentUse::Refused => {}
    }
    let at = group.spec.template.flavors.iter().position(attaches)?;
    let span = of_flavor(group, at, "vanilla.attachments");
    let message = format!(
        "`attachments`: provider type {} attaches nothing that a flavor names, only plugins of InfraKit do",
        manifest.type_
    );
    Some(Diagnostic::error("attachments", message, span))
}

/// Returns a mistake for secrets that would become user data, which everybody on an instance can read.
fn secrets_in_user_data(group: &Group, manifest: &Manifest) -> Option<Diagnostic> {
    let secret = |flavor: &Flavor| match flavor {
        Flavor::Vanilla(vanilla) => vanilla.secrets.keys().next().cloned(),
        Flavor::CloudInit(_) | Flavor::Plugin(_) => None,
    };
    match manifest.init {
        InitUse::ShellLines => return None,
        InitUse::UserData => {}
    }
    let mut flavors = group.spec.template.flavors.iter().enumerate();
    let (at, name) = flavors.find_map(|(at, flavor)| Some((at, secret(flavor)?)))?;
    let span = of_flavor(group, at, &format!("vanilla.env.{name}"));
    let message = format!(
        "`env`: instances of provider type {} get the environment in their user data, where a secret can be read by everybody on the instance",
        manifest.type_
    );
    let diagnostic = Diagnostic::error("user-data", message, span);
    Some(diagnostic.hint("let the instance fetch it with an identity of its own"))
}

/// Returns what is wrong with a group's user data: a provider that takes none, or too much of it.
fn check_user_data(group: &Group, manifest: &Manifest) -> Option<Diagnostic> {
    let flavors = &group.spec.template.flavors;
    let first = flavors
        .iter()
        .position(|flavor| matches!(flavor, Flavor::CloudInit(_)))?;
    let span = of_flavor(group, first, "cloudInit");
    match manifest.init {
        InitUse::UserData => {}
        InitUse::ShellLines => {
            let message = format!(
                "`cloudInit`: instances of provider type {} take no user data, they have no cloud-init",
                manifest.type_
            );
            let diagnostic = Diagnostic::error("user-data", message, span);
            return Some(diagnostic.hint("write `vanilla` with init lines"));
        }
    }
    let facts = longest_facts(group);
    // What names no fact has its own diagnostic.
    let length = user_data(&group.spec.template, &facts).ok()??.len();
    let message = format!(
        "`cloudInit`: the user data has up to {length} bytes when rendered, and {USER_DATA_MAX} is the most"
    );
    let diagnostic = Diagnostic::error("user-data", message, span);
    let diagnostic = diagnostic.hint("fetch what is large on the instance: text/x-include-url");
    (length > USER_DATA_MAX).then_some(diagnostic)
}

/// Returns the facts of the instance whose facts are the longest.
fn longest_facts(group: &Group) -> Facts {
    let longest = |names: Vec<&String>| names.into_iter().max_by_key(|name| name.len()).cloned();
    let members = group.spec.quorum.iter().flat_map(|quorum| &quorum.members);
    let member = members.max_by_key(|member| member.id.as_str().len());
    let seat = member.map(|member| Seat {
        id: SeatId {
            life: GroupUid::parse("0000000000000000").expect("a valid uid"),
            member: member.id.clone(),
        },
        members: Vec::new(),
        bootstrap: false,
        attachments: Vec::new(),
    });
    Facts {
        instance: InstanceId::new(group.name.clone(), u64::MAX),
        group: group.name.clone(),
        zone: longest(group.spec.placement.zones.iter().collect()),
        address: None,
        seat,
        members: None,
    }
}

fn substitutions(text: &str, span: &SourceSpan) -> Vec<Diagnostic> {
    let unknown = unknown_substitutions(text).into_iter().map(|name| {
        let message = format!("unknown substitution `${{{name}}}`");
        Diagnostic::error("unknown-substitution", message, span.clone())
            .hint("write `$${` for a literal `${`")
    });
    unknown.collect()
}

fn diagnostic(code: &'static str, mistake: Mistake, at: &dyn Fn(&str) -> SourceSpan) -> Diagnostic {
    let span = match mistake.part {
        FieldPart::Name => at(&key_path(&mistake.path)),
        FieldPart::Value => at(&mistake.path),
    };
    let message = match mistake.path.as_str() {
        "" => mistake.message,
        path if mistake.message.contains(&format!("`{path}`")) => mistake.message,
        path => format!("{path}: {}", mistake.message),
    };
    let diagnostic = Diagnostic::error(code, message, span);
    match mistake.suggestion {
        Some(name) => diagnostic.hint(format!("did you mean `{name}`?")),
        None => diagnostic,
    }
}

/// Returns the place of `path`, or of the nearest thing around it that has one.
fn locate(spans: &BTreeMap<String, SourceSpan>, path: &str, otherwise: &SourceSpan) -> SourceSpan {
    let mut path = path;
    loop {
        if let Some(span) = spans.get(path) {
            return span.clone();
        }
        if let Some(value) = value_path(path) {
            path = value;
            continue;
        }
        if path.is_empty() {
            return otherwise.clone();
        }
        path = path.rfind(['.', '[']).map_or("", |at| &path[..at]);
    }
}

/// Adds what begins as a reference to a secret and is none, where the schema does not look.
fn broken_secrets(path: &str, value: &Value, mistakes: &mut Vec<Mistake>) {
    if let Some(Err(message)) = SecretRef::of_value(value) {
        if !mistakes.iter().any(|known| known.path == path) {
            mistakes.push(Mistake {
                path: path.to_owned(),
                message,
                suggestion: None,
                part: FieldPart::Value,
            });
        }
        return;
    }
    match value {
        Value::List(list) => {
            for (position, item) in list.iter().enumerate() {
                broken_secrets(&format!("{path}[{position}]"), item, mistakes);
            }
        }
        Value::Map(map) => {
            for (key, item) in map {
                broken_secrets(&below(path, key), item, mistakes);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::UInt(_)
        | Value::Float(_)
        | Value::String(_) => {}
    }
}

fn below(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

fn collect_texts<'a>(path: &str, value: &'a Value, texts: &mut Vec<(String, &'a str)>) {
    match value {
        Value::String(text) => texts.push((path.to_owned(), text)),
        Value::List(list) => {
            for (position, item) in list.iter().enumerate() {
                collect_texts(&format!("{path}[{position}]"), item, texts);
            }
        }
        Value::Map(map) => {
            for (key, item) in map {
                collect_texts(&below(path, key), item, texts);
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) => {}
    }
}
