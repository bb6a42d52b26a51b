//! `plugins` of the agent's file.

use std::collections::BTreeSet;
use std::path::PathBuf;

use drover_model::ProviderName;

use super::{PluginConfig, PluginsConfig, absolute};
use crate::decode::Fields;
use crate::decode::check;
use crate::diagnostic::Diagnostic;

/// The least memory that is taken for a limit: below it not even an interpreter starts.
const MEMORY_MIN: u64 = 1 << 20;

pub(super) fn plugins(fields: &Fields<'_>) -> PluginsConfig {
    let dir = match fields.get("dir").1 {
        Some(_) => absolute(fields, "dir"),
        None => None,
    };
    let mut seen = BTreeSet::new();
    let mut start = Vec::new();
    for fields in fields.objects("start") {
        let Some(plugin) = plugin(&fields) else {
            continue;
        };
        if !seen.insert(plugin.name.clone()) {
            let message = format!("the plugin `{}` is there twice", plugin.name);
            let span = fields.span_of("name");
            let mistake = Diagnostic::error("duplicate-name", message, span);
            fields.report.push(mistake);
        }
        start.push(plugin);
    }
    PluginsConfig { dir, start }
}

fn plugin(fields: &Fields<'_>) -> Option<PluginConfig> {
    // A label, as every name: its form is that of providers' names.
    let name: Option<ProviderName> = fields.id("name");
    let command = command(fields);
    let env = fields.text_map("env", check::env);
    let memory = match fields.get("memory").1 {
        Some(_) => memory(fields),
        None => None,
    };
    let start_timeout = fields.duration("startTimeout");
    let (program, args) = command?;
    Some(PluginConfig {
        name: name?.to_string(),
        program,
        args,
        env,
        memory,
        start_timeout,
    })
}

fn command(fields: &Fields<'_>) -> Option<(PathBuf, Vec<String>)> {
    let mut command = fields.texts("command").into_iter();
    let program = PathBuf::from(command.next()?);
    if program.is_absolute() {
        return Some((program, command.collect()));
    }
    if let Some(entry) = fields.get("command").1 {
        fields.bad(entry, "must begin with an absolute path");
    }
    None
}

fn memory(fields: &Fields<'_>) -> Option<u64> {
    super::bytes(fields, "memory", MEMORY_MIN)
}
