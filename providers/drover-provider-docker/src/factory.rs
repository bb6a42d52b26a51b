//! The provider type `docker`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drover_model::{ProviderName, ProviderType, Value};
use drover_provider::{
    AttachmentUse, Clock, InitUse, Manifest, Provider, ProviderError, ProviderFactory,
    parse_duration,
};

use crate::api::Engine;
use crate::describe::invalid;
use crate::grants::Grants;
use crate::provider::{DockerProvider, Inner, Memory};
use crate::schema;
use crate::spent::Spent;

/// Where Docker listens unless it is told otherwise.
pub const STANDARD_ENDPOINT: &str = "unix:///var/run/docker.sock";

/// Default of `pullTimeout`: some gigabytes over a slow line.
const PULL_TIMEOUT: Duration = Duration::from_mins(15);

/// Makes providers of the type `docker`.
#[derive(Debug)]
pub struct DockerFactory {
    manifest: Manifest,
    /// The engine of documents that name none.
    endpoint: String,
    grants: Grants,
    data_dir: PathBuf,
    clock: Arc<dyn Clock>,
    finishes: bool,
}

impl DockerFactory {
    /// Makes a factory. `endpoint` is the engine of documents that name none; `grants` is what the agent's
    /// file lets repositories have. Which tokens made something is noted below `data_dir`, one folder per
    /// Provider document; nothing is made there, and nobody is called, before the first call.
    pub fn new(endpoint: String, grants: Grants, data_dir: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            manifest: Manifest {
                type_: ProviderType::parse("docker").expect("a valid label"),
                properties: schema::properties(),
                settings: schema::settings(),
                batch_max: 1,
                // An engine lists a container from when it has answered.
                visibility: Duration::ZERO,
                init: InitUse::ShellLines,
                attachments: AttachmentUse::Refused,
            },
            endpoint,
            grants,
            data_dir,
            clock,
            finishes: false,
        }
    }

    /// Lets listings start containers that were made and never started, and that nobody has come back for: for an
    /// agent that acts. Unless it is called, a listing starts nothing.
    #[must_use]
    pub fn finishing(self, finishes: bool) -> Self {
        Self { finishes, ..self }
    }

    /// Returns the engine that a document means.
    fn endpoint<'a>(&'a self, written: Option<&'a str>) -> Result<&'a str, ProviderError> {
        let Some(written) = written else {
            return Ok(&self.endpoint);
        };
        let granted = self
            .grants
            .endpoints
            .iter()
            .any(|endpoint| endpoint == written);
        if written != self.endpoint && !granted {
            return Err(invalid(format!(
                "endpoint: {written} is not among `docker.endpoints` of the agent's file"
            )));
        }
        Ok(written)
    }
}

impl ProviderFactory for DockerFactory {
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
            return Err(invalid(message));
        }
        let text = |name: &str| settings.get(name).and_then(Value::as_str);
        let endpoint = self.endpoint(text("endpoint"))?;
        let socket = socket_of(endpoint).ok_or_else(|| {
            invalid(format!(
                "endpoint: {endpoint} is no socket such as {STANDARD_ENDPOINT}; other ways to an engine are not supported"
            ))
        })?;
        let pull_timeout = text("pullTimeout").and_then(parse_duration);
        Ok(Arc::new(DockerProvider::new(Inner {
            manifest: self.manifest.clone(),
            name: name.clone(),
            engine: Engine::at(endpoint, socket),
            grants: self.grants.clone(),
            spent: Spent::below(&self.data_dir.join(name.as_str())),
            clock: Arc::clone(&self.clock),
            pull_timeout: pull_timeout.unwrap_or(PULL_TIMEOUT),
            finishes: self.finishes,
            memory: Memory::default(),
        })))
    }
}

/// Returns the socket of an endpoint. None: it is no absolute path of one.
fn socket_of(endpoint: &str) -> Option<&Path> {
    let path = Path::new(endpoint.strip_prefix("unix://")?);
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests;
