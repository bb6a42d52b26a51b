//! The OpenPGP key that signs state commits.

use std::path::PathBuf;

use super::path;
use crate::decode::Fields;
use crate::diagnostic::Diagnostic;

/// The lengths of fingerprints: of keys of version 4, and of versions 5 and 6.
const FINGERPRINT_DIGITS: [usize; 2] = [40, 64];

/// A private key in a GnuPG keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPgpConfig {
    /// The folder of the keyring: an absolute path.
    pub gnupg_home: PathBuf,
    /// The whole fingerprint of the key: 40 or 64 hexadecimal digits.
    pub fingerprint: String,
    /// A file with the passphrase of the key.
    pub passphrase: Option<PathBuf>,
}

pub(super) fn open_pgp(fields: &Fields<'_>) -> Option<OpenPgpConfig> {
    let open_pgp = fields.object("openPgp");
    let gnupg_home = path(&open_pgp, "gnupgHome");
    let fingerprint = open_pgp.text("fingerprint");
    let passphrase = path(&open_pgp, "passphraseFile");
    if !fields.has("openPgp") {
        return None;
    }
    if fields.has("key") {
        let message = "write either `key` or `openPgp`: a commit has one signature";
        let span = fields.span_of("openPgp");
        let mistake = Diagnostic::error("inconsistent", message, span);
        fields.report.push(mistake);
    }
    let fingerprint = fingerprint?;
    let hexadecimal = fingerprint.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !hexadecimal || !FINGERPRINT_DIGITS.contains(&fingerprint.len()) {
        let why = "must be the key's whole fingerprint, 40 or 64 hexadecimal digits: a shorter id can be made to fit another key";
        if let Some(entry) = open_pgp.get("fingerprint").1 {
            open_pgp.bad(entry, why);
        }
        return None;
    }
    Some(OpenPgpConfig {
        gnupg_home: gnupg_home?,
        fingerprint: fingerprint.to_ascii_uppercase(),
        passphrase,
    })
}
