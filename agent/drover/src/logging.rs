//! The log: on stderr, quiet unless something is changed or somebody must act.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::agent::AroundBars;
use crate::cli::{Cli, Command, LogFormat};
use crate::ui::Ui;

/// Starts the log. `RUST_LOG` wins over `-v`.
pub(crate) fn start(cli: &Cli, ui: Ui) {
    let (default, format) = match &cli.command {
        Command::Run(args) => (LevelFilter::INFO, args.log_format),
        // The simulated agent's warnings are about nothing that happens: the result tells them.
        Command::Simulate(_) => (LevelFilter::OFF, LogFormat::Text),
        _ => (LevelFilter::WARN, LogFormat::Text),
    };
    let level = match (cli.verbose, default) {
        (0, default) => default,
        (1, _) => LevelFilter::INFO,
        (2, _) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .try_from_env()
        .unwrap_or_else(|_| own(level));
    let color = ui.err_color();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || AroundBars::new(color))
        .with_ansi(color)
        .with_target(false);
    let started = match format {
        LogFormat::Text => builder.compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // Only a second start can fail, and a test may have started one already.
    drop(started);
}

/// Our own crates at `level`, everybody else's warnings.
fn own(level: LevelFilter) -> EnvFilter {
    let crates = [
        "drover",
        "drover_loop",
        "drover_apply",
        "drover_git",
        "drover_plan",
        "drover_policy",
        "drover_spec",
        "drover_provider",
        "drover_provider_process",
        "drover_provider_sim",
    ];
    let rules: Vec<String> = crates
        .iter()
        .map(|name| format!("{name}={level}"))
        .collect();
    EnvFilter::new(format!("warn,{}", rules.join(",")))
}
