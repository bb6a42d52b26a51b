use std::error::Error as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::run;

fn asked(script: &str, content: &[u8]) -> Result<String, String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]);
    let answer = run(
        Path::new("keyring"),
        shell,
        content,
        Duration::from_millis(800),
    );
    match answer {
        Ok(answer) => Ok(answer.text),
        Err(error) => Err(error.source().unwrap().to_string()),
    }
}

#[test]
fn a_gpg_that_reads_nothing_says_too_much_or_never_ends_stops_nobody() {
    // More than a pipe takes.
    let content = vec![b'a'; 1 << 20];
    let begun = Instant::now();
    assert_eq!(
        asked("echo read nothing", &content).as_deref(),
        Ok("read nothing\n")
    );
    assert_eq!(
        asked("cat >/dev/null; echo all", &content).as_deref(),
        Ok("all\n")
    );
    let said = asked("exec sleep 60", &content).unwrap_err();
    assert!(said.contains("gpg did not end"), "{said}");
    // Whoever keeps its output open is not waited for.
    let said = asked("sleep 5 & exit 0", &content).unwrap_err();
    assert!(said.contains("gpg did not end"), "{said}");
    let loud = "i=0; while [ $i -lt 3000 ]; do echo not a word of it is read >&2; i=$((i+1)); done; echo said";
    assert!(asked(loud, &content).is_ok());
    assert!(begun.elapsed() < Duration::from_secs(20), "{begun:?}");
}
