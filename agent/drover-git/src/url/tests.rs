use super::*;

fn canonical(text: &str) -> String {
    SourceUrl::parse(text).unwrap().redacted()
}

fn refused(text: &str) -> UrlError {
    SourceUrl::parse(text).unwrap_err()
}

#[test]
fn spellings_of_one_place_are_equal() {
    assert_eq!(
        canonical("HTTPS://Git.Example.COM:443/fleet.git/"),
        "https://git.example.com/fleet.git"
    );
    assert_eq!(
        canonical("https://git.example.com/fleet.git"),
        "https://git.example.com/fleet.git"
    );
    assert_eq!(canonical("http://h:8080"), "http://h:8080");
    assert_eq!(canonical("/srv//fleet/"), "/srv/fleet");
    assert_eq!(canonical("file:///srv/fleet"), "/srv/fleet");
    assert_eq!(
        SourceUrl::parse("https://a:b@h/x").unwrap(),
        SourceUrl::parse("https://h:443/x/").unwrap()
    );
}

#[test]
fn credentials_leave_the_url_and_are_never_printed() {
    let word = std::process::id();
    let text = format!("https://robot:{word}%40x@git.example.com/fleet.git");
    let url = SourceUrl::parse(&text).unwrap();
    let credentials = url.credentials().unwrap();
    assert_eq!(credentials.username, "robot");
    assert_eq!(credentials.password.expose(), format!("{word}@x"));
    let printed = format!("{url} {url:?} {credentials:?} {}", credentials.password);
    assert!(!printed.contains(&word.to_string()), "{printed}");
    assert!(printed.contains("[redacted]"));
}

#[test]
fn texts_from_elsewhere_are_scrubbed_of_the_password() {
    let url = SourceUrl::parse("https://robot:p%2Fq@h/x").unwrap();
    let scrubbed = url
        .credentials()
        .unwrap()
        .scrub("saw p/q and p%2Fq in a log");
    assert_eq!(scrubbed, "saw [redacted] and [redacted] in a log");
}

#[test]
fn a_token_in_place_of_the_user_name_is_a_secret_too() {
    let word = std::process::id();
    for password in ["", ":", ":x-oauth-basic"] {
        let url = SourceUrl::parse(&format!("https://{word}%2Fx{password}@h/x")).unwrap();
        let credentials = url.credentials().unwrap();
        let header = format!("{word}/x:{}", credentials.password.expose());
        let header = data_encoding::BASE64.encode(header.as_bytes());
        let text = format!("saw {word}/x, {word}%2Fx and Basic {header}");
        assert_eq!(
            credentials.scrub(&text),
            "saw [redacted], [redacted] and Basic [redacted]"
        );
        let printed = format!("{url} {url:?} {credentials:?}");
        assert!(!printed.contains(&word.to_string()), "{printed}");
    }
    // A name beside a password is none, nor is the one that hosts want: their own names have it.
    let scrubbed = |text: &str| {
        let url = SourceUrl::parse(text).unwrap();
        url.credentials().unwrap().scrub("robot at git.example.com")
    };
    assert_eq!(
        scrubbed("https://robot:word@h/x"),
        "robot at git.example.com"
    );
    assert_eq!(scrubbed("https://git@h/x"), "robot at git.example.com");
}

#[test]
fn credentials_go_to_this_machine_or_over_https_only() {
    for text in [
        "https://a:b@h/x",
        "http://a:b@127.0.0.1:8080/x",
        "http://a:b@[::1]/x",
        "http://a@localhost/x",
    ] {
        assert!(SourceUrl::parse(text).is_ok(), "{text}");
    }
    for text in [
        "http://a:b@h/x",
        "HTTP://a@192.0.2.1/x",
        "http://a:@localhost.example.com/x",
        "http://:b@127.0.0.1.example.com/x",
    ] {
        assert_eq!(
            SourceUrl::parse(text),
            Err(UrlError::PlainCredentials),
            "{text}"
        );
    }
    let plain = SourceUrl::parse("http://h/x").unwrap();
    assert_eq!(plain.confidential(), Err(UrlError::PlainCredentials));
    for text in ["http://127.0.0.2/x", "https://h/x", "/srv/x", "h:x"] {
        assert_eq!(
            SourceUrl::parse(text).unwrap().confidential(),
            Ok(()),
            "{text}"
        );
    }
}

#[test]
fn spellings_of_one_ssh_place_are_equal() {
    let place = "ssh://git@git.example.com/fleet.git";
    for text in [
        place,
        "ssh://git.example.com/fleet.git/",
        "SSH://git@Git.Example.COM:22/fleet.git",
        "git+ssh://git@git.example.com/fleet.git",
        "git@git.example.com:/fleet.git",
        "git.example.com:/fleet.git/",
    ] {
        assert_eq!(canonical(text), place, "{text}");
    }
    for text in [
        "ssh://jane@git.example.com:2222/srv/a%2Bb.git",
        "ssh://git@[::1]:2222/x",
        "ssh://git@git.example.com/~jane/fleet.git",
        "git@git.example.com:team/fleet.git",
    ] {
        let url = SourceUrl::parse(text).unwrap();
        assert_eq!(SourceUrl::parse(&url.redacted()).unwrap(), url);
        assert!(!url.is_local() && url.http().is_none());
    }
    // What is relative to a home is another place than what is not, whatever one host makes of it.
    assert_ne!(
        SourceUrl::parse("git@h:fleet.git").unwrap(),
        SourceUrl::parse("ssh://git@h/fleet.git").unwrap()
    );
}

