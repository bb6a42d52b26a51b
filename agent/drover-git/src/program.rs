//! One call of a program of this machine: a text in, a text out. It gets as much time as it may take, of what it prints no
//! more is read than it may, and whatever it does with its pipes stops nobody.

use std::io::{self, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often the end of a program is looked for.
const POLL: Duration = Duration::from_millis(2);

/// What a program may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramBounds {
    /// Time, from its start until it has ended and its output is closed.
    pub time: Duration,
    /// Bytes of its output: more is a failure.
    pub printed: u64,
    /// Bytes that are read of what it says is wrong: more is not looked at.
    pub said: u64,
}

/// A program that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramEnd {
    /// How.
    pub status: ExitStatus,
    /// All that it wrote to its output.
    pub printed: Vec<u8>,
    /// What it said is wrong, to its error output; nothing where it ended well.
    pub said: Vec<u8>,
}

/// Why nothing came of a program. It is ended then.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is none of this name, or it may not be run.
    #[error("{0}")]
    NotStarted(io::Error),
    /// It did not end in time, or left its output open.
    #[error("it did not end")]
    Late,
    /// It printed more than it may.
    #[error("it printed more than {limit} bytes")]
    TooMuch {
        /// What it may print.
        limit: u64,
    },
    /// A pipe broke.
    #[error("{0}")]
    Pipe(io::Error),
}

/// What a pipe brings, once it is closed or has brought all that is read.
type Reading = Receiver<io::Result<Vec<u8>>>;

/// Runs a program on `input`.
///
/// # Errors
///
/// [`ProgramError`]; a program that ends badly is none.
pub fn run_program(
    mut program: Command,
    input: &[u8],
    bounds: &ProgramBounds,
) -> Result<ProgramEnd, ProgramError> {
    let begun = Instant::now();
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ProgramError::NotStarted)?;
    if let Some(pipe) = child.stdin.take() {
        feed(pipe, input);
    }
    let printed = reading(child.stdout.take(), bounds.printed.saturating_add(1));
    let said = reading(child.stderr.take(), bounds.said);
    let ended = end(&mut child, &printed, (bounds, begun));
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (status, printed) = ended?;
    let said = if status.success() {
        Vec::new()
    } else {
        // Whoever keeps it open is not waited for: how the program ended is known.
        let said = said.recv_timeout(left(bounds, begun));
        said.ok().and_then(Result::ok).unwrap_or_default()
    };
    Ok(ProgramEnd {
        status,
        printed,
        said,
    })
}

/// Waits for the end. That too much is printed is known before it.
fn end(
    child: &mut Child,
    printed: &Reading,
    (bounds, begun): (&ProgramBounds, Instant),
) -> Result<(ExitStatus, Vec<u8>), ProgramError> {
    let fitting = |read: io::Result<Vec<u8>>| {
        let bytes = read.map_err(ProgramError::Pipe)?;
        let limit = bounds.printed;
        if bytes.len() as u64 > limit {
            return Err(ProgramError::TooMuch { limit });
        }
        Ok(bytes)
    };
    let mut known: Option<Vec<u8>> = None;
    let status = loop {
        if known.is_none()
            && let Ok(read) = printed.try_recv()
        {
            known = Some(fitting(read)?);
        }
        match child.try_wait().map_err(ProgramError::Pipe)? {
            Some(status) => break status,
            None if left(bounds, begun).is_zero() => return Err(ProgramError::Late),
            None => std::thread::sleep(POLL),
        }
    };
    if let Some(printed) = known {
        return Ok((status, printed));
    }
    // What it started may keep the pipe open.
    match printed.recv_timeout(left(bounds, begun)) {
        Ok(read) => Ok((status, fitting(read)?)),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(ProgramError::Late),
    }
}

/// Returns what is left of a program's time.
fn left(bounds: &ProgramBounds, begun: Instant) -> Duration {
    bounds.time.saturating_sub(begun.elapsed())
}

/// Hands over the input beside what else is done: a pipe takes 64 KiB, and a program that does not read would stop us.
/// The thread ends with the program.
fn feed(mut pipe: ChildStdin, input: &[u8]) {
    let input = input.to_vec();
    std::thread::spawn(move || {
        // One that ends early says why.
        let _ = pipe.write_all(&input);
    });
}

/// Reads at most so many bytes beside what else is done, and closes the pipe: one that is full would stop the program.
/// The thread ends with the program.
fn reading(pipe: Option<impl io::Read + Send + 'static>, bytes_max: u64) -> Reading {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.map_or(Ok(0), |pipe| pipe.take(bytes_max).read_to_end(&mut bytes));
        // Nobody waits for it any more where the program was ended.
        let _ = sender.send(read.map(|_| bytes));
    });
    receiver
}

#[cfg(test)]
mod tests;
