use super::*;

/// Runs a shell's script on more than a pipe takes.
fn ran(script: &str, time: Duration) -> Result<ProgramEnd, ProgramError> {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]);
    let bounds = ProgramBounds {
        time,
        printed: 1000,
        said: 100,
    };
    run_program(shell, &vec![b'a'; 1 << 20], &bounds)
}

/// Longer than any of these takes.
const LONG: Duration = Duration::from_mins(1);

const SHORT: Duration = Duration::from_millis(500);

fn printed(script: &str) -> String {
    let end = ran(script, LONG).unwrap();
    assert!(end.status.success(), "{end:?}");
    String::from_utf8(end.printed).unwrap()
}

#[test]
fn all_that_is_printed_is_read_whatever_becomes_of_the_input() {
    assert_eq!(printed("echo read nothing"), "read nothing\n");
    assert_eq!(printed("wc -c"), "1048576\n");
    assert_eq!(printed("exec <&-; echo closed it"), "closed it\n");
    let most = format!("printf %s {}", "b".repeat(1000));
    assert_eq!(printed(&most).len(), 1000);
}

#[test]
fn one_that_prints_too_much_is_known_before_its_end() {
    let endless = "trap '' PIPE; while :; do echo aaaaaaaaaaaaaaaa; done 2>/dev/null";
    let more = format!("printf %s {}", "b".repeat(1001));
    for script in [endless, &more] {
        let error = ran(script, LONG).unwrap_err();
        assert!(
            matches!(error, ProgramError::TooMuch { limit: 1000 }),
            "{error:?}"
        );
    }
}

#[test]
fn one_that_does_not_end_or_leaves_its_output_open_is_late() {
    for script in ["exec sleep 60", "sleep 5 & exit 0"] {
        let error = ran(script, SHORT).unwrap_err();
        assert!(matches!(error, ProgramError::Late), "{script}: {error:?}");
    }
}

#[test]
fn what_a_failed_one_says_is_read_as_far_as_it_goes() {
    let loud = "trap '' PIPE; i=0; while [ $i -lt 9000 ]; do echo no key here >&2; i=$((i+1)); done; exit 3";
    let end = ran(loud, LONG).unwrap();
    assert_eq!(end.status.code(), Some(3));
    assert_eq!(end.said.len(), 100);
    assert!(end.said.starts_with(b"no key here\n"), "{end:?}");
    // Of one that ended well, nothing is wrong.
    let end = ran("echo a warning >&2", LONG).unwrap();
    assert_eq!(end.said, b"");
    // What somebody keeps open is not waited for without end.
    let end = ran("echo no >&2; sleep 5 >/dev/null & exit 1", SHORT).unwrap();
    assert_eq!(end.status.code(), Some(1));
}

#[test]
fn one_that_is_not_there_is_not_started() {
    let bounds = ProgramBounds {
        time: LONG,
        printed: 1,
        said: 1,
    };
    let error = run_program(Command::new("no-such-program-here"), b"", &bounds).unwrap_err();
    assert!(matches!(error, ProgramError::NotStarted(_)), "{error:?}");
}
