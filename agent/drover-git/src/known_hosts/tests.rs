use super::*;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";
const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

fn key(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).unwrap()
}

fn known(text: &str) -> KnownHosts {
    let path = PathBuf::from("known_hosts");
    let mut known = KnownHosts {
        files: vec![path.clone()],
        lines: Vec::new(),
        unread: 0,
    };
    known.add(&path, text);
    known
}

fn accepts(text: &str, host: &str) -> bool {
    known(text).check_key(host, &key(KEY)).is_ok()
}

#[test]
fn a_line_is_about_the_hosts_that_it_names() {
    assert!(accepts(
        &format!("a.example.com,B.example.com {KEY} me"),
        "b.example.com"
    ));
    assert!(accepts(&format!("*.example.com {KEY}"), "a.example.com"));
    assert!(accepts(&format!("?.example.com {KEY}"), "a.example.com"));
    assert!(accepts(&format!("[h]:2222 {KEY}"), "[h]:2222"));
    assert!(!accepts(&format!("h {KEY}"), "[h]:2222"));
    assert!(!accepts(&format!("[h]:2222 {KEY}"), "h"));
    assert!(!accepts(
        &format!("*.example.com,!a.example.com {KEY}"),
        "a.example.com"
    ));
    assert!(!accepts(&format!("!a.example.com {KEY}"), "b.example.com"));
    assert!(!accepts(&format!("# h {KEY}"), "h"));
    assert!(!accepts("", "h"));
}

#[test]
fn a_host_may_have_several_keys() {
    let text = format!("h {OTHER}\nh {KEY}\n");
    assert!(accepts(&text, "h"));
    assert_eq!(known(&text).algorithms("h").len(), 2);
}

#[test]
fn a_changed_key_is_told_from_an_unknown_host() {
    let hosts = known(&format!("\nh {OTHER}\n"));
    let changed = hosts.check_key("h", &key(KEY)).unwrap_err();
    let HostKeyError::Changed { place, .. } = &*changed else {
        panic!("{changed:?}");
    };
    assert_eq!(place.to_string(), "known_hosts:2");
    let unknown = hosts.check_key("elsewhere", &key(KEY)).unwrap_err();
    assert!(
        matches!(*unknown, HostKeyError::Unknown { .. }),
        "{unknown:?}"
    );
}

#[test]
fn a_revoked_key_is_refused_wherever_else_it_stands() {
    let hosts = known(&format!("h {KEY}\n@revoked * {KEY}\n"));
    let revoked = hosts.check_key("h", &key(KEY)).unwrap_err();
    assert!(
        matches!(*revoked, HostKeyError::Revoked { .. }),
        "{revoked:?}"
    );
}

#[test]
fn an_authoritys_key_is_no_hosts_key() {
    let hosts = known(&format!("@cert-authority h {KEY}\n"));
    assert!(hosts.has_authority("h"));
    assert!(hosts.check_key("h", &key(KEY)).is_err());
}

#[test]
fn lines_that_cannot_be_read_are_counted_where_they_may_matter() {
    let hosts = known("h ssh-ed25519 AAAA\n@unknown h x y\nh\n|1|broken ssh-ed25519 AAAA\n");
    let error = hosts.check_key("h", &key(KEY)).unwrap_err();
    assert!(
        error.to_string().contains("(4 lines could not be read)"),
        "{error}"
    );
}

#[test]
fn globs_match_whole_texts_without_trying_everything() {
    let cases = [
        ("*", "", true),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("a*c", "abcbc", true),
        ("a?c", "abc", true),
        ("a*d", "abc", false),
        ("", "a", false),
        ("abc", "ab", false),
    ];
    for (pattern, text, expected) in cases {
        let found = matches_glob(pattern.as_bytes(), text.as_bytes());
        assert_eq!(found, expected, "{pattern} {text}");
    }
    let (pattern, text) = ("*a".repeat(200) + "b", "a".repeat(4000));
    assert!(!matches_glob(pattern.as_bytes(), text.as_bytes()));
}
