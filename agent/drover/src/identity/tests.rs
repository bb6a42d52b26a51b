use super::*;

#[test]
fn reads_only_the_user_section() {
    let text = "[core]\n\tname = nobody\n[User]\n\tname = \"Ada Lovelace\"\n\temail=ada@example.com\n\
                [url \"x\"]\n\temail = other\n";
    let (name, email) = parse_user(text);
    assert_eq!(name.as_deref(), Some("Ada Lovelace"));
    assert_eq!(email.as_deref(), Some("ada@example.com"));
    assert_eq!(parse_user("nonsense"), (None, None));
}
