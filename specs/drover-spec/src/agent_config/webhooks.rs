//! `webhooks` of the agent's file.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use drover_model::SourceName;

use super::{WebhookConfig, WebhookKind, absolute};
use crate::decode::Fields;
use crate::diagnostic::Diagnostic;

pub(super) fn webhooks(fields: &Fields<'_>, listen: Option<SocketAddr>) -> Vec<WebhookConfig> {
    let mut seen = BTreeSet::new();
    let mut webhooks = Vec::new();
    for fields in fields.objects("webhooks") {
        let Some(webhook) = webhook(&fields) else {
            continue;
        };
        if !seen.insert(webhook.id.clone()) {
            let message = format!("the webhook `{}` is there twice", webhook.id);
            let span = fields.span_of("id");
            let mistake = Diagnostic::error("duplicate-name", message, span);
            fields.report.push(mistake);
        }
        webhooks.push(webhook);
    }
    let is_off = fields.text("listen").as_deref() == Some("off");
    if listen.is_none() && is_off && !webhooks.is_empty() {
        let message = "webhooks are answered on `listen`, which is `off`";
        let span = fields.span_of("webhooks");
        let mistake = Diagnostic::error("inconsistent", message, span);
        fields.report.push(mistake);
    }
    webhooks
}

fn webhook(fields: &Fields<'_>) -> Option<WebhookConfig> {
    // A label, as every name: its form is that of metric sources' names.
    let id: Option<SourceName> = fields.id("id");
    let kind = match fields.word("type") {
        "github" => WebhookKind::GitHub,
        "gitlab" => WebhookKind::GitLab,
        "gitea" => WebhookKind::Gitea,
        _ => WebhookKind::Generic,
    };
    let secret_file = absolute(fields, "secretFile");
    Some(WebhookConfig {
        id: id?.to_string(),
        kind,
        secret_file: secret_file?,
    })
}
