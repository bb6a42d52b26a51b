//! Quantities: amounts that are a count or a share of the group's size.

use std::fmt;

/// A count of instances, or a share of the group's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Amount {
    /// A number of instances.
    Count(u32),
    /// A share of the size, in whole percent, 0 to 100.
    Percent(u32),
}

impl Amount {
    /// Returns the amount for a group of `size`, a share rounded up.
    pub fn ceil_of(self, size: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(share) => share_of(share, size, 99),
        }
    }

    /// Returns the amount for a group of `size`, a share rounded down.
    pub fn floor_of(self, size: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(share) => share_of(share, size, 0),
        }
    }
}

fn share_of(share: u32, size: u32, round: u64) -> u32 {
    let instances = (u64::from(share) * u64::from(size) + round) / 100;
    u32::try_from(instances).unwrap_or(u32::MAX)
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(share) => write!(f, "{share}%"),
        }
    }
}

#[cfg(test)]
mod tests;
