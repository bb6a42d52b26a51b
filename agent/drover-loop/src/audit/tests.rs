use drover_model::Timestamp;

use super::{AUDIT_FILE, AuditEntry, AuditError, Author, Chain, Work, digest};
use crate::memory::MemoryStateBranch;
use crate::recorder::{Recorder as _, StateCommit};

fn commit(message: &str, text: &str) -> StateCommit {
    StateCommit {
        message: message.to_owned(),
        files: vec![("groups/web.yaml".to_owned(), Some(text.into()))],
        at: "2026-01-05T08:00:00.75Z".parse::<Timestamp>().unwrap(),
    }
}

fn author() -> Author {
    Author {
        agent: "edge-1".to_owned(),
        version: "0.0.0".to_owned(),
        epoch: 3,
    }
}

fn entry(commit: &StateCommit) -> (Vec<u8>, AuditEntry) {
    let files = commit.files.iter();
    let mut files = files.filter(|(path, _)| path == AUDIT_FILE);
    let bytes = files.next().unwrap().1.clone().unwrap();
    let entry = AuditEntry::decode(&bytes).unwrap();
    (bytes, entry)
}

#[test]
fn an_entry_names_the_one_before_it_the_message_and_the_files() {
    let mut recorder = MemoryStateBranch::new().recorder();
    let mut chain = Chain::read(&mut recorder).unwrap();
    let mut first = commit("web: create 3\n", "a");
    chain.seal(&mut first, &author(), Work::default());
    let (bytes, one) = entry(&first);
    assert_eq!((one.sequence, one.previous), (1, None));
    assert_eq!(one.time, "2026-01-05T08:00:00Z");
    assert_eq!(one.message, digest(b"web: create 3"));
    assert_eq!(one.files["groups/web.yaml"], Some(digest(b"a")));
    recorder.commit(&[first]).unwrap();
    // Found again from the branch alone.
    let mut chain = Chain::read(&mut recorder).unwrap();
    let mut second = commit("web: converged\n", "b");
    chain.seal(&mut second, &author(), Work::default());
    let (_, two) = entry(&second);
    assert_eq!((two.sequence, two.previous), (2, Some(digest(&bytes))));
}

#[test]
fn an_entry_of_another_kind_or_a_newer_format_is_told() {
    let unreadable = |text: &str| AuditEntry::decode(text.as_bytes()).unwrap_err();
    let newer = unreadable(r#"{"kind": "AuditEntry", "format": 9, "more": 1}"#);
    assert_eq!(newer, AuditError::Newer { found: 9 });
    for text in [
        "",
        "[]",
        r#"{"kind": "Other", "format": 1}"#,
        r#"{"kind": "AuditEntry", "format": 1}"#,
    ] {
        let error = unreadable(text);
        assert!(matches!(error, AuditError::Unreadable { .. }), "{text}");
    }
}
