//! What containers are asked: checks by command, their own check, and their logs.

use std::time::{Duration, Instant};

use drover_model::{CheckOutcome, ErrorClass, ProviderRef, Value};

use crate::harness::{IDLE, Scope, map, shell, strings};

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| (*word).to_owned()).collect()
}

fn why(outcome: &CheckOutcome) -> &str {
    match outcome {
        CheckOutcome::Passing => "passing",
        CheckOutcome::Failing { why } | CheckOutcome::Unknown { why } => why,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_by_command_runs_in_the_container() {
    let scope = Scope::new("asking-command");
    let handle = scope.make(&scope.request(1, shell(IDLE, &[]))).await;
    let check = async |command: &[&str]| {
        let command = words(command);
        let limit = Duration::from_secs(20);
        let asked = scope.provider.check(&handle, &command, limit).await;
        asked.unwrap()
    };
    let own = "[ \"$DROVER_INSTANCE\" = web-1 ]";
    assert_eq!(check(&["sh", "-c", own]).await, CheckOutcome::Passing);
    let failing = check(&["sh", "-c", "echo out; echo too bad >&2; exit 7"]).await;
    // Which of the two streams comes first is the engine's business.
    let said = why(&failing);
    assert!(said.starts_with("exit status 7: "), "{said}");
    assert!(said.contains("out") && said.contains("too bad"), "{said}");
    assert_ne!(check(&["/no/such/program"]).await, CheckOutcome::Passing);

    scope
        .engine
        .post(&format!("/containers/{handle}/kill?signal=KILL"));
    scope.until_ended(&handle).await;
    assert_eq!(why(&check(&["true"]).await), "the container is not running");
    let nobody = ProviderRef::parse("web-9").unwrap();
    let error = scope
        .provider
        .check(&nobody, &words(&["true"]), Duration::from_secs(1))
        .await;
    assert_eq!(error.unwrap_err().class, ErrorClass::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_does_not_end_is_not_started_again_until_it_has() {
    let scope = Scope::new("asking-slow");
    let handle = scope.make(&scope.request(1, shell(IDLE, &[]))).await;
    let slow = words(&[
        "sh",
        "-c",
        "echo x >> /tmp/tries; while [ ! -e /tmp/go ]; do sleep 0.1; done",
    ]);
    let limit = Duration::from_millis(1_500);
    let first = scope.provider.check(&handle, &slow, limit).await.unwrap();
    assert_eq!(why(&first), "no answer within 1.5s");
    let second = scope.provider.check(&handle, &slow, limit).await.unwrap();
    assert_eq!(
        why(&second),
        "an earlier try of this check has not ended yet"
    );
    let tries = words(&["sh", "-c", "[ \"$(cat /tmp/tries)\" = x ] && touch /tmp/go"]);
    let tries = scope
        .provider
        .check(&handle, &tries, Duration::from_secs(20))
        .await;
    assert_eq!(tries.unwrap(), CheckOutcome::Passing);
    let started = Instant::now();
    loop {
        let third = scope.provider.check(&handle, &slow, limit).await.unwrap();
        if third == CheckOutcome::Passing {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{third:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_containers_own_check_is_the_providers_word() {
    let scope = Scope::new("asking-health");
    let text = |text: &str| Value::from(text);
    let check = map(&[
        (
            "command",
            strings(&["sh", "-c", "echo asked; [ -e /tmp/well ]"]),
        ),
        ("interval", text("1s")),
        ("timeout", text("5s")),
        ("retries", Value::Int(1)),
    ]);
    let health = async |handle: &ProviderRef| {
        let asked = scope.provider.health(handle, Duration::from_secs(20));
        asked.await.unwrap()
    };
    let plain = scope.make(&scope.request(1, shell(IDLE, &[]))).await;
    let none = CheckOutcome::Unknown {
        why: "the container has no check of its own".to_owned(),
    };
    assert_eq!(health(&plain).await, none);

    let script = format!("touch /tmp/well; {IDLE}");
    let properties = shell(&script, &[("healthcheck", check)]);
    let handle = scope.make(&scope.request(2, properties)).await;
    let until = async |wanted: &dyn Fn(&CheckOutcome) -> bool| {
        let started = Instant::now();
        loop {
            scope.engine.run_healthcheck(handle.as_str());
            let outcome = health(&handle).await;
            if wanted(&outcome) {
                return outcome;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{outcome:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    until(&|outcome| *outcome == CheckOutcome::Passing).await;
    let remove = words(&["rm", "/tmp/well"]);
    let removed = scope
        .provider
        .check(&handle, &remove, Duration::from_secs(20))
        .await;
    assert_eq!(removed.unwrap(), CheckOutcome::Passing);
    let failing = until(&|outcome| matches!(outcome, CheckOutcome::Failing { .. })).await;
    assert!(
        why(&failing).starts_with("its own check fails"),
        "{failing:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_have_both_streams_and_the_last_lines_first_to_last() {
    let scope = Scope::new("asking-logs");
    let script = "for n in 1 2 3 4 5; do echo out $n; done; echo err >&2; exit 0";
    let handle = scope.make(&scope.request(1, shell(script, &[]))).await;
    scope.until_ended(&handle).await;
    let all = scope.provider.logs(&handle, 100).await.unwrap();
    // Which of the two streams comes first is the engine's business.
    let (err, out): (Vec<&str>, Vec<&str>) = all.lines().partition(|line| *line == "err");
    assert_eq!(out, ["out 1", "out 2", "out 3", "out 4", "out 5"]);
    assert_eq!(err.len(), 1, "{all:?}");
    let last = scope.provider.logs(&handle, 2).await.unwrap();
    assert_eq!(last.lines().count(), 2, "{last:?}");
    let nobody = ProviderRef::parse(&format!("web-9.{}", "a".repeat(32))).unwrap();
    let error = scope.provider.logs(&nobody, 1).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
}
