//! Watches a local repository, so that a push is acted on at once. Only a hint: whatever happens,
//! the same full pass runs, and the interval covers what a watch misses.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

#[cfg(test)]
mod tests;

/// How long a push may take to settle: Git writes a lock file, renames it, and perhaps more.
pub(crate) const SETTLE: Duration = Duration::from_millis(50);

/// A running watch; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct RefWatch {
    _watcher: RecommendedWatcher,
}

/// The files of a repository that say where a reference points.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RefFiles {
    /// The repository's own folder: `.git`, or the whole of a bare one.
    git_dir: PathBuf,
    /// The reference in full, e.g. `refs/heads/main`.
    reference: String,
}

/// Notifies `changed` when `reference` may have moved in the repository at `path`.
pub(crate) fn watch(
    path: &Path,
    reference: &str,
    changed: Arc<Notify>,
) -> Result<RefWatch, notify::Error> {
    let files = RefFiles {
        git_dir: git_dir(path),
        reference: full_name(reference),
    };
    let git_dir = files.git_dir.clone();
    let mut watcher = notify::recommended_watcher(move |event: Result<Event, notify::Error>| {
        let relevant = match &event {
            // Events were lost: any of them may have been ours.
            Ok(event) => event.need_rescan() || files.concerns(event),
            Err(_) => true,
        };
        if relevant {
            changed.notify_one();
        }
    })?;
    // `packed-refs` and `HEAD` are replaced by rename, so their folder is watched, not they.
    watcher.watch(&git_dir, RecursiveMode::NonRecursive)?;
    watcher.watch(&git_dir.join("refs"), RecursiveMode::Recursive)?;
    Ok(RefWatch { _watcher: watcher })
}

fn full_name(reference: &str) -> String {
    if reference.starts_with("refs/") {
        reference.to_owned()
    } else {
        format!("refs/heads/{reference}")
    }
}

impl RefFiles {
    /// Whether an event may mean that the reference moved. The agent's own references live in the
    /// same folder: without this filter, each of its commits would start another pass.
    fn concerns(&self, event: &Event) -> bool {
        if event.kind.is_access() {
            return false;
        }
        event.paths.iter().any(|path| self.is_relevant(path))
    }

    fn is_relevant(&self, path: &Path) -> bool {
        let Ok(inside) = path.strip_prefix(&self.git_dir) else {
            return false;
        };
        let inside = inside.to_string_lossy();
        // A folder on the way to the reference: it appeared, so the reference may be in it already.
        let leads_there = self
            .reference
            .strip_prefix(inside.as_ref())
            .is_some_and(|rest| rest.starts_with('/'));
        inside == "packed-refs" || inside == self.reference || (!inside.is_empty() && leads_there)
    }
}

/// Returns the folder with the references: of a bare repository, of a work tree, or of the
/// repository that a linked work tree belongs to.
pub(super) fn git_dir(path: &Path) -> PathBuf {
    let dot_git = path.join(".git");
    if dot_git.is_dir() {
        return dot_git;
    }
    let linked = fs::read_to_string(&dot_git).ok().and_then(|text| {
        let target = text.trim().strip_prefix("gitdir:")?.trim();
        Some(path.join(target))
    });
    let Some(linked) = linked else {
        return path.to_owned();
    };
    match fs::read_to_string(linked.join("commondir")) {
        Ok(common) => linked.join(common.trim()),
        Err(_) => linked,
    }
}
