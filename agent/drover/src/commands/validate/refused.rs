//! What the agent of a file would refuse of documents that are valid elsewhere: types, engines, networks, folders and
//! secrets that the file does not allow. Nothing is opened, and no secret read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use drover_loop::{Asked, Registry, RegistryError, check_repository};
use drover_model::{Flavor, Group, ProviderDoc, ProviderName, SecretRef, SourceSpan, Value};
use drover_provider_docker::Grants;
use drover_spec::{Diagnostic, Repository};

use crate::providers;
use crate::secrets::LocalSecrets;
use crate::settings::Settings;

/// The code of what a file does not allow.
const NOT_ALLOWED: &str = "not-allowed";

/// Returns everything that the agent would refuse.
pub(super) fn refused(repository: &Repository, settings: &Settings) -> Vec<Diagnostic> {
    let places = settings.places(Path::new("/nonexistent"));
    let grants = places.grants.clone();
    let registry = Registry::new(providers::factories(places), settings.allowed.clone());
    let mut found = check_repository(repository, &registry, &Asked::default());
    // Everything else was found without the agent's file.
    found.retain(|mistake| ["provider-not-allowed", "flavor-not-allowed"].contains(&mistake.code));
    let documents = repository.providers.values().map(|located| &located.value);
    let docker: BTreeMap<&ProviderName, &ProviderDoc> = documents
        .filter(|document| document.type_.as_str() == "docker")
        .map(|document| (&document.name, document))
        .collect();
    found.extend(docker.values().filter_map(|it| engine(it, &registry)));
    let nothing = Arc::new(|_: &str| Err("nothing is read".to_owned()));
    let secrets = LocalSecrets::new(settings.secrets.clone(), nothing);
    for located in repository.groups.values() {
        let group = &located.value;
        if docker.contains_key(&group.spec.provider) {
            found.extend(of_container(group, &grants));
        }
        found.extend(of_secrets(group, &secrets));
    }
    found
}

/// Returns a mistake for an engine that the agent does not use. Opening a document of one calls nobody.
fn engine(document: &ProviderDoc, registry: &Registry) -> Option<Diagnostic> {
    let opened = registry.open(&document.name, &document.type_, &document.settings);
    let Err(RegistryError::Open(error)) = opened else {
        return None;
    };
    let span = document.setting_spans.get("endpoint");
    let span = span.unwrap_or(&document.span).clone();
    Some(Diagnostic::error(NOT_ALLOWED, error.message, span))
}

/// Returns the networks and the folders of the machine that containers are not given.
fn of_container(group: &Group, grants: &Grants) -> Vec<Diagnostic> {
    let list = |name: &str| {
        let found = group.spec.template.properties.get(name);
        found.and_then(Value::as_list).unwrap_or_default()
    };
    let mut found = Vec::new();
    for (at, network) in list("networks").iter().enumerate() {
        let Some(name) = network.as_str() else {
            continue;
        };
        if !grants.networks.iter().any(|granted| granted == name) {
            let message =
                format!("networks: {name:?} is not among `docker.networks` of the agent's file");
            found.push(refusal(message, place(group, &format!("networks[{at}]"))));
        }
    }
    for (at, mount) in list("mounts").iter().enumerate() {
        let Some(path) = mount.get("path").and_then(Value::as_str) else {
            continue;
        };
        if !grants.mounts.iter().any(|granted| granted.path == path) {
            let message =
                format!("mounts: {path} is not among `docker.mounts` of the agent's file");
            found.push(refusal(
                message,
                place(group, &format!("mounts[{at}].path")),
            ));
        }
    }
    found
}

/// Returns the secrets that the agent does not read.
fn of_secrets(group: &Group, secrets: &LocalSecrets) -> Vec<Diagnostic> {
    let mut references = Vec::new();
    within("", &group.spec.template.properties, &mut |path, it| {
        references.push((it, place(group, path)));
    });
    let flavors = group.spec.template.flavors.iter();
    for (at, flavor) in flavors.enumerate() {
        match flavor {
            Flavor::Vanilla(vanilla) => {
                let named = vanilla.secrets.iter().map(|(name, it)| {
                    let path = format!("template.flavors[{at}].vanilla.env.{name}");
                    let span = group.spec_spans.get(&path).unwrap_or(&group.span);
                    (it.clone(), span.clone())
                });
                references.extend(named);
            }
            Flavor::CloudInit(_) | Flavor::Plugin(_) => {}
        }
    }
    let mut told = BTreeSet::new();
    let refused = references.into_iter().filter_map(|(reference, span)| {
        let why = secrets.allows(&reference).err()?;
        let message = format!("secret {reference}: {why}");
        told.insert((span.clone(), message.clone()))
            .then(|| refusal(message, span))
    });
    refused.collect()
}

/// Visits every reference to a secret in a value, with its path.
fn within(path: &str, value: &Value, visit: &mut impl FnMut(&str, SecretRef)) {
    if let Some(reference) = SecretRef::of_value(value) {
        // A broken one has a mistake of its own.
        if let Ok(reference) = reference {
            visit(path, reference);
        }
        return;
    }
    for (at, item) in value.as_list().unwrap_or_default().iter().enumerate() {
        within(&format!("{path}[{at}]"), item, visit);
    }
    for (key, item) in value.as_map().into_iter().flatten() {
        let path = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        within(&path, item, visit);
    }
}

fn place(group: &Group, path: &str) -> SourceSpan {
    let span = group.property_spans.get(path);
    span.unwrap_or(&group.span).clone()
}

fn refusal(message: String, span: SourceSpan) -> Diagnostic {
    Diagnostic::error(NOT_ALLOWED, message, span)
}
