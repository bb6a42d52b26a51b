//! Jobs of one pull request that run at the same time.

use super::{KINDS, PROVIDER, Pull, WEB, calls_before_the_comment, web};

/// A pull request at a newer commit, of which a job runs for the older one. Returns both.
fn overtaken(pull: &Pull) -> (String, String) {
    let older = pull.sandbox.git("work", &["rev-parse", "HEAD"]);
    let newer = pull.propose(&[(WEB, &web(7, "b"))]);
    older
        .trim()
        .clone_into(&mut pull.host.kept.lock().unwrap().head);
    (older.trim().to_owned(), newer)
}

#[test]
fn a_job_that_was_overtaken_while_it_planned_leaves_the_comment_to_the_newer_one() {
    for kind in KINDS {
        let pull = Pull::usual(kind);
        let calls = calls_before_the_comment(&pull);
        let (older, newer) = overtaken(&pull);
        // Directly after it was read, and directly before the last look at it.
        for after in [1, calls - 1] {
            older.clone_into(&mut pull.host.kept.lock().unwrap().head);
            pull.host.kept.lock().unwrap().push = Some((after, newer.clone()));
            let ran = pull.run(&["--no-rollout", "--head", &older]);
            assert_eq!(ran.code, Some(0), "{kind:?}: {}", ran.stderr);
            let said = format!("has moved on to {}: nothing is said of", &newer[..7]);
            assert!(ran.stderr.contains(&said), "{kind:?}: {}", ran.stderr);
            assert_eq!(pull.comments().len(), 0, "{kind:?}");
            assert_eq!(pull.statuses().len(), 0, "{kind:?}");
        }
        // The newer job was faster: what it said stays.
        pull.run(&["--no-rollout", "--head", &newer]);
        let said = pull.comments();
        older.clone_into(&mut pull.host.kept.lock().unwrap().head);
        pull.host.kept.lock().unwrap().push = Some((1, newer.clone()));
        pull.run(&["--no-rollout", "--head", &older]);
        assert_eq!(pull.comments(), said, "{kind:?}");
        assert!(said[0].contains(&newer[..7]), "{}", said[0]);
    }
}

#[test]
fn a_push_right_after_the_comment_is_told_in_the_jobs_log() {
    let pull = Pull::usual(KINDS[0]);
    let calls = calls_before_the_comment(&pull);
    let (older, newer) = overtaken(&pull);
    pull.host.kept.lock().unwrap().push = Some((calls + 1, newer.clone()));
    let ran = pull.run(&["--no-rollout", "--head", &older]);
    let said = format!("has moved on to {} meanwhile", &newer[..7]);
    assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    assert!(ran.stdout.contains("comment created"), "{}", ran.stdout);
}

#[test]
fn two_jobs_that_write_the_first_comment_at_once_leave_one() {
    for kind in KINDS {
        let pull = Pull::new(kind, &[PROVIDER, (WEB, &web(3, "a"))]);
        pull.propose(&[(WEB, &web(5, "b"))]);
        let other = "<!-- drover:plan drover/plan -->\nsaid by another job";
        pull.host.wrote("eve", other);
        pull.host.kept.lock().unwrap().rival = Some(other.to_owned());
        let ran = pull.run(&["--no-rollout"]);
        assert_eq!(ran.code, Some(0), "{kind:?}: {}", ran.stderr);
        let comments = pull.comments();
        assert_eq!(comments.len(), 2, "{kind:?}: {comments:?}");
        assert_eq!(comments[0], other);
        assert!(comments[1].contains("**Plan:"), "{kind:?}: {comments:?}");
        assert!(ran.stdout.contains("comment changed"), "{}", ran.stdout);
    }
}
