//! A remote behind a real `git daemon`, which is for reading alone.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drover_git::{
    Disposition, GitError, Mirror, PackLimits, RemoteOptions, SourceUrl, StateBranch,
};
use tempfile::TempDir;

use crate::support::git_daemon::GitDaemon;
use crate::support::http_backend::{create_repository, git};
use crate::support::*;

struct Place {
    folder: TempDir,
    repository: PathBuf,
    daemon: GitDaemon,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("served");
        let repository = create_repository(&root, "fleet.git");
        push_file(&local(&repository), "main", "groups/web.yaml", "size: 3\n");
        let daemon = GitDaemon::start(&root);
        Self {
            folder,
            repository,
            daemon,
        }
    }

    fn mirror(&self, name: &str, options: RemoteOptions) -> Arc<Mirror> {
        let url = SourceUrl::parse(&self.daemon.url(name)).unwrap();
        let folder = self.folder.path().join("mirror");
        Arc::new(Mirror::open(&folder, url, options).unwrap())
    }
}

#[test]
fn a_repository_is_read_and_followed() {
    let place = Place::new();
    let mirror = place.mirror("fleet.git", options());
    for size in 3..6 {
        let text = format!("size: {size}\n");
        if size > 3 {
            push_file(&local(&place.repository), "main", "groups/web.yaml", &text);
        }
        let refs = mirror.list().unwrap();
        let tip = refs.require("main").unwrap();
        mirror.fetch(&[("main", tip)]).unwrap();
        let (_, bytes) = mirror.file(tip, "groups/web.yaml").unwrap().unwrap();
        assert_eq!(bytes, text.as_bytes());
    }
    assert_sound(mirror.directory());
}

#[test]
fn nothing_is_ever_pushed_though_the_host_would_take_it() {
    let place = Place::new();
    let mirror = place.mirror("fleet.git", options());
    let tip = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", tip)]).unwrap();
    let error = mirror.update("other", None, tip).unwrap_err();
    assert!(matches!(error, GitError::ReadOnly { .. }), "{error:?}");
    assert_eq!(error.disposition(), Disposition::NeedsOperator);
    let mut state = StateBranch::open(mirror, "drover/state", agent("edge-1")).unwrap();
    let edits = [drover_git::Edit::put("groups/web.yaml", "size: 3\n")];
    state.commit(edits, "web: scale".to_owned(), at(1)).unwrap();
    let error = state.publish(&patient(1)).unwrap_err();
    assert!(matches!(error, GitError::ReadOnly { .. }), "{error:?}");
    let branches = git(&place.repository, &["for-each-ref", "--format=%(refname)"]);
    assert_eq!(branches, "refs/heads/main");
}

#[test]
fn a_repository_that_is_not_there_is_told_in_the_servers_words() {
    let place = Place::new();
    let error = place.mirror("other.git", options()).list().unwrap_err();
    let GitError::Protocol { source, .. } = error else {
        panic!("{error:?}");
    };
    assert!(
        source.to_string().contains("no such repository"),
        "{source}"
    );
}

#[test]
fn what_it_sends_is_looked_at_like_everything_else() {
    let place = Place::new();
    let limits = PackLimits {
        objects: 2,
        ..PackLimits::default()
    };
    let mirror = place.mirror(
        "fleet.git",
        RemoteOptions {
            limits,
            ..options()
        },
    );
    let tip = mirror.list().unwrap().require("main").unwrap();
    let error = mirror.fetch(&[("main", tip)]).unwrap_err();
    assert!(matches!(error, GitError::Pack { .. }), "{error:?}");
}

#[test]
fn a_host_that_is_not_there_or_says_nothing_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("git://{}/a%20b/fleet.git", listener.local_addr().unwrap());
    let timeout = Duration::from_millis(500);
    let options = RemoteOptions {
        timeout,
        ..options()
    };
    let mirror = Mirror::open(folder.path(), SourceUrl::parse(&url).unwrap(), options).unwrap();
    let silent = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        stream.read_to_end(&mut request).unwrap();
        String::from_utf8(request).unwrap()
    });
    let error = mirror.list().unwrap_err();
    assert!(
        matches!(&error, GitError::Timeout { after, .. } if *after == timeout),
        "{error:?}"
    );
    let request = silent.join().unwrap();
    assert!(
        request[4..].starts_with("git-upload-pack /a b/fleet.git\0host=127.0.0.1:"),
        "{request}"
    );
    // Nobody listens any more.
    let error = mirror.list().unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.disposition(), Disposition::Retry);
}
