//! Token buckets.

use drover_model::Timestamp;

use crate::Bucket;

/// How full a bucket is, in thousandths of a token: whole milliseconds then give whole numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level {
    thousandths: u64,
    at: Timestamp,
}

impl Level {
    pub(crate) fn full(bucket: Bucket, now: Timestamp) -> Self {
        Self {
            thousandths: u64::from(bucket.burst) * 1_000,
            at: now,
        }
    }

    /// Lets the inflow since the last time in.
    pub(crate) fn refill(&mut self, bucket: Bucket, now: Timestamp) {
        let elapsed_ms = u64::try_from(now.duration_since(self.at).as_millis()).unwrap_or(0);
        let inflow = elapsed_ms.saturating_mul(u64::from(bucket.per_second));
        let most = u64::from(bucket.burst) * 1_000;
        self.thousandths = self.thousandths.saturating_add(inflow).min(most);
        self.at = now;
    }

    pub(crate) fn has(&self, tokens: u32) -> bool {
        self.thousandths >= u64::from(tokens) * 1_000
    }

    pub(crate) fn take(&mut self, tokens: u32) {
        self.thousandths = self.thousandths.saturating_sub(u64::from(tokens) * 1_000);
    }
}
