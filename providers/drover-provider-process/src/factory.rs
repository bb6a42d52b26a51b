//! The provider type `process`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{ErrorClass, FieldClass, ProviderName, ProviderType, Value};
use drover_provider::{
    AdoptRule, AttachmentUse, CheckRule, Clock, Field, Form, GroupRules, InitUse, ListShape,
    Manifest, ObjectSchema, Provider, ProviderError, ProviderFactory, Rules, Shape, Way,
};

use crate::folder::Root;
use crate::provider::ProcessProvider;

/// Kilobytes of log that are kept of an instance unless the settings say otherwise: a day of a
/// program that prints ten bytes a second.
const LOG_LIMIT_KIB: i64 = 1_024;

/// The program that keeps instances: the agent's own binary with its hidden subcommand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimProgram {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// The arguments that lead to [`shim_main`](crate::shim_main), such as `shim`.
    pub args: Vec<OsString>,
}

/// Makes providers of the type `process`.
#[derive(Debug)]
pub struct ProcessFactory {
    manifest: Manifest,
    data_dir: PathBuf,
    shim: ShimProgram,
    clock: Arc<dyn Clock>,
}

impl ProcessFactory {
    /// Makes a factory whose instances live in folders below `data_dir`, one folder per Provider
    /// document. Agents that share a `data_dir` take turns, and never give one address out twice.
    pub fn new(data_dir: PathBuf, shim: ShimProgram, clock: Arc<dyn Clock>) -> Self {
        Self {
            manifest: Manifest {
                type_: ProviderType::parse("process").expect("a valid label"),
                properties: properties_schema(),
                settings: settings_schema(),
                batch_max: 1,
                // An instance's folder is listed from the moment that it has its name.
                visibility: Duration::ZERO,
                init: InitUse::ShellLines,
                attachments: AttachmentUse::Refused,
            },
            data_dir,
            shim,
            clock,
        }
    }
}

impl ProviderFactory for ProcessFactory {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open(
        &self,
        name: &ProviderName,
        settings: &Value,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        if let Some(mistake) = self.manifest.settings.check(settings).first() {
            let message = format!("settings: {}: {}", mistake.path, mistake.message);
            return Err(ProviderError::new(ErrorClass::InvalidSpec, message));
        }
        let limit_kib = match settings.get("logLimitKiB") {
            Some(Value::Int(kib)) => *kib,
            _ => LOG_LIMIT_KIB,
        };
        // Folders are named in links and command lines, which other working directories read.
        let base = std::path::absolute(&self.data_dir);
        let root = base
            .and_then(|base| Root::open(&base, name))
            .map_err(|error| {
                let message = format!("cannot open {}: {error}", self.data_dir.display());
                ProviderError::new(crate::provider::class_of(&error), message)
            })?;
        Ok(Arc::new(ProcessProvider::new(
            self.manifest.clone(),
            root,
            self.shim.clone(),
            Arc::clone(&self.clock),
            limit_kib.unsigned_abs() * 1_024,
        )))
    }
}

fn field(shape: Shape, required: bool, class: FieldClass, doc: &str) -> Field {
    Field {
        shape,
        required,
        class,
        doc: doc.to_owned(),
    }
}

fn properties_schema() -> ObjectSchema {
    let restart = FieldClass::Restart;
    let text = || Shape::text(Form::of_processes());
    let command = ListShape::of(text()).first(Shape::text(Form::program()));
    let command = Shape::List(command.at_least(1));
    let env = Shape::keyed(Form::variable(), text());
    let fields = [
        (
            "command",
            field(
                command,
                true,
                FieldClass::Replace,
                "The program and its arguments; no shell is involved unless it is the program.",
            ),
        ),
        (
            "env",
            field(
                env,
                false,
                restart,
                "Environment variables, beside PATH, HOME, LANG and DROVER_*.",
            ),
        ),
        (
            "workingDir",
            field(
                text(),
                false,
                restart,
                "Where the program starts; relative to the instance's data folder, which it is unless written.",
            ),
        ),
    ];
    let group = GroupRules {
        // That a process runs is all that is known of it here.
        checks: CheckRule::only(&[Way::Http, Way::Tcp, Way::Command]),
        adopt: AdoptRule::Refused,
        ..GroupRules::default()
    };
    ObjectSchema {
        fields: fields
            .into_iter()
            .map(|(name, field)| (name.to_owned(), field))
            .collect(),
        rules: Rules::default().of_group(group),
        ..ObjectSchema::default()
    }
}

fn settings_schema() -> ObjectSchema {
    let limit = Shape::Integer {
        min: 4,
        max: 1 << 20,
    };
    let doc = "Kilobytes of log that are kept of each instance, 1024 unless written.";
    let limit = field(limit, false, FieldClass::Ignore, doc);
    ObjectSchema {
        fields: BTreeMap::from([("logLimitKiB".to_owned(), limit)]),
        ..ObjectSchema::default()
    }
}
