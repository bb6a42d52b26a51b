//! The files of a repository, put together: what is there, what is broken, what does not fit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_model::{
    Binding, BindingName, Calendar, CalendarName, DecisionPoint, Enforcement, Group, GroupName,
    Kind, MetricName, MetricSource, MetricSourceName, Policy, PolicyName, ProviderDoc,
    ProviderName, SourceSpan,
};

use crate::decode::closest;
use crate::diagnostic::Diagnostic;
use crate::document::{Document, FleetDoc, Glimpse, ParsedDocument, ParsedFile};

mod dependencies;

/// Everything that a repository says at one commit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Repository {
    /// The groups.
    pub groups: BTreeMap<GroupName, Located<Arc<Group>>>,
    /// The policies.
    pub policies: BTreeMap<PolicyName, Located<Policy>>,
    /// The bindings.
    pub bindings: BTreeMap<BindingName, Located<Binding>>,
    /// The providers.
    pub providers: BTreeMap<ProviderName, Located<ProviderDoc>>,
    /// The sources of metrics.
    pub metric_sources: BTreeMap<MetricSourceName, Located<MetricSource>>,
    /// The calendars.
    pub calendars: BTreeMap<CalendarName, Located<Calendar>>,
    /// The fleet document, if there is one.
    pub fleet: Option<Located<FleetDoc>>,
    /// Documents with mistakes: their last good version stays in force.
    pub broken: Vec<BrokenDocument>,
    /// Every mistake and warning, in the order of files and places.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether every document's kind and name are beyond doubt: only then is what is absent removed.
    pub identities_readable: bool,
}

/// A good document and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Located<T> {
    /// What it says.
    pub value: T,
    /// The file.
    pub path: String,
    /// The line at which `text` starts, from 1.
    pub line: u32,
    /// The document's own text as written.
    pub text: Arc<str>,
}

/// A document with mistakes.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokenDocument {
    /// Kind and name, as far as they can be read.
    pub identity: Option<(Kind, String)>,
    /// The file.
    pub path: String,
    /// The mistakes. Empty only for a file that is broken as a whole: see its first document's.
    pub diagnostics: Vec<Diagnostic>,
    /// What can still be told of a group, to find the mistakes in its properties too.
    pub glimpse: Option<Glimpse>,
}

impl Repository {
    /// Returns whether there is any error; warnings do not count.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// Returns whether there may be metrics or calendars beside those that are read: a document that may
    /// be of their kinds is broken.
    pub fn defines_more(&self) -> bool {
        self.broken.iter().any(|broken| match &broken.identity {
            None => true,
            Some((kind, _)) => matches!(kind, Kind::MetricSource | Kind::Calendar),
        })
    }

    /// Returns whether a document of that kind and name is there, good or broken.
    pub fn mentions(&self, kind: Kind, name: &str) -> bool {
        let good = match kind {
            Kind::Fleet => {
                let fleet = self.fleet.as_ref();
                fleet.is_some_and(|fleet| fleet.value.name == name)
            }
            Kind::Group => self.groups.keys().any(|key| key.as_str() == name),
            Kind::Policy => self.policies.keys().any(|key| key.as_str() == name),
            Kind::Binding => self.bindings.keys().any(|key| key.as_str() == name),
            Kind::Provider => self.providers.keys().any(|key| key.as_str() == name),
            Kind::MetricSource => self.metric_sources.keys().any(|key| key.as_str() == name),
            Kind::Calendar => self.calendars.keys().any(|key| key.as_str() == name),
        };
        good || self
            .broken
            .iter()
            .any(|broken| matches!(&broken.identity, Some((k, n)) if *k == kind && n == name))
    }
}

/// Puts the files of a repository together and checks what crosses documents: repeated names,
/// references that name nothing, policies that do not fit the groups that they are bound to.
///
/// A repeated name leaves none of the documents in force: which one is meant, nobody knows. A
/// reference that names nothing is an error, but its document stays, so that the agent can say what
/// it waits for.
pub fn assemble<'a>(files: impl IntoIterator<Item = &'a ParsedFile>) -> Repository {
    let mut repository = Repository {
        identities_readable: true,
        ..Repository::default()
    };
    let mut places = BTreeMap::new();
    let files: Vec<&ParsedFile> = files.into_iter().collect();
    for file in &files {
        repository.identities_readable &= file.identities_readable();
        for document in &file.documents {
            if let Some(identity) = &document.identity {
                let found: &mut Vec<Place<'_>> = places.entry(identity.clone()).or_default();
                found.push(Place { file, document });
            }
        }
    }
    for file in &files {
        add_file(&mut repository, file, &places);
    }
    check_fleet(&mut repository, &places);
    check_providers(&mut repository);
    dependencies::check(&mut repository);
    check_bindings(&mut repository);
    check_size_policies(&mut repository);
    check_metrics(&mut repository);
    repository
        .diagnostics
        .sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    repository
}

