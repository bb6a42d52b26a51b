//! Numbers that look random, for texts and calls that are made to go wrong.

/// A small generator (`splitmix64`).
pub(crate) struct Dice(u64);

impl Dice {
    /// Returns the one for text `number` of the walk with `seed`: the same each time.
    pub(crate) fn of(seed: u64, number: u64) -> Self {
        Self(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `most`; 0 for 0.
    pub(crate) fn below(&mut self, most: usize) -> usize {
        (self.roll() % most.max(1) as u64) as usize
    }
}
