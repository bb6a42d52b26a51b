use super::*;
use drover_git::{CommitMeta, Edit, Mirror, RemoteOptions, RepositoryKind, Signature, SourceUrl};

fn files() -> RefFiles {
    RefFiles {
        git_dir: "/repo/.git".into(),
        reference: "refs/heads/team/main".to_owned(),
    }
}

#[test]
fn only_what_can_move_the_reference_is_relevant() {
    let relevant = |path: &str| files().is_relevant(Path::new(path));
    assert!(relevant("/repo/.git/refs/heads/team/main"));
    assert!(relevant("/repo/.git/refs/heads/team"));
    assert!(relevant("/repo/.git/packed-refs"));
    assert!(!relevant("/repo/.git/refs/heads/team/main.lock"));
    assert!(!relevant("/repo/.git/refs/heads/drover/state"));
    assert!(!relevant("/repo/.git/refs/drover/pending/drover/state"));
    assert!(!relevant("/repo/.git/index"));
    assert!(!relevant("/repo/README.md"));
}

fn push(mirror: &Mirror, branch: &str, text: &str) {
    let meta = CommitMeta {
        message: "change".to_owned(),
        author: Signature {
            name: "Test".to_owned(),
            email: "test@example.com".to_owned(),
        },
        time: "2026-01-05T10:00:00Z".parse().unwrap(),
        signer: None,
    };
    let base = mirror.read_ref(branch).unwrap();
    let commit = mirror
        .build_commit(base, &[Edit::put("file", text)], &meta)
        .unwrap()
        .unwrap();
    mirror.update(branch, base, commit).unwrap();
}

async fn notices_a_push_and_not_our_own_commits(kind: RepositoryKind) {
    let folder = tempfile::tempdir().unwrap();
    drover_git::init_repository(folder.path(), kind, "main").unwrap();
    let url = SourceUrl::from_path(folder.path()).unwrap();
    let mirror = Mirror::open(folder.path(), url, RemoteOptions::default()).unwrap();
    push(&mirror, "main", "one");
    let changed = Arc::new(Notify::new());
    let _watch = watch(folder.path(), "main", changed.clone()).unwrap();

    push(&mirror, "main", "two");
    let noticed = tokio::time::timeout(Duration::from_secs(10), changed.notified()).await;
    assert!(noticed.is_ok(), "the push was not noticed");

    // The permit of the same push may come in two; then only our own branch moves.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let _ = tokio::time::timeout(Duration::from_millis(1), changed.notified()).await;
    push(&mirror, "drover/state", "recorded");
    let noticed = tokio::time::timeout(Duration::from_millis(300), changed.notified()).await;
    assert!(
        noticed.is_err(),
        "the agent's own commit was taken for a push"
    );
}

#[tokio::test]
async fn notices_a_push_to_a_bare_repository() {
    notices_a_push_and_not_our_own_commits(RepositoryKind::Bare).await;
}

#[tokio::test]
async fn notices_a_push_to_a_repository_with_a_work_tree() {
    notices_a_push_and_not_our_own_commits(RepositoryKind::WithWorkTree).await;
}
