use std::time::SystemTime;

use super::*;

fn repository(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    folder
}

fn age(folder: &Path, file: &str, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    let file = fs::File::options()
        .write(true)
        .open(folder.join(file))
        .unwrap();
    file.set_modified(then).unwrap();
}

const STATE: &str = "refs/heads/drover/state.lock";
const PENDING: &str = "refs/drover/pending/drover/state.lock";

#[test]
fn in_a_shared_repository_only_our_own_old_locks_go() {
    let folder = repository(&[
        STATE,
        PENDING,
        "refs/heads/main.lock",
        "packed-refs.lock",
        "refs/heads/main",
    ]);
    for file in [STATE, PENDING, "refs/heads/main.lock"] {
        age(folder.path(), file, 60);
    }
    clear(folder.path(), Company::Shared("drover/state"));
    assert!(!folder.path().join(STATE).exists());
    assert!(!folder.path().join(PENDING).exists());
    for file in [
        "refs/heads/main.lock",
        "packed-refs.lock",
        "refs/heads/main",
    ] {
        assert!(folder.path().join(file).exists(), "{file} is not ours");
    }
}

#[test]
fn a_young_lock_that_changes_hands_meanwhile_stays() {
    let folder = repository(&[STATE]);
    age(folder.path(), STATE, 1);
    let place = folder.path().to_owned();
    let clearing = std::thread::spawn(move || clear(&place, Company::Shared("drover/state")));
    // Somebody lives: within the second that is left, the lock is taken anew.
    std::thread::sleep(Duration::from_millis(300));
    age(folder.path(), STATE, 0);
    clearing.join().unwrap();
    assert!(folder.path().join(STATE).exists());
}

#[test]
fn in_our_own_mirror_every_lock_goes_at_once() {
    let folder = repository(&[
        "refs/heads/main.lock",
        "packed-refs.lock",
        "refs/heads/main",
        STATE,
    ]);
    clear(folder.path(), Company::Alone);
    for file in ["refs/heads/main.lock", "packed-refs.lock", STATE] {
        assert!(!folder.path().join(file).exists(), "{file}");
    }
    assert!(folder.path().join("refs/heads/main").exists());
}
