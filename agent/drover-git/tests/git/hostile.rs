//! Remotes that send too much, or too slowly: over http from `git http-backend`, over ssh from a real OpenSSH server.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drover_git::{
    Disposition, GitError, Mirror, Oid, PackLimits, PackRefusal, RemoteOptions, SourceUrl,
    SshIdentity, SshOptions, WholeKind,
};
use tempfile::TempDir;

use crate::support::http_backend::{
    Canned, HttpBackend, Pace, create_repository, git, git_command,
};
use crate::support::ssh_server::{Access, SshServer};
use crate::support::*;

/// A repository with a good branch, served over both.
struct Place {
    folder: TempDir,
    repository: PathBuf,
    http: HttpBackend,
    ssh: SshServer,
}

/// What a fetch within the tests may bring.
const LIMITS: PackLimits = PackLimits {
    objects: 500,
    whole_bytes: 1 << 20,
    listing_bytes: 100_000,
};

fn bounded() -> RemoteOptions {
    RemoteOptions {
        limits: LIMITS,
        ..options()
    }
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("served");
        let repository = create_repository(&root, "fleet.git");
        push_file(&local(&repository), "main", "groups/web.yaml", "size: 3\n");
        let http = HttpBackend::start(&root);
        let ssh = SshServer::start(&folder.path().join("sshd"));
        Self {
            folder,
            repository,
            http,
            ssh,
        }
    }

    fn over_http(&self, options: RemoteOptions) -> Arc<Mirror> {
        self.mirror("http", &self.http.url("fleet.git"), options)
    }

    /// As somebody with a key of their own, which may do this.
    fn over_ssh(&self, name: &str, access: Access, options: RemoteOptions) -> Arc<Mirror> {
        let key = self.ssh.client(name, access);
        let ssh = SshOptions {
            identity: Some(SshIdentity::KeyFile {
                path: key,
                passphrase: None,
            }),
            write_identity: None,
            known_hosts: vec![self.ssh.known_hosts()],
        };
        let url = self.ssh.url(&self.repository);
        self.mirror(name, &url, RemoteOptions { ssh, ..options })
    }

    fn mirror(&self, name: &str, url: &str, options: RemoteOptions) -> Arc<Mirror> {
        let folder = self.folder.path().join("mirrors").join(name);
        let _ = fs::remove_dir_all(&folder);
        let url = SourceUrl::parse(url).unwrap();
        Arc::new(Mirror::open(&folder, url, options).unwrap())
    }

    /// Commits versions of a file on a branch, which differ in a byte each.
    fn versions(&self, branch: &str, count: usize, content: &[u8]) {
        let mut content = content.to_vec();
        let mut stream = Vec::new();
        let reference = format!("refs/heads/{branch}");
        let known = git(&self.repository, &["for-each-ref", &reference]);
        for version in 0..count {
            content[version] ^= 0xff;
            stream.extend(format!("commit {reference}\n").bytes());
            stream.extend(b"committer Eve <eve@example.com> 1767600000 +0000\ndata 0\n");
            if version == 0 && !known.is_empty() {
                stream.extend(format!("from {reference}^0\n").bytes());
            }
            stream.extend(b"M 100644 inline disk.img\n");
            stream.extend(format!("data {}\n", content.len()).bytes());
            stream.extend(&content);
            stream.push(b'\n');
        }
        self.feed(&["fast-import", "--quiet"], &stream);
    }

    fn feed(&self, arguments: &[&str], input: &[u8]) {
        let mut child = git_command(&self.repository)
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Has Git store all that it can as differences.
    fn repack(&self) {
        let arguments = [
            "repack",
            "-adfq",
            "--window=2",
            "--depth=4000",
            "--threads=1",
        ];
        git(&self.repository, &arguments);
    }
}

fn fetch(mirror: &Mirror, branch: &str) -> Result<Oid, GitError> {
    let tip = mirror.list()?.require(branch)?;
    mirror.fetch(&[(branch, tip)])?;
    Ok(tip)
}

