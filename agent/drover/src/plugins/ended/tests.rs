use super::*;

fn ended(words: &str) -> End {
    End::of_itself(ExitStatus::from_raw(3 << 8)).saying(words.to_owned())
}

#[test]
fn an_end_tells_its_status_and_its_last_words_within_bounds() {
    let none = BTreeMap::new();
    assert_eq!(ended("").logged(), "it ended with exit status 3");
    let killed = End::of_itself(ExitStatus::from_raw(9));
    assert_eq!(killed.logged(), "it was killed by signal 9 (SIGKILL)");
    assert_eq!(
        ended("no credentials").logged(),
        "it ended with exit status 3; its last words: no credentials"
    );
    assert_eq!(
        ended("no credentials").told(&none),
        "it ended with exit status 3; it is started again within 1m; its last words: no credentials"
    );
    let long = format!("first {}last", "word ".repeat(1000));
    let end = ended(&long);
    for (text, most) in [(end.logged(), LOGGED_MAX), (end.told(&none), TOLD_MAX)] {
        let length = text.chars().count();
        assert!((most - 5..most + 100).contains(&length), "{length}: {text}");
        assert!(text.contains(": … word word") && text.ends_with(" last"));
    }
}

#[test]
fn what_is_recorded_of_an_end_has_no_value_of_the_environment() {
    let environment: BTreeMap<String, String> = [("TOKEN", "s3cr3t-token"), ("DEBUG", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let told = ended("token s3cr3t-token is refused in 1 s").told(&environment);
    assert!(told.ends_with(": token $TOKEN is refused in 1 s"), "{told}");
}

#[test]
fn the_same_trouble_is_told_apart_from_another() {
    let first = ended("12:30:01 pid=71 ERROR no credentials");
    assert!(first.is_like(&ended("12:30:04 pid=8 ERROR no credentials")));
    assert!(!first.is_like(&ended("12:30:04 pid=8 ERROR no network")));
    assert!(!first.is_like(&End::new("it did not listen within 10s")));
}

#[tokio::test]
async fn lines_are_read_whole_up_to_a_bound_and_without_colours() {
    let long = "x".repeat(30_000);
    let text = format!("one\r\n\x1b[31mtwo\x1b[0m\tthree\n{long}\nlast");
    // A small buffer, so that lines come in parts.
    let mut reader = BufReader::with_capacity(100, text.as_bytes());
    let mut lines = Vec::new();
    while let Some(line) = next_line(&mut reader).await {
        lines.push(line);
    }
    let cut = format!("{} …", &long[..LINE_BYTES_MAX]);
    assert_eq!(lines, ["one", "two three", &cut, "last"]);
}
