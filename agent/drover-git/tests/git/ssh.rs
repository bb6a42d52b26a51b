//! A remote over ssh, at a real OpenSSH server.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drover_git::{
    Disposition, Edit, GitError, HostKeyError, Mirror, Oid, PushOutcome, RemoteOptions, SourceUrl,
    SshIdentity, SshOptions, StateBranch,
};
use tempfile::TempDir;

use crate::support::http_backend::{create_repository, git};
use crate::support::ssh_server::{Access, SshAgent, SshServer, keygen};
use crate::support::*;

struct Fleet {
    folder: TempDir,
    server: SshServer,
    repository: PathBuf,
}

impl Fleet {
    /// A served repository with one commit on `main`.
    fn start() -> Self {
        Self::start_with("")
    }

    /// The same, with more lines in the server's configuration.
    fn start_with(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = create_repository(&folder.path().join("it's served"), "fleet.git");
        push_file(&local(&repository), "main", "groups/web.yaml", "size: 3\n");
        let server = SshServer::start_with(&folder.path().join("sshd"), lines);
        Self {
            folder,
            server,
            repository,
        }
    }

    fn options(&self, key: &Path) -> RemoteOptions {
        RemoteOptions {
            ssh: SshOptions {
                identity: Some(key_file(key)),
                write_identity: None,
                known_hosts: vec![self.server.known_hosts()],
            },
            ..options()
        }
    }

    fn mirror(&self, options: RemoteOptions) -> Arc<Mirror> {
        let path = self.repository.display().to_string().replace(' ', "%20");
        let url = SourceUrl::parse(&self.server.url(Path::new(&path))).unwrap();
        let dir = self.folder.path().join(format!("mirror-{}", next()));
        Arc::new(Mirror::open(&dir, url, options).unwrap())
    }
}

fn next() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

fn key_file(path: &Path) -> SshIdentity {
    SshIdentity::KeyFile {
        path: path.to_owned(),
        passphrase: None,
    }
}

fn tip(mirror: &Mirror) -> Oid {
    mirror.list().unwrap().require("main").unwrap()
}

fn fetched(mirror: &Mirror) -> Vec<u8> {
    let tip = tip(mirror);
    mirror.fetch(&[("main", tip)]).unwrap();
    mirror.file(tip, "groups/web.yaml").unwrap().unwrap().1
}

fn push(mirror: &Mirror, text: &str) -> Result<PushOutcome, GitError> {
    let base = tip(mirror);
    mirror.fetch(&[("main", base)]).unwrap();
    let edits = [Edit::put("groups/web.yaml", text)];
    let new = mirror.build_commit(Some(base), &edits, &meta("change"));
    mirror.update("main", Some(base), new.unwrap().unwrap())
}

