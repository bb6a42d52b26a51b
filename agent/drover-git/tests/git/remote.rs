//! A mirror over HTTP against the real `git http-backend`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::http_backend::{Canned, SeenRequest};
use crate::support::*;
use drover_git::{
    Disposition, Edit, GitError, IgnoreRules, Login, Mirror, PushOutcome, RemoteOptions, SourceUrl,
    UrlError,
};
use jiff::Timestamp;

fn targets(requests: &[SeenRequest]) -> Vec<String> {
    requests
        .iter()
        .map(|r| format!("{} {}", r.method, r.target))
        .collect()
}

#[test]
fn a_listing_is_one_request_and_nothing_else() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    for _ in 0..2 {
        let refs = mirror.list().unwrap();
        assert_eq!(refs.default_branch(), Some("refs/heads/main"));
        assert_eq!(
            refs.get("main").unwrap().to_string(),
            site.git(&["rev-parse", "main"])
        );
        assert_eq!(
            targets(&site.server.take_requests()),
            ["GET /fleet.git/info/refs?service=git-upload-pack"]
        );
    }
}

#[test]
fn fetches_what_is_missing_and_asks_for_nothing_when_it_is_here() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let tip = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", tip)]).unwrap();
    site.server.take_requests();
    mirror.fetch(&[("main", tip)]).unwrap();
    assert_eq!(site.server.take_requests(), []);

    assert_eq!(mirror.read_ref("main").unwrap(), Some(tip));
    let listing = mirror.tree(tip, "", &IgnoreRules::defaults()).unwrap();
    assert_eq!(listing.files.len(), 1);
    let file = &listing.files[0];
    assert_eq!(file.path, "groups/web.yaml");
    assert_eq!(mirror.read(file.oid, 100).unwrap(), b"size: 5\n");
    assert_eq!(mirror.log(tip, None, 10).unwrap().len(), 3);

    let next = push_file(&site.in_place(), "main", "groups/db.yaml", "size: 3\n");
    assert_eq!(mirror.list().unwrap().get("main"), Some(next));
    mirror.fetch(&[("main", next)]).unwrap();
    assert!(mirror.is_ancestor(tip, next).unwrap());
    assert_sound(mirror.directory());
}

#[test]
fn annotated_tags_name_their_commit() {
    let site = Site::with_history();
    site.git(&["tag", "-a", "v1", "-m", "one", "main~1"]);
    let mirror = site.mirror("a");
    let refs = mirror.list().unwrap();
    let commit = refs.require("v1").unwrap();
    assert_eq!(commit.to_string(), site.git(&["rev-parse", "v1^{commit}"]));
    mirror.fetch(&[("refs/tags/v1", commit)]).unwrap();
    assert_eq!(mirror.resolve("v1").unwrap(), commit);
    let local = site.in_place();
    assert_eq!(local.list().unwrap().get("v1"), Some(commit));
}

#[test]
fn an_empty_repository_and_a_missing_branch_are_told_apart() {
    let site = Site::start();
    let mirror = site.mirror("a");
    let error = mirror.list().unwrap().require("main").unwrap_err();
    assert!(matches!(error, GitError::EmptyRepository { .. }), "{error}");
    push_file(&site.in_place(), "main", "a.yaml", "1\n");
    let error = mirror.list().unwrap().require("trunk").unwrap_err();
    assert!(matches!(error, GitError::RefMissing { .. }), "{error}");
    assert!(error.to_string().contains("trunk"));
    assert_eq!(error.disposition(), Disposition::NeedsOperator);
    assert!(mirror.list().unwrap().get("main").is_some());
    let wrong = SourceUrl::parse(&site.server.url("other.git")).unwrap();
    let other = Mirror::open(&site.folder.path().join("other"), wrong, options()).unwrap();
    let error = other.list().unwrap_err();
    assert!(matches!(error, GitError::NotFound { .. }), "{error:?}");
}

