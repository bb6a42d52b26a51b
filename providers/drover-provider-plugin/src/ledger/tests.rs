use super::*;

fn token(letter: char) -> Token {
    Token::parse(&letter.to_string().repeat(32)).unwrap()
}

fn entry(letter: char, state: State) -> Entry {
    Entry {
        token: token(letter).to_string(),
        owner: "web-1".to_owned(),
        asked: Some("0123".to_owned()),
        state,
        at: Timestamp::UNIX_EPOCH,
        id: (state == State::Made).then(|| "i-1".to_owned()),
        message: None,
        seen: false,
    }
}

fn states(ledger: &Ledger) -> Vec<Option<State>> {
    let state = |letter| ledger.get(&token(letter)).map(|entry| entry.state);
    ['a', 'b'].map(state).to_vec()
}

#[tokio::test]
async fn what_was_noted_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    assert!(!folder.path().join(FILE).exists(), "opening writes nothing");
    ledger.note(entry('a', State::Sent)).await.unwrap();
    ledger.note(entry('b', State::Sent)).await.unwrap();
    ledger.note(entry('a', State::Made)).await.unwrap();
    let again = Ledger::open(folder.path()).unwrap();
    assert_eq!(states(&again), [Some(State::Made), Some(State::Sent)]);
    assert_eq!(again.get(&token('a')), Some(entry('a', State::Made)));
}

#[tokio::test]
async fn of_a_handle_that_was_used_again_the_last_word_is_known() {
    for (first, next) in [('a', 'b'), ('b', 'a')] {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path()).unwrap();
        let of = |letter, state| Entry {
            id: Some("i-1".to_owned()),
            ..entry(letter, state)
        };
        let known = |ledger: &Ledger| {
            let last = ledger.of_id("i-1");
            last.map(|last| (last.token, last.state))
        };
        let expected = Some((token(next).to_string(), State::Made));
        ledger.note(of(first, State::Ended)).await.unwrap();
        ledger.note(of(next, State::Made)).await.unwrap();
        assert_eq!(known(&ledger), expected);
        assert_eq!(known(&Ledger::open(folder.path()).unwrap()), expected);
        // Also where the file was written anew meanwhile.
        ledger.0.lock().unwrap().lines = 5_000;
        ledger.note(entry('c', State::Sent)).await.unwrap();
        assert_eq!(known(&Ledger::open(folder.path()).unwrap()), expected);
        ledger.0.lock().unwrap().folder = folder.path().join("none/such");
        let failed = ledger.note(of(first, State::Ended)).await;
        assert!(failed.is_err());
        assert_eq!(known(&ledger), expected);
        let late = Timestamp::UNIX_EPOCH + KEEP + Duration::from_secs(1);
        ledger.forget(late, |_| false);
        assert_eq!(known(&ledger), None);
    }
}

#[tokio::test]
async fn half_a_line_at_the_end_was_never_noted_and_hurts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let ledger = Ledger::open(folder.path()).unwrap();
    ledger.note(entry('a', State::Sent)).await.unwrap();
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("{\"token\":\"bbb");
    fs::write(&path, text).unwrap();
    let again = Ledger::open(folder.path()).unwrap();
    assert_eq!(states(&again), [Some(State::Sent), None]);
    again.note(entry('b', State::Made)).await.unwrap();
    let third = Ledger::open(folder.path()).unwrap();
    assert_eq!(states(&third), [Some(State::Sent), Some(State::Made)]);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    fs::write(&path, "{\"version\":1}\nnonsense\n").unwrap();
    let error = Ledger::open(folder.path()).unwrap_err();
    assert!(
        matches!(error, LedgerError::Form { line: 2, .. }),
        "{error}"
    );
    fs::write(&path, "{\"version\":3}\n").unwrap();
    let error = Ledger::open(folder.path()).unwrap_err();
    assert!(
        matches!(error, LedgerError::Newer { version: 3, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_ledger_of_the_first_form_is_read_and_written_in_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let older = Entry {
        asked: None,
        ..entry('a', State::Made)
    };
    let line = serde_json::to_string(&older).unwrap();
    assert!(!line.contains("asked"), "{line}");
    fs::write(&path, format!("{{\"version\":1}}\n{line}\n")).unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    assert_eq!(ledger.get(&token('a')), Some(older.clone()));
    ledger.note(entry('b', State::Sent)).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().next(), Some("{\"version\":2}"), "{text}");
    let again = Ledger::open(folder.path()).unwrap();
    assert_eq!(again.get(&token('a')), Some(older));
    assert_eq!(again.get(&token('b')), Some(entry('b', State::Sent)));
}

#[tokio::test]
async fn what_cannot_be_written_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("blocked");
    fs::write(&blocked, "a file where the folder should be").unwrap();
    let ledger = Ledger::open(&folder.path().join("fine")).unwrap();
    ledger.0.lock().unwrap().folder = blocked;
    let error = ledger.note(entry('a', State::Sent)).await.unwrap_err();
    assert!(matches!(error, LedgerError::Write { .. }), "{error}");
    assert_eq!(states(&ledger), [None, None]);
}

#[tokio::test]
async fn the_file_stays_small_and_forgets_only_what_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    ledger.note(entry('b', State::Sent)).await.unwrap();
    ledger.0.lock().unwrap().lines = 5_000;
    ledger.note(entry('a', State::Made)).await.unwrap();
    let lines = fs::read_to_string(folder.path().join(FILE))
        .unwrap()
        .lines()
        .count();
    assert_eq!(lines, 3, "a head and two entries");

    let late = Timestamp::UNIX_EPOCH + KEEP + Duration::from_secs(1);
    ledger.forget(Timestamp::UNIX_EPOCH, |_| false);
    assert_eq!(states(&ledger), [Some(State::Made), Some(State::Sent)]);
    ledger.forget(late, |_| true);
    assert_eq!(states(&ledger), [Some(State::Made), Some(State::Sent)]);
    ledger.forget(late, |_| false);
    assert_eq!(
        states(&ledger),
        [None, Some(State::Sent)],
        "an open question is never forgotten"
    );
}
