//! What the clients of web services have in common: their own authorities, and words for what failed.

use std::path::Path;

use reqwest::Certificate;

/// Reads the authorities that a service is trusted by, in place of the system's.
///
/// # Errors
///
/// Why the file cannot be used, for people; it names the file.
pub(crate) fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    Certificate::from_pem_bundle(&bytes).map_err(|error| format!("cannot use {shown}: {error}"))
}

/// Says what a request failed of: the cause alone, which does not change as addresses and ports do.
pub(crate) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