#[test]
fn pushes_a_commit_and_creates_a_branch() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let base = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", base)]).unwrap();
    let edits = [Edit::put("groups/web.yaml", "size: 7\n")];
    let commit = mirror
        .build_commit(Some(base), &edits, &meta("web: scale 5 -> 7"))
        .unwrap()
        .unwrap();
    site.server.take_requests();
    let outcome = mirror.update("main", Some(base), commit).unwrap();
    assert_eq!(outcome, PushOutcome::Done);
    assert_eq!(
        targets(&site.server.take_requests()),
        [
            "GET /fleet.git/info/refs?service=git-receive-pack",
            "POST /fleet.git/git-receive-pack"
        ]
    );
    assert_eq!(site.git(&["show", "main:groups/web.yaml"]), "size: 7");
    assert_eq!(mirror.read_ref("main").unwrap(), Some(commit));
    assert_eq!(mirror.ensure_branch("drover/ops", commit).unwrap(), commit);
    assert_eq!(mirror.ensure_branch("drover/ops", base).unwrap(), commit);
    assert_eq!(site.git(&["rev-parse", "drover/ops"]), commit.to_string());
    assert_sound(&site.repository);
}

#[test]
fn a_push_that_a_hook_declines_is_noticed() {
    let site = Site::with_history();
    let hook = site.repository.join("hooks/pre-receive");
    let script = "#!/bin/sh\necho 'frozen until monday' >&2\nexit 1\n";
    std::fs::write(&hook, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&hook, mode).unwrap();
    let mirror = site.mirror("a");
    let base = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", base)]).unwrap();
    let edits = [Edit::put("a.yaml", "1\n")];
    let commit = mirror
        .build_commit(Some(base), &edits, &meta("a"))
        .unwrap()
        .unwrap();
    let outcome = mirror.update("main", Some(base), commit).unwrap();
    let PushOutcome::Refused { message } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(message.contains("pre-receive hook declined"), "{message}");
    assert!(message.contains("frozen until monday"), "{message}");
    assert_eq!(site.git(&["rev-parse", "main"]), base.to_string());
    assert_eq!(mirror.read_ref("main").unwrap(), Some(base));
}

#[test]
fn a_push_that_would_rewrite_history_is_refused_here() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let base = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", base)]).unwrap();
    let edits = [Edit::put("a.yaml", "1\n")];
    let unrelated = mirror.build_commit(None, &edits, &meta("a")).unwrap();
    let outcome = mirror.update("main", Some(base), unrelated.unwrap());
    assert!(
        matches!(outcome, Ok(PushOutcome::Refused { .. })),
        "{outcome:?}"
    );
    assert_eq!(site.git(&["rev-parse", "main"]), base.to_string());
}

#[test]
fn a_writer_between_listing_and_push_loses_nothing() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let base = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", base)]).unwrap();
    let ours = mirror
        .build_commit(Some(base), &[Edit::put("a.yaml", "1\n")], &meta("ours"))
        .unwrap()
        .unwrap();
    // Before the push: our knowledge is old.
    let theirs = push_file(&site.in_place(), "main", "b.yaml", "2\n");
    assert_eq!(
        mirror.update("main", Some(base), ours).unwrap(),
        PushOutcome::Moved {
            current: Some(theirs)
        }
    );
    // During the push: after the server has told us its references.
    mirror.fetch(&[("main", theirs)]).unwrap();
    let ours = mirror
        .build_commit(Some(theirs), &[Edit::put("a.yaml", "1\n")], &meta("ours"))
        .unwrap()
        .unwrap();
    let repository = site.repository.clone();
    let once = AtomicBool::new(false);
    site.server.intercept(move |method, target| {
        if method == "POST"
            && target.ends_with("git-receive-pack")
            && !once.swap(true, Ordering::SeqCst)
        {
            push_file(&local(&repository), "main", "c.yaml", "3\n");
        }
        None
    });
    let outcome = mirror.update("main", Some(theirs), ours).unwrap();
    let third = site.in_place().list().unwrap().require("main").unwrap();
    assert_ne!(third, theirs);
    assert_eq!(
        outcome,
        PushOutcome::Moved {
            current: Some(third)
        }
    );
    assert_eq!(site.git(&["show", "main:c.yaml"]), "3");
    // A branch that appears meanwhile is not overwritten either.
    let outcome = mirror.update("main", None, ours).unwrap();
    assert_eq!(
        outcome,
        PushOutcome::Moved {
            current: Some(third)
        }
    );
}

