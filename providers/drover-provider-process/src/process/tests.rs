use std::process::Command;

use super::*;

#[test]
fn reads_a_stat_line_with_any_name_in_it() {
    let rest = "S 41 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1";
    for name in ["cat", "a b", "a) R 1 (b", "()"] {
        let stat = parse_stat(&format!("42 ({name}) {rest}")).unwrap();
        assert_eq!((stat.parent, stat.started, stat.ended), (41, 98_765, false));
        assert_eq!(stat.name, name);
    }
    let zombie = parse_stat(&format!("42 (cat) Z{}", &rest[1..])).unwrap();
    assert!(zombie.ended);
    assert!(parse_stat("42 (cat").is_none());
    assert!(parse_stat("42 (cat) S 41").is_none());
}

#[test]
fn knows_a_process_by_its_start_and_not_by_its_pid() {
    let own = ProcessId::of(rustix::process::getpid()).unwrap();
    assert!(own.is_alive());
    let earlier = ProcessId {
        started: own.started - 1,
        ..own
    };
    assert!(!earlier.is_alive());
}

#[test]
fn a_zombie_is_not_alive_and_no_child_to_wait_for() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = Pid::from_child(&child);
    let id = ProcessId::of(pid).unwrap();
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    assert!(has_ended(&pidfd, 30_000));
    assert!(!id.is_alive());
    assert!(!children_of(rustix::process::getpid()).contains(&pid));
    child.wait().unwrap();
}

#[test]
fn ends_only_what_carries_the_mark_of_the_folder() {
    let data = tempfile::tempdir().unwrap();
    let near = format!("{}x", data.path().display());
    let start = |mark: &str| {
        let mut command = Command::new("sleep");
        command.arg("1000").env("DROVER_DATA_DIR", mark);
        command.spawn().unwrap()
    };
    let mut ours = start(data.path().to_str().unwrap());
    let mut other = start(&near);
    // Until the program is loaded the environment is still ours.
    for (pid, mark) in [
        (ours.id(), data.path().to_str().unwrap()),
        (other.id(), &near),
    ] {
        let mark = format!("DROVER_DATA_DIR={mark}");
        let loaded = || {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap();
            environ
                .split(|byte| *byte == 0)
                .any(|entry| entry == mark.as_bytes())
        };
        while !loaded() {
            std::thread::yield_now();
        }
    }
    assert_eq!(end_orphans(data.path(), None), 1);
    assert_eq!(other.try_wait().unwrap(), None);
    let recorded = ProcessId::of(Pid::from_child(&other)).unwrap();
    let reused = ProcessId {
        started: recorded.started + 1,
        ..recorded
    };
    assert_eq!(end_orphans(data.path(), Some(reused)), 0);
    assert_eq!(other.try_wait().unwrap(), None);
    assert_eq!(end_orphans(data.path(), Some(recorded)), 1);
    ours.wait().unwrap();
    other.wait().unwrap();
}

#[test]
fn collects_shims_and_no_other_children() {
    let dir = tempfile::tempdir().unwrap();
    let ended = |name: &str| {
        let program = dir.path().join(name);
        std::os::unix::fs::symlink("/bin/true", &program).unwrap();
        let child = Command::new(program).spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        assert!(has_ended(&pidfd, 30_000));
        child
    };
    let (mut shim, mut other) = (ended(SHIM_NAME), ended("other"));
    reap_shims();
    assert!(shim.wait().is_err(), "collected already");
    assert!(other.wait().is_ok());
}