/// Where a document stands.
struct Place<'a> {
    file: &'a ParsedFile,
    document: &'a ParsedDocument,
}

impl Place<'_> {
    fn span(&self) -> SourceSpan {
        match &self.document.outcome {
            Some(Document::Fleet(fleet)) => fleet.span.clone(),
            Some(Document::Group(group)) => group.span.clone(),
            Some(Document::Policy(policy)) => policy.span.clone(),
            Some(Document::Binding(binding)) => binding.span.clone(),
            Some(Document::Provider(provider)) => provider.span.clone(),
            Some(Document::MetricSource(source)) => source.span.clone(),
            Some(Document::Calendar(calendar)) => calendar.span.clone(),
            None => SourceSpan {
                line: self.document.line,
                ..SourceSpan::start_of(&self.file.path)
            },
        }
    }
}

type Places<'a> = BTreeMap<(Kind, String), Vec<Place<'a>>>;

fn add_file(repository: &mut Repository, file: &ParsedFile, places: &Places<'_>) {
    repository
        .diagnostics
        .extend(file.diagnostics.iter().cloned());
    if file.diagnostics.iter().any(Diagnostic::is_error) {
        repository.broken.push(BrokenDocument {
            identity: None,
            path: file.path.clone(),
            diagnostics: file.diagnostics.clone(),
            glimpse: None,
        });
    }
    for document in &file.documents {
        let mut diagnostics = document.diagnostics.clone();
        repository.diagnostics.extend(diagnostics.iter().cloned());
        if let Some((repeated, is_first)) = repeated(file, document, places) {
            // Each of them is not in force for it, and people are told of each pair once.
            if !is_first {
                repository.diagnostics.push(repeated.clone());
            }
            diagnostics.push(repeated);
        }
        match &document.outcome {
            Some(outcome) if diagnostics.iter().all(|found| !found.is_error()) => {
                add_document(repository, file, document, outcome);
            }
            outcome => repository.broken.push(BrokenDocument {
                identity: document.identity.clone(),
                path: file.path.clone(),
                diagnostics,
                glimpse: match outcome {
                    Some(Document::Group(group)) => Some(Glimpse::of_group(group)),
                    Some(_) | None => document.glimpse.clone(),
                },
            }),
        }
    }
}

/// Says that a name is repeated, and where else it is: at the first of its places the second, at the others the first.
/// Returns whether it is the first one, too.
fn repeated(
    file: &ParsedFile,
    document: &ParsedDocument,
    places: &Places<'_>,
) -> Option<(Diagnostic, bool)> {
    let identity = document.identity.as_ref()?;
    let all = places.get(identity)?;
    let same = |place: &&Place<'_>| std::ptr::eq(place.document, document);
    let other = all.iter().find(|place| !same(place))?.span();
    let (kind, name) = identity;
    let place = Place { file, document };
    let message = format!(
        "the {} `{name}` is defined more than once, also at {}:{}",
        kind.as_str(),
        other.file,
        other.line
    );
    let diagnostic = Diagnostic::error("duplicate-document", message, place.span())
        .hint("a document's identity is kind + name, whatever its path; until one of them goes, none is in force")
        .related(other, "also here");
    Some((diagnostic, all.first().is_some_and(|first| same(&first))))
}

fn add_document(
    repository: &mut Repository,
    file: &ParsedFile,
    document: &ParsedDocument,
    outcome: &Document,
) {
    fn located<T: Clone>(value: &T, file: &ParsedFile, document: &ParsedDocument) -> Located<T> {
        Located {
            value: value.clone(),
            path: file.path.clone(),
            line: document.line,
            text: document.text.clone(),
        }
    }
    match outcome {
        Document::Fleet(fleet) => repository.fleet = Some(located(fleet, file, document)),
        Document::Group(group) => {
            let value = located(group, file, document);
            repository.groups.insert(group.name.clone(), value);
        }
        Document::Policy(policy) => {
            let value = located(&**policy, file, document);
            repository.policies.insert(policy.name.clone(), value);
        }
        Document::Binding(binding) => {
            let value = located(&**binding, file, document);
            repository.bindings.insert(binding.name.clone(), value);
        }
        Document::Provider(provider) => {
            let value = located(&**provider, file, document);
            repository.providers.insert(provider.name.clone(), value);
        }
        Document::MetricSource(source) => {
            let value = located(&**source, file, document);
            repository.metric_sources.insert(source.name.clone(), value);
        }
        Document::Calendar(calendar) => {
            let value = located(&**calendar, file, document);
            repository.calendars.insert(calendar.name.clone(), value);
        }
    }
}

