//! `drover-provider-ec2 describe`: what others made, as JSON. The answers are fixtures that the tests of
//! `drover import` read, so that both sides of the format are held to one text.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use aws_sdk_autoscaling::types::LaunchTemplateSpecification as ScalingTemplate;
use aws_sdk_ec2::types::{
    IamInstanceProfileSpecification, InstanceType, ResourceType, Tag, TagSpecification,
};

use crate::fake::{Fake, FakeSettings};
use crate::support::{client, drawn, scaling_client};

const PROGRAM: &str = env!("CARGO_BIN_EXE_drover-provider-ec2");

/// Runs the program as a person would, whose environment says no region.
fn describe(endpoint: &str, arguments: &[&str]) -> Output {
    let run = Command::new(PROGRAM)
        .arg("describe")
        .args(["--endpoint", endpoint])
        .args(arguments)
        .env_clear()
        .env("AWS_ACCESS_KEY_ID", drawn())
        .env("AWS_SECRET_ACCESS_KEY", drawn())
        .stdin(Stdio::null())
        .output();
    run.unwrap()
}

/// Compares an answer with a file that other tests read, or writes it where `UPDATE_FIXTURES` is set.
#[track_caller]
fn assert_is(output: &Output, name: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/import");
    let path = PathBuf::from(folder).join(name);
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, wanted, "{name}: UPDATE_FIXTURES=1 writes it anew");
}

/// Blocks on the SDK as the program's users do not have to.
fn block<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

impl Fake {
    fn launch(&self, type_: &str, subnet: &str, tags: &[(&str, &str)]) {
        let tags = tags.iter();
        let tags = tags.map(|(key, value)| Tag::builder().key(*key).value(*value).build());
        let specification = TagSpecification::builder()
            .resource_type(ResourceType::Instance)
            .set_tags(Some(tags.collect()));
        let profile = IamInstanceProfileSpecification::builder()
            .arn("arn:aws:iam::123456789012:instance-profile/web");
        block(async {
            client(&self.endpoint())
                .await
                .run_instances()
                .image_id("ami-0123456789abcdef0")
                .instance_type(InstanceType::from(type_))
                .subnet_id(subnet)
                .security_group_ids("sg-1")
                .security_group_ids("sg-2")
                .key_name("ops")
                .iam_instance_profile(profile.build())
                .min_count(1)
                .max_count(1)
                .tag_specifications(specification.build())
                .send()
                .await
                .unwrap()
        });
    }

    fn scale(&self, name: &str, version: &str) {
        let template = ScalingTemplate::builder()
            .launch_template_id("lt-1")
            .version(version);
        block(async {
            scaling_client(&self.endpoint())
                .await
                .create_auto_scaling_group()
                .auto_scaling_group_name(name)
                .min_size(2)
                .max_size(8)
                .desired_capacity(3)
                .vpc_zone_identifier("subnet-a,subnet-b")
                .target_group_arns(
                    "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/1",
                )
                .launch_template(template.build())
                .send()
                .await
                .unwrap()
        });
    }
}

#[test]
fn instances_are_described_in_the_words_of_properties() {
    let fake = Fake::start(FakeSettings::default());
    let web = ("app", "web");
    fake.launch("t3.small", "subnet-a", &[web, ("Name", "web-1")]);
    fake.launch("t3.small", "subnet-b", &[web, ("Name", "web-2")]);
    fake.launch("m7g.large", "subnet-b", &[web, ("Name", "web=3")]);
    fake.launch("t3.small", "subnet-a", &[("app", "db")]);
    let asked = ["--region", "eu-central-1", "--tag", "app=web"];
    assert_is(&describe(&fake.endpoint(), &asked), "ec2.json");
    let narrow = ["--tag", "Name=web=3", "--tag", "app=web"];
    let output = describe(&fake.endpoint(), &[&asked[..2], &narrow[..]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches("\"id\"").count(), 1, "{text}");
    fake.launch(
        "t3.small",
        "subnet-a",
        &[("app", "pool"), ("karpenter.sh/nodepool", "x")],
    );
    let asked = ["--region", "eu-central-1", "--tag", "app=pool"];
    let text = String::from_utf8(describe(&fake.endpoint(), &asked).stdout).unwrap();
    assert!(
        text.contains("\"claimedBy\": \"Karpenter (tag karpenter.sh/nodepool)\""),
        "{text}"
    );
}

#[test]
fn a_scaling_group_is_described_with_its_instances_and_what_it_still_does() {
    let fake = Fake::start(FakeSettings::default());
    fake.scale("web", "3");
    fake.scale("other", "1");
    let asked = ["--region", "eu-central-1", "--asg", "web"];
    assert_is(&describe(&fake.endpoint(), &asked), "asg.json");
    let mut calls = fake.calls();
    calls.remove("CreateAutoScalingGroup");
    assert!(
        calls.keys().all(|action| action.starts_with("Describe")),
        "{calls:?}"
    );
}

#[test]
fn what_cannot_be_described_says_why_and_prints_nothing() {
    let fake = Fake::start(FakeSettings::default());
    let cases: [(&[&str], &str, i32); 7] = [
        (&["--tag", "app=web"], "which region? say --region", 1),
        (
            &["--region", "eu central", "--tag", "app=web"],
            "region: \"eu central\" is no region's name",
            1,
        ),
        (
            &["--region", "eu-central-1", "--asg", "web"],
            "eu-central-1 has no Auto Scaling group \"web\"",
            1,
        ),
        (
            &["--region", "eu-central-1", "--tag", "a=1", "--tag", "a=2"],
            "--tag a is there twice",
            1,
        ),
        (&["--region", "eu-central-1"], "required arguments", 2),
        (&["--tag", "web"], "a tag is KEY=VALUE", 2),
        (&["--tag", "a=b", "--asg", "web"], "cannot be used with", 2),
    ];
    for (arguments, says, code) in cases {
        let output = describe(&fake.endpoint(), arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    fake.world()
        .refuse("DescribeInstances", "UnauthorizedOperation", 1);
    let asked = ["--region", "eu-central-1", "--tag", "app=web"];
    let output = describe(&fake.endpoint(), &asked);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("error: DescribeInstances: UnauthorizedOperation"),
        "{said}"
    );
    assert!(!output.status.success() && output.stdout.is_empty());
}
