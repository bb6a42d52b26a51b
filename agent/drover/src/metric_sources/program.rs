//! A program that prints values.

use std::path::Path;
use std::process::Stdio;

use drover_model::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::Why;
use super::document::{BYTES_MAX, Values};

/// The search path of programs that a program may start: nothing else of the agent's environment is theirs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The processes of a program that has not ended yet, ended with this value.
struct Running(Option<Pid>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            // The leader is not reaped yet, so the number is still its own.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Starts the program and reads what it prints until it ends.
///
/// # Cancellation
///
/// Its whole process group is killed.
pub(super) async fn run(program: &Path, args: &[String]) -> Result<Values, Why> {
    let shown = program.display();
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    let spawned = command.spawn();
    let mut child = spawned.map_err(|error| format!("cannot start {shown}: {error}"))?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    // Declared after the child, so dropped before it: killed before it is reaped.
    let mut running = Running(pid);
    let output = child.stdout.take();
    let output = output.ok_or_else(|| format!("{shown} has no output"))?;
    let mut bytes = Vec::new();
    let read = output.take(BYTES_MAX + 1).read_to_end(&mut bytes).await;
    read.map_err(|error| format!("cannot read what {shown} prints: {error}"))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("{shown} prints more than 1 MiB"));
    }
    let status = child.wait().await;
    running.0 = None;
    let status = status.map_err(|error| format!("cannot wait for {shown}: {error}"))?;
    if !status.success() {
        return Err(format!("{shown} ended with {status}"));
    }
    Values::parse(&bytes, Timestamp::now())
}