/// There is one fleet document, under whatever name.
fn check_fleet(repository: &mut Repository, places: &Places<'_>) {
    let names: BTreeSet<&str> = places
        .keys()
        .filter(|(kind, _)| *kind == Kind::Fleet)
        .map(|(_, name)| name.as_str())
        .collect();
    if names.len() < 2 {
        return;
    }
    let fleets: Vec<(&String, &Place<'_>)> = places
        .iter()
        .filter(|((kind, _), _)| *kind == Kind::Fleet)
        .flat_map(|((_, name), places)| places.iter().map(move |place| (name, place)))
        .collect();
    let first = fleets[0].1.span();
    for (position, (name, place)) in fleets.into_iter().enumerate() {
        let mistake = (position > 0).then(|| {
            Diagnostic::error(
                "duplicate-document",
                "a repository has one Fleet document",
                place.span(),
            )
            .related(first.clone(), "the first one")
        });
        repository.diagnostics.extend(mistake.clone());
        // None of them counts, so what was in force before stays.
        repository.broken.push(BrokenDocument {
            identity: Some((Kind::Fleet, name.clone())),
            path: place.file.path.clone(),
            diagnostics: mistake.into_iter().collect(),
            glimpse: None,
        });
    }
    repository.fleet = None;
}

fn no_such(kind: Kind, name: &str, span: SourceSpan, known: &BTreeSet<String>) -> Diagnostic {
    let message = format!("there is no {} `{name}`", kind.as_str());
    let diagnostic = Diagnostic::error("unknown-reference", message, span);
    match closest(name, known.iter().map(String::as_str)) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => {
            diagnostic.hint(format!("the repository has no {} document", kind.as_str()))
        }
        None => {
            let known: Vec<&str> = known.iter().take(5).map(String::as_str).collect();
            diagnostic.hint(format!("there is {}", known.join(", ")))
        }
    }
}

/// Returns the names of a kind, those of broken documents too: what refers to them is not wrong.
fn known_names(repository: &Repository, kind: Kind) -> BTreeSet<String> {
    let good: Vec<String> = match kind {
        Kind::Provider => repository
            .providers
            .keys()
            .map(ToString::to_string)
            .collect(),
        Kind::Policy => repository
            .policies
            .keys()
            .map(ToString::to_string)
            .collect(),
        Kind::Group => repository.groups.keys().map(ToString::to_string).collect(),
        Kind::Binding => repository
            .bindings
            .keys()
            .map(ToString::to_string)
            .collect(),
        // Nothing refers to them by the name of a document but expressions, which nobody reads here.
        Kind::Fleet | Kind::MetricSource | Kind::Calendar => Vec::new(),
    };
    let broken = repository.broken.iter().filter_map(|broken| {
        let (broken_kind, name) = broken.identity.as_ref()?;
        (*broken_kind == kind).then(|| name.clone())
    });
    good.into_iter().chain(broken).collect()
}

fn check_providers(repository: &mut Repository) {
    let known = known_names(repository, Kind::Provider);
    let named = repository.groups.values().map(|group| {
        let group = &group.value;
        (&group.spec.provider, &group.provider_span)
    });
    let glimpses = repository
        .broken
        .iter()
        .filter_map(|it| it.glimpse.as_ref());
    let glimpsed = glimpses.map(|glimpse| (&glimpse.provider, &glimpse.provider_span));
    let missing = named.chain(glimpsed);
    let missing: Vec<Diagnostic> = missing
        .filter(|(provider, _)| !known.contains(provider.as_str()))
        .map(|(provider, span)| no_such(Kind::Provider, provider.as_str(), span.clone(), &known))
        .collect();
    repository.diagnostics.extend(missing);
}

