use super::*;

fn lease(machine: Option<String>, dir: &Path) -> Lease {
    Lease {
        name: "edge-1".to_owned(),
        instance: "a".to_owned(),
        epoch: 1,
        machine,
        data_dir: Some(dir.display().to_string()),
        interval_secs: None,
        contender: None,
    }
}

#[test]
fn a_locked_data_directory_on_this_machine_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    let probe = local_liveness(None);
    let lease = lease(machine(), dir.path());
    assert_eq!(probe(&lease), Liveness::Dead);
    let journal = drover_apply::RedbJournal::open(dir.path()).unwrap();
    assert_eq!(probe(&lease), Liveness::Alive);
    drop(journal);
    assert_eq!(probe(&lease), Liveness::Dead);
}

#[test]
fn our_own_data_directory_is_not_another_agent() {
    let dir = tempfile::tempdir().unwrap();
    let _journal = drover_apply::RedbJournal::open(dir.path()).unwrap();
    let probe = local_liveness(Some(dir.path().to_owned()));
    assert_eq!(probe(&lease(machine(), dir.path())), Liveness::Dead);
}

#[test]
fn nothing_is_known_of_another_machine() {
    let dir = tempfile::tempdir().unwrap();
    let probe = local_liveness(None);
    let elsewhere = Some("another boot".to_owned());
    assert_eq!(probe(&lease(elsewhere, dir.path())), Liveness::Unknown);
    assert_eq!(probe(&lease(None, dir.path())), Liveness::Unknown);
}
