//! Health, metrics and webhooks over HTTP, on loopback.
//!
//! Whoever can connect may keep connections open, and each of them is a file of the agent's: so there is a limit to their
//! number, and to how long one may say nothing. See [`connections`], which the agent's socket uses too.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::metrics::Metrics;
use super::services::{Services, serial};
use super::webhook::{self, Webhooks};
use crate::error::{CommandError, CommandResult};

pub(super) mod connections;

/// The content type of OpenMetrics text, which Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone)]
struct Served {
    services: Services,
    metrics: Metrics,
}

/// Binds the address.
///
/// # Errors
///
/// An address that others can reach (that needs a token and TLS), or one that is taken.
pub(crate) async fn bind(address: SocketAddr) -> CommandResult<TcpListener> {
    if !address.ip().is_loopback() {
        return Err(CommandError::usage(format!(
            "listen address {address} is not on loopback"
        ))
        .hint("serving others needs a token and TLS, which is not supported yet: put a proxy in front")
        .hint("or use 127.0.0.1, or `--listen off`"));
    }
    TcpListener::bind(address).await.map_err(|error| {
        let taken = error.kind() == io::ErrorKind::AddrInUse;
        let failed = CommandError::new(format!("cannot listen on {address}")).because(error);
        if taken {
            failed.hint("another agent may be running: choose another port with --listen, or `--listen off`")
        } else {
            failed
        }
    })
}

/// Serves until the future is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    services: Services,
    metrics: Metrics,
    webhooks: Option<Webhooks>,
) -> io::Result<()> {
    let mut router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(Served { services, metrics });
    if let Some(webhooks) = webhooks {
        router = router.merge(webhook::router(webhooks));
    }
    match connections::serve(&listener, router, connections::OF_AN_ADDRESS).await {}
}

/// Ready once a pass has read the source: until then nothing that is served means anything.
async fn readyz(State(served): State<Served>) -> (StatusCode, &'static str) {
    let latest = served.services.latest();
    if serial(&latest) > 0 && latest.source.commit.is_some() {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the source was not read yet\n",
        )
    }
}

async fn render(State(served): State<Served>) -> Response {
    match served.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
