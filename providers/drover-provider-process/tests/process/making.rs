//! Making instances: what they get, what is refused, and what a repeated call does.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::time::Duration;

use drover_model::{CheckOutcome, Completeness, ErrorClass, ProviderPhase, ProviderRef, Value};
use drover_provider::{Slot, prepare};

use crate::harness::{
    Scope, fleet, map, open, processes_of, request, serve, shell, strings, until,
};

#[tokio::test]
async fn runs_init_and_then_the_command_in_a_clean_environment() {
    let scope = Scope::new();
    let mut asked = shell(7, "env | sort; pwd; cat made-by-init; exec sleep 1000");
    let env = map(&[("PORT", "80".into()), ("AT", "${instance.address}".into())]);
    let Value::Map(properties) = &mut asked.properties else {
        unreachable!()
    };
    properties.insert("env".to_owned(), env);
    asked.slots[0].init = vec![
        "echo init at ${instance.address} with $${HOME:+a home}".to_owned(),
        "echo from init > made-by-init".to_owned(),
    ];
    asked.slots[0].env = [("FLAVORED", "yes"), ("DROVER_GROUP", "forged")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let instance = scope.provision(&asked).await;
    scope.printed(&instance, "from init").await;
    let listed = scope.listed(&instance).await.unwrap();
    assert_eq!(listed.phase, ProviderPhase::Running);
    let address = listed.address.unwrap();
    let data = scope.folder(&instance).join("data");
    let data = data.display();
    let log = scope.provider.logs(&instance, 100).await.unwrap();
    let expected = format!(
        "init at {address} with a home
AT={address}
DROVER_ADDRESS={address}
DROVER_DATA_DIR={data}
DROVER_GROUP=web
DROVER_INSTANCE=web-7
FLAVORED=yes
HOME={data}
LANG=C.UTF-8
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
PORT=80
PWD={data}
{data}
from init
"
    );
    assert_eq!(log, expected);
    scope.finish().await;
}

#[tokio::test]
async fn substitutes_in_two_rounds_with_the_flavors() {
    let scope = Scope::new();
    let template = drover_model::Template::from(drover_model::TemplateParts {
        properties: shell(1, "echo ${instance.id} $${HOME:-no} ${instance.address}").properties,
        flavors: Vec::new(),
        flavors_as_written: Value::Null,
        tags: std::collections::BTreeMap::new(),
    });
    let mut asked = shell(1, "");
    let prepared = prepare(
        &template,
        &drover_provider::Facts {
            instance: asked.slots[0].instance.clone(),
            group: asked.group.clone(),
            zone: None,
            address: None,
            seat: None,
            members: None,
        },
    )
    .unwrap();
    asked.slots = vec![prepared.slot];
    asked.properties = prepared.properties;
    let instance = scope.provision(&asked).await;
    scope.exit(&instance).await;
    let address = scope.listed(&instance).await.unwrap().address.unwrap();
    let home = scope.folder(&instance).join("data");
    let log = scope.provider.logs(&instance, 9).await.unwrap();
    assert_eq!(log, format!("web-1 {} {address}\n", home.display()));
    scope.finish().await;
}

#[tokio::test]
async fn instances_listen_on_one_port_at_addresses_of_their_own() {
    let scope = Scope::new();
    for number in [1, 2] {
        let instance = scope.provision(&serve(number, &["7643"])).await;
        let address = scope.listed(&instance).await.unwrap().address.unwrap();
        let mut connection = until("it listens", async || {
            TcpStream::connect(format!("{address}:7643")).ok()
        })
        .await;
        let mut name = String::new();
        connection.read_to_string(&mut name).unwrap();
        assert_eq!(name, format!("web-{number}\n"));
    }
    scope.finish().await;
}

#[tokio::test]
async fn a_repeated_call_makes_nothing_new() {
    let scope = Scope::new();
    let asked = shell(1, "echo started; exec sleep 1000");
    let first = scope.provision(&asked).await;
    scope.printed(&first, "started").await;
    assert_eq!(scope.provision(&asked).await, first);
    assert_eq!(scope.list().await.len(), 1);
    let mut other = asked.clone();
    other.properties = shell(1, "true").properties;
    let refused = scope.provider.provision(&other).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec);
    // Also when the instance is gone: the token is spent.
    scope.destroy(&first, Duration::ZERO).await;
    until("it is gone", async || {
        scope.list().await.is_empty().then_some(())
    })
    .await;
    assert_eq!(scope.provision(&asked).await, first);
    assert_eq!(scope.list().await, []);
    scope.finish().await;
}

