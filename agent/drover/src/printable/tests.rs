use super::*;

const HOSTILE: &str = "su\u{1b}[2Jbj\r \u{202e}txt\u{2066}\u{9b}31m\u{7f}\u{61c}";

#[test]
fn words_are_escaped_on_one_line() {
    assert_eq!(
        printable(HOSTILE),
        "su\\u001b[2Jbj\\u000d \\u202etxt\\u2066\\u009b31m\\u007f\\u061c"
    );
    assert_eq!(printable("two\nlines\tof it"), "two lines of it");
    assert!(matches!(printable("Zoë, 日本"), Cow::Borrowed("Zoë, 日本")));
}

#[test]
fn an_output_keeps_its_lines_and_its_own_colours_only() {
    let text = format!("\u{1b}[31mred\u{1b}[0m\n\t{HOSTILE}");
    let plain = shown(&text, false);
    let obeyed = |c: char| !matches!(c, '\n' | '\t') && is_hidden(c);
    assert!(!plain.contains(obeyed), "{plain:?}");
    assert!(plain.starts_with("\\u001b[31mred"), "{plain:?}");
    let color = shown(&text, true);
    assert!(
        color.starts_with("\u{1b}[31mred\u{1b}[0m\n\tsu\\u001b[2J"),
        "{color:?}"
    );
    // The cursor, the title, the clipboard, invisible text, and a sequence that does not end.
    for sequence in [
        "[2J",
        "[8m",
        "[1;8m",
        "]0;x\u{7}",
        "]52;c;eA==",
        "[31",
        "[m",
        "c",
    ] {
        let text = format!("a\u{1b}{sequence}");
        let shown = shown(&text, true);
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}

#[test]
fn an_event_of_the_log_is_one_line_whatever_its_values_hold() {
    let forged = "denied: no\n2026-12-01T00:00:00Z  INFO pass: audit ok\r\n\u{2028}x";
    let line = format!("\u{1b}[2mhold begun\u{1b}[0m why={forged}\n");
    let expected = "why=denied: no\\n2026-12-01T00:00:00Z  INFO pass: audit ok\\u000d\\n\\u2028x\n";
    assert!(
        event(&line, false).ends_with(expected),
        "{:?}",
        event(&line, false)
    );
    let expected = format!("\u{1b}[2mhold begun\u{1b}[0m {expected}");
    assert_eq!(event(&line, true), expected);
    assert_eq!(event("a\n", false), "a\n");
}

#[test]
fn escaped_documents_mean_the_same() {
    let value = serde_json::json!({ "a": HOSTILE });
    let json = crate::output::json(&value).unwrap();
    let read: serde_json::Value = serde_json::from_str(&shown(&json, false)).unwrap();
    assert_eq!(read, value);
    let yaml = crate::output::yaml(&value).unwrap();
    let yaml = shown(&yaml, false);
    assert_eq!(
        yaml.trim_end(),
        "a: \"su\\u001b[2Jbj\\r \\u202etxt\\u2066\\u009b31m\\u007f\\u061c\""
    );
}
