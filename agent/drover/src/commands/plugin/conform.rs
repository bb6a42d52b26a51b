//! `drover plugin conform`: the conformance suite of providers, run against a plugin, and that of flavors against one
//! that is nothing else.

use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{GroupUid, ProviderName, ProviderRef, Value};
use drover_provider::conformance::{
    self, CheckResult, Left, Notes, Outcome, Report, Subject, Unclear,
};
use drover_provider::{Provider, ProviderError, ProviderFactory as _};
use drover_provider_plugin::{
    Endpoint, FlavorSubject, Place, PluginFactory, PluginName, check_flavor, check_names,
    is_flavor, wire_unchecked,
};
use serde::Serialize;

use crate::agent::random;
use crate::cli::{AgentOptions, PluginConformArgs, ReportOutput, SourceOptions};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::output;
use crate::providers::SystemClock;
use crate::settings::Settings;
use crate::ui::Ui;

const PROPERTIES_HINT: &str =
    "--properties '{...}' says with which properties it can be tried; without, there are none";

/// Between two looks at a plugin's listing.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs the command.
pub(super) fn run(args: &PluginConformArgs, ui: Ui) -> CommandResult {
    let scratch = tempfile::tempdir().context("cannot make a scratch folder")?;
    let (place, plugin) = place(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    if let Ok(name) = plugin.parse::<PluginName>()
        && runtime.block_on(is_flavor(&name, &place))
    {
        let subject = flavor(args, name, place)?;
        let report = runtime.block_on(check_flavor(&subject));
        if args.output == ReportOutput::Text {
            ui.result(&report.to_string())?;
        }
        let found = Found {
            report,
            left: Vec::new(),
            unclear: None,
        };
        return told(args, &plugin, "the contract of flavors", &found, ui);
    }
    known_checks(&args.checks)?;
    let factory = PluginFactory::new(place, scratch.path().to_owned(), Arc::new(SystemClock));
    let mut settings = vec![("plugin".to_owned(), Value::from(plugin.as_str()))];
    settings.extend(args.settings.iter().cloned());
    let settings: Value = settings.into_iter().collect();
    known_settings(&factory, &settings)?;
    let provider = open(&factory, &settings)?;
    tryable(&factory, &settings, args)?;
    let subject = Plugin {
        provider,
        factory,
        settings,
        run_id: run_id(),
        args,
        ui,
        not_ended: Mutex::default(),
    };
    let found = runtime.block_on(tried(&subject))?;
    told(args, &plugin, "the provider contract", &found, ui)
}

/// What was found of a plugin.
struct Found {
    report: Report,
    /// What was made and is there all the same, or may be.
    left: Vec<Left>,
    /// Why more may be left. None: nothing is.
    unclear: Option<ProviderError>,
}

/// Runs the suite, calls what only the wire shows, and ends what is left of both.
async fn tried(subject: &Plugin<'_>) -> CommandResult<Found> {
    let notes = Notes::default();
    let report = tokio::select! {
        report = checked(subject, &notes) => Some(report?),
        // Nobody else knows what was made until then.
        _ = tokio::signal::ctrl_c() => None,
    };
    let (left, unclear) = match conformance::clear(subject, &notes).await {
        Ok(left) => (left, None),
        Err(Unclear { error, left }) => (left, Some(error)),
    };
    let Some(report) = report else {
        let error = CommandError::new("interrupted");
        return Err(unanswered(
            left_behind(error, &left, unclear.as_ref()),
            &notes,
        ));
    };
    let not_ended = subject.not_ended.lock();
    let not_ended = not_ended.unwrap_or_else(PoisonError::into_inner);
    match not_ended.first() {
        None => Ok(Found {
            report,
            left,
            unclear,
        }),
        Some(why) => {
            let error = CommandError::new("a released instance was not ended").hint(why);
            Err(left_behind(error, &left, unclear.as_ref()))
        }
    }
}

async fn checked(subject: &Plugin<'_>, notes: &Notes) -> CommandResult<Report> {
    let mut report = conformance::run_noting(subject, notes).await;
    if let Some(why) = report.untried {
        report.results.extend(wire_unchecked(subject, why));
        return Ok(report);
    }
    let (name, limit) = (subject_name()?, subject.args.patience);
    let wire = subject
        .factory
        .check_wire(subject, &name, &subject.settings, limit);
    report.results.extend(wire.await);
    Ok(report)
}

/// Says what is to be removed by hand, and whether that is all.
fn left_behind(
    mut error: CommandError,
    left: &[Left],
    unclear: Option<&ProviderError>,
) -> CommandError {
    if let Some(why) = unclear {
        error = error.detail(format!("what is left is not known: {why}"));
    }
    if left.is_empty() {
        return error;
    }
    error = error.detail("left behind, to be looked at and removed by hand:");
    for Left { provider_ref, why } in left {
        error = error.detail(format!("{provider_ref}: {why}"));
    }
    error
}

/// Says what may be made yet: calls that were under way, or had no answer.
fn unanswered(mut error: CommandError, notes: &Notes) -> CommandError {
    for instance in notes.asked() {
        error = error.detail(format!(
            "{instance} was asked for, and nobody knows whether it is made: look for it by its tags"
        ));
    }
    error
}

/// Fails if a setting of the Provider document is mistaken, with a suggestion where one is near.
fn known_settings(factory: &PluginFactory, settings: &Value) -> CommandResult<()> {
    let mistakes = factory.manifest().settings.check(settings);
    let Some(mistake) = mistakes.into_iter().next() else {
        return Ok(());
    };
    let error = CommandError::usage(format!("--setting {mistake}"));
    Err(match &mistake.suggestion {
        Some(meant) => error.hint(format!("did you mean {meant}?")),
        None => error,
    })
}

/// Fails if there is no check of such a name.
fn known_checks(checks: &[String]) -> CommandResult<()> {
    let unknown = |name: &&String| !check_names().any(|known| known == name.as_str());
    let Some(name) = checks.iter().find(unknown) else {
        return Ok(());
    };
    let error = CommandError::usage(format!("there is no check {name}"));
    Err(match drover_spec::closest(name, check_names()) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(format!(
            "the checks are {}",
            check_names().collect::<Vec<_>>().join(", ")
        )),
    })
}