fn host_key_error(mirror: &Mirror) -> HostKeyError {
    let error = mirror.list().unwrap_err();
    assert_eq!(error.disposition(), Disposition::NeedsOperator);
    match error {
        GitError::HostKey { source, .. } => *source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_that_may_write_fetches_and_pushes() {
    let fleet = Fleet::start();
    let key = fleet.server.client("writer", Access::Write);
    let mirror = fleet.mirror(fleet.options(&key));
    assert_eq!(fetched(&mirror), b"size: 3\n");
    assert_eq!(push(&mirror, "size: 4\n").unwrap(), PushOutcome::Done);
    let served = git(&fleet.repository, &["show", "main:groups/web.yaml"]);
    assert_eq!(served, "size: 4");
    assert_sound(&fleet.repository);
}

#[test]
fn a_pass_is_one_connection() {
    let fleet = Fleet::start();
    let key = fleet.server.client("writer", Access::Write);
    let mirror = fleet.mirror(fleet.options(&key));
    assert_eq!(fetched(&mirror), b"size: 3\n");
    assert_eq!(push(&mirror, "size: 5\n").unwrap(), PushOutcome::Done);
    assert_eq!(fetched(&mirror), b"size: 5\n");
    assert_eq!(fleet.server.admitted(), 1);
}

#[test]
fn a_connection_serves_the_key_that_it_was_made_with_alone() {
    let fleet = Fleet::start();
    let key = fleet.server.client("reader", Access::Read);
    let mut options = fleet.options(&key);
    let own = fleet.server.client("writer", Access::Write);
    options.ssh.write_identity = Some(key_file(&own));
    let mirror = fleet.mirror(options);
    assert_eq!(fetched(&mirror), b"size: 3\n");
    assert_eq!(push(&mirror, "size: 5\n").unwrap(), PushOutcome::Done);
    assert_eq!(push(&mirror, "size: 6\n").unwrap(), PushOutcome::Done);
    assert_eq!(fleet.server.admitted(), 2);
    // A rotated key is shown at once.
    fleet.server.client("reader", Access::Read);
    assert_eq!(fetched(&mirror), b"size: 6\n");
    assert_eq!(fleet.server.admitted(), 3);
}

#[test]
fn a_host_that_takes_one_program_for_each_connection_gets_several() {
    let fleet = Fleet::start_with("MaxSessions 1\n");
    let key = fleet.server.client("once", Access::Once);
    let mirror = fleet.mirror(fleet.options(&key));
    assert_eq!(fetched(&mirror), b"size: 3\n");
    assert_eq!(push(&mirror, "size: 5\n").unwrap(), PushOutcome::Done);
    assert_eq!(fetched(&mirror), b"size: 5\n");
    assert!(fleet.server.admitted() > 4, "{}", fleet.server.admitted());
}

#[test]
fn a_connection_that_broke_meanwhile_is_replaced() {
    let mut fleet = Fleet::start();
    let key = fleet.server.client("writer", Access::Write);
    let mirror = fleet.mirror(fleet.options(&key));
    assert_eq!(fetched(&mirror), b"size: 3\n");
    fleet.server.restart();
    assert_eq!(push(&mirror, "size: 5\n").unwrap(), PushOutcome::Done);
    assert_eq!(fleet.server.admitted(), 1);
}

#[test]
fn two_state_branches_over_ssh_lose_nothing() {
    let fleet = Fleet::start();
    let key = fleet.server.client("writer", Access::Write);
    let mut writers: Vec<StateBranch> = ["a", "b"]
        .into_iter()
        .map(|name| {
            let mirror = fleet.mirror(fleet.options(&key));
            StateBranch::open(mirror, "drover/state", agent(name)).unwrap()
        })
        .collect();
    for (index, writer) in writers.iter_mut().enumerate() {
        let edits = [Edit::put(format!("groups/{index}.yaml"), "x\n")];
        writer.commit(edits, "a change".to_owned(), at(0)).unwrap();
    }
    for writer in &mut writers {
        writer.publish(&patient(7)).unwrap();
    }
    let files = git(
        &fleet.repository,
        &["ls-tree", "-r", "--name-only", "drover/state"],
    );
    assert_eq!(files, "groups/0.yaml\ngroups/1.yaml");
}

#[test]
fn ten_writers_over_ssh_lose_nothing() {
    let fleet = Fleet::start();
    let key = fleet.server.client("writer", Access::Write);
    crate::state::ten_lose_nothing("ssh", &fleet.repository, |_| {
        fleet.mirror(fleet.options(&key))
    });
}

#[test]
fn a_stale_expected_value_is_refused_before_anything_is_sent() {
    let fleet = Fleet::start();
    let key = fleet.server.client("writer", Access::Write);
    let mirror = fleet.mirror(fleet.options(&key));
    let before = tip(&mirror);
    mirror.fetch(&[("main", before)]).unwrap();
    let other = push_file(
        &local(&fleet.repository),
        "main",
        "groups/db.yaml",
        "size: 1\n",
    );
    let edits = [Edit::put("groups/web.yaml", "size: 9\n")];
    let new = mirror.build_commit(Some(before), &edits, &meta("late"));
    let outcome = mirror.update("main", Some(before), new.unwrap().unwrap());
    assert_eq!(
        outcome.unwrap(),
        PushOutcome::Moved {
            current: Some(other)
        }
    );
}

#[test]
fn a_key_that_may_only_read_fetches_and_its_push_is_refused_in_the_servers_words() {
    let fleet = Fleet::start();
    let key = fleet.server.client("reader", Access::Read);
    let mirror = fleet.mirror(fleet.options(&key));
    assert_eq!(fetched(&mirror), b"size: 3\n");
    let refused = PushOutcome::Refused {
        message: "this key may only read".to_owned(),
    };
    assert_eq!(push(&mirror, "size: 4\n").unwrap(), refused);
    assert_eq!(fetched(&mirror), b"size: 3\n");
}

#[test]
fn a_key_of_its_own_is_used_for_pushing() {
    let fleet = Fleet::start();
    let reader = fleet.server.client("reader", Access::Read);
    let writer = fleet.server.client("writer", Access::Write);
    let mut options = fleet.options(&reader);
    options.ssh.write_identity = Some(key_file(&writer));
    let mirror = fleet.mirror(options);
    assert_eq!(push(&mirror, "size: 4\n").unwrap(), PushOutcome::Done);
}

#[test]
fn a_hook_that_declines_is_quoted() {
    let fleet = Fleet::start();
    let hook = fleet.repository.join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho not on a friday >&2\nexit 1\n").unwrap();
    std::process::Command::new("chmod")
        .arg("+x")
        .arg(&hook)
        .status()
        .unwrap();
    let key = fleet.server.client("writer", Access::Write);
    let mirror = fleet.mirror(fleet.options(&key));
    let PushOutcome::Refused { message } = push(&mirror, "size: 4\n").unwrap() else {
        panic!("the hook declined");
    };
    assert!(message.contains("not on a friday"), "{message}");
}

#[test]
fn an_unknown_host_is_refused_with_the_line_that_makes_it_known() {
    let fleet = Fleet::start();
    let key = fleet.server.client("writer", Access::Write);
    let mut options = fleet.options(&key);
    let known = fleet.folder.path().join("empty");
    options.ssh.known_hosts = vec![known.clone()];
    let mirror = fleet.mirror(options);
    let error = host_key_error(&mirror);
    let HostKeyError::Unknown { line, offered, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(offered.starts_with("ssh-ed25519 SHA256:"), "{offered}");
    let text = error.to_string();
    assert!(text.contains("empty") && text.contains(line), "{text}");
    // The advice works, and without a restart.
    fs::write(&known, format!("{line}\n")).unwrap();
    assert_eq!(fetched(&mirror), b"size: 3\n");
}

#[test]
fn a_host_key_that_changed_is_refused_until_the_file_has_the_new_one() {
    let mut fleet = Fleet::start();
    let key = fleet.server.client("writer", Access::Write);
    let mirror = fleet.mirror(fleet.options(&key));
    tip(&mirror);
    fleet.server.rotate_host_key();
    let error = host_key_error(&mirror);
    assert!(matches!(error, HostKeyError::Changed { .. }), "{error:?}");
    assert!(error.to_string().contains("known_hosts:1"), "{error}");
    fleet.server.known_hosts();
    tip(&mirror);
}

#[test]
fn names_may_be_hashed() {
    let fleet = Fleet::start();
    let key = fleet.server.client("writer", Access::Write);
    let mirror = fleet.mirror(fleet.options(&key));
    let known = fleet.server.known_hosts();
    keygen(&["-H", "-f", &known.display().to_string()]);
    let text = fs::read_to_string(&known).unwrap();
    assert!(text.starts_with("|1|"), "{text}");
    tip(&mirror);
}

#[test]
fn a_host_is_known_by_a_certificate_of_its_authority() {
    let mut fleet = Fleet::start();
    let key = fleet.server.client("writer", Access::Write);
    let mirror = fleet.mirror(fleet.options(&key));
    fleet.server.make_key("authority");
    let known = format!(
        "@cert-authority [127.0.0.1]:* {}",
        fleet.server.public("authority")
    );
    fleet.server.write_known(&known);
    // A bare key is not what the authority vouches for.
    let error = host_key_error(&mirror);
    assert!(matches!(error, HostKeyError::Unknown { .. }), "{error:?}");
    fleet.server.certify_host("authority", "127.0.0.1");
    fleet.server.write_known(&known);
    tip(&mirror);
    fleet.server.certify_host("authority", "git.example.com");
    let error = host_key_error(&mirror);
    assert!(
        matches!(error, HostKeyError::Certificate { .. }),
        "{error:?}"
    );
    fleet.server.certify_host("authority", "127.0.0.1");
    let revoked = format!("{known}\n@revoked * {}", fleet.server.public("authority"));
    fleet.server.write_known(&revoked);
    let error = host_key_error(&mirror);
    assert!(matches!(error, HostKeyError::Revoked { .. }), "{error:?}");
}

#[test]
fn a_key_that_nobody_knows_is_named() {
    let fleet = Fleet::start();
    let key = fleet.server.make_key("stranger");
    let mirror = fleet.mirror(fleet.options(&key));
    let error = mirror.list().unwrap_err();
    let GitError::SshAuth { tried, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(tried.starts_with("ssh-ed25519 SHA256:"), "{tried}");
    // Let in, it works without a restart.
    fleet.server.admit("stranger", Access::Read);
    tip(&mirror);
}

#[test]
fn keys_with_a_passphrase_and_of_other_kinds_are_read_or_named() {
    let fleet = Fleet::start();
    let locked = fleet
        .server
        .make_key_of("locked", &["-t", "ecdsa", "-N", "open sesame"]);
    fleet.server.admit("locked", Access::Read);
    let phrase = fleet.folder.path().join("phrase");
    let mut options = fleet.options(&locked);
    let failure = |options: &RemoteOptions| match fleet.mirror(options.clone()).list() {
        Err(GitError::SshKey { source, .. }) => source.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(failure(&options).contains("no file with one is configured"));
    options.ssh.identity = Some(SshIdentity::KeyFile {
        path: locked,
        passphrase: Some(phrase.clone()),
    });
    assert!(failure(&options).contains("No such file"));
    fs::write(&phrase, "wrong\n").unwrap();
    assert!(failure(&options).contains("does not open it"));
    fs::write(&phrase, "open sesame\n").unwrap();
    tip(&fleet.mirror(options));
    let short = ["-t", "rsa", "-b", "1024", "-N", ""];
    let short = fleet.server.make_key_of("short", &short);
    assert!(failure(&fleet.options(&short)).contains("2048 to 4096 bits"));
    let pem = ["-t", "rsa", "-m", "PEM", "-N", ""];
    let pem = fleet.server.make_key_of("pem", &pem);
    assert!(failure(&fleet.options(&pem)).contains("`ssh-keygen -p -f`"));
    let dsa = fleet.server.make_key_of("dsa", &["-t", "dsa", "-N", ""]);
    assert!(failure(&fleet.options(&dsa)).contains("use ed25519, ecdsa or RSA"));
    fs::write(&phrase, "no key\n").unwrap();
    assert!(failure(&fleet.options(&phrase)).contains("not a private key"));
    let public = pem.with_extension("pub");
    assert!(failure(&fleet.options(&public)).contains("name the file without `.pub`"));
}

#[test]
fn rsa_keys_log_in_by_file_and_by_agent_and_never_with_sha_1() {
    let fleet = Fleet::start();
    let mut keys = Vec::new();
    for bits in ["2048", "3072", "4096"] {
        let name = format!("rsa-{bits}");
        let made = ["-t", "rsa", "-b", bits, "-N", "open sesame"];
        let key = fleet.server.make_key_of(&name, &made);
        fleet.server.admit(&name, Access::Write);
        keys.push(key);
    }
    let phrase = fleet.folder.path().join("phrase");
    fs::write(&phrase, "open sesame\n").unwrap();
    for (size, key) in (4..).zip(&keys) {
        let mut options = fleet.options(key);
        options.ssh.identity = Some(SshIdentity::KeyFile {
            path: key.clone(),
            passphrase: Some(phrase.clone()),
        });
        let pushed = push(&fleet.mirror(options), &format!("size: {size}\n"));
        assert_eq!(pushed.unwrap(), PushOutcome::Done, "{}", key.display());
    }
    let open = ["-p", "-q", "-P", "open sesame", "-N", "", "-f"];
    keygen(&[&open[..], &[keys[0].to_str().unwrap()]].concat());
    let agent = SshAgent::start(fleet.folder.path(), &[&keys[0]]);
    let by_agent = |fleet: &Fleet| {
        let mut options = fleet.options(&keys[0]);
        options.ssh.identity = Some(SshIdentity::Agent {
            socket: agent.socket.clone(),
        });
        options
    };
    tip(&fleet.mirror(by_agent(&fleet)));
    let stranger = fleet
        .server
        .make_key_of("stranger", &["-t", "rsa", "-N", ""]);
    let refused = fleet.mirror(fleet.options(&stranger)).list().unwrap_err();
    assert!(matches!(refused, GitError::SshAuth { .. }), "{refused:?}");

    // The server would take such a signature, and gets none.
    let old = Fleet::start_with("PubkeyAcceptedAlgorithms ssh-rsa\n");
    for name in ["rsa-2048.pub", "rsa-2048"] {
        fs::copy(
            fleet.server.folder().join(name),
            old.server.folder().join(name),
        )
        .unwrap();
    }
    old.server.admit("rsa-2048", Access::Read);
    let by_file = old.options(&keys[0]);
    for options in [by_file, by_agent(&old)] {
        let refused = old.mirror(options).list().unwrap_err();
        assert!(matches!(refused, GitError::SshAuth { .. }), "{refused:?}");
    }
}

#[test]
fn an_agent_shows_its_keys_one_after_the_other() {
    let fleet = Fleet::start();
    let stranger = fleet.server.make_key("stranger");
    let writer = fleet.server.client("writer", Access::Write);
    let agent = SshAgent::start(fleet.folder.path(), &[&stranger, &writer]);
    let mut options = fleet.options(&writer);
    options.ssh.identity = Some(SshIdentity::Agent {
        socket: agent.socket.clone(),
    });
    let mirror = fleet.mirror(options.clone());
    assert_eq!(push(&mirror, "size: 4\n").unwrap(), PushOutcome::Done);
    drop(agent);
    // The first one's connection is still there.
    let error = fleet.mirror(options).list().unwrap_err();
    assert!(matches!(error, GitError::SshKey { .. }), "{error:?}");
}

#[test]
fn a_repository_that_is_not_there_is_told_in_the_servers_words() {
    let fleet = Fleet::start();
    let key = fleet.server.client("writer", Access::Write);
    let url = fleet.server.url(Path::new("/nowhere/fleet.git"));
    let dir = fleet.folder.path().join("mirror-nowhere");
    let options = fleet.options(&key);
    let mirror = Mirror::open(&dir, SourceUrl::parse(&url).unwrap(), options).unwrap();
    let error = mirror.list().unwrap_err();
    let GitError::Ended { message, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(message.contains("/nowhere/fleet.git"), "{message}");
}

#[test]
fn a_server_that_stalls_is_given_up_at_every_step() {
    let fleet = Fleet::start();
    let key = fleet.server.client("stalled", Access::Stalled);
    let mut options = fleet.options(&key);
    options.timeout = Duration::from_secs(2);
    let mirror = fleet.mirror(options.clone());
    let begun = Instant::now();
    let error = mirror.list().unwrap_err();
    assert!(matches!(error, GitError::Timeout { .. }), "{error:?}");
    assert_eq!(error.disposition(), Disposition::Retry);
    // One that accepts connections and never says who it is.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ssh://{}/x", silent.local_addr().unwrap());
    let dir = fleet.folder.path().join("mirror-silent");
    let mirror = Mirror::open(&dir, SourceUrl::parse(&url).unwrap(), options.clone()).unwrap();
    let error = mirror.list().unwrap_err();
    assert!(matches!(error, GitError::Timeout { .. }), "{error:?}");
    drop(silent);
    let error = mirror.list().unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(25));
}