#[test]
fn a_push_whose_answer_was_lost_is_recognised() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let base = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", base)]).unwrap();
    let edits = [Edit::put("a.yaml", "1\n")];
    let commit = mirror
        .build_commit(Some(base), &edits, &meta("a"))
        .unwrap()
        .unwrap();
    assert_eq!(
        mirror.update("main", Some(base), commit).unwrap(),
        PushOutcome::Done
    );
    assert_eq!(
        mirror.update("main", Some(base), commit).unwrap(),
        PushOutcome::Done
    );
}

#[test]
fn a_rewritten_source_is_no_descendant() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let applied = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", applied)]).unwrap();
    site.git(&["update-ref", "refs/heads/main", "main~2"]);
    let next = push_file(&site.in_place(), "main", "x.yaml", "1\n");
    let listed = mirror.list().unwrap().require("main").unwrap();
    assert_eq!(listed, next);
    mirror.fetch(&[("main", next)]).unwrap();
    assert!(!mirror.is_ancestor(applied, next).unwrap());
    // A new mirror has never seen the old commit: that is no ancestor either.
    let fresh = site.mirror("b");
    fresh.fetch(&[("main", next)]).unwrap();
    assert!(!fresh.is_ancestor(applied, next).unwrap());
}

#[test]
fn a_reference_that_is_gone_when_fetched_is_named() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let tip = mirror.list().unwrap().require("main").unwrap();
    site.git(&["update-ref", "refs/heads/main", "main~1"]);
    let error = mirror.fetch(&[("main", tip)]).unwrap_err();
    assert!(
        matches!(error, GitError::MovedWhileFetching { .. }),
        "{error:?}"
    );
    assert_eq!(error.disposition(), Disposition::Retry);
}

/// A password that stands in no file.
fn word() -> String {
    format!("word-{}", std::process::id())
}

#[test]
fn the_right_password_opens_and_the_wrong_one_is_told_without_being_shown() {
    let site = Site::with_history();
    let (password, other) = (format!("{}/of a robot", word()), word() + "x");
    site.server.require("robot", &password);
    let right = site.mirror_with("right", with_password("robot", &password));
    let right = right.unwrap();
    let tip = right.list().unwrap().require("main").unwrap();
    right.fetch(&[("main", tip)]).unwrap();
    let edits = [Edit::put("a.yaml", "1\n")];
    let commit = right
        .build_commit(Some(tip), &edits, &meta("a"))
        .unwrap()
        .unwrap();
    assert_eq!(
        right.update("main", Some(tip), commit).unwrap(),
        PushOutcome::Done
    );
    let wrong = site
        .mirror_with("wrong", with_password("robot", &other))
        .unwrap();
    let none = site.mirror("none");
    for (mirror, why) in [
        (&wrong, "refused the credentials: http status 401"),
        (
            &none,
            "none are configured (`credentials.source`): http status 401",
        ),
    ] {
        for error in [
            mirror.list().unwrap_err(),
            mirror.fetch(&[("main", tip)]).unwrap_err(),
        ] {
            assert!(matches!(error, GitError::Auth { status: 401, .. }));
            assert!(error.to_string().ends_with(why), "{error}");
            assert_eq!(error.disposition(), Disposition::NeedsOperator);
            assert_no_secret(&error, &[&other, &word()]);
        }
    }
    // Rotated credentials take effect without a new mirror.
    wrong.set_options(with_password("robot", &password));
    assert_eq!(wrong.list().unwrap().get("main"), Some(commit));
    let encoded = password.replace('/', "%2F").replace(' ', "%20");
    let with_user = format!("http://robot:{encoded}@");
    let in_url = site.url().replace("http://", &with_user);
    let url = SourceUrl::parse(&in_url).unwrap();
    let by_url = Mirror::open(&site.folder.path().join("by-url"), url, options()).unwrap();
    assert_eq!(by_url.list().unwrap().get("main"), Some(commit));
    let config = std::fs::read_to_string(by_url.directory().join("config")).unwrap();
    assert!(!config.contains(&word()), "{config}");
}

