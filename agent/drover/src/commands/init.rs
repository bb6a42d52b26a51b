//! `drover init`: scaffolds a configuration repository.

use crate::cli::InitArgs;
use crate::error::CommandResult;
use crate::exit::Exit;
use crate::init::{TEMPLATE, scaffold};
use crate::ui::Ui;

/// Runs the command.
pub(super) fn run(args: &InitArgs, ui: Ui) -> CommandResult {
    let made = scaffold(&args.dir)?;
    let mut text = format!(
        "Made a configuration repository in {}:\n",
        made.dir.display()
    );
    for (path, _) in TEMPLATE {
        text.push_str(&format!("  {path}\n"));
    }
    if !made.committed {
        text.push_str("The repository was there already: commit the files yourself.\n");
    }
    let dir = shell_quoted(&made.dir.display().to_string());
    let file = shell_quoted(&made.agent_file.display().to_string());
    text.push_str(&format!(
        "\nNext:\n  \
         drover validate {dir}\n  \
         drover run --config {file} --until-converged\n  \
         drover get groups --config {file}\n"
    ));
    ui.result(&text)?;
    Ok(Exit::Done)
}

/// Returns the text so that a shell takes it for one word.
pub(crate) fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