fn check_bindings(repository: &mut Repository) {
    let known = known_names(repository, Kind::Policy);
    let groups_certain = repository.broken.iter().all(|broken| {
        broken
            .identity
            .as_ref()
            .is_some_and(|(kind, _)| *kind != Kind::Group)
    });
    let mut found = Vec::new();
    for Located { value: binding, .. } in repository.bindings.values() {
        if !known.contains(binding.policy.as_str()) {
            let span = binding.policy_span.clone();
            found.push(no_such(Kind::Policy, binding.policy.as_str(), span, &known));
        } else if let Some(policy) = repository.policies.get(&binding.policy) {
            found.extend(unknown_params(binding, &policy.value));
        }
        let mut groups = repository.groups.values();
        let matched = groups.any(|group| binding.selector.matches(&group.value.labels));
        // A broken group may be the one that is meant.
        if !matched && groups_certain {
            let message = format!("the binding `{}` selects no group", binding.name);
            let span = binding.span.clone();
            found.push(Diagnostic::warning("selects-nothing", message, span));
        }
    }
    repository.diagnostics.extend(found);
}

fn unknown_params(binding: &Binding, policy: &Policy) -> Vec<Diagnostic> {
    let unknown = binding
        .params
        .keys()
        .filter(|name| !policy.params.contains_key(*name));
    unknown
        .map(|name| {
            let span = binding.param_spans.get(name).unwrap_or(&binding.span);
            let message = format!("the policy `{}` has no parameter `{name}`", policy.name);
            let diagnostic = Diagnostic::error("unknown-parameter", message, span.clone());
            match closest(name, policy.params.keys().map(String::as_str)) {
                Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                None => diagnostic,
            }
        })
        .collect()
}

/// Policies know a metric by its name alone, so no two documents may give the same.
fn check_metrics(repository: &mut Repository) {
    let mut seen: BTreeMap<&MetricName, &SourceSpan> = BTreeMap::new();
    let mut found = Vec::new();
    for Located { value: source, .. } in repository.metric_sources.values() {
        for (name, metric) in &source.metrics {
            if let Some(first) = seen.insert(name, &metric.span) {
                let message = format!("the metric `{name}` is defined by two documents");
                let span = metric.span.clone();
                let mistake = Diagnostic::error("duplicate-metric", message, span)
                    .hint("policies know a metric by its name alone: rename one of them")
                    .related(first.clone(), "also here");
                found.push((source.name.clone(), mistake));
            }
        }
    }
    for (name, mistake) in found {
        // What the other policies read stays: the first document by name counts, the second does not.
        repository.metric_sources.remove(&name);
        repository.diagnostics.push(mistake.clone());
        repository.broken.push(BrokenDocument {
            identity: Some((Kind::MetricSource, name.to_string())),
            path: mistake.span.file.to_string(),
            diagnostics: vec![mistake],
            glimpse: None,
        });
    }
}

/// A group's size has one master, and that one stays within bounds that Git owns.
fn check_size_policies(repository: &mut Repository) {
    let is_size = |binding: &&Located<Binding>| {
        binding.value.enforcement == Enforcement::Deny
            && repository
                .policies
                .get(&binding.value.policy)
                .is_some_and(|policy| policy.value.point == DecisionPoint::Size)
    };
    let bindings: Vec<&Located<Binding>> = repository.bindings.values().filter(is_size).collect();
    let mut found = Vec::new();
    for Located { value: group, .. } in repository.groups.values() {
        let mut bound = bindings
            .iter()
            .map(|binding| &binding.value)
            .filter(|binding| binding.selector.matches(&group.labels));
        let Some(first) = bound.next() else { continue };
        if group.spec.bounds.is_none() {
            let message = format!(
                "the group `{}` needs `bounds`, because the binding `{}` lets a policy choose its size",
                group.name, first.name
            );
            found.push(
                Diagnostic::error("size-without-bounds", message, group.span.clone())
                    .hint("write `bounds: {min: ..., max: ...}`")
                    .related(first.span.clone(), "the binding"),
            );
        }
        for second in bound {
            let message = format!(
                "two size policies are bound to the group `{}`: by `{}` and by `{}`",
                group.name, first.name, second.name
            );
            found.push(
                Diagnostic::error("two-size-policies", message, second.span.clone())
                    .hint("give one of them another selector, or `enforcement: audit`")
                    .related(first.span.clone(), "the other binding"),
            );
        }
    }
    repository.diagnostics.extend(found);
}

#[cfg(test)]
mod tests;
