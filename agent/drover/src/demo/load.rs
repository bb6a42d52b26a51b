//! The demo's load: requests without a pause to the members that the agent publishes, as a load
//! balancer would send them. Every request counts once; none is repeated.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Deserialize;

use super::http;
use super::server::PORT;

/// How many requests are under way at once.
const WORKERS: usize = 3;

/// Between two requests of one worker: some hundred requests a second in all.
const PAUSE: Duration = Duration::from_millis(5);

/// A member as the agent publishes it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Member {
    /// The instance.
    pub(crate) id: String,
    /// Where it serves.
    pub(crate) address: Option<String>,
    /// `ready`, `draining`, `starting` or `unhealthy`.
    pub(crate) state: String,
}

#[derive(Debug, Deserialize)]
struct Membership {
    members: Vec<Member>,
}

/// What became of the requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// All requests.
    pub(crate) sent: u64,
    /// Those that got no 200.
    pub(crate) failed: u64,
    /// What the first failure said.
    pub(crate) first_failure: Option<String>,
    /// Answers by the version that gave them.
    pub(crate) versions: BTreeMap<String, u64>,
}

/// Running workers.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    workers: Vec<JoinHandle<()>>,
}

/// Returns the members of a group that take requests.
pub(crate) fn ready(members_file: &Path) -> io::Result<Vec<Member>> {
    let bytes = fs::read(members_file)?;
    let membership: Membership = serde_json::from_slice(&bytes)?;
    let members = membership.members.into_iter();
    Ok(members.filter(|member| member.state == "ready").collect())
}

impl Load {
    /// Starts to send.
    pub(crate) fn start(members_file: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let worker = |number: usize| {
            let (stop, tally) = (stop.clone(), tally.clone());
            let file = members_file.to_owned();
            std::thread::spawn(move || work(number, &file, &stop, &tally))
        };
        let workers = (0..WORKERS).map(worker).collect();
        Self {
            stop,
            tally,
            workers,
        }
    }

    /// Returns the count so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Stops, and returns the count.
    pub(crate) fn stop(mut self) -> Tally {
        self.end();
        self.tally()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            // A worker that panicked has sent nothing more, which the count shows.
            let _ = worker.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

fn work(number: usize, file: &Path, stop: &AtomicBool, tally: &Mutex<Tally>) {
    let mut turn = number;
    while !stop.load(Ordering::SeqCst) {
        let answer = request(file, turn);
        turn += 1;
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.sent += 1;
        match answer {
            Ok(version) => *tally.versions.entry(version).or_default() += 1,
            Err(why) => {
                tally.failed += 1;
                tally.first_failure.get_or_insert(why);
            }
        }
        drop(tally);
        std::thread::sleep(PAUSE);
    }
}

fn request(file: &Path, turn: usize) -> Result<String, String> {
    let members = ready(file).map_err(|error| format!("the published members: {error}"))?;
    if members.is_empty() {
        return Err("no member is published as ready".to_owned());
    }
    let member = &members[turn % members.len()];
    let address = member.address.as_deref().unwrap_or_default();
    let answer = http::get(address, PORT, "/");
    let body = answer.map_err(|error| format!("{} at {address}: {error}", member.id))?;
    Ok(field(&body, "version").unwrap_or_default())
}

/// Returns a field of what the demo's server says.
pub(crate) fn field(body: &str, name: &str) -> Option<String> {
    let mut words = body.split_whitespace();
    words.find_map(|word| {
        let (key, value) = word.split_once('=')?;
        (key == name).then(|| value.to_owned())
    })
}
