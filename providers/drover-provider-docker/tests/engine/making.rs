//! What a container gets: its command, init lines, address, limits and labels; and what is refused.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use drover_model::{ErrorClass, ProviderPhase, Value};

use crate::engine::IMAGE;
use crate::harness::{IDLE, Scope, map, shell, strings};

fn port(published: i64, container: i64) -> Value {
    map(&[
        ("port", Value::Int(published)),
        ("container", Value::Int(container)),
    ])
}

/// Asks a web server until it answers.
fn answer(address: &str) -> String {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        if let Ok(mut stream) = TcpStream::connect((address, 8080)) {
            let mut answer = String::new();
            let asked = stream.write_all(b"GET /hostname HTTP/1.0\r\n\r\n");
            if asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && !answer.is_empty() {
                return answer;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{address} does not answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_has_its_ports_at_a_loopback_address_of_its_own() {
    let scope = Scope::new("making-ports");
    let serve =
        "echo \"$HOSTNAME $DROVER_ADDRESS $ASKED\" > /tmp/hostname; exec httpd -f -p 80 -h /tmp";
    let env = map(&[("ASKED", Value::from("at ${instance.address}"))]);
    let properties = shell(
        serve,
        &[("ports", Value::List(vec![port(8080, 80)])), ("env", env)],
    );
    let mut addresses = Vec::new();
    for number in [1, 2] {
        let handle = scope.make(&scope.request(number, properties.clone())).await;
        let running = |phase: Option<&ProviderPhase>| phase == Some(&ProviderPhase::Running);
        let listed = scope.until(&handle, running).await.unwrap();
        let address = listed.address.unwrap();
        assert!(address.starts_with("127.1"), "{address}");
        let said = tokio::task::spawn_blocking({
            let address = address.clone();
            move || answer(&address)
        });
        let expected = format!("web-{number} {address} at {address}\n");
        assert!(said.await.unwrap().ends_with(&expected));
        addresses.push(address);
    }
    assert_ne!(addresses[0], addresses[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ports_the_address_is_the_containers_own_and_not_known_before() {
    let scope = Scope::new("making-address");
    let handle = scope.make(&scope.request(1, shell(IDLE, &[]))).await;
    let listed = scope.listed(&handle).await.unwrap();
    let address = listed.address.unwrap();
    assert!(address.parse::<std::net::IpAddr>().is_ok(), "{address}");
    assert!(!address.starts_with("127."), "{address}");

    let env = map(&[("ASKED", Value::from("${instance.address}"))]);
    let error = scope
        .try_make(&scope.request(2, shell(IDLE, &[("env", env)])))
        .await
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    assert!(error.message.contains("without `ports`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn init_lines_run_before_the_command_and_one_that_fails_ends_the_instance() {
    let scope = Scope::new("making-init");
    let mut request = scope.request(
        1,
        shell("cat /tmp/made; echo \"$GREETING from $0\"; exit 4", &[]),
    );
    let slot = &mut request.slots[0];
    slot.init = vec![
        "echo \"first 'line'\" > /tmp/made".to_owned(),
        "echo \"for $DROVER_INSTANCE of $DROVER_GROUP\" >> /tmp/made; here=1".to_owned(),
    ];
    slot.env.insert("GREETING".to_owned(), "hello".to_owned());
    let handle = scope.make(&request).await;
    let report = scope.until_ended(&handle).await;
    assert_eq!(report.code, Some(4));
    assert_eq!(
        report.message,
        "first 'line'\nfor web-1 of web\nhello from /bin/sh"
    );

    let mut request = scope.request(2, shell("echo never", &[]));
    let lines = ["echo begun", "cat /missing", "echo not reached"];
    request.slots[0].init = lines.map(str::to_owned).to_vec();
    let handle = scope.make(&request).await;
    let report = scope.until_ended(&handle).await;
    assert_eq!(report.code, Some(1));
    assert!(report.message.contains("begun"), "{}", report.message);
    assert!(report.message.contains("cat: "), "{}", report.message);
    assert!(!report.message.contains("reached"), "{}", report.message);
    assert!(!report.message.contains("never"), "{}", report.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_limits_user_and_the_rest_reach_the_engine() {
    let scope = Scope::new("making-fields");
    let text = |text: &str| Value::from(text);
    let more = [
        ("labels", map(&[("team", text("ops"))])),
        ("memoryMiB", Value::Int(64)),
        ("cpuMillis", Value::Int(250)),
        ("pids", Value::Int(50)),
        ("user", text("1000:1000")),
        ("workingDir", text("/tmp")),
        ("entrypoint", strings(&["/bin/sh"])),
        (
            "command",
            strings(&[
                "-c",
                "id; ls -d \"$PWD\"; ls /proc/self/fd > /dev/null; sleep 1000",
            ]),
        ),
        ("stopSignal", text("SIGINT")),
        (
            "mounts",
            Value::List(vec![map(&[
                ("target", text("/scratch")),
                ("memoryMiB", Value::Int(1)),
            ])]),
        ),
    ];
    let mut request = scope.request(1, shell("", &more));
    request.slots[0]
        .tags
        .insert("tier".to_owned(), "one".to_owned());
    request.zone = Some("b".to_owned());
    let handle = scope.make(&request).await;
    let log = scope.until_printed(&handle, "/tmp").await;
    assert!(log.starts_with("uid=1000 gid=1000"), "{log}");
    let listed = scope.listed(&handle).await.unwrap();
    assert_eq!(listed.zone.as_deref(), Some("b"));

    let made = scope.engine.inspect(handle.as_str()).unwrap();
    let labels = &made["Config"]["Labels"];
    assert_eq!(
        (&labels["team"], &labels["tier"]),
        (&"ops".into(), &"one".into())
    );
    assert_eq!(labels["drover.group"], "web");
    assert_eq!(made["Config"]["Image"], IMAGE);
    let host = &made["HostConfig"];
    assert_eq!(host["Memory"], 64 << 20);
    assert_eq!(host["NanoCpus"], 250_000_000);
    assert_eq!(host["PidsLimit"], 50);
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    let limits = host["Ulimits"].as_array().unwrap();
    let nofile = limits.iter().find(|limit| {
        limit["Name"]
            .as_str()
            .unwrap()
            .to_lowercase()
            .ends_with("nofile")
    });
    assert_eq!(nofile.unwrap()["Soft"], 1_024);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_succeed_is_refused_and_leaves_nothing_behind() {
    let scope = Scope::new("making-refused");
    let text = |text: &str| Value::from(text);
    let mount = |field: &str, value: Value| {
        let mount = map(&[("target", text("/m")), (field, value)]);
        ("mounts", Value::List(vec![mount]))
    };
    let refused = [
        (
            ("pull", text("sometimes")),
            "expected one of missing, always, never",
        ),
        (
            ("networks", strings(&["prod"])),
            "not among `docker.networks`",
        ),
        (
            ("networks", strings(&["host"])),
            "expected the name of a network; `host`, `none`",
        ),
        (
            ("networks", strings(&["somebodys"])),
            "not among `docker.networks`",
        ),
        (mount("path", text("/etc")), "not among `docker.mounts`"),
        (mount("volume", text("../etc")), "expected a volume's name"),
        (
            ("labels", map(&[("drover.fleet", text("x"))])),
            "none of drover's own",
        ),
        (
            ("env", map(&[("A=B", text("x"))])),
            "expected a variable's name",
        ),
        (
            ("image", text("nowhere.invalid/x?y")),
            "expected an image's name",
        ),
        (
            ("image", text("https://nowhere.invalid/x")),
            "expected an image's name",
        ),
        (
            ("ports", Value::List(vec![port(80, 80), port(80, 81)])),
            "another entry has the same",
        ),
    ];
    for (number, (field, says)) in refused.into_iter().enumerate() {
        let request = scope.request(number as u64, shell(IDLE, &[field]));
        let error = scope.try_make(&request).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::InvalidSpec, "{error}");
        assert!(error.message.contains(says), "{error}");
    }
    let absent = [
        ("image", text("localhost/drover-absent:1")),
        ("pull", text("never")),
    ];
    let error = scope
        .try_make(&scope.request(20, shell(IDLE, &absent)))
        .await
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec, "{error}");
    assert!(error.message.contains("`pull: never`"), "{error}");
    assert_eq!(scope.containers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_cannot_be_started_is_removed_and_its_token_is_not_spent() {
    let scope = Scope::new("making-unstartable");
    let missing = [("command", strings(&["/no/such/program"]))];
    let request = scope.request(1, shell("", &missing));
    let error = scope.try_make(&request).await.unwrap_err();
    let classes = [ErrorClass::InvalidSpec, ErrorClass::Partial];
    assert!(classes.contains(&error.class), "{}", error.class.as_str());
    assert!(error.message.contains("/no/such/program"), "{error}");
    assert_eq!(scope.containers(), Vec::<String>::new());

    let mut better = scope.request(1, shell(IDLE, &[]));
    better.token = request.token.clone();
    let handle = scope.make(&better).await;
    assert_eq!(
        scope.listed(&handle).await.unwrap().phase,
        ProviderPhase::Running
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_was_made_and_not_started_is_started_by_the_repeated_call() {
    let scope = Scope::new("making-half");
    let request = scope.request(1, shell(IDLE, &[]));
    let handle = scope.half_made(&request).await;
    assert_eq!(scope.make(&request).await, handle);
    assert_eq!(
        scope.listed(&handle).await.unwrap().phase,
        ProviderPhase::Running
    );
    assert_eq!(scope.containers(), [handle.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_in_memory_is_as_open_as_the_folder_in_the_image_or_open_to_everybody() {
    let scope = Scope::new("making-memory");
    let text = |text: &str| Value::from(text);
    let mount = |target: &str| map(&[("target", text(target)), ("memoryMiB", Value::Int(1))]);
    let tries = "for folder in /tmp /scratch; do touch $folder/x && echo $folder taken; done; echo done; sleep 1000";
    let more = [
        ("user", text("1000:1000")),
        (
            "mounts",
            Value::List(vec![mount("/tmp"), mount("/scratch")]),
        ),
    ];
    let handle = scope.make(&scope.request(1, shell(tries, &more))).await;
    let log = scope.until_printed(&handle, "done").await;
    assert!(log.contains("/scratch taken"), "{log}");
    // The image has it with the mode 0755.
    assert!(!log.contains("/tmp taken"), "{log}");
}
