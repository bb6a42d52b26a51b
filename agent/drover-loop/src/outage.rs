//! Watching how long ago the source was read, and what waits while that is too long.

use std::time::Duration;

use drover_model::{Held, Hold, OutageMode, Timestamp};

/// What waits while the source cannot be read or verified, and after how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutageRule {
    /// What goes on.
    pub mode: OutageMode,
    /// How long after the source was last read.
    pub after: Duration,
}

/// When the source was last read.
#[derive(Debug)]
pub(crate) struct OutageWatch {
    rule: Option<OutageRule>,
    /// None: not since the start.
    read_at: Option<Timestamp>,
}

impl OutageWatch {
    pub(crate) fn new(rule: Option<OutageRule>) -> Self {
        Self {
            rule,
            read_at: None,
        }
    }

    /// Notes that the source was read.
    pub(crate) fn read(&mut self, now: Timestamp) {
        self.read_at = Some(now);
    }

    /// Lets time in which nothing ran not count as an outage.
    pub(crate) fn skip(&mut self, passed: Duration, now: Timestamp) {
        if let Some(at) = &mut self.read_at {
            *at = at.checked_add(passed).unwrap_or(now).min(now);
        }
    }

    /// Returns what waits now. An agent that starts in an outage counts from what was recorded of it, else from
    /// its start.
    pub(crate) fn hold<'a>(
        &mut self,
        now: Timestamp,
        recorded: impl IntoIterator<Item = &'a Held>,
    ) -> Option<Hold> {
        let OutageRule { mode, after } = self.rule?;
        let known = || {
            let since = recorded.into_iter().filter_map(|held| match held.hold {
                Hold::SourceOutage { since, .. } => Some(since),
                _ => None,
            });
            since.min().unwrap_or(now).min(now)
        };
        let since = *self.read_at.get_or_insert_with(known);
        let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        (passed >= after).then_some(Hold::SourceOutage { mode, since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn watch() -> OutageWatch {
        OutageWatch::new(Some(OutageRule {
            mode: OutageMode::Freeze,
            after: Duration::from_mins(1),
        }))
    }

    fn since(watch: &mut OutageWatch, now: i64) -> Option<Timestamp> {
        match watch.hold(at(now), []) {
            Some(Hold::SourceOutage { since, .. }) => Some(since),
            _ => None,
        }
    }

    #[test]
    fn an_outage_counts_from_the_latest_read_and_else_from_the_start() {
        let mut watch = watch();
        assert_eq!(since(&mut watch, 1_000), None);
        assert_eq!(since(&mut watch, 1_060), Some(at(1_000)));
        watch.read(at(1_061));
        assert_eq!(since(&mut watch, 1_062), None);
        assert_eq!(since(&mut watch, 1_121), Some(at(1_061)));
        // A machine that slept has read nothing, and missed nothing.
        watch.read(at(1_122));
        watch.skip(Duration::from_secs(5_000), at(6_130));
        assert_eq!(since(&mut watch, 6_130), None);
        assert_eq!(OutageWatch::new(None).hold(at(9_999), []), None);
    }

    #[test]
    fn an_agent_that_starts_in_an_outage_goes_on_counting() {
        let held = Held {
            hold: Hold::SourceOutage {
                mode: OutageMode::HealOnly,
                since: at(10),
            },
            reason: None,
            instance: None,
            until: None,
        };
        let hold = watch().hold(at(100), [&held]);
        let mode = OutageMode::Freeze;
        let since = at(10);
        assert_eq!(hold, Some(Hold::SourceOutage { mode, since }));
    }
}
