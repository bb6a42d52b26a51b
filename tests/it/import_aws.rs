//! `drover import ec2`, `asg` and `terraform`. What `drover-provider-ec2 describe` answers here are the fixtures that its
//! own tests hold it to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::Sandbox;

fn fixture(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.unwrap().join("tests/fixtures/import").join(name)
}

/// A program that writes down what it was asked and answers with a file, or fails.
fn program(sandbox: &Sandbox, body: &str) -> String {
    let path = sandbox.path("describe");
    let asked = sandbox.path("asked");
    let script = format!("#!/bin/sh\necho \"$@\" >'{}'\n{body}\n", asked.display());
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn answering(sandbox: &Sandbox, name: &str) -> String {
    program(sandbox, &format!("cat '{}'", fixture(name).display()))
}

fn read(sandbox: &Sandbox, path: &str) -> String {
    fs::read_to_string(sandbox.path(path)).unwrap()
}

#[test]
fn instances_become_a_group_that_only_watches() {
    let sandbox = Sandbox::new();
    let program = answering(&sandbox, "ec2.json");
    let arguments = [
        "import",
        "ec2",
        "--tag",
        "app=web",
        "--program",
        &program,
        "--region",
        "eu-central-1",
        "--output",
        "fleet",
    ];
    let ran = sandbox.drover(&arguments).exits(0);
    assert_eq!(
        ran.stdout,
        "fleet/groups/web.yaml\nfleet/providers/aws.yaml\n"
    );
    insta::assert_snapshot!("import-ec2", read(&sandbox, "fleet/groups/web.yaml"));
    insta::assert_snapshot!(
        "import-ec2-provider",
        read(&sandbox, "fleet/providers/aws.yaml")
    );
    let asked = read(&sandbox, "asked");
    assert_eq!(asked, "describe --tag app=web --region eu-central-1\n");
    for says in [
        "`instanceType` differs: 2 of 3 have t3.small; 1 have m7g.large",
        "3 of 3 instances answer IMDSv1, and will go on so: `metadata.tokens` is left out",
    ] {
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
    }
    sandbox.drover(&["validate", "fleet"]).exits(0);

    // The same again changes nothing; what a person has changed is not written over.
    sandbox.drover(&arguments).exits(0);
    sandbox.write("fleet/groups/web.yaml", "# mine\n");
    let refused = sandbox.drover(&arguments).exits(1);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(read(&sandbox, "fleet/groups/web.yaml"), "# mine\n");
    sandbox
        .drover(&[&arguments[..], &["--force"]].concat())
        .exits(0);
    assert!(read(&sandbox, "fleet/groups/web.yaml").contains("manage: observe"));
}

#[test]
fn a_scaling_group_becomes_a_group_with_its_bounds_and_its_launch_template() {
    let sandbox = Sandbox::new();
    let program = answering(&sandbox, "asg.json");
    let arguments = [
        "import",
        "asg",
        "web",
        "--program",
        &program,
        "--profile",
        "ops",
        "--group",
        "front",
        "--provider",
        "cloud",
    ];
    let ran = sandbox.drover(&arguments).exits(0);
    assert_eq!(ran.stdout, "./groups/front.yaml\n./providers/cloud.yaml\n");
    insta::assert_snapshot!("import-asg", read(&sandbox, "groups/front.yaml"));
    assert_eq!(
        read(&sandbox, "asked"),
        "describe --asg web --profile ops\n"
    );
    for says in [
        "3 of 3 instances still belong to the Auto Scaling group web",
        "aws autoscaling suspend-processes --auto-scaling-group-name web",
        "1 load balancers or target groups",
    ] {
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
    }
}

#[test]
fn what_answers_imdsv1_goes_on_so_and_nothing_is_made_so() {
    let sandbox = Sandbox::new();
    let answer = changed("ec2.json", |answer| {
        for (number, tokens) in ["required", "required", "optional"].iter().enumerate() {
            let metadata = &mut answer["instances"][number]["metadata"];
            metadata["tokens"] = (*tokens).into();
            metadata["hopLimit"] = 2.into();
        }
    });
    sandbox.write("answer.json", &answer);
    let program = program(&sandbox, "cat answer.json");
    let arguments = ["import", "ec2", "--tag", "app=web", "--program", &program];
    let ran = sandbox.drover(&arguments).exits(0);
    let says = "1 of 3 instances answer IMDSv1";
    assert!(ran.stderr.contains(says), "{}", ran.stderr);
    let text = read(&sandbox, "groups/web.yaml");
    // `required` of the commonest would be set on the third as well.
    assert!(
        text.contains("      metadata:\n        hopLimit: 2\n      sec"),
        "{text}"
    );
    assert!(!text.contains("`metadata` differs"), "{text}");
}

/// By a process of its own: what another test starts meanwhile would inherit the open file, and the copy would be busy.
fn copy_of_drover(to: &Path) {
    let mut copy = std::process::Command::new("cp");
    let copied = copy.arg(env!("CARGO_BIN_EXE_drover")).arg(to).status();
    assert!(copied.unwrap().success());
}

#[test]
fn the_program_is_looked_for_beside_drover_and_in_path() {
    let sandbox = Sandbox::new();
    let program = answering(&sandbox, "ec2.json");
    fs::create_dir_all(sandbox.path("bin")).unwrap();
    fs::rename(&program, sandbox.path("bin/drover-provider-ec2")).unwrap();
    copy_of_drover(&sandbox.path("bin/drover"));
    let bin = sandbox.path("bin").display().to_string();
    let import = |program: &Path, path: &str| {
        let mut command = std::process::Command::new(program);
        command.args(["import", "ec2", "--tag", "app=web"]);
        command.env_clear().env("PATH", path);
        command.current_dir(sandbox.path(".")).output().unwrap()
    };
    let beside = import(&sandbox.path("bin/drover"), "/usr/bin:/bin");
    assert!(beside.status.success(), "{beside:?}");
    let alone = sandbox.path("alone");
    fs::create_dir_all(&alone).unwrap();
    let alone = alone.join("drover");
    copy_of_drover(&alone);
    let of_path = import(&alone, &format!("{bin}:/usr/bin:/bin"));
    assert!(of_path.status.success(), "{of_path:?}");
    let nowhere = import(&alone, "/usr/bin:/bin");
    let said = String::from_utf8_lossy(&nowhere.stderr);
    let says = "there is no drover-provider-ec2 beside this program, nor in PATH";
    assert!(said.contains(says), "{said}");
}

/// Changes an answer of the program.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> String {
    let text = fs::read_to_string(fixture(name)).unwrap();
    let mut answer: Value = serde_json::from_str(&text).unwrap();
    change(&mut answer);
    answer.to_string()
}

