//! Which secrets documents may refer to.

use std::path::PathBuf;

use super::path;
use crate::decode::Fields;

/// Which secrets documents may refer to. Nothing: none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretsConfig {
    /// Variables of the agent's environment.
    pub env: Vec<String>,
    /// Files, and folders with everything below them: absolute paths.
    pub files: Vec<PathBuf>,
    /// A file with the key for values encrypted with age: an absolute path.
    pub age_identity: Option<PathBuf>,
}

pub(super) fn secrets(fields: &Fields<'_>) -> SecretsConfig {
    let files: Vec<PathBuf> = fields
        .texts("files")
        .into_iter()
        .map(PathBuf::from)
        .collect();
    let plain = |path: &PathBuf| {
        let mut parts = path.components();
        path.is_absolute() && !parts.any(|part| part == std::path::Component::ParentDir)
    };
    if let Some(entry) = fields.get("files").1
        && !files.iter().all(plain)
    {
        fields.bad(entry, "must be absolute paths without `..`");
    }
    SecretsConfig {
        env: fields.texts("env"),
        files,
        age_identity: path(fields, "ageIdentity"),
    }
}
