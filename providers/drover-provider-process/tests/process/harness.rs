//! A provider in a folder of its own, calls to it, and conditions to wait for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drover_model::{
    Completeness, Digests, Epoch, FleetName, GroupName, InstanceId, Listed, ProviderName,
    ProviderPhase, ProviderRef, ProviderType, Template, TemplateParts, Timestamp, Token, Value,
};
use drover_provider::{
    Clock, DestroyRequest, Provider, ProviderError, ProviderFactory as _, ProvisionRequest, Slot,
};
use drover_provider_process::{ProcessFactory, ShimProgram};

/// The longest wait for anything: generous, because a loaded machine is slow, and only a failing
/// test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The test's own program, which holds the shim.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    let program = target.join("examples/process-shim");
    assert!(
        program.exists(),
        "{} is missing: build it with `cargo build -p drover-provider-process --examples`",
        program.display()
    );
    program
}

pub(crate) fn factory(data_dir: &Path) -> ProcessFactory {
    let shim = ShimProgram {
        program: program(),
        args: vec![OsString::from("shim")],
    };
    ProcessFactory::new(data_dir.to_owned(), shim, Arc::new(System))
}

pub(crate) struct Scope {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) provider: Arc<dyn Provider>,
}

impl Scope {
    pub(crate) fn new() -> Self {
        Self::with_settings(&Value::empty_map())
    }

    pub(crate) fn with_settings(settings: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let provider = open(dir.path(), settings);
        Self { dir, provider }
    }

    pub(crate) fn instances_dir(&self) -> PathBuf {
        self.dir.path().join("local/instances")
    }

    pub(crate) fn folder(&self, instance: &ProviderRef) -> PathBuf {
        self.instances_dir().join(instance.as_str())
    }

    pub(crate) async fn provision(&self, request: &ProvisionRequest) -> ProviderRef {
        let provisioned = self.provider.provision(request).await.unwrap();
        assert_eq!(provisioned.shortfall, None);
        provisioned.made.into_values().next().unwrap()
    }

    /// Starts instance `number` with a shell script as its command.
    pub(crate) async fn run(&self, number: u64, script: &str) -> ProviderRef {
        self.provision(&shell(number, script)).await
    }

    pub(crate) async fn list(&self) -> Vec<Listed> {
        let listing = self.provider.list(&fleet()).await.unwrap();
        assert_eq!(listing.completeness, Completeness::Complete);
        listing.instances
    }

    pub(crate) async fn listed(&self, instance: &ProviderRef) -> Option<Listed> {
        let mut listed = self.list().await.into_iter();
        listed.find(|listed| listed.provider_ref == *instance)
    }

    pub(crate) async fn phase(&self, instance: &ProviderRef) -> Option<ProviderPhase> {
        self.listed(instance).await.map(|listed| listed.phase)
    }

    /// Waits until the instance has ended by itself, and returns how, in words.
    pub(crate) async fn exit(&self, instance: &ProviderRef) -> String {
        until("the instance exits", async || {
            match self.phase(instance).await {
                Some(ProviderPhase::Exited(report)) => Some(report.to_string()),
                _ => None,
            }
        })
        .await
    }

    /// Waits until the instance has printed a line.
    pub(crate) async fn printed(&self, instance: &ProviderRef, line: &str) {
        until(&format!("{line:?} is printed"), async || {
            let log = self.provider.logs(instance, 1_000).await.unwrap();
            log.lines().any(|printed| printed == line).then_some(())
        })
        .await;
    }

    pub(crate) async fn destroy(&self, instance: &ProviderRef, grace: Duration) {
        self.try_destroy(instance, grace).await.unwrap();
    }

    pub(crate) async fn try_destroy(
        &self,
        instance: &ProviderRef,
        grace: Duration,
    ) -> Result<(), ProviderError> {
        let Some(listed) = self.listed(instance).await else {
            return Ok(());
        };
        let owned = listed.ownership.unwrap();
        self.provider
            .destroy(&DestroyRequest {
                fleet: owned.fleet,
                group: owned.group,
                epoch: owned.epoch,
                instance: owned.instance,
                provider_ref: instance.clone(),
                token: owned.token,
                grace,
                ending: drover_provider::Ending::default(),
            })
            .await
    }