#[test]
fn a_template_without_a_number_is_that_of_the_newest_machine() {
    let sandbox = Sandbox::new();
    let answer = changed("asg.json", |answer| {
        answer["scalingGroup"]["launchTemplate"]["version"] = "$Latest".into();
        answer["scalingGroup"]["mixedInstances"] = true.into();
        answer["instances"][0]["tags"]["aws:ec2launchtemplate:version"] = "2".into();
        answer["instances"][1]["state"] = "stopped".into();
    });
    sandbox.write("answer.json", &answer);
    let program = program(&sandbox, "cat answer.json");
    let ran = sandbox
        .drover(&["import", "asg", "web", "--program", &program])
        .exits(0);
    let text = read(&sandbox, "groups/web.yaml");
    for says in [
        "version: \"3\"",
        "aws:ec2launchtemplate:version: \"3\"",
        "instanceType: t3.template",
        "follows $Latest; the document says 3",
        "i-00000000000000005 is stopped",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    assert!(!text.contains("imageId"), "{text}");
    assert!(
        ran.stderr.contains("chooses among instance types"),
        "{}",
        ran.stderr
    );
    let nobody = changed("asg.json", |answer| {
        answer["scalingGroup"]["launchTemplate"]["version"] = "$Latest".into();
        for instance in answer["instances"].as_array_mut().unwrap() {
            instance["tags"] = json!({"aws:autoscaling:groupName": "web"});
        }
    });
    sandbox.write("answer.json", &nobody);
    let refused = sandbox
        .drover(&["import", "asg", "web", "--program", &program])
        .exits(1);
    assert!(
        refused.stderr.contains("no machine says which one that is"),
        "{}",
        refused.stderr
    );
    let configured = changed("asg.json", |answer| {
        let group = answer["scalingGroup"].as_object_mut().unwrap();
        group.remove("launchTemplate");
    });
    sandbox.write("answer.json", &configured);
    let arguments = ["import", "asg", "web", "--program", &program, "--force"];
    sandbox.drover(&arguments).exits(0);
    let text = read(&sandbox, "groups/web.yaml");
    assert!(text.contains("imageId: ami-00000003"), "{text}");
}

#[test]
fn a_program_that_is_missing_fails_or_says_something_else_is_told() {
    let sandbox = Sandbox::new();
    let import = |program: &str| {
        sandbox.drover(&["import", "ec2", "--tag", "app=web", "--program", program])
    };
    let ran = import("/nonexistent/program").exits(1);
    assert!(
        ran.stderr.contains("cannot run /nonexistent/program"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("name it with --program"),
        "{}",
        ran.stderr
    );
    let nothing = changed("ec2.json", |answer| answer["instances"] = json!([]));
    let newer = changed("ec2.json", |answer| answer["version"] = 2.into());
    let cases = [
        (
            "echo 'error: DescribeInstances: no' >&2; exit 1".to_owned(),
            "DescribeInstances: no",
        ),
        ("echo hello".to_owned(), "cannot be read"),
        ("echo '{}'".to_owned(), "it says no version"),
        ("echo '{\"version\": 1}'".to_owned(), "missing field"),
        (format!("echo '{newer}'"), "it is of version 2, not 1"),
        (
            format!("echo '{nothing}'"),
            "no instance runs that nobody owns",
        ),
    ];
    for (body, says) in cases {
        let ran = import(&program(&sandbox, &body)).exits(1);
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
        assert!(ran.stdout.is_empty());
    }
    assert!(!sandbox.path("groups").exists());
    let answer = answering(&sandbox, "ec2.json");
    let group = ["import", "asg", "web", "--program", &answer];
    let ran = sandbox.drover(&group).exits(1);
    assert!(
        ran.stderr.contains("has no scaling group"),
        "{}",
        ran.stderr
    );
    let twice = [
        "import",
        "ec2",
        "--tag",
        "a=1",
        "--tag",
        "a=2",
        "--program",
        &answer,
    ];
    sandbox.drover(&twice).exits(64);
    sandbox
        .drover(&["import", "ec2", "--program", &answer])
        .exits(64);
    sandbox
        .drover(&["import", "ec2", "--tag", "web", "--program", &answer])
        .exits(64);
    // A tag whose value is no name asks for one.
    let ran = sandbox
        .drover(&["import", "ec2", "--tag", "a=/", "--program", &answer])
        .exits(1);
    assert!(ran.stderr.contains("--group"), "{}", ran.stderr);
}

fn instance(key: &Value, id: &str, tags: &Value) -> Value {
    json!({"index_key": key, "schema_version": 1, "attributes": {
        "id": id,
        "arn": format!("arn:aws:ec2:eu-central-1:123456789012:instance/{id}"),
        "ami": "ami-0123456789abcdef0",
        "instance_type": "t3.small",
        "availability_zone": "eu-central-1a",
        "subnet_id": "subnet-a",
        "vpc_security_group_ids": ["sg-2", "sg-1"],
        "key_name": "ops",
        "iam_instance_profile": "",
        "monitoring": false,
        "ebs_optimized": false,
        "tenancy": "default",
        "instance_state": "running",
        "metadata_options": [{"http_tokens": "required", "http_put_response_hop_limit": 1, "instance_metadata_tags": "disabled"}],
        "tags": {"Name": id},
        "tags_all": tags,
    }})
}

fn resource(module: &Value, type_: &str, name: &str, instances: &[Value]) -> Value {
    let provider = "provider[\"registry.terraform.io/hashicorp/aws\"]";
    json!({"module": module, "mode": "managed", "type": type_, "name": name, "provider": provider, "instances": instances})
}

fn scaling_group(version: &str, suspended: &[&str]) -> Value {
    json!({"schema_version": 0, "attributes": {
        "id": "workers",
        "arn": "arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:x:autoScalingGroupName/workers",
        "name": "workers",
        "min_size": 1, "max_size": 6, "desired_capacity": 2,
        "launch_template": [{"id": "lt-1", "name": "workers", "version": version}],
        "mixed_instances_policy": [],
        "vpc_zone_identifier": ["subnet-b", "subnet-a"],
        "availability_zones": ["eu-central-1b", "eu-central-1a"],
        "suspended_processes": suspended,
    }})
}

fn state(resources: &[Value]) -> Value {
    json!({"version": 4, "terraform_version": "1.9.5", "serial": 7, "lineage": "x", "outputs": {}, "resources": resources})
}

fn import(sandbox: &Sandbox, state: &Value, more: &[&str]) -> crate::support::Ran {
    sandbox.write("terraform.tfstate", &state.to_string());
    let arguments = ["import", "terraform", "terraform.tfstate"];
    sandbox.drover(&[&arguments[..], more].concat())
}

fn web() -> Value {
    let [zero, one] = [0, 1].map(|number| {
        let tags = json!({"Name": format!("web-{number}"), "role": "web", "env": "prod"});
        instance(&number.into(), &format!("i-{number}"), &tags)
    });
    resource(&Value::Null, "aws_instance", "web", &[zero, one])
}

#[test]
fn a_state_becomes_a_group_for_each_resource_and_says_what_it_left() {
    let sandbox = Sandbox::new();
    let by_key = ["blue", "green"].map(|color| {
        let tags = json!({"role": "api", "env": "prod"});
        instance(&color.into(), &format!("i-{color}"), &tags)
    });
    let template = json!({"attributes": {"id": "lt-1", "name": "workers", "latest_version": 5, "default_version": 3}});
    let state = state(&[
        web(),
        resource(&"module.shop[0]".into(), "aws_instance", "api", &by_key),
        resource(
            &Value::Null,
            "aws_autoscaling_group",
            "workers",
            &[scaling_group("$Latest", &["Launch"])],
        ),
        resource(&Value::Null, "aws_launch_template", "workers", &[template]),
        resource(
            &Value::Null,
            "docker_container",
            "cache",
            &[json!({"attributes": {"id": "c"}})],
        ),
        json!({"mode": "data", "type": "aws_instance", "name": "other", "provider": "x", "instances": [instance(&Value::Null, "i-9", &json!({"role": "web", "env": "prod"}))]}),
    ]);
    // What cannot be imported is a failure, and the rest is written all the same.
    let ran = import(&sandbox, &state, &["--output", "fleet"]).exits(1);
    let written = "fleet/groups/web.yaml\nfleet/groups/shop-0-api.yaml\nfleet/groups/workers.yaml\nfleet/providers/aws.yaml\n";
    assert_eq!(ran.stdout, written);
    insta::assert_snapshot!(
        "import-terraform-web",
        read(&sandbox, "fleet/groups/web.yaml")
    );
    insta::assert_snapshot!(
        "import-terraform-workers",
        read(&sandbox, "fleet/groups/workers.yaml")
    );
    for says in [
        "docker_container.cache: not imported: the labels of a container",
        "left to Terraform: aws_launch_template",
        "terraform state rm 'module.shop[0].aws_instance.api'",
        "follows $Latest of its launch template; the document says 5",
    ] {
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
    }
    sandbox.drover(&["validate", "fleet"]).exits(0);
}

#[test]
fn a_group_that_could_not_be_told_from_others_is_refused() {
    let shared = json!({"role": "web", "env": "prod"});
    let no_tags = resource(
        &Value::Null,
        "aws_instance",
        "db",
        &[instance(&Value::Null, "i-7", &json!({"Name": "db"}))],
    );
    let same = resource(
        &Value::Null,
        "aws_instance",
        "more",
        &[instance(&Value::Null, "i-8", &shared)],
    );
    let mut stopped = instance(&Value::Null, "i-6", &json!({"role": "old"}));
    stopped["attributes"]["instance_state"] = "stopped".into();
    let stopped = resource(&Value::Null, "aws_instance", "old", &[stopped]);
    let mut elsewhere = instance(&1.into(), "i-5", &json!({"role": "split"}));
    elsewhere["attributes"]["arn"] = "arn:aws:ec2:us-east-1:1:instance/i-5".into();
    let near = instance(&0.into(), "i-4", &json!({"role": "split"}));
    let split = resource(&Value::Null, "aws_instance", "split", &[near, elsewhere]);
    let mut nowhere = instance(&Value::Null, "i-3", &json!({"role": "nowhere"}));
    for name in ["arn", "availability_zone"] {
        nowhere["attributes"].as_object_mut().unwrap().remove(name);
    }
    let nowhere = resource(&Value::Null, "aws_instance", "nowhere", &[nowhere]);
    let mut configured = scaling_group("1", &[]);
    configured["attributes"]["launch_template"] = json!([]);
    let configured = resource(
        &Value::Null,
        "aws_autoscaling_group",
        "configured",
        &[configured],
    );
    let latest = resource(
        &Value::Null,
        "aws_autoscaling_group",
        "latest",
        &[scaling_group("$Latest", &[])],
    );
    let cases = [
        (
            vec![no_tags],
            "aws_instance.db: not imported: its instances have no tag in common",
        ),
        (
            vec![web(), same],
            "aws_instance.web: not imported: the tags that its instances have in common are those of aws_instance.more too",
        ),
        (vec![stopped], "none of its instances runs"),
        (vec![split], "its instances are in 2 regions"),
        (vec![nowhere], "not imported: its region is not known"),
        (vec![configured], "it has no launch template"),
        (vec![latest], "the state does not say which version that is"),
    ];
    for (resources, says) in cases {
        let sandbox = Sandbox::new();
        let ran = import(&sandbox, &state(&resources), &[]).exits(1);
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
    }
}

#[test]
fn odd_instances_of_a_state_are_told_and_regions_have_documents_of_their_own() {
    let sandbox = Sandbox::new();
    let mut here = web();
    let instances = here["instances"].as_array_mut().unwrap();
    instances[0]["status"] = "tainted".into();
    let mut deposed = instances[1].clone();
    deposed["deposed"] = "00000001".into();
    instances.push(deposed);
    let mut far = instance(&Value::Null, "i-far", &json!({"role": "far"}));
    // Without an ARN, the zone tells the region; a local zone does, too.
    far["attributes"].as_object_mut().unwrap().remove("arn");
    far["attributes"]["availability_zone"] = "us-east-1-bos-1a".into();
    let far = resource(&Value::Null, "aws_instance", "far", &[far]);
    let all = state(&[here, far]);
    let refused = import(&sandbox, &all, &["--provider", "aws"]).exits(64);
    assert!(
        refused.stderr.contains("several regions"),
        "{}",
        refused.stderr
    );
    let ran = import(&sandbox, &all, &[]).exits(0);
    for path in [
        "providers/aws-eu-central-1.yaml",
        "providers/aws-us-east-1.yaml",
    ] {
        assert!(ran.stdout.contains(path), "{}", ran.stdout);
    }
    let text = read(&sandbox, "groups/web.yaml");
    assert!(
        text.contains("size: 2\n") && text.contains("provider: aws-eu-central-1"),
        "{text}"
    );
    for says in ["1 deposed instance is left out", "1 instance is tainted"] {
        assert!(text.contains(says), "{says}: {text}");
    }
}

#[test]
fn what_is_no_state_is_refused_with_the_reason() {
    let sandbox = Sandbox::new();
    let cases = [
        ("resource \"aws_instance\" \"web\" {}", "no JSON"),
        ("[]", "it has no version"),
        ("{\"version\": \"4\"}", "it has no version"),
        (
            "{\"version\": 3, \"modules\": []}",
            "of before Terraform 0.12",
        ),
        ("{\"version\": 5}", "of version 5; 4 is known"),
        (
            "{\"format_version\": \"1.0\", \"values\": {}}",
            "terraform show -json",
        ),
        (
            "{\"version\": 4, \"encrypted_data\": \"x\"}",
            "it is encrypted",
        ),
        (
            "{\"version\": 4, \"resources\": [{\"mode\": \"managed\"}]}",
            "missing field",
        ),
        (
            "{\"version\": 4, \"resources\": []}",
            "there is nothing to import",
        ),
    ];
    for (text, says) in cases {
        sandbox.write("terraform.tfstate", text);
        let arguments = ["import", "terraform", "terraform.tfstate"];
        let ran = sandbox.drover(&arguments).exits(1);
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
    }
    let missing = sandbox
        .drover(&["import", "terraform", "nowhere.tfstate"])
        .exits(1);
    assert!(
        missing.stderr.contains("cannot read nowhere.tfstate"),
        "{}",
        missing.stderr
    );
}

/// Writes the documents of a reference page's first YAML block that is a configuration.
fn example(page: &str) -> String {
    let mut blocks = page.split("```yaml\n").skip(1);
    let block = blocks
        .find(|block| block.starts_with("apiVersion:"))
        .unwrap();
    block.split("```").next().unwrap().to_owned()
}

#[test]
fn the_examples_of_the_reference_pages_of_ec2_are_valid() {
    for page in [
        include_str!("../../docs/reference/providers/ec2.md"),
        include_str!("../../docs/reference/providers/asg.md"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("fleet/all.yaml", &example(page));
        sandbox.drover(&["validate", "fleet"]).exits(0);
    }
}

/// Returns the note on what was not read.
fn note(document: &str) -> &str {
    let mut lines = document.lines();
    lines.find(|line| line.starts_with("# - not read")).unwrap()
}

#[test]
fn what_a_property_is_there_for_is_read_and_the_rest_is_named() {
    let sandbox = Sandbox::new();
    let mut odd = web();
    for instance in odd["instances"].as_array_mut().unwrap() {
        let attributes = instance["attributes"].as_object_mut().unwrap();
        let more = json!({
            "associate_public_ip_address": true,
            "credit_specification": [{"cpu_credits": "unlimited"}],
            "instance_initiated_shutdown_behavior": "terminate",
            "placement_group": "near",
            "tenancy": "dedicated",
            "hibernation": true,
            "source_dest_check": false,
            "disable_api_termination": false,
            "ipv6_addresses": [],
            "host_id": "",
            "enclave_options": [{"enabled": true}],
            "capacity_reservation_specification": [{"capacity_reservation_preference": "open", "capacity_reservation_target": []}],
        });
        attributes.extend(more.as_object().unwrap().clone());
    }
    import(&sandbox, &state(&[odd.clone()]), &[]).exits(0);
    let text = read(&sandbox, "groups/web.yaml");
    has_properties(
        &text,
        &[
            "publicAddress: true",
            "cpuCredits: unlimited",
            "onShutdown: terminate",
            "placementGroup: near",
            "tenancy: dedicated",
        ],
    );
    let unread = "# - not read: user data, volumes, health checks, `enclave_options`, `hibernation`, `source_dest_check`. What is";
    assert!(note(&text).starts_with(unread), "{text}");

    for instance in odd["instances"].as_array_mut().unwrap() {
        instance["attributes"]["instance_lifecycle"] = "spot".into();
        let options = json!([{"market_type": "spot", "spot_options": [{"max_price": "0.0420"}]}]);
        instance["attributes"]["instance_market_options"] = options;
    }
    import(&sandbox, &state(&[odd]), &["--force"]).exits(0);
    let text = read(&sandbox, "groups/web.yaml");
    assert!(text.contains("spotMaxPrice: \"0.0420\""), "{text}");
    // Spot instances always end.
    assert!(!text.contains("onShutdown"), "{text}");
}

/// Fails unless the group's properties have each of these lines.
fn has_properties(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(
            text.contains(&format!("\n      {line}\n")),
            "{line}: {text}"
        );
    }
}

#[test]
fn what_a_description_has_beside_the_template_is_read_or_named() {
    let sandbox = Sandbox::new();
    let answer = changed("ec2.json", |answer| {
        for instance in answer["instances"].as_array_mut().unwrap() {
            let instance = instance.as_object_mut().unwrap();
            let more = json!({"publicAddress": false, "placementGroup": "near", "tenancy": "dedicated", "others": ["IPv6 addresses"]});
            instance.extend(more.as_object().unwrap().clone());
        }
    });
    sandbox.write("answer.json", &answer);
    let program = program(&sandbox, "cat answer.json");
    let arguments = [
        "import",
        "ec2",
        "--tag",
        "app=web",
        "--program",
        &program,
        "--force",
    ];
    sandbox.drover(&arguments).exits(0);
    let text = read(&sandbox, "groups/web.yaml");
    has_properties(
        &text,
        &[
            "publicAddress: false",
            "placementGroup: near",
            "tenancy: dedicated",
        ],
    );
    let unread = "# - not read: user data, volumes, health checks, IPv6 addresses, `cpuCredits`, `onShutdown`. What is";
    assert!(note(&text).starts_with(unread), "{text}");
}
