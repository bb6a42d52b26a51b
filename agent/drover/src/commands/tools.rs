//! `drover schema`, `completions` and `version`.

use clap::CommandFactory as _;
use drover_model::Kind;
use serde::Serialize;

use crate::cli::{Cli, CompletionsArgs, Output, SchemaArgs, VersionArgs};
use crate::error::CommandResult;
use crate::exit::Exit;
use crate::output;
use crate::ui::Ui;
use crate::view::API_VERSION;

/// The version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionDocument {
    version: &'static str,
    api_version: &'static str,
    target: String,
}

/// Runs `drover schema`.
pub(super) fn schema(args: &SchemaArgs, ui: Ui) -> CommandResult {
    let text = if let Some(kind) = args.kind {
        output::json(&drover_spec::schema(kind))?
    } else {
        let all: serde_json::Map<String, serde_json::Value> = Kind::ALL
            .into_iter()
            .map(|kind| (kind.as_str().to_owned(), drover_spec::schema(kind)))
            .collect();
        output::json(&all)?
    };
    ui.result(&text)?;
    Ok(Exit::Done)
}

/// Runs `drover completions`.
pub(super) fn completions(args: &CompletionsArgs, ui: Ui) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "drover", &mut script);
    ui.result(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Runs `drover version`.
pub(super) fn version(args: &VersionArgs, ui: Ui) -> CommandResult {
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let document = VersionDocument {
        version: VERSION,
        api_version: API_VERSION,
        target,
    };
    let text = match args.output {
        Output::Json => output::json(&document)?,
        Output::Yaml => output::yaml(&document)?,
        Output::Name => VERSION.to_owned(),
        Output::Text | Output::Wide | Output::Markdown => {
            format!("drover {VERSION} ({})", document.target)
        }
    };
    ui.result(&text)?;
    Ok(Exit::Done)
}
