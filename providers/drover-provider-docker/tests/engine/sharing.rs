//! What containers share with each other and with the machine, as far as the agent's file lets them.

use drover_model::{ErrorClass, Value};
use drover_provider_docker::{GrantedMount, Grants};

use crate::harness::{IDLE, Scope, engine, map, shell, strings};

fn mounted(target: &str, field: &str, value: Value, read_only: bool) -> Value {
    map(&[
        ("target", Value::from(target)),
        (field, value),
        ("readOnly", Value::Bool(read_only)),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_belongs_to_the_group_and_outlives_its_instances() {
    let scope = Scope::new("sharing-volume");
    let volume = mounted("/shared", "volume", Value::from("cache"), false);
    let mounts = ("mounts", Value::List(vec![volume]));
    let write = shell("echo kept > /shared/note", std::slice::from_ref(&mounts));
    let request = scope.request(1, write);
    let first = scope.make(&request).await;
    assert_eq!(scope.until_ended(&first).await.code, Some(0));
    let end = crate::harness::destroying(&request, &first, std::time::Duration::ZERO);
    scope.provider.destroy(&end).await.unwrap();
    scope.until_gone(&first).await;

    let second = scope
        .make(&scope.request(2, shell("cat /shared/note", &[mounts])))
        .await;
    assert_eq!(scope.until_ended(&second).await.message, "kept");
    let path = "/volumes/drover.sharing-volume.web.cache";
    assert_eq!(scope.engine.get(path).0, 200);
    drop(scope);
    let engine = engine();
    engine.delete(&format!("{path}?force=true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_the_machine_is_mounted_as_the_agents_file_says() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("note"), "from the machine\n").unwrap();
    std::fs::create_dir(folder.path().join("below")).unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let mount = GrantedMount {
        path: path.clone(),
        read_only: true,
    };
    let grants = Grants {
        mounts: vec![mount],
        ..Grants::default()
    };
    let scope = Scope::granted("sharing-folder", grants);
    let with = |path: &str, read_only| {
        let mount = mounted("/from", "path", Value::from(path), read_only);
        ("mounts", Value::List(vec![mount]))
    };
    let script = "cat /from/note; echo x > /from/made || echo refused";
    let handle = scope
        .make(&scope.request(1, shell(script, &[with(&path, true)])))
        .await;
    let report = scope.until_ended(&handle).await;
    assert!(report.message.contains("from the machine"), "{report}");
    assert!(report.message.contains("refused"), "{report}");

    for (path, read_only, says) in [
        (path.clone(), false, "read only"),
        (format!("{path}/below"), true, "not among"),
        (
            format!("{path}/../{}", path.rsplit('/').next().unwrap()),
            true,
            "without `.`",
        ),
    ] {
        let request = scope.request(2, shell(script, &[with(&path, read_only)]));
        let error = scope.try_make(&request).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::InvalidSpec, "{error}");
        assert!(error.message.contains(says), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_find_each_other_by_name_in_the_networks_that_are_granted() {
    let names = ["drover-test-one", "drover-test-two"];
    let engine = engine();
    for name in names {
        let body = format!("{{\"Name\": \"{name}\"}}");
        let (status, said) = engine.call(
            "POST",
            "/networks/create",
            "application/json",
            body.as_bytes(),
        );
        assert_eq!(status, 201, "{said}");
    }
    let grants = Grants {
        networks: names.map(str::to_owned).to_vec(),
        ..Grants::default()
    };
    let scope = Scope::granted("sharing-networks", grants);
    let both = [("networks", strings(&names))];
    let first = scope.make(&scope.request(1, shell(IDLE, &both))).await;
    let listed = scope.listed(&first).await.unwrap();
    let made = scope.engine.inspect(first.as_str()).unwrap();
    let networks = &made["NetworkSettings"]["Networks"];
    let address = networks[names[0]]["IPAddress"].as_str();
    assert!(
        address.is_some_and(|address| !address.is_empty()),
        "{networks}"
    );
    assert_eq!(
        listed.address.as_deref(),
        address,
        "that in the first network"
    );
    assert!(networks[names[1]].is_object(), "{networks}");

    let script =
        "for try in 1 2 3 4 5 6 7 8 9 10; do nslookup web-1 && exit 0; sleep 1; done; exit 1";
    let second = shell(script, &[("networks", strings(&names[..1]))]);
    let second = scope.make(&scope.request(2, second)).await;
    let report = scope.until_ended(&second).await;
    let log = scope.provider.logs(&second, 100).await.unwrap();
    assert!(log.contains(address.unwrap()), "{report}: {log}");
    drop(scope);
    for name in names {
        engine.delete(&format!("/networks/{name}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_provider_documents_of_one_engine_do_not_see_each_others_containers() {
    let scope = Scope::new("sharing-engine");
    let request = scope.request(1, shell(IDLE, &[]));
    let handle = scope.make(&request).await;
    let neighbour = scope.neighbour();
    let listing = neighbour.list(&scope.fleet).await.unwrap();
    assert_eq!(listing.instances, []);
    let end = crate::harness::destroying(&request, &handle, std::time::Duration::ZERO);
    neighbour.destroy(&end).await.unwrap();
    neighbour.release(&scope.fleet, &handle).await.unwrap();
    assert!(neighbour.logs(&handle, 1).await.is_err());
    let listed = scope.listed(&handle).await.unwrap();
    assert_eq!(listed.phase, drover_model::ProviderPhase::Running);
}