fn assert_no_secret(error: &GitError, secrets: &[&str]) {
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.extend([next.to_string(), format!("{next:?}")]);
        cause = next.source();
    }
    for secret in secrets {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_server_that_repeats_the_password_does_not_get_it_into_an_error() {
    let site = Site::with_history();
    let mirror = site
        .mirror_with("a", with_password("robot", &word()))
        .unwrap();
    site.server.intercept(|_, _| {
        Some(Canned {
            status: 200,
            headers: vec![(
                "Content-Type".to_owned(),
                format!("text/html; p={}", word()),
            )],
            body: word().into_bytes(),
        })
    });
    let error = mirror.list().unwrap_err();
    assert!(matches!(error, GitError::Protocol { .. }), "{error:?}");
    assert_no_secret(&error, &[&word()]);
    let refusal = format!("ERR not with {} here\n", word());
    site.server.intercept(move |_, _| {
        Some(Canned {
            status: 200,
            headers: vec![(
                "Content-Type".to_owned(),
                "application/x-git-upload-pack-advertisement".to_owned(),
            )],
            body: format!("{:04x}{refusal}", refusal.len() + 4).into_bytes(),
        })
    });
    let error = mirror.list().unwrap_err();
    assert!(matches!(error, GitError::Protocol { .. }), "{error:?}");
    assert_no_secret(&error, &[&word()]);
}

#[test]
fn a_redirect_to_another_origin_is_refused_and_gets_no_credentials() {
    let site = Site::with_history();
    let elsewhere = Site::with_history();
    let target = elsewhere.url();
    let mirror = site
        .mirror_with("a", with_password("robot", &word()))
        .unwrap();
    site.server.intercept(move |_, _| {
        Some(redirect(&format!(
            "{target}/info/refs?service=git-upload-pack"
        )))
    });
    let error = mirror.list().unwrap_err();
    assert!(matches!(error, GitError::Redirected { .. }), "{error:?}");
    assert_eq!(elsewhere.server.take_requests(), []);
    assert_no_secret(&error, &[&word()]);
}

#[test]
fn a_redirect_to_another_path_of_the_host_gets_no_credentials() {
    let site = Site::with_history();
    site.server.require("robot", &word());
    let mirror = site
        .mirror_with("a", with_password("robot", &word()))
        .unwrap();
    mirror.list().unwrap();
    site.server.take_requests();
    site.server.intercept(|_, target| {
        let elsewhere = target.replace("/fleet.git/", "/other.git/");
        (elsewhere != target).then(|| redirect(&elsewhere))
    });
    let error = mirror.list().unwrap_err();
    let GitError::Redirected { to, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(to.ends_with("/other.git"), "{to}");
    let seen = site.server.take_requests();
    assert!(
        seen.iter()
            .all(|request| !request.target.contains("other.git")),
        "{seen:?}"
    );
}

#[test]
fn credentials_of_their_own_are_used_for_pushing_and_rotate_without_a_restart() {
    let site = Site::with_history();
    let file = |name: &str| site.folder.path().join(name);
    let login = |name: &str| Login::Files {
        username: Some(file("user")),
        password: Some(file(name)),
    };
    std::fs::write(file("user"), "robot\n").unwrap();
    std::fs::write(file("read"), format!("{}\n", word())).unwrap();
    std::fs::write(file("write"), "wrong\n").unwrap();
    site.server.require("robot", &word());
    let mirror = site
        .mirror_with(
            "a",
            RemoteOptions {
                credentials: Some(login("read")),
                write_credentials: Some(login("write")),
                ..options()
            },
        )
        .unwrap();
    let base = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", base)]).unwrap();
    let edits = [Edit::put("a.yaml", "1\n")];
    let new = mirror.build_commit(Some(base), &edits, &meta("a"));
    let new = new.unwrap().unwrap();
    let error = mirror.update("main", Some(base), new).unwrap_err();
    assert!(matches!(error, GitError::Auth { .. }), "{error:?}");
    std::fs::write(file("write"), word()).unwrap();
    let outcome = mirror.update("main", Some(base), new).unwrap();
    assert_eq!(outcome, PushOutcome::Done);
    std::fs::remove_file(file("read")).unwrap();
    let error = mirror.list().unwrap_err();
    assert!(
        matches!(error, GitError::CredentialFile { .. }),
        "{error:?}"
    );
}

#[test]
fn credentials_from_elsewhere_are_sent_over_https_only_too() {
    let folder = tempfile::tempdir().unwrap();
    let url = SourceUrl::parse("http://git.example.com/fleet.git").unwrap();
    let mirror = Mirror::open(folder.path(), url, with_password("robot", &word())).unwrap();
    // Before anything is sent: nobody is asked for the host.
    let error = mirror.list().unwrap_err();
    let expected = GitError::Url(UrlError::PlainCredentials);
    assert_eq!(error.to_string(), expected.to_string());
    assert_eq!(error.disposition(), Disposition::NeedsOperator);
}

fn redirect(to: &str) -> Canned {
    Canned {
        status: 301,
        headers: vec![("Location".to_owned(), to.to_owned())],
        body: Vec::new(),
    }
}

#[test]
fn a_renamed_repository_on_the_same_origin_is_followed_for_the_whole_operation() {
    let site = Site::with_history();
    let old = SourceUrl::parse(&site.server.url("old.git")).unwrap();
    let mirror = Mirror::open(&site.folder.path().join("m"), old, options()).unwrap();
    site.server.intercept(|_, target| {
        target
            .starts_with("/old.git/")
            .then(|| redirect(&target.replace("/old.git/", "/fleet.git/")))
    });
    let tip = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", tip)]).unwrap();
    assert_eq!(mirror.log(tip, None, 10).unwrap().len(), 3);
    let posts = site.server.take_requests();
    assert!(
        posts
            .iter()
            .filter(|r| r.method == "POST")
            .all(|r| r.target == "/fleet.git/git-upload-pack" && r.status == 200),
        "{posts:?}"
    );
}

#[test]
fn endless_redirects_end() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    site.server.intercept(|_, target| Some(redirect(target)));
    let error = mirror.list().unwrap_err();
    assert!(matches!(error, GitError::Protocol { .. }), "{error:?}");
    assert!(site.server.take_requests().len() < 10);
}

#[test]
fn an_overloaded_host_is_told_apart_from_a_wrong_one() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    site.server.intercept(|_, _| {
        Some(Canned {
            status: 503,
            headers: Vec::new(),
            body: Vec::new(),
        })
    });
    let error = mirror.list().unwrap_err();
    assert!(matches!(error, GitError::Unavailable { status: 503, .. }));
    assert_eq!(error.disposition(), Disposition::Retry);
}

