//! `source.verify` of the agent's file.

use std::path::PathBuf;

use super::path;
use crate::decode::Fields;
use crate::diagnostic::Diagnostic;

/// What has to be signed for a commit to be acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verify {
    /// What is looked at.
    pub mode: VerifyMode,
    /// A list of ssh keys.
    pub signers: Option<PathBuf>,
    /// The folder of a GnuPG keyring.
    pub gnupg_home: Option<PathBuf>,
    /// Files that fewer people may change.
    pub paths: Vec<VerifyPath>,
}

/// Files whose change needs the signature of somebody on a list of its own as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyPath {
    /// Which files, from `source.path` on: patterns in gitignore syntax, not parsed here.
    pub patterns: Vec<String>,
    /// A list of ssh keys.
    pub signers: Option<PathBuf>,
    /// The folder of a GnuPG keyring.
    pub gnupg_home: Option<PathBuf>,
}

/// What has to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyMode {
    /// The commit that is acted on.
    Head,
    /// The annotated tag that is followed.
    Tag,
}

/// Reads what has to be signed. `has_signers`: the agent has a list of signers of its own.
pub(super) fn verify(source: &Fields<'_>, has_signers: bool) -> Option<Verify> {
    let fields = source.object("verify");
    let mode = match fields.word("mode") {
        "tag" => VerifyMode::Tag,
        _ => VerifyMode::Head,
    };
    let verify = Verify {
        mode,
        signers: path(&fields, "signers"),
        gnupg_home: path(&fields, "gnupgHome"),
        paths: fields.objects("paths").iter().map(by_path).collect(),
    };
    if !source.has("verify") {
        return None;
    }
    let has_any = has_signers || fields.has("signers") || fields.has("gnupgHome");
    if !has_any {
        let message = "nobody's signature would count: write `signers` or `gnupgHome`";
        let span = source.span_of("verify");
        let diagnostic = Diagnostic::error("inconsistent", message, span);
        source.report.push(diagnostic);
    }
    Some(verify)
}

fn by_path(fields: &Fields<'_>) -> VerifyPath {
    if !fields.has("signers") && !fields.has("gnupgHome") {
        let message = "nobody could change these files: write `signers` or `gnupgHome`";
        let span = fields.span_of("match");
        let diagnostic = Diagnostic::error("inconsistent", message, span);
        fields.report.push(diagnostic);
    }
    VerifyPath {
        patterns: fields.texts("match"),
        signers: path(fields, "signers"),
        gnupg_home: path(fields, "gnupgHome"),
    }
}
