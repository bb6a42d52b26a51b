//! `drover demo`: what drover does, as it really happens, on this machine. Every act verifies itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::DemoArgs;
use crate::commands::shell_quoted;
use crate::error::{CommandResult, Context as _};
use crate::exit::Exit;
use crate::ui::{Style, Ui};

mod acts;
mod documents;
mod http;
mod load;
pub(crate) mod server;
mod stage;

use stage::Stage;

/// Runs the command.
pub(crate) fn run(args: &DemoArgs, ui: Ui) -> CommandResult {
    let interrupted = Arc::new(AtomicBool::new(false));
    watch_signals(interrupted.clone())?;
    let started = Instant::now();
    let mut stage = Stage::build(interrupted)?;
    let narrator = Narrator { ui, started };
    narrator.title(&format!(
        "drover demo: groups of machines as Git says, in {}",
        stage.root.display()
    ))?;
    let played = acts::play(&mut stage, &narrator);
    if played.is_ok() && args.keep {
        let root = stage.root.clone();
        let pid = stage.keep();
        ui.result(&look_around(&root, pid))?;
        return Ok(Exit::Done);
    }
    let cleared = stage.clear();
    played?;
    cleared?;
    narrator.title(&format!(
        "Everything held, in {:.0} s. Every process has ended and the folder is gone.",
        started.elapsed().as_secs_f64()
    ))?;
    ui.result("Next: `drover init my-fleet` makes a repository of your own.")?;
    Ok(Exit::Done)
}

/// Notes Ctrl-C and its like, so that the demo can clear up after itself.
fn watch_signals(interrupted: Arc<AtomicBool>) -> CommandResult<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let signals = {
        let _entered = runtime.enter();
        let listen = |kind| signal(kind).context("cannot listen for signals");
        [
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]
    };
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let [mut interrupt, mut terminate, mut hangup] = signals;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            interrupted.store(true, Ordering::SeqCst);
            // Further signals change nothing: clearing up is under way and bounded.
            std::future::pending::<()>().await;
        });
    });
    Ok(())
}

fn look_around(root: &Path, agent: Option<u32>) -> String {
    let config = shell_quoted(&root.join("agent.yaml").display().to_string());
    let git = shell_quoted(&root.join("fleet.git").display().to_string());
    let agent = agent.map_or(String::new(), |pid| format!("\n  kill {pid}"));
    format!(
        "\nEverything is left running. Look around:\n  \
         drover get groups --config {config}\n  \
         drover get instances --config {config} -o wide\n  \
         drover describe web --config {config}\n  \
         drover log --config {config}\n  \
         git -C {git} log drover/state\n\
         Change something:\n  \
         git clone {git} my-clone\n  \
         drover scale web 7 --config {config}\n\
         End it:\n  \
         drover scale web 0 --config {config}{agent}\n  \
         rm -r {}\n",
        shell_quoted(&root.display().to_string())
    )
}

/// Says what happens.
#[derive(Debug)]
pub(crate) struct Narrator {
    ui: Ui,
    started: Instant,
}

impl Narrator {
    fn title(&self, text: &str) -> CommandResult<()> {
        let title = Style::Bold.paint(text, self.ui.out_color());
        Ok(self.ui.result(&format!("{title}\n"))?)
    }

    /// Begins an act.
    fn act(&self, number: usize, title: &str) -> CommandResult<()> {
        let elapsed = self.started.elapsed().as_secs_f64();
        let title = Style::Bold.paint(&format!("{number}. {title}"), self.ui.out_color());
        let clock = Style::Dim.paint(&format!("[{elapsed:.0} s]"), self.ui.out_color());
        Ok(self.ui.result(&format!("\n{title} {clock}"))?)
    }

    /// Tells something.
    fn say(&self, text: &str) -> CommandResult<()> {
        let indented: Vec<String> = text.lines().map(|line| format!("   {line}")).collect();
        Ok(self.ui.result(&indented.join("\n"))?)
    }

    /// Says what was verified.
    fn verified(&self, text: &str) -> CommandResult<()> {
        let mark = Style::Green.paint("ok", self.ui.out_color());
        Ok(self.ui.result(&format!("   {mark}  {text}"))?)
    }
}

/// Answers by version, for people.
fn by_version(versions: &BTreeMap<String, u64>) -> String {
    let parts = versions
        .iter()
        .map(|(version, count)| format!("{count} by version {version}"));
    parts.collect::<Vec<_>>().join(", ")
}
