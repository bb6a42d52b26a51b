//! The first moment of a plugin that may have only so much memory: drover itself, started in its place, which bounds
//! itself and becomes the program. So the program runs no instruction without its limit, and neither does what it starts.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{Resource, Rlimit};

/// The hidden command: `drover plugin-limited BYTES PROGRAM ARGUMENT...`.
pub(crate) const COMMAND: &str = "plugin-limited";

/// What shells say of a program that cannot be run.
const CANNOT_RUN: u8 = 127;

/// Returns a command that runs `program` with at most so many bytes of address space. Its arguments follow.
pub(super) fn command(bytes: u64, program: &Path) -> tokio::process::Command {
    let own = std::env::current_exe().unwrap_or_else(|_| "drover".into());
    let mut command = tokio::process::Command::new(own);
    command.arg(COMMAND).arg(bytes.to_string()).arg(program);
    command
}

/// Bounds this process and becomes the program. What hinders it is told on stderr.
pub(crate) fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let bytes = arguments.next();
    let bytes = bytes.and_then(|bytes| bytes.to_str()?.parse().ok());
    let (Some(bytes), Some(program)) = (bytes, arguments.next()) else {
        return cannot("this command is drover's own");
    };
    // Before the limit: it may be less than drover itself takes.
    let mut command = Command::new(&program);
    command.args(arguments);
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    if let Err(error) = rustix::process::setrlimit(Resource::As, limit) {
        return cannot(&format!("cannot limit its memory: {error}"));
    }
    let error = command.exec();
    cannot(&format!("cannot start {}: {error}", program.display()))
}

fn cannot(why: &str) -> ExitCode {
    // Nobody may be listening; the status says the rest.
    let _ = writeln!(std::io::stderr(), "{why}");
    ExitCode::from(CANNOT_RUN)
}
