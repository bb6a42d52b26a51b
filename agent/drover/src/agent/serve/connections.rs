//! A router behind a listener's connections: only so many at once, and none that says nothing for long.
//!
//! When all are taken and one more comes, the one that has asked for nothing for longest is closed. So a crowd that connects
//! and says nothing keeps out nobody who asks.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use drover_provider_plugin::{Connection, ConnectionLimits, Lifetime, Listener, serve_http};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

#[cfg(test)]
mod tests;

/// A monitor has one or two connections, a proxy in front some dozen, and opens new ones when they are closed. None lasts for
/// ever, whatever is asked over it: whoever is on this machine can connect.
pub(in crate::agent) const OF_AN_ADDRESS: ConnectionLimits = ConnectionLimits {
    connections: 64,
    idle: Duration::from_secs(10),
    lifetime: Some(Lifetime {
        asking: Duration::from_mins(1),
        grace: Duration::from_secs(15),
    }),
};

/// Commands of the same user, of which some wait for a pass or for what is next for as long as it takes: a few dozen
/// on a busy machine, and far fewer than the 1,024 files that a process may have open.
pub(in crate::agent) const OF_THE_SOCKET: ConnectionLimits = ConnectionLimits {
    connections: 256,
    idle: Duration::from_secs(30),
    lifetime: None,
};

/// Serves until the future is dropped.
///
/// # Cancellation
///
/// The connections end with it.
pub(in crate::agent) async fn serve(
    listener: &impl Listener,
    router: Router,
    limits: ConnectionLimits,
) -> Infallible {
    let router = TowerToHyperService::new(router);
    let respond = move |request: Request<Incoming>, connection: Arc<Connection>| {
        let answer = router.call(request);
        async move {
            let _busy = connection.busy();
            match answer.await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    };
    serve_http(listener, limits, respond).await
}