#[track_caller]
fn refusal(outcome: Result<Oid, GitError>) -> PackRefusal {
    let error = outcome.unwrap_err();
    assert_eq!(error.disposition(), Disposition::NeedsOperator);
    match error {
        GitError::Pack { source, url } => {
            assert!(url.contains("127.0.0.1"), "{url}");
            source
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_difference_that_is_large_when_it_is_read_is_refused_over_both() {
    let place = Place::new();
    place.versions("evil", 2, &vec![0; 3 << 20]);
    place.repack();
    let too_large = PackRefusal::Delta {
        size: 3 << 20,
        limit: LIMITS.whole_bytes,
    };
    let over_ssh = |options| place.over_ssh("reader", Access::Read, options);
    for mirror in [place.over_http(bounded()), over_ssh(bounded())] {
        assert_eq!(refusal(fetch(&mirror, "evil")), too_large);
        // Nothing else is disturbed, neither what is fetched nor what is pushed.
        let good = fetch(&mirror, "main").unwrap();
        assert!(mirror.file(good, "groups/web.yaml").unwrap().is_some());
        assert_sound(mirror.directory());
    }
    let mirror = place.over_http(bounded());
    push_file_over(&mirror, "main", "groups/web.yaml", "size: 4\n");
    for mirror in [place.over_http(options()), over_ssh(options())] {
        fetch(&mirror, "evil").unwrap();
        assert_sound(mirror.directory());
    }
}

/// Changes a file as an agent does that knows the branch.
fn push_file_over(mirror: &Mirror, branch: &str, path: &str, text: &str) {
    fetch(mirror, branch).unwrap();
    push_file(mirror, branch, path, text);
}

#[test]
fn what_is_here_already_is_no_base_either_when_it_is_large() {
    let place = Place::new();
    // Nothing is based on it, so it comes.
    place.versions("main", 1, &noise(3 << 20, 1));
    let mirror = place.over_http(bounded());
    fetch(&mirror, "main").unwrap();
    // Of what is new Git sends only how it differs from what it knows to be here.
    place.versions("main", 2, &noise(3 << 20, 1));
    let refused = refusal(fetch(&mirror, "main"));
    assert!(matches!(refused, PackRefusal::Delta { .. }), "{refused:?}");
}

#[test]
fn what_a_difference_says_of_its_base_is_not_believed() {
    let place = Place::new();
    place.versions("main", 1, &noise(3 << 20, 1));
    let mirror = place.over_http(bounded());
    fetch(&mirror, "main").unwrap();
    let base = git(&place.repository, &["rev-parse", "main:disk.img"]);
    let base: Vec<u8> = (0..40)
        .step_by(2)
        .map(|at| u8::from_str_radix(&base[at..at + 2], 16).unwrap())
        .collect();
    // A base of five bytes, a result of seven.
    let mut delta = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut delta, &[5, 7, 1, b'x']).unwrap();
    let pack = [
        b"PACK\0\0\0\x02\0\0\0\x01".to_vec(),
        vec![7 << 4 | 4],
        base,
        delta.finish().unwrap(),
        vec![0; 20],
    ];
    let pack = pack.concat();
    let mut body = b"0008NAK\n".to_vec();
    body.extend(format!("{:04x}\x01", pack.len() + 5).bytes());
    body.extend(pack);
    body.extend(b"0000");
    push_file(
        &local(&place.repository),
        "main",
        "groups/web.yaml",
        "size: 4\n",
    );
    place.http.intercept(move |method, _| {
        (method == "POST").then(|| Canned {
            status: 200,
            headers: vec![(
                "Content-Type".to_owned(),
                "application/x-git-upload-pack-result".to_owned(),
            )],
            body: body.clone(),
        })
    });
    let too_large = PackRefusal::Delta {
        size: 3 << 20,
        limit: LIMITS.whole_bytes,
    };
    assert_eq!(refusal(fetch(&mirror, "main")), too_large);
    place.http.intercept(|_, _| None);
    fetch(&mirror, "main").unwrap();
}

#[test]
fn numbers_and_folders_are_limited() {
    let place = Place::new();
    let mut stream = b"commit refs/heads/many\ncommitter E <e@e> 1 +0000\ndata 0\n".to_vec();
    for number in 0..600 {
        let content = format!("word {number}\n");
        let line = format!(
            "M 100644 inline {number}.md\ndata {}\n{content}\n",
            content.len()
        );
        stream.extend(line.bytes());
    }
    place.feed(&["fast-import", "--quiet"], &stream);
    let mirror = place.over_http(bounded());
    let refused = refusal(fetch(&mirror, "many"));
    assert!(
        matches!(refused, PackRefusal::Objects { limit: 500, .. }),
        "{refused:?}"
    );

    let mut stream = b"commit refs/heads/long\ncommitter E <e@e> 1 +0000\n".to_vec();
    stream.extend(format!("data {}\n", 2 << 20).bytes());
    stream.extend(vec![b'm'; 2 << 20]);
    place.feed(&["fast-import", "--quiet"], &stream);
    let too_large = |refused| {
        matches!(
            refused,
            PackRefusal::Whole {
                kind: WholeKind::Commit,
                ..
            }
        )
    };
    assert!(too_large(refusal(fetch(&mirror, "long"))));
    fetch(&mirror, "main").unwrap();
}

#[test]
fn listings_of_references_are_limited_over_both() {
    let place = Place::new();
    let tip = git(&place.repository, &["rev-parse", "main"]);
    let lines = (0..2_000).map(|number| format!("create refs/heads/topic-{number} {tip}\n"));
    let lines: String = lines.collect();
    place.feed(&["update-ref", "--stdin"], lines.as_bytes());
    let over_ssh = |options| place.over_ssh("reader", Access::Read, options);
    for mirror in [place.over_http(bounded()), over_ssh(bounded())] {
        let refused = refusal(fetch(&mirror, "main"));
        assert_eq!(refused, PackRefusal::Listing { limit: 100_000 });
    }
    for mirror in [place.over_http(options()), over_ssh(options())] {
        fetch(&mirror, "main").unwrap();
    }
}

#[test]
fn a_state_branch_may_have_more_objects_than_a_watched_one() {
    let place = Place::new();
    let mut stream = Vec::new();
    for number in 0..250 {
        let line = format!(
            "commit refs/heads/drover/state\ncommitter E <e@e> 1 +0000\ndata 0\n\
             M 100644 inline state.yaml\ndata 4\n{number:03}\n\n"
        );
        stream.extend(line.bytes());
    }
    place.feed(&["fast-import", "--quiet"], &stream);
    let mirror = place.over_http(bounded());
    let tip = mirror.list().unwrap().require("drover/state").unwrap();
    let refused = refusal(fetch(&mirror, "drover/state"));
    assert!(
        matches!(refused, PackRefusal::Objects { .. }),
        "{refused:?}"
    );
    mirror.fetch_state(&[("drover/state", tip)]).unwrap();
}

#[test]
fn the_deadline_holds_while_differences_are_resolved() {
    let place = Place::new();
    // Each takes all before it, since libgit2 keeps none of that size.
    place.versions("evil", 200, &noise(4 << 20, 3));
    place.repack();
    let deadline = Duration::from_secs(3);
    let options = RemoteOptions {
        deadline,
        ..options()
    };
    let mirror = place.over_http(options);
    let begun = Instant::now();
    let error = fetch(&mirror, "evil").unwrap_err();
    assert!(
        matches!(&error, GitError::Timeout { after, .. } if *after == deadline),
        "{error:?}"
    );
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    fetch(&mirror, "main").unwrap();
}

/// Asserts that a fetch ends within its time, and that the next one finds nothing broken.
#[track_caller]
fn gives_up(slow: &Mirror, expected: Duration) {
    let tip = slow.list().unwrap().require("large").unwrap();
    let begun = Instant::now();
    let error = slow.fetch(&[("large", tip)]).unwrap_err();
    let took = begun.elapsed();
    assert!(
        matches!(&error, GitError::Timeout { after, .. } if *after == expected),
        "{error:?}"
    );
    assert_eq!(error.disposition(), Disposition::Retry);
    assert!(
        took >= expected && took < expected + Duration::from_secs(20),
        "{took:?}"
    );
    assert_sound(slow.directory());
}

/// Limits that a test can wait for.
fn impatient() -> RemoteOptions {
    RemoteOptions {
        timeout: Duration::from_secs(3),
        deadline: Duration::from_secs(8),
        ..options()
    }
}

#[test]
fn half_of_a_pack_and_then_nothing_is_given_up_over_both() {
    let place = Place::new();
    place.versions("large", 1, &noise(1 << 20, 1));
    let RemoteOptions { timeout, .. } = impatient();
    let mirror = place.over_http(impatient());
    place.http.set_pace(Some(Pace::Stalls));
    gives_up(&mirror, timeout);
    place.http.set_pace(None);
    fetch(&mirror, "large").unwrap();
    let stalled = place.over_ssh("stalled", Access::StallsAfter(200_000), impatient());
    gives_up(&stalled, timeout);
    fetch(&place.over_ssh("reader", Access::Read, options()), "large").unwrap();
}

#[test]
fn a_pack_that_comes_byte_by_byte_is_given_up_over_both() {
    let place = Place::new();
    place.versions("large", 1, &noise(1 << 20, 1));
    let RemoteOptions { deadline, .. } = impatient();
    let mirror = place.over_http(impatient());
    place
        .http
        .set_pace(Some(Pace::Drips(Duration::from_secs(1))));
    gives_up(&mirror, deadline);
    place.http.set_pace(None);
    fetch(&mirror, "large").unwrap();
    let dripping = place.over_ssh("dripping", Access::DripsAfter(200_000), impatient());
    gives_up(&dripping, deadline);
    fetch(&place.over_ssh("reader", Access::Read, options()), "large").unwrap();
}

#[test]
fn nobody_waits_for_a_conversation_that_drips_when_the_agent_stops() {
    let place = Place::new();
    place.versions("large", 1, &noise(1 << 20, 1));
    place
        .http
        .set_pace(Some(Pace::Drips(Duration::from_millis(200))));
    let mirror = place.over_http(options());
    let tip = mirror.list().unwrap().require("large").unwrap();
    let fetching = Arc::clone(&mirror);
    let fetcher = std::thread::spawn(move || fetching.fetch(&[("large", tip)]));
    let posted = || {
        place
            .http
            .take_requests()
            .iter()
            .any(|seen| seen.method == "POST")
    };
    while !posted() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let begun = Instant::now();
    mirror.stop();
    let error = fetcher.join().unwrap().unwrap_err();
    assert!(matches!(error, GitError::Stopped { .. }), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// Bytes that nothing can compress, the same each time.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next)
        .take(length / 8)
        .flatten()
        .collect();
    bytes.truncate(length);
    bytes
}
