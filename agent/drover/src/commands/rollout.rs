//! `drover rollout status`: how far a rolling update has come.

use std::time::Instant;

use drover_model::{GroupPhase, RecordedGroup, RolloutState};

use super::get::declared;
use crate::cli::RolloutStatusArgs;
use crate::error::{CommandError, CommandResult};
use crate::exit::Exit;
use crate::settings::Settings;
use crate::snapshot::Reader;
use crate::ui::Ui;
use crate::view;

/// Runs the command. Exits with 6 when the rollout is paused, with 7 when `--watch` gives up.
pub(super) fn status(args: &RolloutStatusArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_source(&args.source)?;
    let reader = Reader::open(&settings)?;
    let started = Instant::now();
    let mut snapshot = reader.read()?;
    let mut printed = String::new();
    loop {
        let recorded = snapshot.group(&args.group)?;
        let line = view::rollout_line(recorded, &view::group(recorded, &declared(recorded)));
        if line != printed {
            ui.result(&line)?;
            printed = line;
        }
        match progress(recorded) {
            Progress::Paused => return Ok(Exit::Partial),
            Progress::Complete => return Ok(Exit::Done),
            Progress::Going if !args.watch => return Ok(Exit::Done),
            Progress::Going => {}
        }
        if started.elapsed() > args.timeout {
            return Err(CommandError::new(format!(
                "the rollout of {} did not end in time",
                args.group
            ))
            .exit(Exit::TimedOut));
        }
        snapshot = reader.next(&snapshot)?;
    }
}

enum Progress {
    Going,
    Paused,
    Complete,
}

fn progress(recorded: &RecordedGroup) -> Progress {
    let state = recorded.rollout.as_ref().map(|rollout| &rollout.state);
    match (state, recorded.phase) {
        (Some(RolloutState::Paused(_)), _) => Progress::Paused,
        (None, _) if recorded.quarantine.is_some() => Progress::Paused,
        (None, GroupPhase::Converged | GroupPhase::Observed) => Progress::Complete,
        _ => Progress::Going,
    }
}
