//! The command line of drover, and the agent's wiring: sources, providers, serving, the demo.
//!
//! This crate makes no decision about groups: it reads arguments, builds what `drover-loop` needs,
//! runs passes, and shows what came of them.
//!
//! Entry point: [`main`]. Everything else is the binary's own.
//!
//! - **Invariant:** results go to stdout, everything else to stderr, and the exit status is one of
//!   `exit::Exit`.
//! - **Invariant:** a command that only reads changes nothing, anywhere.

#![allow(
    clippy::format_push_string,
    clippy::format_collect,
    reason = "a few lines for a person: plain to read counts more than an allocation"
)]

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

mod agent;
mod check;
mod cli;
mod commands;
mod demo;
mod differences;
mod documents;
mod error;
mod exit;
mod forge;
mod identity;
mod infrakit_flavors;
mod init;
mod logging;
mod metric_sources;
mod operations;
mod output;
mod plan_view;
mod plugins;
mod printable;
mod providers;
mod reviews;
mod secrets;
mod settings;
mod shipped;
mod simulation;
mod snapshot;
mod source_edit;
mod table;
mod ui;
mod view;
mod web;

use exit::Exit;
use ui::Ui;

/// Runs the program with its arguments.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Before anything else: a shim lives as long as its instance, so it must stay small.
    match arguments.get(1).and_then(|first| first.to_str()) {
        Some("shim") => return drover_provider_process::shim_main(arguments.into_iter().skip(2)),
        Some(plugins::limited::COMMAND) => {
            return plugins::limited::main(arguments.into_iter().skip(2));
        }
        Some("demo-server") => return demo::server::main(),
        _ => {}
    }
    let cli = match cli::Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let ui = Ui::new(cli.color);
    // One TLS implementation for every client of this process; only a second call can fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    logging::start(&cli, ui);
    match commands::run(&cli.command, ui) {
        Ok(exit) => exit.into(),
        Err(error) if error.is_broken_pipe() => Exit::Signal(SIGPIPE).into(),
        Err(error) => {
            ui.message(&error.render());
            error.status().into()
        }
    }
}

/// The number of the signal that a program without our error handling would have ended by.
const SIGPIPE: u8 = 13;

/// Prints help, the version, or what is wrong with the arguments.
fn usage(error: &clap::Error) -> ExitCode {
    // Asked for: a result. Otherwise a message with clap's own form.
    let exit = if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Done
    };
    if error.print().is_err() {
        return Exit::Signal(SIGPIPE).into();
    }
    let _ = std::io::stdout().flush();
    exit.into()
}
