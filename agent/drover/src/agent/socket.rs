//! The agent's socket: the same machine, the same user, nothing else.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use drover_model::InstanceId;
use tokio::net::UnixListener;

use super::protocol::{
    Accept, AcceptInstances, FreezeRequest, LogsQuery, PassStatus, Refusal, SOCKET, StateQuery,
    StateReply, WAIT_MAX_S,
};
use super::serve::connections;
use super::services::Services;
use crate::plan_view::{self, PlanView};

type Reply<T> = Result<Json<T>, (StatusCode, Json<Refusal>)>;

/// The folder that holds the socket, kept open: a path through it is short whatever the folder's
/// own path is, and the address of a Unix socket may not exceed 107 bytes.
#[derive(Debug)]
pub(crate) struct SocketFolder {
    folder: fs::File,
    path: PathBuf,
}

impl SocketFolder {
    /// Opens the data folder.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        // O_PATH would do as well, but needs no less permission for what follows.
        let folder = fs::OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::DIRECTORY.bits() as i32)
            .open(data_dir)?;
        Ok(Self {
            folder,
            path: data_dir.join(SOCKET),
        })
    }

    /// Returns a short path to the socket, valid while this value lives.
    pub(crate) fn socket(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/self/fd/{}/{SOCKET}",
            self.folder.as_raw_fd()
        ))
    }

    /// Returns the real path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Binds the socket with mode 0600. The caller holds the data folder's lock, so a socket that is
/// there already belongs to an agent that is gone.
pub(crate) fn bind(folder: &SocketFolder) -> io::Result<UnixListener> {
    match fs::remove_file(folder.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(folder.socket())?;
    // The data folder itself is 0700, so nobody can connect in between.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves the socket until the future is dropped.
pub(crate) async fn serve(listener: UnixListener, services: Services) -> io::Result<()> {
    match connections::serve(&listener, router(services), connections::OF_THE_SOCKET).await {}
}

fn router(services: Services) -> Router {
    Router::new()
        .route("/v1/state", get(state))
        .route("/v1/reconcile", post(reconcile))
        .route("/v1/accept-rewrite", post(accept_rewrite))
        .route("/v1/accept-state", post(accept_state))
        .route("/v1/accept-instances", post(accept_instances))
        .route("/v1/freeze", post(freeze))
        .route("/v1/unfreeze", post(unfreeze))
        .route("/v1/logs", get(logs))
        .route("/v1/plan", get(plan))
        .with_state(services)
}

async fn state(
    State(services): State<Services>,
    Query(query): Query<StateQuery>,
) -> Reply<StateReply> {
    let latest = match query.after {
        None => services.latest(),
        Some(after) => {
            let wait = Duration::from_secs(WAIT_MAX_S);
            let newer = tokio::time::timeout(wait, services.newer_than(after)).await;
            newer.unwrap_or_else(|_| services.latest())
        }
    };
    let encoded = tokio::task::spawn_blocking(move || services.encode(&latest)).await;
    encoded.map(Json).map_err(|error| refuse(error.to_string()))
}

async fn reconcile(State(services): State<Services>) -> Reply<PassStatus> {
    services.reconcile().await.map(Json).map_err(refuse)
}

async fn accept_rewrite(
    State(services): State<Services>,
    Json(request): Json<Accept>,
) -> Reply<()> {
    services.accept_rewrite(&request).map(Json).map_err(refuse)
}

async fn accept_state(State(services): State<Services>, Json(request): Json<Accept>) -> Reply<()> {
    services.accept_state(&request).map(Json).map_err(refuse)
}

async fn accept_instances(
    State(services): State<Services>,
    Json(request): Json<AcceptInstances>,
) -> Reply<()> {
    let accepted = services.accept_instances(&request);
    accepted.map(Json).map_err(refuse)
}

async fn freeze(State(services): State<Services>, Json(request): Json<FreezeRequest>) -> Reply<()> {
    services.freeze(&request).map(Json).map_err(refuse)
}

async fn unfreeze(
    State(services): State<Services>,
    Json(request): Json<FreezeRequest>,
) -> Reply<()> {
    services.unfreeze(&request).map(Json).map_err(refuse)
}

async fn logs(State(services): State<Services>, Query(query): Query<LogsQuery>) -> Reply<String> {
    let instance = InstanceId::parse(&query.instance).map_err(|error| refuse(error.to_string()))?;
    let text = services.logs(&instance, query.lines).await;
    text.map(Json).map_err(refuse)
}

async fn plan(State(services): State<Services>) -> Json<Vec<PlanView>> {
    Json(plan_view::of_status(&services.latest()))
}

fn refuse(error: String) -> (StatusCode, Json<Refusal>) {
    (StatusCode::UNPROCESSABLE_ENTITY, Json(Refusal { error }))
}
