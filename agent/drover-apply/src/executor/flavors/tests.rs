use drover_provider::{Facts, Provider as _, substitute_value};

use super::*;
use crate::testing::{Fixture, instance, web};

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.into_iter();
    entries
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn list<const N: usize>(items: [&str; N]) -> Value {
    Value::List(items.map(Value::from).to_vec())
}

fn late() -> Facts {
    Facts {
        instance: instance(7),
        group: web(),
        zone: None,
        address: Some("${instance.address}".to_owned()),
        seat: None,
        members: Some("${members}".to_owned()),
    }
}

/// What a provider with an address makes of properties that a plugin answered with.
fn finished(written: &Value, answered: &Value) -> Value {
    let given = substitute_value(written, &late()).unwrap();
    let changed = changed(written, &given, answered).unwrap();
    let early = Facts {
        address: None,
        members: None,
        ..late()
    };
    let prepared = substitute_value(&changed, &early).unwrap();
    let known = Facts {
        address: Some("10.0.0.7".to_owned()),
        ..late()
    };
    substitute_value(&prepared, &known).unwrap()
}

#[test]
fn what_a_plugin_leaves_alone_is_substituted_later_and_what_it_writes_is_not() {
    let command = ["serve", "${instance.id}", "${instance.address}", "$${HOME}"];
    let written = map([("command", list(command)), ("port", Value::Int(80))]);
    let told = ["serve", "web-7", "${instance.address}", "${HOME}"];
    let given = substitute_value(&written, &late()).unwrap();
    assert_eq!(given.get("command"), Some(&list(told)));

    let whole = finished(&written, &given);
    let ready = ["serve", "web-7", "10.0.0.7", "${HOME}"];
    assert_eq!(whole.get("command"), Some(&list(ready)));

    let longer = list([
        "serve",
        "web-7",
        "${instance.address}",
        "--home=${HOME} ${instance.address} $${X}",
        "${instance.id}",
    ]);
    let answered = map([
        ("command", longer),
        ("port", Value::Float(80.0)),
        ("more", map([("a", "${b}".into())])),
    ]);
    let whole = finished(&written, &answered);
    let ready = list([
        "serve",
        "web-7",
        "10.0.0.7",
        "--home=${HOME} ${instance.address} $${X}",
        "${instance.id}",
    ]);
    assert_eq!(whole.get("command"), Some(&ready));
    // A number that went through a program which knows one kind of them.
    assert_eq!(whole.get("port"), Some(&Value::Int(80)));
    assert_eq!(whole.get("more"), Some(&map([("a", "${b}".into())])));
    assert_eq!(finished(&written, &Value::empty_map()), Value::empty_map());
}

#[test]
fn a_plugin_gets_no_secret_that_the_document_does_not_name() {
    let secret = |name: &str| map([("valueFrom", map([("env", name.into())]))]);
    let written = map([("token", secret("MINE")), ("user", "a".into())]);
    let answer = |answered: &Value| changed(&written, &written, answered);
    let kept = map([("token", secret("MINE")), ("user", "b".into())]);
    assert_eq!(answer(&kept), Ok(kept));
    for stolen in [
        map([("token", secret("OTHER"))]),
        map([("user", secret("MINE"))]),
        map([("list", Value::List(vec![secret("MINE")]))]),
    ] {
        let why = answer(&stolen).unwrap_err();
        assert!(why.contains("secret"), "{why}");
    }
}

#[test]
fn a_script_of_another_interpreter_is_refused_where_lines_run_in_a_shell() {
    let fixture = Fixture::new(drover_provider_sim::SimSettings::default());
    let user_data = fixture.provider.manifest();
    let shell = Manifest {
        init: InitUse::ShellLines,
        ..user_data.clone()
    };
    for script in ["", "echo a", "#!/bin/sh -e\necho a", "#!/usr/bin/env sh\n"] {
        assert_eq!(runs(script, &shell), Ok(()), "{script:?}");
    }
    for script in [
        "#!/bin/bash\necho a",
        "#!/usr/bin/env python3\n",
        "#!/bin/sheep",
    ] {
        assert!(runs(script, &shell).is_err(), "{script:?}");
        assert_eq!(runs(script, user_data), Ok(()), "{script:?}");
    }
}
