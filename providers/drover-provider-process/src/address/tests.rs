use super::*;

fn base() -> tempfile::TempDir {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir(base.path().join(".addresses")).unwrap();
    base
}

#[test]
fn the_same_token_gets_the_same_address_again() {
    let base = base();
    let folder = base.path().join("a");
    let first = claim(base.path(), &folder, "token").unwrap();
    assert_eq!(claim(base.path(), &folder, "token").unwrap(), first);
    let address: Ipv4Addr = first.parse().unwrap();
    let octets = address.octets();
    assert_eq!((octets[0], octets[1] & 0xc0), (127, 64));
}

#[test]
fn two_living_instances_never_share_an_address() {
    let base = base();
    let folders = ["a", "b"].map(|name| base.path().join(name));
    for folder in &folders {
        fs::create_dir(folder).unwrap();
    }
    let first = claim(base.path(), &folders[0], "token").unwrap();
    let second = claim(base.path(), &folders[1], "token").unwrap();
    assert_ne!(first, second);
    release(base.path(), &first, &folders[1]);
    let third = base.path().join("c");
    assert_ne!(
        claim(base.path(), &third, "token").unwrap(),
        first,
        "not b's to give back"
    );
}

#[test]
fn a_claim_whose_folder_is_gone_is_taken_over() {
    let base = base();
    let gone = base.path().join("gone");
    let first = claim(base.path(), &gone, "token").unwrap();
    let folder = base.path().join("a");
    assert_eq!(claim(base.path(), &folder, "token").unwrap(), first);
    release(base.path(), &first, &gone);
    assert_eq!(
        fs::read_link(base.path().join(".addresses").join(&first)).unwrap(),
        folder
    );
    release(base.path(), &first, &folder);
    assert_eq!(
        fs::read_dir(base.path().join(".addresses"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn skips_what_some_programs_take_for_a_network_or_a_broadcast() {
    let base = base();
    for number in 0..500 {
        let folder = base.path().join(format!("{number}"));
        let address = claim(base.path(), &folder, &number.to_string()).unwrap();
        let address: Ipv4Addr = address.parse().unwrap();
        assert!(!matches!(address.octets()[3], 0 | 255), "{address}");
    }
}
