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
        "| NAME |\n| --- |\n| @\u{200b}team &lt;img&gt; \\`x\\` \\| y |\n"
    );
}
