use super::*;

fn machine(id: &str, type_: &str, tags: &[(&str, &str)]) -> Machine {
    Machine {
        id: id.to_owned(),
        zone: Some(format!("eu-central-1{}", &id[2..])),
        subnet: Some(format!("subnet-{}", &id[2..])),
        tags: tags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        properties: [
            ("imageId", Value::from("ami-1")),
            ("instanceType", type_.into()),
        ]
        .into(),
        unread: BTreeSet::new(),
    }
}

fn found() -> Found {
    Found {
        called: "web".to_owned(),
        head: vec!["Found by a test.".to_owned()],
        machines: vec![
            machine("i-b", "t3.small", &[("app", "web"), ("Name", "1")]),
            machine(
                "i-a",
                "m7g.large",
                &[("app", "web"), ("Name", "2"), ("x", "y")],
            ),
            machine("i-c", "t3.small", &[("app", "web"), ("aws:x", "y")]),
        ],
        match_tags: [("app".to_owned(), "web".to_owned())].into(),
        ..Found::default()
    }
}

#[test]
fn the_commonest_is_written_with_a_count_of_the_others() {
    let (draft, remarks) = found().draft("aws").unwrap();
    assert_eq!(draft.path, "groups/web.yaml");
    insta::assert_snapshot!(draft.text, @r#"
    # Found by a test.
    # It is only watched: once an agent has looked, `drover describe web` lists what was found under
    # `To adopt`. Then commit `manage: full`, and the instances are taken over as they run; it waits while
    # somebody else still makes and ends them.
    #
    # What a person has to look at:
    # - `instanceType` differs: 2 of 3 have t3.small; 1 have m7g.large. All of them count as current
    # - not read: user data, volumes, health checks. What is made later has what this document says
    apiVersion: drover/v1alpha1
    kind: Group
    metadata:
      name: web
    spec:
      provider: aws
      manage: observe
      size: 3
      adopt:
        selector:
          matchTags:
            app: web
        revision: assume
      placement:
        zones:
          - eu-central-1a
          - eu-central-1b
          - eu-central-1c
        spread: even
      template:
        properties:
          imageId: ami-1
          # 2 of 3 have t3.small; 1 have m7g.large
          instanceType: t3.small
          subnets:
            - subnet-a
            - subnet-b
            - subnet-c
        # So that machines that are made later look like those that were found.
        tags:
          app: web
    "#);
    let differs = "`instanceType` differs: 2 of 3 have t3.small; 1 have m7g.large";
    assert!(
        remarks.iter().any(|one| one.contains(differs)),
        "{remarks:?}"
    );
}

#[test]
fn of_as_many_the_first_is_taken_and_nothing_is_something() {
    let [one, two] = ["a", "b"].map(Value::from);
    let tie = commonest(&[Some(&one), Some(&two)]);
    assert_eq!(tie.value, Some(one.clone()));
    assert_eq!(tie.comment.as_deref(), Some("1 of 2 have a; 1 have b"));
    let none = commonest(&[None, Some(&one), None]);
    assert_eq!(none.value, None);
    assert_eq!(
        none.comment.as_deref(),
        Some("2 of 3 have nothing; 1 have a")
    );
    let alike = commonest(&[Some(&one), Some(&one)]);
    assert_eq!((alike.value, alike.comment), (Some(one), None));
}

#[test]
fn machines_of_older_templates_are_no_current_ones() {
    let mut found = found();
    let template = texts([("id", "lt-1"), ("version", "3")]);
    found.properties = [("launchTemplate", template), ("imageId", Value::Null)].into();
    let version = |found: &mut Found, at: usize, version: &str| {
        let tags = &mut found.machines[at].tags;
        tags.insert(VERSION_TAG.to_owned(), version.to_owned());
    };
    for at in 0..3 {
        version(&mut found, at, "3");
    }
    let (draft, _) = found.draft("aws").unwrap();
    assert!(!draft.text.contains("current:"), "{}", draft.text);
    assert!(
        !draft.text.contains("imageId"),
        "the template says it: {}",
        draft.text
    );
    version(&mut found, 1, "2");
    let (draft, _) = found.draft("aws").unwrap();
    let current = "    current:\n      matchTags:\n        aws:ec2launchtemplate:version: \"3\"\n";
    assert!(draft.text.contains(current), "{}", draft.text);
}

#[test]
fn a_name_that_is_no_label_is_changed_and_told_and_one_without_letters_is_refused() {
    let mut found = found();
    found.called = "My Web_Servers".to_owned();
    let (draft, remarks) = found.draft("aws").unwrap();
    assert_eq!(draft.path, "groups/my-web-servers.yaml");
    assert!(
        remarks.iter().any(|one| one.contains("DNS labels")),
        "{remarks:?}"
    );
    found.called = "///".to_owned();
    assert!(found.draft("aws").is_err());
}

#[test]
fn what_looks_like_a_substitution_stays_what_it_is() {
    let mut found = found();
    for machine in &mut found.machines {
        machine.tags.insert("note".to_owned(), "${HOME}".to_owned());
    }
    let (draft, _) = found.draft("aws").unwrap();
    assert!(draft.text.contains("note: \"$${HOME}\""), "{}", draft.text);
}