    /// Destroys everything and sees that nothing is left: no folder, no address, no process.
    pub(crate) async fn finish(self) {
        for listed in self.list().await {
            self.destroy(&listed.provider_ref, Duration::ZERO).await;
        }
        until("every instance is gone", async || {
            self.list().await.is_empty().then_some(())
        })
        .await;
        until("every process is gone", async || {
            processes_of(self.dir.path()).is_empty().then_some(())
        })
        .await;
        for name in ["local/instances", "local/trash", ".addresses"] {
            // The addresses of members' places are kept with them.
            let kept = |path: &Path| {
                fs::read_link(path)
                    .is_ok_and(|to| to.starts_with(self.dir.path().join("local/places")))
            };
            let left = fs::read_dir(self.dir.path().join(name)).unwrap();
            let left = left.filter(|entry| !kept(&entry.as_ref().unwrap().path()));
            assert_eq!(left.count(), 0, "{name} is empty");
        }
    }
}

impl Drop for Scope {
    /// After a failed assertion: shims take their commands with them.
    fn drop(&mut self) {
        for pid in processes_of(self.dir.path()) {
            kill(pid, rustix::process::Signal::KILL);
        }
    }
}

pub(crate) fn open(data_dir: &Path, settings: &Value) -> Arc<dyn Provider> {
    open_as(data_dir, "local", settings).unwrap()
}

/// Opens the scope of the document of this name.
pub(crate) fn open_as(
    data_dir: &Path,
    name: &str,
    settings: &Value,
) -> Result<Arc<dyn Provider>, ProviderError> {
    let name = ProviderName::parse(name).unwrap();
    factory(data_dir).open(&name, settings)
}

/// Returns the shims and commands that belong to a folder, by command line or environment.
pub(crate) fn processes_of(dir: &Path) -> Vec<i32> {
    let text = dir.to_str().unwrap().as_bytes();
    let names = |path: String| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text)
    };
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| *pid != std::process::id().cast_signed())
        .filter(|pid| {
            names(format!("/proc/{pid}/cmdline")) || names(format!("/proc/{pid}/environ"))
        })
        .collect()
}

pub(crate) fn kill(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

/// Returns whether a process runs: it exists and is not a zombie.
pub(crate) fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Polls a condition until it holds.
pub(crate) async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn fleet() -> FleetName {
    FleetName::parse("prod").unwrap()
}

pub(crate) fn map(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

pub(crate) fn strings(texts: &[&str]) -> Value {
    Value::List(texts.iter().map(|text| Value::from(*text)).collect())
}

/// A call for instance `number` of group web that runs a program.
pub(crate) fn request(number: u64, properties: Value) -> ProvisionRequest {
    let group = GroupName::parse("web").unwrap();
    let template = Template::from(TemplateParts {
        properties: properties.clone(),
        flavors: Vec::new(),
        flavors_as_written: Value::Null,
        tags: BTreeMap::new(),
    });
    let type_ = ProviderType::parse("process").unwrap();
    let uid = drover_model::GroupUid::parse("0123456789abcdef").unwrap();
    let instance = InstanceId::new(group.clone(), number);
    ProvisionRequest {
        zone: None,
        token: Token::derive(&fleet(), &uid, Epoch(1), &instance, 0),
        fleet: fleet(),
        group,
        epoch: Epoch(1),
        digests: Digests::of(&type_, &template, &BTreeMap::new()),
        slots: vec![Slot {
            instance,
            init: Vec::new(),
            env: BTreeMap::new(),
            tags: BTreeMap::new(),
            attachments: Vec::new(),
            seat: None,
            secrets: BTreeMap::new(),
        }],
        properties,
        secrets: drover_provider::Secrets::default(),
        urgency: drover_provider::Urgency::default(),
        asked: None,
    }
}

pub(crate) fn shell(number: u64, script: &str) -> ProvisionRequest {
    let command = strings(&["/bin/sh", "-c", script]);
    request(number, map(&[("command", command)]))
}

pub(crate) fn serve(number: u64, args: &[&str]) -> ProvisionRequest {
    let program = program();
    let mut command = vec![program.to_str().unwrap(), "serve"];
    command.extend(args);
    request(number, map(&[("command", strings(&command))]))
}
