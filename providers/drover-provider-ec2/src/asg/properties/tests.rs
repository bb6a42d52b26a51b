use super::*;

fn map(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

fn with(more: &[(&str, Value)]) -> Value {
    let template = map(&[("id", "lt-1".into()), ("version", "3".into())]);
    let mut all = vec![
        ("minSize", Value::Int(1)),
        ("maxSize", Value::Int(4)),
        ("launchTemplate", template),
        ("subnets", Value::List(vec!["subnet-a".into()])),
    ];
    all.extend(more.iter().cloned());
    map(&all)
}

#[test]
fn sizes_times_and_tags_that_cannot_be_are_refused() {
    let latest = map(&[("id", "lt-1".into()), ("version", "$Latest".into())]);
    let cases = [
        (vec![("minSize", Value::Int(5))], "no more than `maxSize`"),
        (
            vec![("desiredCapacity", Value::Int(5))],
            "no more than `maxSize`",
        ),
        (
            vec![("desiredCapacity", Value::Int(0))],
            "no more than `desiredCapacity`",
        ),
        (vec![("minSize", Value::Int(-1))], "minSize"),
        (vec![("gracePeriod", "1500ms".into())], "whole seconds"),
        (
            vec![("refresh", map(&[("instanceWarmup", "1ms".into())]))],
            "whole seconds",
        ),
        (
            vec![("tags", map(&[("drover.fleet", "x".into())]))],
            "a tag's key",
        ),
        (vec![("tags", map(&[("aws:x", "x".into())]))], "a tag's key"),
        (vec![("tags", map(&[("AWS:x", "x".into())]))], "a tag's key"),
        (vec![("gracePeriod", "900000h".into())], "whole seconds"),
        (vec![("gracePeriod", "".into())], "whole seconds"),
        (vec![("launchTemplate", latest)], "launchTemplate.version"),
        (vec![("sizes", Value::Int(1))], "sizes"),
        (
            vec![("targetGroups", Value::List(vec!["arn:aws:elbv2".into()]))],
            "a target group's ARN",
        ),
        (
            vec![("subnets", Value::List(vec!["subnet-a".into(); 2]))],
            "subnets[1]: it is there twice",
        ),
    ];
    for (more, says) in cases {
        let error = decode(&with(&more)).unwrap_err();
        assert!(error.message.contains(says), "{more:?}: {error}");
    }
    for missing in ["minSize", "maxSize", "launchTemplate", "subnets"] {
        let Value::Map(mut fields) = with(&[]) else {
            panic!("it is a map");
        };
        fields.remove(missing);
        let error = decode(&Value::Map(fields)).unwrap_err();
        assert!(error.message.contains(missing), "{error}");
    }
    assert!(account(&map(&[("region", "eu central".into())])).is_err());
    assert!(account(&map(&[])).is_err());
}

#[test]
fn what_is_not_written_is_amazons_to_choose() {
    let properties = decode(&with(&[])).unwrap();
    assert_eq!(properties.desired, None);
    assert_eq!(properties.target_groups, None);
    assert_eq!(properties.grace_seconds, None);
    let refresh = &properties.refresh;
    assert_eq!((refresh.min_healthy, refresh.warmup_seconds), (None, None));
    assert!(refresh.skip_matching);
    let written = decode(&with(&[("gracePeriod", "5m".into())])).unwrap();
    assert_eq!(written.grace_seconds, Some(300));
    let longest = with(&[("gracePeriod", "99999h9999999m99999999s99999999000ms".into())]);
    assert!(decode(&longest).unwrap().grace_seconds.is_some());
}

#[test]
fn nothing_of_a_group_is_replaced() {
    let schema = schema();
    for (name, class) in schema.classes() {
        let expected = if name == "refresh" {
            FieldClass::Ignore
        } else {
            FieldClass::Live
        };
        assert_eq!(class, expected, "{name}");
    }
    let published = schema.to_json_schema();
    assert_eq!(ObjectSchema::from_json_schema(&published), Ok(schema));
}

#[test]
fn the_reference_page_names_every_field_and_its_example_is_one() {
    let page = include_str!("../../../../../docs/reference/providers/asg.md");
    for name in schema().fields.keys() {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
    let example = page.split("```yaml").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let documents: Vec<serde_json::Value> = example
        .split("\n---\n")
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect();
    let [provider, group] = documents.as_slice() else {
        panic!("{} documents", documents.len());
    };
    let value = drover_provider_plugin::from_json;
    account(&value(&provider["spec"]["settings"])).unwrap();
    let properties = &group["spec"]["template"]["properties"];
    let decoded = decode(&value(properties)).unwrap();
    assert_eq!((decoded.min, decoded.max, decoded.desired), (2, 12, None));
    assert_eq!(decoded.refresh.warmup_seconds, Some(60));
}
