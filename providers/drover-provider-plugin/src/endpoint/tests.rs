use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;

use super::*;

#[test]
fn a_name_is_split_at_the_first_slash_and_never_leads_out_of_the_folder() {
    let name: PluginName = "simulator/compute".parse().unwrap();
    assert_eq!(
        (name.lookup.as_str(), name.subtype.as_str()),
        ("simulator", "compute")
    );
    assert_eq!(name.to_string(), "simulator/compute");
    let deep: PluginName = "aws/ec2/spot".parse().unwrap();
    assert_eq!(deep.subtype, "ec2/spot");
    let plain: PluginName = "file".parse().unwrap();
    assert_eq!(
        (plain.subtype.as_str(), plain.to_string()),
        ("", "file".to_owned())
    );
    for bad in ["", "/x", ".", "..", "../etc", "a/", "a\nb"] {
        assert!(PluginName::from_str(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_folder_is_the_one_that_infrakit_uses() {
    let of = |variables: &[(&str, &str)]| {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        let directory = Directory::of_environment(|name| variables.get(name).map(Into::into));
        directory.path().display().to_string()
    };
    let all = [
        ("INFRAKIT_PLUGINS_DIR", "/p"),
        ("INFRAKIT_HOME", "/h"),
        ("HOME", "/home/jane"),
    ];
    assert_eq!(of(&all), "/p");
    assert_eq!(of(&all[1..]), "/h/plugins");
    assert_eq!(of(&all[2..]), "/home/jane/.infrakit/plugins");
    assert_eq!(
        of(&[("INFRAKIT_PLUGINS_DIR", ""), ("HOME", "/home/jane")]),
        "/home/jane/.infrakit/plugins"
    );
}

#[test]
fn finds_sockets_and_addresses_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let _socket = UnixListener::bind(at("file")).unwrap();
    fs::write(at("file.pid"), "17").unwrap();
    fs::write(at("remote.listen"), "tcp://127.0.0.1:9000\n").unwrap();
    fs::write(at("bad.listen"), "127.0.0.1").unwrap();
    fs::write(at("plain"), "").unwrap();
    std::os::unix::fs::symlink(at("file"), at("linked")).unwrap();
    let directory = Directory::new(folder.path());

    assert_eq!(directory.find("file").unwrap(), Endpoint::Unix(at("file")));
    assert_eq!(
        directory.find("remote").unwrap(),
        Endpoint::Tcp("127.0.0.1:9000".to_owned())
    );
    for missing in ["other", "plain", "linked"] {
        let found = directory.find(missing);
        assert!(
            matches!(found, Err(FindError::Missing { .. })),
            "{missing}: {found:?}"
        );
    }
    assert!(matches!(
        directory.find("bad"),
        Err(FindError::Address { .. })
    ));
    assert_eq!(directory.names().unwrap(), ["bad", "file", "remote"]);

    // A socket beside an address of the same name is the one that is meant.
    fs::write(at("file.listen"), "tcp://127.0.0.1:9001").unwrap();
    assert_eq!(directory.find("file").unwrap(), Endpoint::Unix(at("file")));
    // Both are there for whoever wants to know everybody.
    let entries = directory.entries().unwrap();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (entry.lookup.as_str(), entry.endpoint().ok().flatten()))
        .collect();
    let tcp = |port| Some(Endpoint::Tcp(format!("127.0.0.1:{port}")));
    let expected = [
        ("bad", None),
        ("file", Some(Endpoint::Unix(at("file")))),
        ("file", tcp(9001)),
        ("remote", tcp(9000)),
    ];
    assert_eq!(found, expected);
    // What has gone meanwhile is nobody; what cannot be looked at is not known.
    fs::remove_file(at("remote.listen")).unwrap();
    assert!(matches!(entries[3].endpoint(), Ok(None)));
    let long = directory.find(&"x".repeat(300));
    assert!(matches!(long, Err(FindError::Read { .. })), "{long:?}");
}

#[test]
fn an_address_has_a_host_and_a_port() {
    for (text, expected) in [
        ("tcp://127.0.0.1:9000", Some("127.0.0.1:9000")),
        ("http://[::1]:80/", Some("[::1]:80")),
        ("tcp://host", None),
        ("tcp://:80", None),
        ("unix:///tmp/x", None),
        ("tcp://me@host:80", None),
        ("", None),
    ] {
        let expected = expected.map(|address| Endpoint::Tcp(address.to_owned()));
        assert_eq!(address(text), expected, "{text}");
    }
}