#[test]
fn other_schemes_are_not_supported() {
    for text in ["ext::sh -c evil", "fd::17/foo", "ftp://h/x"] {
        let error = refused(text);
        assert!(
            matches!(error, UrlError::UnsupportedScheme { .. }),
            "{text}: {error:?}"
        );
    }
}

#[test]
fn ssh_places_that_programs_would_take_for_options_are_refused() {
    for text in [
        "ssh://-oProxyCommand=evil/x",
        "ssh://git@-oProxyCommand=evil/x",
        "git@-oProxyCommand=evil:x",
        "ssh://-l@h/x",
        "h:--upload-pack=evil",
    ] {
        assert_eq!(refused(text), UrlError::LeadingDash, "{text}");
    }
    for text in [
        "ssh://git:secret@h/x",
        "ssh://h",
        "ssh://h/",
        "h:",
        "ssh://h/x?y",
        "ssh://h;evil/x",
        "$(evil):x",
        "ssh://a%3Bb@h/x",
        "ssh://h/%zz",
    ] {
        let error = refused(text);
        assert!(
            matches!(error, UrlError::Invalid { .. }),
            "{text}: {error:?}"
        );
    }
    assert_eq!(refused("ssh://h/a%0Ab"), UrlError::ControlCharacter);
}

#[test]
fn hostile_texts_are_refused() {
    assert_eq!(refused(""), UrlError::Empty);
    assert_eq!(refused("--upload-pack=evil"), UrlError::LeadingDash);
    assert_eq!(refused("/srv/a\nb"), UrlError::ControlCharacter);
    assert_eq!(refused("http://h/a b"), UrlError::ControlCharacter);
    assert!(matches!(
        refused("http://h/x?a=b"),
        UrlError::Invalid { .. }
    ));
    assert!(matches!(refused("http://h/x#a"), UrlError::Invalid { .. }));
    assert!(matches!(refused("https://"), UrlError::Invalid { .. }));
    assert!(matches!(
        refused("file://elsewhere/srv/x"),
        UrlError::Invalid { .. }
    ));
}

#[test]
fn a_relative_path_becomes_absolute() {
    let url = SourceUrl::parse("./fleet").unwrap();
    assert!(url.is_local());
    assert!(url.local_path().unwrap().is_absolute());
    assert!(url.local_path().unwrap().ends_with("fleet"));
}

#[test]
fn the_canonical_text_names_the_same_place() {
    for text in [
        "h:team/fleet.git",
        "h:/a/../b",
        "h:/~jane/x",
        "h:~jane/x",
        "h:/a?b#c%20d",
        "ssh://h:2222/a%3Fb%23c%2520d%20e",
        "ssh://ja%40ne@h/x",
        "[fe80::1]:x",
    ] {
        let url = SourceUrl::parse(text).unwrap();
        let again = SourceUrl::parse(&url.redacted());
        assert_eq!(again, Ok(url.clone()), "{text} as {}", url.redacted());
    }
}

#[test]
fn one_slash_too_few_makes_no_path_of_a_password() {
    for text in ["https:/jane:word@h/x", "HTTP:jane:word@h/x", "ssh:/h/x"] {
        assert!(matches!(refused(text), UrlError::Invalid { .. }), "{text}");
    }
    assert_eq!(refused("file:///srv/a%10b"), UrlError::ControlCharacter);
}

#[test]
fn places_behind_git_daemon_have_one_spelling() {
    for text in [
        "git://git.example.com/team/fleet.git",
        "git://Git.Example.com:9418/team/fleet.git/",
        "GIT://git.example.com/team/x/../fleet.git",
    ] {
        assert_eq!(
            canonical(text),
            "git://git.example.com/team/fleet.git",
            "{text}"
        );
    }
    for text in [
        "git://h:1234/a%20b%25.git",
        "git://[::1]/x",
        "git://h/~jane/x",
    ] {
        let url = SourceUrl::parse(text).unwrap();
        assert!(url.is_read_only() && !url.is_local());
        assert_eq!(SourceUrl::parse(&url.redacted()).unwrap(), url, "{text}");
    }
    assert!(!SourceUrl::parse("ssh://git@h/x").unwrap().is_read_only());
}

#[test]
fn places_behind_git_daemon_that_mean_something_else_are_refused() {
    for text in ["git://-oProxyCommand=evil/x", "git://jane@-h/x"] {
        assert_eq!(refused(text), UrlError::LeadingDash, "{text}");
    }
    for text in ["git://h/a%00b", "git://h/a%0ab", "git://h/a b"] {
        assert_eq!(refused(text), UrlError::ControlCharacter, "{text}");
    }
    let long = format!("git://h/{}", "a".repeat(5_000));
    for text in [
        "git://jane@h/x",
        "git://jane:tulip@h/x",
        "git://h",
        "git://h/",
        "git:///x",
        "git://h/x?y",
        "git://h/x#y",
        "git://h%2fx/y",
        "git://a;b/y",
        &long,
    ] {
        let error = refused(text);
        assert!(
            matches!(error, UrlError::Invalid { .. }),
            "{text}: {error:?}"
        );
        assert!(!error.to_string().contains("tulip"));
    }
}