/// Fails if the plugin itself says that nothing can be made of the properties: then nothing can be tried.
fn tryable(
    factory: &PluginFactory,
    settings: &Value,
    args: &PluginConformArgs,
) -> CommandResult<()> {
    // Whoever does not say what it takes is tried.
    let described = factory.describe(&subject_name()?, settings).ok().flatten();
    let mistakes = described.map(|described| described.properties.check(&args.properties));
    let Some(mistake) = mistakes.unwrap_or_default().into_iter().next() else {
        return Ok(());
    };
    let message =
        format!("the plugin takes no such properties, so nothing can be tried: {mistake}");
    Err(CommandError::usage(message).hint(PROPERTIES_HINT))
}

/// Returns what a flavor is tried with.
fn flavor(
    args: &PluginConformArgs,
    plugin: PluginName,
    place: Place,
) -> CommandResult<FlavorSubject<'_>> {
    let of_instances = [&args.exiting, &args.unhealthy, &args.printing];
    if of_instances.iter().any(|given| given.is_some())
        || args.end_released.is_some()
        || !args.checks.is_empty()
        || !args.settings.is_empty()
    {
        let message = format!("plugin {plugin} is a flavor, which makes nothing");
        return Err(CommandError::usage(message)
            .hint("--properties and --invalid say what can be asked of it, and all of its checks are made"));
    }
    Ok(FlavorSubject {
        plugin,
        place,
        properties: &args.properties,
        invalid: args.invalid.as_ref(),
        limit: args.patience,
    })
}

fn told(
    args: &PluginConformArgs,
    plugin: &str,
    contract: &str,
    found: &Found,
    ui: Ui,
) -> CommandResult {
    let Found {
        report,
        left,
        unclear,
    } = found;
    match args.output {
        // Each check was told when it had ended.
        ReportOutput::Text => ui.result(&sum(report))?,
        ReportOutput::Json => ui.result(&output::json(&document(plugin, found))?)?,
    }
    let error = if !report.conforms() {
        CommandError::new(format!("plugin {plugin} does not keep {contract}"))
    } else if left.is_empty() && unclear.is_none() {
        return Ok(Exit::Done);
    } else {
        CommandError::new(format!("plugin {plugin} has not ended what was made"))
    };
    let nothing_given = args.properties == Value::empty_map();
    let error = left_behind(error, left, unclear.as_ref());
    Err(if nothing_given {
        error.hint(PROPERTIES_HINT)
    } else {
        error
    })
}

