use super::*;
use std::sync::Arc;

fn at(line: u32, column: u32, length: u32) -> SourceSpan {
    SourceSpan {
        file: Arc::from("groups/web.yaml"),
        line,
        column,
        length,
    }
}

fn rendered(source: &str, span: SourceSpan) -> String {
    let diagnostic = Diagnostic::error("code", "message", span).label("here");
    render(&[diagnostic], &|_| Some(source.to_owned()), false)
}

#[test]
fn shows_the_place_the_line_and_the_hint() {
    let diagnostic = Diagnostic::warning("odd", "something is odd", at(2, 3, 4))
        .hint("do it otherwise")
        .related(at(1, 1, 1), "because of this");
    let text = render(
        &[diagnostic],
        &|_| Some("a: 1\nb: four\n".to_owned()),
        false,
    );
    insta::assert_snapshot!(text, @r"
warning[odd]: something is odd
 --> groups/web.yaml:2:3
  |
2 | b: four
  |   ^^^^
  |
 ::: groups/web.yaml:1:1
  |
1 | a: 1
  | - because of this
  |
  = help: do it otherwise
");
}

#[test]
fn keeps_the_caret_under_wide_characters_and_after_tabs() {
    insta::assert_snapshot!(rendered("日本: \tmark", at(1, 6, 4)), @r"
error[code]: message
 --> groups/web.yaml:1:6
  |
1 | 日本:     mark
  |           ^^^^ here
");
}

#[test]
fn cuts_long_lines_around_the_caret() {
    let source = format!("{}mark{}", "x".repeat(5_000), "y".repeat(500_000));
    let text = rendered(&source, at(1, 5_001, 4));
    assert!(text.lines().all(|line| line.len() < 200), "{text}");
    assert!(text.contains("xmarky"), "{text}");
    assert!(text.contains("groups/web.yaml:1:5001"), "{text}");
}

#[test]
fn lets_no_control_character_reach_the_terminal() {
    let evil = "\u{1b}[2J\u{9b}\u{202e}\u{7f}\r\u{7}";
    let diagnostic = Diagnostic::error("code", evil, at(1, 2, 3))
        .label(evil)
        .hint(evil)
        .related(at(1, 1, 1), evil);
    let text = render(&[diagnostic], &|_| Some(evil.to_owned()), false);
    let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.chars().any(bad), "{text:?}");
}

#[test]
fn shows_a_place_outside_the_text() {
    // The file may have changed, or the caller may not have it.
    for span in [at(9, 1, 1), at(1, 90, 5), at(1, 3, 90), at(0, 0, 0)] {
        let text = rendered("a: 1", span.clone());
        assert!(text.contains("groups/web.yaml"), "{text}");
    }
    let diagnostic = Diagnostic::error("code", "message", at(3, 4, 1)).hint("hint");
    insta::assert_snapshot!(render(&[diagnostic], &|_| None, false), @r"
error[code]: message
--> groups/web.yaml:3:4
 = help: hint
");
}

#[test]
fn uses_colour_only_when_asked() {
    let diagnostic = [Diagnostic::error("code", "message", at(1, 1, 1))];
    let text = |color| render(&diagnostic, &|_| Some("a".to_owned()), color);
    assert!(text(true).contains('\u{1b}'));
    assert!(!text(false).contains('\u{1b}'));
}
