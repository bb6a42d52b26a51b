//! Scaffolds a configuration repository that is valid and converges as it stands.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use drover_git::{
    CommitMeta, Edit, Mirror, PushOutcome, RemoteOptions, RepositoryKind, SourceUrl,
    init_repository,
};
use drover_model::Timestamp;

use crate::agent::random;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::identity;

/// The files of a new repository, by path.
pub(crate) const TEMPLATE: [(&str, &str); 6] = [
    ("README.md", include_str!("init/template/README.md")),
    (".droverignore", include_str!("init/template/droverignore")),
    (".gitignore", include_str!("init/template/gitignore")),
    (
        "groups/hello.yaml",
        include_str!("init/template/groups/hello.yaml"),
    ),
    (
        "policies/size-limit.yaml",
        include_str!("init/template/policies/size-limit.yaml"),
    ),
    (
        "providers/local.yaml",
        include_str!("init/template/providers/local.yaml"),
    ),
];

/// Where the agent's own settings and data go, outside of what is committed.
pub(crate) const AGENT_FOLDER: &str = ".drover";

/// The branch of a new repository.
const NEW_BRANCH: &str = "main";

/// What was made.
#[derive(Debug)]
pub(crate) struct Scaffold {
    /// The folder, absolute.
    pub(crate) dir: PathBuf,
    /// The agent's file.
    pub(crate) agent_file: PathBuf,
    /// Whether the files are committed. A repository that was there already is left to its owner.
    pub(crate) committed: bool,
}

/// Writes the files, makes the repository, commits.
///
/// # Errors
///
/// A file that is there already is never overwritten: then nothing is written at all.
pub(crate) fn scaffold(dir: &Path) -> CommandResult<Scaffold> {
    let shown = dir.display();
    fs::create_dir_all(dir).context(format!("cannot make the folder {shown}"))?;
    let dir = fs::canonicalize(dir).context(format!("cannot find the folder {shown}"))?;
    let existing: Vec<&str> = TEMPLATE
        .iter()
        .map(|(path, _)| *path)
        .filter(|path| dir.join(path).symlink_metadata().is_ok())
        .collect();
    if !existing.is_empty() {
        return Err(
            CommandError::new(format!("{shown} already has {}", existing.join(", ")))
                .hint("choose an empty folder: drover init DIR"),
        );
    }
    let had_repository = dir.join(".git").exists();
    let mut branch = NEW_BRANCH.to_owned();
    if had_repository {
        branch = checked_out(&dir).unwrap_or(branch);
        for (path, text) in TEMPLATE {
            write(&dir.join(path), text).context(format!("cannot write {path}"))?;
        }
    } else {
        init_repository(&dir, RepositoryKind::WithWorkTree, NEW_BRANCH)
            .context(format!("cannot make a repository in {shown}"))?;
        commit(&dir)?;
    }
    let agent_file = dir.join(AGENT_FOLDER).join("agent.yaml");
    if agent_file.symlink_metadata().is_err() {
        write(
            &agent_file,
            &agent_config(&dir, &branch, &fleet_name(random())),
        )
        .context(format!("cannot write {}", agent_file.display()))?;
    }
    Ok(Scaffold {
        dir,
        agent_file,
        committed: !had_repository,
    })
}

/// Returns the branch that is checked out, though it may have no commit yet. None: none is, or that cannot be told here.
fn checked_out(dir: &Path) -> Option<String> {
    let git = dir.join(".git");
    let head = match fs::read_to_string(&git) {
        // A work tree beside another one says where its own part of the repository is.
        Ok(text) => dir.join(text.strip_prefix("gitdir: ")?.trim_end()),
        Err(_) => git,
    };
    let head = fs::read_to_string(head.join("HEAD")).ok()?;
    let branch = head.strip_prefix("ref: refs/heads/")?;
    Some(branch.trim_end().to_owned())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

/// The first commit. Moving the branch that is checked out brings the files along.
fn commit(dir: &Path) -> CommandResult<()> {
    let attempted = || format!("cannot commit in {}", dir.display());
    let url = SourceUrl::from_path(dir).context(attempted())?;
    let mirror = Mirror::open(dir, url, RemoteOptions::default()).context(attempted())?;
    let edits: Vec<Edit> = TEMPLATE
        .iter()
        .map(|(path, text)| Edit::put(*path, *text))
        .collect();
    let meta = CommitMeta {
        message: "Scaffold a drover configuration repository".to_owned(),
        author: identity::user(),
        time: Timestamp::now(),
        signer: None,
    };
    let first = mirror
        .build_commit(None, &edits, &meta)
        .context(attempted())?
        .ok_or_else(|| CommandError::new(attempted()))?;
    match mirror
        .update(NEW_BRANCH, None, first)
        .context(attempted())?
    {
        PushOutcome::Done => Ok(()),
        PushOutcome::Moved { .. } => Err(CommandError::new(attempted())
            .hint("the branch main exists already: choose an empty folder")),
        PushOutcome::Refused { message } => Err(CommandError::new(attempted()).because(message)),
    }
}

/// Letters and digits of drawn names, without those that are taken for each other.
const DRAWN_FROM: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// How many of them a drawn name has: a thousand fleets of one account have no two alike, but once in two thousand times.
const DRAWN: usize = 6;

/// Returns the name of a fleet that is nobody else's.
fn fleet_name(drawn: u64) -> String {
    let letters = (0..DRAWN).map(|at| {
        let letter = (drawn >> (5 * at)) as usize % DRAWN_FROM.len();
        char::from(DRAWN_FROM[letter])
    });
    format!("local-{}", letters.collect::<String>())
}

/// The agent's file for trying the repository out on this machine.
fn agent_config(dir: &Path, branch: &str, fleet: &str) -> String {
    let dir_text = yaml_string(&dir.display().to_string());
    let branch = yaml_string(branch);
    let data = yaml_string(&dir.join(AGENT_FOLDER).join("data").display().to_string());
    format!(
        "# An agent for this repository on this machine: `drover run --config .drover/agent.yaml`.\n\
         name: local\n\
         # Whose the instances are: drawn, as two agents with one fleet on one engine or account end each other's.\n\
         fleet: {fleet}\n\
         source: {{url: {dir_text}, branch: {branch}, interval: 10s}}\n\
         dataDir: {data}\n\
         # The type `process` runs what the repository says, as your own user: here on purpose.\n\
         providers: {{allow: [process]}}\n"
    )
}

/// Quotes a text so that YAML reads it back whatever is in it.
fn yaml_string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