/// Returns where the plugin is, and its name. What is a socket is meant as one.
fn place(args: &PluginConformArgs) -> CommandResult<(Place, String)> {
    let path = Path::new(&args.plugin);
    if path
        .metadata()
        .is_ok_and(|entry| entry.file_type().is_socket())
    {
        let name = path.file_name().map(|name| name.to_string_lossy());
        let name = name.unwrap_or_default().into_owned();
        let plugin = match args.subtype.as_str() {
            "" => name,
            subtype => format!("{name}/{subtype}"),
        };
        return Ok((Place::Fixed(Endpoint::Unix(path.to_owned())), plugin));
    }
    if path.is_absolute() || args.plugin.starts_with("./") || args.plugin.starts_with("../") {
        return Err(no_socket(path));
    }
    if !args.subtype.is_empty() {
        return Err(CommandError::usage("--subtype is for a socket")
            .hint(format!("write {}/{}", args.plugin, args.subtype)));
    }
    let settings = Settings::of_agent(&AgentOptions {
        source: SourceOptions {
            config: args.config.clone(),
            ..SourceOptions::default()
        },
        ..AgentOptions::default()
    })?;
    let directory = settings.places(scratch_free()).plugins;
    let Ok(name) = args.plugin.parse::<PluginName>() else {
        // Whoever opens it says what is wrong with the name.
        return Ok((Place::Named(directory), args.plugin.clone()));
    };
    // Fixed, so that nobody else of the folder is asked: what is wrong with its neighbours is no fault of the plugin.
    let endpoint = directory.find(&name.lookup);
    let endpoint = endpoint.context(format!("plugin {name} is not found"))?;
    Ok((Place::Fixed(endpoint), args.plugin.clone()))
}

/// Says that a path leads to no socket: no plugin has such a name.
fn no_socket(path: &Path) -> CommandError {
    let shown = path.display();
    let message = match path.symlink_metadata() {
        Ok(entry) if entry.is_dir() => format!("{shown} is a folder, and no socket of a plugin"),
        Ok(entry) if entry.is_symlink() => {
            format!("{shown} is a link that leads to no socket of a plugin")
        }
        Ok(_) => format!("{shown} is no socket of a plugin"),
        Err(error) => format!("there is no socket {shown} ({})", told_plainly(&error)),
    };
    CommandError::new(message).hint(
        "a plugin's socket is there while it runs; a name such as `simulator` is looked for in the plugins' folder",
    )
}

/// Returns why a path cannot be looked at, without the number that the system has for it.
fn told_plainly(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "nothing is there".to_owned(),
        ErrorKind::PermissionDenied => "it may not be looked at".to_owned(),
        _ => error.to_string(),
    }
}

/// Where no process is looked for.
fn scratch_free() -> &'static Path {
    Path::new("/nonexistent")
}

/// Returns the name of the suite's own Provider document.
fn subject_name() -> CommandResult<ProviderName> {
    ProviderName::parse("conformance").context("the suite's provider")
}

fn open(factory: &PluginFactory, settings: &Value) -> CommandResult<Arc<dyn Provider>> {
    factory
        .open(&subject_name()?, settings)
        .context("the plugin cannot be opened")
}

/// Returns something drawn for this run.
fn run_id() -> GroupUid {
    let drawn = format!("{:016x}", random());
    GroupUid::parse(&drawn).expect("16 lower-case letters or digits")
}

struct Plugin<'a> {
    factory: PluginFactory,
    settings: Value,
    provider: Arc<dyn Provider>,
    run_id: GroupUid,
    args: &'a PluginConformArgs,
    ui: Ui,
    /// Why `--end-released` did not end what it was to end.
    not_ended: Mutex<Vec<String>>,
}

