//! `notify` of the agent's file.

use super::{NotifyAddress, NotifyConfig, path};
use crate::decode::Fields;
use crate::diagnostic::Diagnostic;

pub(super) fn notify(fields: &Fields<'_>) -> Option<NotifyConfig> {
    let notify = fields.object("notify");
    let url = notify.has("url").then(|| notify.text("url")).flatten();
    let url_file = path(&notify, "urlFile");
    let (secret_file, ca_file) = (path(&notify, "secretFile"), path(&notify, "caFile"));
    let errors_only = notify.word("severity") == "error";
    let _ = notify.get("url");
    if !fields.has("notify") {
        return None;
    }
    if notify.has("url") == notify.has("urlFile") {
        let message = "write `url`, or `urlFile` where the address is a secret";
        let span = fields.span_of("notify");
        let mistake = Diagnostic::error("inconsistent", message, span);
        fields.report.push(mistake);
    }
    let address = match (url, url_file) {
        (Some(url), _) => NotifyAddress::Known(url),
        (None, Some(path)) => NotifyAddress::File(path),
        (None, None) => return None,
    };
    Some(NotifyConfig {
        address,
        secret_file,
        ca_file,
        errors_only,
    })
}
