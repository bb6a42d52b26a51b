use super::*;

fn sample() -> Table {
    let mut table = Table::new(&["NAME", "SIZE", "WHY"]);
    table.row(vec!["web".into(), "3".into(), "two\nlines".into()]);
    table.row(vec!["database".into(), "12".into()]);
    table
}

#[test]
fn columns_are_aligned_and_empty_cells_are_dashes() {
    insta::assert_snapshot!(sample().to_text(true), @r"
    NAME       SIZE   WHY
    web        3      two lines
    database   12     -
    ");
    assert!(!sample().to_text(false).contains("NAME"));
}

#[test]
fn markdown_from_a_repository_cannot_mention_or_embed() {
    let mut table = Table::new(&["NAME"]);
    table.row(vec!["@team <img> `x` | y".into()]);
    let text = table.to_markdown();
    assert_eq!(
        text,
        "| NAME |\n| --- |\n| @&#8203;team &lt;img&gt; \\`x\\` \\| y |\n"
    );
}

#[test]
fn markdown_makes_no_link_of_what_people_wrote_and_hides_nothing() {
    for (text, escaped) in [
        (
            "see https://evil.example/x",
            "see https:&#8203;//evil.example/x",
        ),
        ("WWW.evil.example", "WWW&#8203;.evil.example"),
        ("a@b.example", "a@&#8203;b.example"),
        (
            "fixes #1, acme/fleet#2, GH-3",
            "fixes #&#8203;1, acme/fleet#&#8203;2, GH-&#8203;3",
        ),
        (
            "!4 $5 &6 %v1 ~bug",
            "!&#8203;4 $&#8203;5 &amp;&#8203;6 %&#8203;v1 \\~&#8203;bug",
        ),
        ("50 % of # 3 & more: a:b", "50 % of # 3 &amp; more: a:b"),
        ("rm \u{202e}x\u{2066}", "rm \\\\u202ex\\\\u2066"),
        ("two\nlines", "two lines"),
    ] {
        assert_eq!(escape_markdown(text), escaped);
    }
}
