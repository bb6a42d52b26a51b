//! What a provider may have beside what each one has.

/// A method of [`Provider`](crate::Provider) that a provider may be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OptionalMethod {
    /// Changes in place.
    Update,
    /// Places of members, known before there are instances.
    Reserve,
    /// Listings of what others made.
    Survey,
    /// Ownership for what others made.
    Adopt,
    /// Commands run in instances.
    Check,
    /// What the provider itself knows of instances' health.
    Health,
    /// What instances printed.
    Logs,
}

impl OptionalMethod {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Update,
        Self::Reserve,
        Self::Survey,
        Self::Adopt,
        Self::Check,
        Self::Health,
        Self::Logs,
    ];

    /// Returns the name in the plugin protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Reserve => "reserve",
            Self::Survey => "survey",
            Self::Adopt => "adopt",
            Self::Check => "check",
            Self::Health => "health",
            Self::Logs => "logs",
        }
    }
}
