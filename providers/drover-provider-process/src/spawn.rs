//! Starts shims from the agent.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::factory::ShimProgram;
use crate::folder::Folder;
use crate::process::has_ended;

/// How long a shim may take to hold its folder. It starts in milliseconds; a machine that swaps
/// takes seconds.
const START_LIMIT: Duration = Duration::from_secs(10);

impl ShimProgram {
    /// Returns a command line of the shim, with nothing of the agent's environment in it.
    pub(crate) fn command(&self, arguments: Vec<OsString>) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Starts the shim of an instance, and waits until it holds the folder. Harmless where a shim
    /// holds it or has held it: that one stays the only one.
    pub(crate) fn start(&self, folder: &Folder) -> io::Result<()> {
        let mut command = self.command(vec![folder.path().as_os_str().to_owned()]);
        let program = self.program.display();
        let mut child = command.stderr(Stdio::piped()).spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot run {program}: {error}"))
        })?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        if !has_ended(&pidfd, START_LIMIT.as_millis() as i64) {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other("the shim did not start in time"));
        }
        if child.wait()?.success() {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(stderr) = &mut child.stderr {
            stderr.read_to_string(&mut said)?;
        }
        Err(io::Error::other(said.trim().to_owned()))
    }
}