#[tokio::test]
async fn concurrent_calls_with_one_token_start_one_instance() {
    let scope = Scope::new();
    let asked = shell(1, "echo started; exec sleep 1000");
    let calls = (0..8).map(|_| {
        let (provider, asked) = (open(scope.dir.path(), &Value::empty_map()), asked.clone());
        tokio::spawn(async move { provider.provision(&asked).await.unwrap() })
    });
    let calls: Vec<_> = calls.collect();
    for call in calls {
        assert_eq!(call.await.unwrap().made.len(), 1);
    }
    let listed = scope.list().await;
    assert_eq!(listed.len(), 1);
    scope.printed(&listed[0].provider_ref, "started").await;
    let log = scope.provider.logs(&listed[0].provider_ref, 9).await;
    assert_eq!(log.unwrap(), "started\n");
    scope.finish().await;
}

#[tokio::test]
async fn says_why_an_instance_did_not_start() {
    let scope = Scope::new();
    let missing = map(&[("command", strings(&["no-such-program", "x"]))]);
    let elsewhere = map(&[
        ("command", strings(&["true"])),
        ("workingDir", "/no/such/dir".into()),
    ]);
    let mut broken_init = shell(3, "echo never");
    broken_init.slots[0].init = vec!["echo preparing".to_owned(), "cat /no/such/file".to_owned()];
    let mut unset = shell(4, "echo never");
    unset.slots[0].init = vec!["echo $UNSET".to_owned(), "echo unreached".to_owned()];
    let cases = [
        (
            request(1, missing),
            "exit status 127: drover: program not found: no-such-program",
        ),
        (
            request(2, elsewhere),
            "exit status 126: drover: cannot enter the working directory /no/such/dir: No such file",
        ),
        (
            broken_init,
            "exit status 1: init failed: preparing\ncat: /no/such/file: No such file",
        ),
        (unset, "exit status 2: init failed: "),
    ];
    for (asked, expected) in cases {
        let instance = scope.provision(&asked).await;
        let report = scope.exit(&instance).await;
        assert!(report.starts_with(expected), "{report:?} is {expected:?}");
    }
    scope.finish().await;
}

#[tokio::test]
async fn a_port_in_use_shows_in_the_exit_report() {
    let scope = Scope::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let instance = scope.provision(&serve(1, &[&port, "127.0.0.1"])).await;
    let report = scope.exit(&instance).await;
    assert!(report.contains("Address already in use"), "{report}");
    scope.finish().await;
}

#[tokio::test]
async fn refuses_what_no_process_can_be_started_with() {
    let scope = Scope::new();
    let command = || ("command", strings(&["true"]));
    let with_env = |name: &str, value: &str| {
        let env = map(&[(name, value.into())]);
        request(1, map(&[command(), ("env", env)]))
    };
    let mut two = shell(1, "true");
    two.slots.push(Slot {
        instance: shell(2, "").slots[0].instance.clone(),
        ..two.slots[0].clone()
    });
    let mut attached = shell(1, "true");
    attached.slots[0].attachments = vec![drover_model::Attachment {
        id: "vol-1".to_owned(),
        type_: "ebs".to_owned(),
    }];
    let cases = [
        (
            attached,
            "attachment \"vol-1\": only plugins of InfraKit attach what flavors name, and instances of this provider are made without them",
        ),
        (request(1, map(&[])), "`command` is missing"),
        (
            request(1, map(&[("command", strings(&[""]))])),
            "command[0]: expected a program's name, not empty and without NUL characters, found \"\"",
        ),
        (
            with_env("A=B", "x"),
            "env.A=B: expected a variable's name: not empty, without `=` and NUL characters, found \"A=B\"",
        ),
        (
            with_env("A", "x\0y"),
            "env.A: expected a text without NUL characters, found \"x\\0y\"",
        ),
        (with_env("A", "${group}"), "unknown substitution ${group}"),
        (two, "a batch has one slot, not 2"),
    ];
    for (asked, expected) in cases {
        let refused = scope.provider.provision(&asked).await.unwrap_err();
        assert_eq!(refused.message, expected);
        assert_eq!(refused.class, ErrorClass::InvalidSpec);
    }
    assert!(processes_of(scope.dir.path()).is_empty());
    scope.finish().await;
}

#[tokio::test]
async fn a_folder_that_was_never_started_is_pending_until_the_call_is_repeated() {
    let scope = Scope::new();
    let asked = shell(1, "echo started; exec sleep 1000");
    let instance = scope.provision(&asked).await;
    scope.printed(&instance, "started").await;
    // As an agent leaves it that was killed between the folder and the shim.
    let folder = scope.folder(&instance);
    let kept = scope.dir.path().join("kept");
    fs::create_dir(&kept).unwrap();
    for name in ["instance.json", "data", "control"] {
        fs::rename(folder.join(name), kept.join(name)).unwrap();
    }
    for pid in processes_of(&folder) {
        crate::harness::kill(pid, rustix::process::Signal::KILL);
    }
    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&kept, &folder).unwrap();
    assert_eq!(scope.phase(&instance).await, Some(ProviderPhase::Pending));
    assert_eq!(scope.provision(&asked).await, instance);
    scope.printed(&instance, "started").await;
    scope.finish().await;
}

