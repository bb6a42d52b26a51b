//! Random numbers that a seed gives again.

use std::hash::{BuildHasher as _, RandomState};

/// A generator; splitmix64.
#[derive(Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// Takes the seed from `DROVER_TEST_SEED`, else draws one, and prints it: what a test prints
    /// appears when it fails.
    pub(crate) fn from_environment() -> Self {
        let seed = number_from_environment("DROVER_TEST_SEED")
            .unwrap_or_else(|| RandomState::new().hash_one(0) >> 32);
        println!("seed {seed}: repeat with DROVER_TEST_SEED={seed}");
        Self { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to 1, without 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns true in one of `times` cases.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times)
    }
}

/// Reads a number that a person may set.
pub(crate) fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}
