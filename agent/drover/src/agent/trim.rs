//! Memory that was freed, given back to the system. The allocator of glibc keeps it for later, although
//! what a start or a large change takes for moments is several times what an agent holds at rest.

use std::time::{Duration, Instant};

use drover_loop::PassReport;

/// The shortest time between two trims: each looks at the whole heap, which takes milliseconds.
const EVERY: Duration = Duration::from_secs(5);

/// Trims after passes that changed something, in the background and not too often.
#[derive(Debug, Default)]
pub(crate) struct Trimmer {
    /// Whether much may have been freed since the latest trim.
    due: bool,
    last: Option<Instant>,
}

impl Trimmer {
    /// Looks at a pass that has ended.
    pub(crate) fn after(&mut self, report: &PassReport) {
        let busy = report.commits > 0 || report.mutations > 0 || report.unfinished > 0;
        // The first pass reads the whole repository, even if it changes nothing.
        self.due |= busy || report.pass == 1;
        let rested = self.last.is_none_or(|last| last.elapsed() >= EVERY);
        if self.due && rested {
            self.due = busy;
            self.last = Some(Instant::now());
            tokio::task::spawn_blocking(trim);
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "malloc_trim has no safe wrapper; it takes the allocator's own locks, may be called from any \
              thread and moves nothing that is in use"
)]
fn trim() {
    // Whether it found anything does not matter.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back what is free by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