/// Answers 429 to what has this in its address, once, or always.
fn decline(site: &Site, part: &'static str, header: &'static str, once: bool) {
    let done = AtomicBool::new(false);
    site.server.intercept(move |_, target| {
        if !target.contains(part) || once && done.swap(true, Ordering::SeqCst) {
            return None;
        }
        Some(Canned {
            status: 429,
            headers: vec![("Retry-After".to_owned(), header.to_owned())],
            body: Vec::new(),
        })
    });
}

#[test]
fn a_host_that_asks_to_wait_is_not_asked_before_by_anybody() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let tip = mirror.list().unwrap().require("main").unwrap();
    decline(&site, "upload-pack", "2", true);
    site.server.take_requests();
    let begun = Instant::now();
    let error = mirror.list().unwrap_err();
    let GitError::Throttled { until, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.disposition(), Disposition::Retry);
    assert_eq!(site.server.take_requests().len(), 1);
    // The same is said to whoever asks, for reading and for writing, and the host hears nothing of it.
    while begun.elapsed() < Duration::from_millis(1_500) {
        let again = [
            mirror.list().map(drop),
            mirror.fetch(&[("main", tip)]),
            mirror.update("other", None, tip).map(drop),
        ];
        for outcome in again {
            let error = outcome.unwrap_err();
            assert!(matches!(error, GitError::Throttled { until: same, .. } if same == until));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(site.server.take_requests().len(), 0);
    let listed = loop {
        match mirror.list() {
            Err(GitError::Throttled { .. }) => std::thread::sleep(Duration::from_millis(50)),
            other => break other,
        }
    };
    assert_eq!(listed.unwrap().require("main").unwrap(), tip);
    assert!(begun.elapsed() >= Duration::from_secs(2));
}

#[test]
fn a_push_that_is_one_too_many_says_until_when_to_wait() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let tip = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", tip)]).unwrap();
    // At the second request: the pack itself.
    decline(&site, "fleet.git/git-receive-pack", "86400", false);
    let before = Timestamp::now();
    let error = mirror.update("other", None, tip).unwrap_err();
    let GitError::Throttled {
        until, status: 429, ..
    } = error
    else {
        panic!("{error:?}");
    };
    let wait = until.duration_since(before).as_secs();
    assert!((3_590..=3_660).contains(&wait), "{wait}");
    let text = error.to_string();
    assert!(text.contains("asks to wait until 20"), "{text}");
}

