use super::*;

#[test]
fn numbers_are_written_as_runs_and_found_again_by_position() {
    let numbers = [7, 8, 9, 12, 3, 4, u64::MAX];
    let written = write_numbers(numbers.into_iter());
    assert_eq!(written, format!("7-9,12,3-4,{}", u64::MAX));
    for (position, number) in (0..).zip(numbers) {
        assert_eq!(number_at(&written, position), Some(number));
    }
    assert_eq!(number_at(&written, 7), None);
}

#[test]
fn numbers_that_nobody_wrote_are_no_numbers() {
    for written in ["", "x", "3-", "-3", "9-7", "1,,2", "0-18446744073709551615"] {
        assert_eq!(number_at(written, 2), None, "{written}");
    }
}

fn owned() -> BTreeMap<&'static str, &'static str> {
    let hash = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let digest = "1:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    [
        (FLEET, "prod"),
        (GROUP, "web"),
        (INSTANCES, "4-6"),
        (DIGEST, digest),
        (TOKEN, hash),
        (EPOCH, "3"),
    ]
    .into()
}

#[test]
fn the_launch_index_says_which_instance_of_a_batch_it_is() {
    let tags = owned();
    let ids = (0..4).map(|index| owner(&tags, index).map(|owner| owner.instance.to_string()));
    let ids: Vec<_> = ids.map(Option::unwrap_or_default).collect();
    assert_eq!(ids, ["web-4", "web-5", "web-6", ""]);
}

#[test]
fn an_instance_with_a_tag_less_is_nobodys() {
    for missing in owned().keys() {
        let mut tags = owned();
        tags.remove(missing);
        assert_eq!(owner(&tags, 0), None, "{missing}");
    }
    let changes = [
        (GROUP, "db"),
        (INSTANCE, "db-1"),
        (TOKEN, "short"),
        (EPOCH, "x"),
        (DIGEST, "1:x"),
        (LIFE, "aaaaaaaaaaaaaaaa"),
    ];
    for (key, value) in changes {
        let mut tags = owned();
        tags.insert(key, value);
        let found = owner(&tags, 0);
        // Another group alone is another's batch, and consistent.
        assert_eq!(found.is_some(), key == GROUP, "{key}");
    }
}

#[test]
fn tags_that_ec2_would_refuse_are_refused() {
    let tags = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    assert!(check(&tags("team", &"x".repeat(VALUE_MAX))).is_ok());
    assert!(check(&tags("team", &"x".repeat(VALUE_MAX + 1))).is_err());
    assert!(check(&tags(&"x".repeat(KEY_MAX + 1), "")).is_err());
    for taken in ["aws:x", "AWS:x", "aWs:", "drover.fleet"] {
        assert!(is_taken(taken), "{taken}");
        let one = [(taken.to_owned(), "x".into())].into();
        let found = shape().check("tags", &drover_model::Value::Map(one));
        assert_eq!(found.len(), 1, "{taken}: {found:?}");
    }
    for free in ["aws", "aws.x", "naws:x", "äws:x", "Drover.x"] {
        assert!(!is_taken(free), "{free}");
        let one = [(free.to_owned(), "x".into())].into();
        assert_eq!(shape().check("tags", &drover_model::Value::Map(one)), []);
    }
    let many = (0..=TAGS_MAX).map(|number| (number.to_string(), String::new()));
    assert!(check(&many.collect()).is_err());
}
