//! The settings of a Provider document, decoded.

use drover_model::Value;
use drover_provider::{ObjectSchema, ProviderError};

use crate::properties::{flag, invalid, text, texts};

/// What a Provider document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Which account and region.
    pub(crate) account: Account,
    pub(crate) address: AddressKind,
    pub(crate) status_checks: bool,
    pub(crate) places: Option<Places>,
}

/// An account and region, as far as the program knows them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Account {
    pub(crate) region: String,
    /// A profile of the program's own configuration files. None: as the SDK finds credentials.
    pub(crate) profile: Option<String>,
}

/// Which of an instance's addresses is the one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressKind {
    Private,
    Public,
    Ipv6,
}

/// Where members of quorum groups live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) subnets: Vec<String>,
    pub(crate) security_groups: Vec<String>,
}

/// Checks a region's name: it becomes part of a host name.
///
/// # Errors
///
/// `InvalidSpec`: it is none.
pub(crate) fn region(name: &str) -> Result<String, ProviderError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(invalid(format!("region: {name:?} is no region's name")));
    }
    Ok(name.to_owned())
}

/// Returns the first mistake that a schema finds in settings, which hold no secrets.
pub(crate) fn written(schema: &ObjectSchema, value: &Value) -> Result<(), ProviderError> {
    match schema.check(value).first() {
        None => Ok(()),
        Some(mistake) => Err(invalid(mistake.to_string())),
    }
}

/// Decodes settings.
///
/// # Errors
///
/// `InvalidSpec`: the first mistake.
pub(crate) fn decode(value: &Value) -> Result<Settings, ProviderError> {
    written(&crate::schema::settings(), value)?;
    let region = region(&text(value, "region").unwrap_or_default())?;
    let address = text(value, "address");
    let address = match address.as_deref() {
        Some("public") => AddressKind::Public,
        Some("ipv6") => AddressKind::Ipv6,
        _ => AddressKind::Private,
    };
    let places = value.get("places").map(|places| Places {
        subnets: texts(places, "subnets").unwrap_or_default(),
        security_groups: texts(places, "securityGroups").unwrap_or_default(),
    });
    Ok(Settings {
        account: Account {
            region,
            profile: text(value, "profile"),
        },
        address,
        status_checks: flag(value, "statusChecks").unwrap_or(false),
        places,
    })
}

#[cfg(test)]
mod tests;
