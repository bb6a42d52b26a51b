//! What the tests of this crate share.

pub(crate) mod git_daemon;
pub(crate) mod http_backend;
pub(crate) mod ssh_server;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drover_git::{
    CommitMeta, Credentials, Edit, Login, Mirror, Oid, PublishPolicy, PushOutcome, RemoteOptions,
    Secret, Signature, SourceUrl, StateBranch,
};
use http_backend::{HttpBackend, create_repository, git};
use jiff::Timestamp;
use tempfile::TempDir;

/// One temporary folder with a served repository `fleet.git` and mirrors of it.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) server: HttpBackend,
    pub(crate) repository: PathBuf,
}

impl Site {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("served");
        let repository = create_repository(&root, "fleet.git");
        let server = HttpBackend::start(&root);
        Self {
            folder,
            server,
            repository,
        }
    }

    /// With three commits on `main`.
    pub(crate) fn with_history() -> Self {
        let site = Self::start();
        let local = site.in_place();
        for size in 3..6 {
            let text = format!("size: {size}\n");
            push_file(&local, "main", "groups/web.yaml", &text);
        }
        site
    }

    pub(crate) fn url(&self) -> String {
        self.server.url("fleet.git")
    }

    /// A mirror over HTTP in a folder of its own.
    pub(crate) fn mirror(&self, name: &str) -> Arc<Mirror> {
        self.mirror_with(name, options()).unwrap()
    }

    pub(crate) fn mirror_with(
        &self,
        name: &str,
        options: RemoteOptions,
    ) -> Result<Arc<Mirror>, drover_git::GitError> {
        let url = SourceUrl::parse(&self.url()).unwrap();
        let dir = self.folder.path().join("mirrors").join(name);
        Mirror::open(&dir, url, options).map(Arc::new)
    }

    /// The served repository itself, as another writer on its machine sees it.
    pub(crate) fn in_place(&self) -> Arc<Mirror> {
        local(&self.repository)
    }

    pub(crate) fn state(&self, name: &str) -> StateBranch {
        StateBranch::open(self.mirror(name), "drover/state", agent(name)).unwrap()
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(&self.repository, arguments)
    }
}

/// Opens a repository in place.
pub(crate) fn local(path: &Path) -> Arc<Mirror> {
    let url = SourceUrl::from_path(path).unwrap();
    Arc::new(Mirror::open(Path::new("unused"), url, options()).unwrap())
}

pub(crate) fn options() -> RemoteOptions {
    RemoteOptions {
        timeout: Duration::from_secs(30),
        deadline: Duration::from_mins(1),
        ..RemoteOptions::default()
    }
}

pub(crate) fn with_password(user: &str, password: &str) -> RemoteOptions {
    RemoteOptions {
        credentials: Some(Login::Given(Credentials {
            username: user.to_owned(),
            password: Secret::new(password),
        })),
        ..options()
    }
}

pub(crate) fn agent(name: &str) -> Signature {
    Signature {
        name: name.to_owned(),
        email: format!("{name}@example.com"),
    }
}

pub(crate) fn meta(message: &str) -> CommitMeta {
    CommitMeta {
        message: message.to_owned(),
        author: agent("jane"),
        time: at(0),
        signer: None,
    }
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

/// Writes one file on a branch, as a person's push would.
pub(crate) fn push_file(mirror: &Mirror, branch: &str, path: &str, text: &str) -> Oid {
    let base = mirror.list().unwrap().get(branch);
    let edits = [Edit::put(path, text)];
    let commit = mirror
        .build_commit(base, &edits, &meta(&format!("change {path}")))
        .unwrap()
        .expect("a change");
    let outcome = mirror.update(branch, base, commit).unwrap();
    assert_eq!(outcome, PushOutcome::Done);
    commit
}

/// A policy that tries for as long as a test may take, with short pauses.
pub(crate) fn patient(seed: u64) -> PublishPolicy {
    PublishPolicy {
        attempts: 200,
        pause: Duration::from_millis(20),
        seed,
    }
}

/// Asserts that `git fsck` finds nothing wrong at all.
pub(crate) fn assert_sound(repository: &Path) {
    let output = http_backend::git_command(repository)
        .args(["fsck", "--full", "--strict", "--no-dangling"])
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    assert!(
        !text.contains("error") && !text.contains("missing"),
        "{text}"
    );
}
