//! Many random lives, on all cores. Which thread lives which life is left to chance; what a life is
//! follows from its seed alone, so a failure is looked at alone.

use std::any::Any;
use std::fmt;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Tally, WalkOptions, walk};
use crate::Violation;

/// When to begin no more lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkUntil {
    /// After so many.
    Seeds(u64),
    /// When so many passes are done. Lives that were begun are lived to their end.
    Passes(u64),
}

/// Which lives are lived.
#[derive(Debug, Clone, Copy)]
pub struct Walks {
    /// The first seed; the others follow it.
    pub first: u64,
    /// How many.
    pub until: WalkUntil,
    /// Passes with faults in each life, before peace.
    pub passes: u32,
    /// Where each pass is told.
    pub trace: Option<fn(&str)>,
}

/// What came of many lives.
#[derive(Debug, Default)]
pub struct Walked {
    /// What they went through, those left out in which an invariant did not hold.
    pub tally: Tally,
    /// The seeds of those, and what they saw, in the order of the seeds.
    pub violations: Vec<(u64, Violation)>,
}

impl fmt::Display for Walked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}violations: {}", self.tally, self.violations.len())?;
        for (seed, violation) in &self.violations {
            write!(
                f,
                "\nseed {seed}: {violation}\n    alone: SEED={seed} TRACE=1 cargo test -p drover-sim --test walk -- --nocapture"
            )?;
        }
        Ok(())
    }
}

/// Lives all of `walks`. A life that panics is one in which an invariant does not hold.
pub fn walk_all(walks: Walks) -> Walked {
    all(walks, |seed| {
        let life = walk(WalkOptions {
            seed,
            passes: walks.passes,
            trace: walks.trace,
        });
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O can be built")
            .block_on(life)
    })
}

fn all(walks: Walks, live: impl Fn(u64) -> Result<Tally, Violation> + Sync) -> Walked {
    let next = AtomicU64::new(walks.first);
    let walked = Mutex::new(Walked::default());
    let lock = || walked.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    if matches!(walks.until, WalkUntil::Passes(most) if lock().tally.passes >= most)
                    {
                        return;
                    }
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if matches!(walks.until, WalkUntil::Seeds(most) if seed - walks.first >= most) {
                        return;
                    }
                    let lived = catch_unwind(AssertUnwindSafe(|| live(seed)));
                    let mut walked = lock();
                    match lived.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))) {
                        Ok(tally) => walked.tally.add(&tally),
                        Err(violation) => walked.violations.push((seed, violation)),
                    }
                }
            });
        }
    });
    let mut walked = walked.into_inner().unwrap_or_else(PoisonError::into_inner);
    walked.violations.sort_by_key(|(seed, _)| *seed);
    walked
}

fn panicked(panic: &(dyn Any + Send)) -> Violation {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Violation {
        invariant: "panic",
        what: text.unwrap_or("without a message").to_owned(),
    }
}

#[cfg(test)]
mod tests;
