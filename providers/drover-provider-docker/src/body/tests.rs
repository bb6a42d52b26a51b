use drover_model::{ProviderName, Value};

use super::*;
use crate::describe::Reading;
use crate::grants::Grants;
use crate::testing::{map, request, strings};

fn spec(properties: &[(&str, Value)], init: &[&str]) -> Spec {
    let mut all = vec![("image", Value::from("a:1"))];
    all.extend(properties.iter().cloned());
    let mut request = request(map(&all));
    request.slots[0].init = init.iter().map(|line| (*line).to_owned()).collect();
    let name = ProviderName::parse("local").unwrap();
    let reading = Reading {
        provider: &name,
        schema: &crate::schema::properties(),
        grants: &Grants::default(),
    };
    reading.spec(&request, None).unwrap()
}

fn image(entrypoint: &[&str], cmd: &[&str]) -> ImageConfig {
    let texts = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        (!texts.is_empty()).then_some(texts)
    };
    ImageConfig {
        entrypoint: texts(entrypoint),
        cmd: texts(cmd),
    }
}

/// Entrypoint and command of the request.
fn asked(spec: &Spec, image: &ImageConfig) -> (Json, Json) {
    let body = of(spec, image).unwrap();
    (body["Entrypoint"].clone(), body["Cmd"].clone())
}

#[test]
fn what_is_not_written_is_left_to_the_image_and_the_engine() {
    let body = of(&spec(&[], &[]), &image(&["/start"], &[])).unwrap();
    let fields = body.as_object().unwrap().keys().map(String::as_str);
    let expected = [
        "Env",
        "ExposedPorts",
        "HostConfig",
        "Hostname",
        "Image",
        "Labels",
    ];
    assert_eq!(fields.collect::<Vec<_>>(), expected);
    let host = body["HostConfig"].as_object().unwrap().keys();
    let expected = ["Mounts", "RestartPolicy", "Ulimits"];
    assert_eq!(host.collect::<Vec<_>>(), expected);
}

#[test]
fn init_lines_run_in_front_of_whatever_would_have_run() {
    let run = |spec: &Spec, image: &ImageConfig| {
        let (entrypoint, command) = asked(spec, image);
        assert_eq!(entrypoint, json!(["/bin/sh", "-c", INIT, "a\nb\n"]));
        command
    };
    let lines = ["a", "b"];
    let both = image(&["/start", "-v"], &["serve"]);
    assert_eq!(
        run(&spec(&[], &lines), &both),
        json!(["/start", "-v", "serve"])
    );
    let own = [("command", strings(&["test"]))];
    assert_eq!(
        run(&spec(&own, &lines), &both),
        json!(["/start", "-v", "test"])
    );
    // An entrypoint of one's own goes without the image's command, as the engine has it.
    let own = [("entrypoint", strings(&["/other"]))];
    assert_eq!(run(&spec(&own, &lines), &both), json!(["/other"]));
    assert_eq!(
        asked(&spec(&own, &[]), &both),
        (json!(["/other"]), Json::Null)
    );
    assert_eq!(of(&spec(&[], &lines), &image(&[], &[])), Err(NoCommand));
    assert_eq!(of(&spec(&[], &[]), &image(&[], &[])), Err(NoCommand));
}

#[test]
fn a_check_with_spaces_is_quoted_for_a_shell_and_another_is_run_as_it_is() {
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let plain = ["curl", "-f", "http://127.0.0.1:80/a"];
    assert_eq!(test(&words(&plain)), [&["CMD"], &plain[..]].concat());
    let spaced = ["sh", "-c", "[ -e '/a b' ]", ""];
    assert_eq!(
        test(&words(&spaced)),
        ["CMD-SHELL", r"'sh' '-c' '[ -e '\''/a b'\'' ]' ''"]
    );
}

#[test]
fn ports_are_published_at_the_instances_address_only() {
    let ports = Value::List(vec![map(&[
        ("port", Value::Int(53)),
        ("protocol", "udp".into()),
    ])]);
    let mut spec = spec(&[("ports", ports)], &[]);
    spec.address = Some("127.130.1.2".parse().unwrap());
    let body = of(&spec, &image(&["x"], &[])).unwrap();
    let bound = &body["HostConfig"]["PortBindings"];
    assert_eq!(
        *bound,
        json!({"53/udp": [{"HostIp": "127.130.1.2", "HostPort": "53"}]})
    );
    assert_eq!(body["ExposedPorts"], json!({"53/udp": {}}));
}