#[tokio::test]
async fn a_half_made_folder_is_not_listed_and_is_cleared_by_the_next_agent() {
    let scope = Scope::new();
    let half = scope
        .instances_dir()
        .join(format!(".new-{}", "a".repeat(32)));
    fs::create_dir(&half).unwrap();
    assert_eq!(scope.list().await, []);
    open(scope.dir.path(), &Value::empty_map());
    assert!(!half.exists());
    scope.finish().await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_makes_the_listing_partial() {
    let scope = Scope::new();
    let good = scope.run(1, "exec sleep 1000").await;
    let bad = scope.instances_dir().join("a".repeat(32));
    fs::create_dir(&bad).unwrap();
    fs::write(bad.join("instance.json"), "{").unwrap();
    let listing = scope.provider.list(&fleet()).await.unwrap();
    assert_eq!(listing.instances.len(), 1);
    assert_eq!(listing.instances[0].provider_ref, good);
    let Completeness::Partial { why } = listing.completeness else {
        panic!("the listing claims to be complete");
    };
    assert!(
        why.starts_with(&format!("cannot read {}: ", "a".repeat(32))),
        "{why}"
    );
    fs::remove_dir_all(&bad).unwrap();
    // A folder that vanished as a whole is an error, not an empty listing.
    let moved = scope.dir.path().join("moved");
    fs::rename(scope.instances_dir(), &moved).unwrap();
    assert!(scope.provider.list(&fleet()).await.is_err());
    fs::rename(&moved, scope.instances_dir()).unwrap();
    scope.finish().await;
}

#[tokio::test]
async fn checks_run_inside_the_instance() {
    let scope = Scope::new();
    let instance = scope
        .run(1, "echo here > marker; echo up; exec sleep 1000")
        .await;
    scope.printed(&instance, "up").await;
    let check = async |script: &str, limit_ms| {
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        let limit = Duration::from_millis(limit_ms);
        scope
            .provider
            .check(&instance, &command, limit)
            .await
            .unwrap()
    };
    let failing = |why: &str| CheckOutcome::Failing {
        why: why.to_owned(),
    };
    let good = check(
        "test $DROVER_INSTANCE = web-1 && grep -q here marker",
        20_000,
    )
    .await;
    assert_eq!(good, CheckOutcome::Passing);
    let bad = check("echo too full; exit 3", 20_000).await;
    assert_eq!(bad, failing("exit status 3: too full"));
    let slow = check("echo waiting; sleep 1000 & sleep 1000", 300).await;
    assert_eq!(slow, failing("no answer within 300ms: waiting"));
    // A check may not leave anything behind, however it ends.
    check("sleep 1001 & exit 0", 20_000).await;
    let interest = tokio::time::timeout(Duration::from_millis(300), check("sleep 1002", 60_000));
    assert!(interest.await.is_err());
    until("only the instance is left", async || {
        (processes_of(scope.dir.path()).len() == 2).then_some(())
    })
    .await;
    let unknown = ProviderRef::parse(&"a".repeat(32)).unwrap();
    let command = ["true".to_owned()];
    let none = scope
        .provider
        .check(&unknown, &command, Duration::from_secs(1));
    assert_eq!(none.await.unwrap_err().class, ErrorClass::NotFound);
    scope.finish().await;
}

#[tokio::test]
async fn keeps_the_end_of_a_long_log_within_its_limit() {
    let scope = Scope::with_settings(&map(&[("logLimitKiB", Value::Int(16))]));
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
    let instance = scope.run(1, script).await;
    scope.exit(&instance).await;
    let size = |name| {
        fs::metadata(scope.folder(&instance).join(name))
            .unwrap()
            .len()
    };
    let (newer, older) = (size("log"), size("log.1"));
    assert_eq!(older, 8 * 1_024);
    assert!(newer <= 8 * 1_024, "{newer}");
    let log = scope.provider.logs(&instance, 2).await.unwrap();
    assert_eq!(log, "line 19998\nline 19999\n");
    scope.finish().await;
}

#[tokio::test]
async fn handles_of_others_name_nothing() {
    let scope = Scope::new();
    let elsewhere = ProviderRef::parse("../../../etc").unwrap();
    let error = scope.provider.logs(&elsewhere, 1).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
    scope.finish().await;
}

#[tokio::test]
async fn user_data_is_refused_because_a_process_has_no_cloud_init() {
    let scope = Scope::new();
    let mut asked = shell(1, "echo never");
    let document = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\n\n--b--\n";
    asked.slots[0].init = vec![document.to_owned()];
    let refused = scope.provider.provision(&asked).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec);
    assert_eq!(refused.message, "user data: a process has no cloud-init");
    scope.finish().await;
}