#[test]
fn a_server_that_never_answers_hits_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/fleet.git", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let options = RemoteOptions {
        timeout: Duration::from_millis(300),
        ..options()
    };
    let mirror = Mirror::open(folder.path(), SourceUrl::parse(&url).unwrap(), options).unwrap();
    let start = Instant::now();
    let error = mirror.list().unwrap_err();
    assert!(matches!(error, GitError::Timeout { .. }), "{error:?}");
    assert_eq!(error.disposition(), Disposition::Retry);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_server_that_drips_bytes_hits_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}/fleet.git");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let dripper = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\
                    Content-Length: 100000\r\n\r\n001e# service=git-upload-pack\n0000";
        stream.write_all(head.as_bytes()).unwrap();
        // One byte at a time keeps each read within its limit.
        while !stopped.load(Ordering::SeqCst) && stream.write_all(b"f").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let options = RemoteOptions {
        timeout: Duration::from_secs(5),
        deadline: Duration::from_millis(400),
        ..options()
    };
    let mirror = Mirror::open(folder.path(), SourceUrl::parse(&url).unwrap(), options).unwrap();
    let start = Instant::now();
    let error = mirror.list().unwrap_err();
    stop.store(true, Ordering::SeqCst);
    // Ends the thread also when the mirror never came.
    let _ = TcpStream::connect(address);
    dripper.join().unwrap();
    let limit = Duration::from_millis(400);
    assert!(
        matches!(&error, GitError::Timeout { after, .. } if *after == limit),
        "{error:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_unreachable_server_is_worth_another_try() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/fleet.git", listener.local_addr().unwrap());
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    let mirror = Mirror::open(folder.path(), SourceUrl::parse(&url).unwrap(), options()).unwrap();
    let error = mirror.list().unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.disposition(), Disposition::Retry);
}

#[test]
fn a_transfer_that_breaks_off_leaves_the_mirror_sound() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let tip = mirror.list().unwrap().require("main").unwrap();
    site.server.intercept(|method, _| {
        (method == "POST").then(|| Canned {
            status: 200,
            headers: vec![(
                "Content-Type".to_owned(),
                "application/x-git-upload-pack-result".to_owned(),
            )],
            body: b"0008NAK\nPACK\0\0\0\x02\0\0\0\x09".to_vec(),
        })
    });
    let error = mirror.fetch(&[("main", tip)]).unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry, "{error:?}");
    site.server.intercept(|_, _| None);
    mirror.fetch(&[("main", tip)]).unwrap();
    assert_sound(mirror.directory());
}

#[test]
fn the_mirror_of_another_url_forgets_the_references_of_the_old_one() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let tip = mirror.list().unwrap().require("main").unwrap();
    mirror.fetch(&[("main", tip)]).unwrap();
    drop(mirror);
    assert_eq!(site.mirror("a").read_ref("main").unwrap(), Some(tip));
    let moved = SourceUrl::parse(&site.server.url("moved.git")).unwrap();
    let dir = site.folder.path().join("mirrors/a");
    let mirror = Mirror::open(&dir, moved, options()).unwrap();
    assert_eq!(mirror.read_ref("main").unwrap(), None);
}

#[test]
fn branches_may_change_between_file_and_folder() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let tip = mirror.list().unwrap().require("main").unwrap();
    site.git(&["branch", "a", "main~1"]);
    let refs = mirror.list().unwrap();
    mirror.fetch(&[("a", refs.require("a").unwrap())]).unwrap();
    site.git(&["branch", "-D", "a"]);
    site.git(&["branch", "a/b", "main"]);
    mirror.fetch(&[("a/b", tip)]).unwrap();
    assert_eq!(mirror.read_ref("a/b").unwrap(), Some(tip));
    assert_eq!(mirror.read_ref("a").unwrap(), None);
}