impl Plugin<'_> {
    /// Runs the command of `--end-released`.
    async fn run_end(&self, command: &str, instance: &ProviderRef) -> Result<(), String> {
        let output = tokio::process::Command::new("/bin/sh")
            .args(["-c", command])
            .env("DROVER_REF", instance.as_str())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(self.args.patience, output).await;
        let output = output.map_err(|_| "--end-released does not end itself".to_owned())?;
        let output = output.map_err(|error| format!("--end-released cannot be run: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().lines().last().unwrap_or_default();
        let status = output.status;
        Err(format!(
            "--end-released, for {instance}, ended with {status}: {said}"
        ))
    }
}

#[async_trait]
impl Subject for Plugin<'_> {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider)
    }

    fn reopen(&self) -> Option<Arc<dyn Provider>> {
        open(&self.factory, &self.settings).ok()
    }

    fn other_scope(&self) -> Option<Result<Arc<dyn Provider>, ProviderError>> {
        // InfraKit's plugins know no scopes: every document over one sees the same.
        let name = subject_name().ok()?;
        let described = self.factory.describe(&name, &self.settings).ok().flatten();
        described?;
        let other = ProviderName::parse("conformance-other").ok()?;
        Some(self.factory.open(&other, &self.settings))
    }

    fn run_id(&self) -> GroupUid {
        self.run_id.clone()
    }

    fn running(&self) -> Value {
        self.args.properties.clone()
    }

    fn invalid(&self) -> Value {
        self.args.invalid.clone().unwrap_or(Value::Null)
    }

    fn has_invalid(&self) -> bool {
        self.args.invalid.is_some()
    }

    fn exiting(&self) -> Option<Value> {
        self.args.exiting.clone()
    }

    fn unhealthy(&self) -> Option<Value> {
        self.args.unhealthy.clone()
    }

    fn printing(&self) -> Option<Value> {
        self.args.printing.clone()
    }

    fn makes(&self, check: &str) -> bool {
        let checks = &self.args.checks;
        checks.is_empty() || checks.iter().any(|wanted| wanted == check)
    }

    async fn end_released(&self, instance: &ProviderRef) {
        let Some(command) = &self.args.end_released else {
            return;
        };
        if let Err(why) = self.run_end(command, instance).await {
            let not_ended = self.not_ended.lock();
            not_ended.unwrap_or_else(PoisonError::into_inner).push(why);
        }
    }

    fn ends_released(&self) -> bool {
        self.args.end_released.is_some()
    }

    fn told(&self, result: &CheckResult) {
        if self.args.output == ReportOutput::Text {
            // A reader who has gone is told by the sum that follows.
            let _ = self.ui.result(&result.to_string());
        }
    }

    async fn wait(&self) {
        tokio::time::sleep(PAUSE).await;
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.args.patience)
    }

    fn patience(&self) -> u32 {
        let waits = self.args.patience.as_millis() / PAUSE.as_millis();
        u32::try_from(waits).unwrap_or(u32::MAX).max(1)
    }
}

/// How many checks passed, failed and were skipped.
fn counts(report: &Report) -> [usize; 3] {
    let count = |wanted: fn(&Outcome) -> bool| {
        let results = report.results.iter();
        results.filter(|result| wanted(&result.outcome)).count()
    };
    [
        count(|outcome| matches!(outcome, Outcome::Passed)),
        count(|outcome| matches!(outcome, Outcome::Failed { .. })),
        count(|outcome| matches!(outcome, Outcome::Skipped { .. })),
    ]
}

fn sum(report: &Report) -> String {
    let [passed, failed, skipped] = counts(report);
    format!("{passed} passed, {failed} failed, {skipped} skipped\n")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportDocument<'a> {
    plugin: &'a str,
    conforms: bool,
    checks: Vec<CheckDocument<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<LeftDocument<'a>>,
    /// Why more may be left.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_unknown: Option<&'a str>,
}

/// What is to be removed by hand.
#[derive(Serialize)]
struct LeftDocument<'a> {
    #[serde(rename = "ref")]
    handle: &'a str,
    why: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckDocument<'a> {
    name: &'a str,
    sentence: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

fn document<'a>(plugin: &'a str, found: &'a Found) -> ReportDocument<'a> {
    let Found {
        report,
        left,
        unclear,
    } = found;
    let left = left.iter().map(|left| LeftDocument {
        handle: left.provider_ref.as_str(),
        why: &left.why,
    });
    let checks = report.results.iter().map(|result| {
        let (outcome, why) = match &result.outcome {
            Outcome::Passed => ("passed", None),
            Outcome::Failed { why } => ("failed", Some(why.as_str())),
            Outcome::Skipped { why } => ("skipped", Some(why.as_str())),
        };
        CheckDocument {
            name: result.name,
            sentence: result.sentence,
            outcome,
            why,
        }
    });
    ReportDocument {
        plugin,
        conforms: report.conforms(),
        checks: checks.collect(),
        left: left.collect(),
        left_unknown: unclear.as_ref().map(|error| error.message.as_str()),
    }
}
