use super::*;

fn map(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

fn with(more: &[(&str, Value)]) -> Result<Properties, ProviderError> {
    let mut entries = vec![
        ("imageId", "ami-00000001".into()),
        ("instanceType", "t3.micro".into()),
    ];
    entries.extend(more.iter().cloned());
    decode(&map(&entries))
}

#[test]
fn what_is_not_written_is_safe() {
    let plain = with(&[]).unwrap();
    assert!(plain.metadata.requires_tokens());
    assert_eq!(plain.on_shutdown, Some(OnShutdown::Stop));
    assert_eq!(plain.spot, None);
    let volume = map(&[("device", "/dev/xvda".into())]);
    let disks = with(&[("volumes", Value::List(vec![volume]))])
        .unwrap()
        .volumes;
    assert!(disks[0].encrypted && disks[0].delete_on_termination);
    assert_eq!(disks[0].type_, "gp3");
}

#[test]
fn spot_instances_end_when_they_shut_down() {
    let spot = with(&[("market", "spot".into()), ("spotMaxPrice", "0.01".into())]).unwrap();
    let max_price = Some("0.01".to_owned());
    assert_eq!(spot.spot, Some(Spot { max_price }));
    assert_eq!(spot.on_shutdown, None);
}

#[test]
fn types_are_in_the_order_of_preference() {
    let fallback = Value::List(vec!["t3a.micro".into(), "t2.micro".into()]);
    let types = with(&[("fallbackTypes", fallback)]).unwrap().types;
    assert_eq!(types, ["t3.micro", "t3a.micro", "t2.micro"]);
}

#[test]
fn mistakes_say_where_they_are() {
    let many = (0..CHOICES_MAX).map(|number| format!("m{number}.large").as_str().into());
    let many = Value::List(many.collect());
    let template = |entries: &[(&str, Value)]| map(&[("launchTemplate", map(entries))]);
    let cases = [
        (map(&[("instanceType", "t3.micro".into())]), "`imageId` and"),
        (
            map(&[("imageId", "ami-00000001".into())]),
            "and `instanceType`, or",
        ),
        (map(&[("imgeId", "a".into())]), "unknown field `imgeId`"),
        (
            template(&[("version", "1".into())]),
            "exactly one of `id`, or `name`",
        ),
        (
            template(&[("name", "web".into()), ("version", "$Default".into())]),
            "launchTemplate.version",
        ),
        (
            template(&[("name", "web".into())]),
            "launchTemplate: `version` is missing",
        ),
    ];
    for (value, words) in cases {
        let error = decode(&value).unwrap_err();
        assert_eq!(error.class, ErrorClass::InvalidSpec);
        assert!(error.message.contains(words), "{error}, not {words}");
    }
    let error = with(&[("fallbackTypes", many)]).unwrap_err();
    assert!(
        error.message.contains("at most 19 entries, found 20"),
        "{error}"
    );
}

fn list(entries: &[&str]) -> Value {
    Value::List(entries.iter().map(|one| (*one).into()).collect())
}

fn volume(more: &[(&str, Value)]) -> Value {
    let mut volume = vec![("device", "/dev/xvda".into())];
    volume.extend(more.iter().cloned());
    Value::List(vec![map(&volume)])
}

fn device(name: &str) -> Value {
    Value::List(vec![map(&[("device", name.into())])])
}

/// What the program refuses is found by `drover validate` without it, in the published schema alone, and what it takes is
/// not: the two cannot disagree.
fn assert_found_without_the_program(written: &[Vec<(&str, Value)>], wrong: bool) {
    let published = include_str!("../../schema/ec2.json");
    let published: serde_json::Value = serde_json::from_str(published).unwrap();
    let published = drover_provider_plugin::from_json(&published["properties"]);
    let published = ObjectSchema::from_json_schema(&published).unwrap();
    for more in written {
        let mut all = vec![
            ("imageId", "ami-00000001".into()),
            ("instanceType", "t3.micro".into()),
        ];
        all.extend(more.iter().cloned());
        let all = map(&all);
        assert_eq!(decode(&all).is_err(), wrong, "{more:?}");
        let found = published.check(&all);
        assert_eq!(!found.is_empty(), wrong, "{more:?}: {found:?}");
    }
}

#[test]
fn what_is_taken_is_valid_without_the_program() {
    let spot = ("market", Value::from("spot"));
    let good = [
        vec![spot.clone(), ("onShutdown", "terminate".into())],
        vec![spot, ("spotMaxPrice", ".05".into())],
        vec![("onShutdown", "stop".into()), ("market", "onDemand".into())],
        vec![("imageId", "resolve:ssm:/images/web".into())],
        vec![("imageId", "resolve:ssm:/images/web:3".into())],
        vec![("imageId", "ami-0123456789abcdef0".into())],
        vec![("instanceType", "u-6tb1.112xlarge".into())],
        vec![(
            "iamInstanceProfile",
            "arn:aws:iam::1:instance-profile/a/b".into(),
        )],
        vec![("volumes", volume(&[("iops", Value::Int(3_000))]))],
        vec![("volumes", volume(&[("iops", Value::Int(80_000))]))],
        vec![("volumes", device("/dev/sda1"))],
        vec![("volumes", device("/dev/xvdba"))],
        vec![("volumes", device("xvdf"))],
        vec![(
            "volumes",
            volume(&[("type", "io2".into()), ("iops", Value::Int(100))]),
        )],
        vec![(
            "volumes",
            volume(&[("kmsKeyId", "k".into()), ("encrypted", Value::Bool(true))]),
        )],
        vec![("keyName", "${group.name}".into())],
        vec![
            ("cpuCredits", "unlimited".into()),
            ("instanceType", "t4g.small".into()),
            ("fallbackTypes", list(&["t2.micro", "t3a.large"])),
        ],
        vec![(
            "volumes",
            volume(&[("type", "sc1".into()), ("sizeGiB", Value::Int(125))]),
        )],
    ];
    assert_found_without_the_program(&good, false);
}

#[test]
fn what_is_refused_is_found_without_the_program() {
    let spot = ("market", Value::from("spot"));
    let subnets = (0..=CHOICES_MAX).map(|number| format!("subnet-{number}"));
    let subnets: Vec<String> = subnets.collect();
    let subnets: Vec<&str> = subnets.iter().map(String::as_str).collect();
    let bad = [
        vec![spot.clone(), ("onShutdown", "stop".into())],
        vec![spot.clone(), ("tenancy", "host".into())],
        vec![("spotMaxPrice", "0.05".into())],
        vec![
            ("market", "onDemand".into()),
            ("spotMaxPrice", "0.05".into()),
        ],
        vec![spot, ("spotMaxPrice", "5 cents".into())],
        vec![("imageId", "image".into())],
        vec![("instanceType", "T3.Micro".into())],
        vec![("subnets", list(&["sg-1"]))],
        vec![("subnets", list(&[]))],
        vec![("subnets", list(&subnets))],
        vec![("subnets", list(&["subnet-a", "subnet-a"]))],
        vec![("securityGroups", list(&["sg-1", "sg-1"]))],
        vec![("fallbackTypes", list(&["m5.large", "m5.large"]))],
        vec![("keyName", "".into())],
        vec![("placementGroup", "".into())],
        vec![("imageId", "ami-xyz".into())],
        vec![("imageId", "ami-0123456789ABCDEF0".into())],
        vec![("imageId", "ami-123456789".into())],
        vec![("imageId", "resolve:ssm:".into())],
        vec![("securityGroups", list(&["web"]))],
        vec![("iamInstanceProfile", "arn:aws:iam::1:role/a".into())],
        vec![
            ("cpuCredits", "standard".into()),
            ("instanceType", "m5.large".into()),
        ],
        vec![
            ("cpuCredits", "standard".into()),
            ("instanceType", "t1.micro".into()),
        ],
        vec![
            ("cpuCredits", "standard".into()),
            ("fallbackTypes", list(&["t3a.micro", "trn1.2xlarge"])),
        ],
    ];
    assert_found_without_the_program(&bad, true);
}

#[test]
fn volumes_that_ec2_does_not_make_are_found_without_the_program() {
    let bad = [
        vec![("volumes", volume(&[("iops", Value::Int(2_999))]))],
        vec![("volumes", volume(&[("iops", Value::Int(80_001))]))],
        vec![(
            "volumes",
            volume(&[("type", "gp3".into()), ("iops", Value::Int(100))]),
        )],
        vec![(
            "volumes",
            volume(&[("type", "io1".into()), ("iops", Value::Int(64_001))]),
        )],
        vec![("volumes", device("/dev/nvme1n1"))],
        vec![("volumes", device("/dev/data"))],
        vec![(
            "volumes",
            volume(&[("type", "gp2".into()), ("iops", Value::Int(100))]),
        )],
        vec![("volumes", volume(&[("type", "io1".into())]))],
        vec![(
            "volumes",
            volume(&[("type", "io2".into()), ("throughput", Value::Int(125))]),
        )],
        vec![(
            "volumes",
            volume(&[("kmsKeyId", "k".into()), ("encrypted", Value::Bool(false))]),
        )],
        vec![(
            "volumes",
            volume(&[
                ("type", "io2".into()),
                ("iops", Value::Int(100)),
                ("sizeGiB", Value::Int(3)),
            ]),
        )],
        vec![(
            "volumes",
            volume(&[("type", "st1".into()), ("sizeGiB", Value::Int(124))]),
        )],
        vec![(
            "volumes",
            volume(&[("type", "standard".into()), ("sizeGiB", Value::Int(1_025))]),
        )],
        vec![(
            "volumes",
            Value::List(vec![map(&[("device", "/dev/xvda".into())]); 2]),
        )],
        vec![(
            "volumes",
            Value::List(vec![map(&[("device", "first disk".into())])]),
        )],
    ];
    assert_found_without_the_program(&bad, true);
}

#[test]
fn what_drover_import_writes_can_be_made() {
    let snapshots = [
        include_str!("../../../../tests/it/snapshots/it__import_aws__import-ec2.snap"),
        include_str!("../../../../tests/it/snapshots/it__import_aws__import-asg.snap"),
        include_str!("../../../../tests/it/snapshots/it__import_aws__import-terraform-web.snap"),
        include_str!(
            "../../../../tests/it/snapshots/it__import_aws__import-terraform-workers.snap"
        ),
    ];
    for snapshot in snapshots {
        let document = snapshot.splitn(3, "---\n").nth(2).unwrap();
        let document: serde_json::Value = serde_saphyr::from_str(document).unwrap();
        let properties = &document["spec"]["template"]["properties"];
        let decoded = decode(&drover_provider_plugin::from_json(properties)).unwrap();
        let is_whole = decoded.launch_template.is_some() || decoded.image_id.is_some();
        assert!(is_whole && !decoded.subnets.is_empty(), "{document}");
    }
}
