use super::*;

#[test]
fn an_offset_in_a_block_scalar_maps_to_its_line_and_column() {
    let text = SourceText {
        text: "a &&\n  später == b".to_owned(),
        span: SourceSpan {
            file: "p.yaml".into(),
            line: 3,
            column: 9,
            length: 1,
        },
        lines: vec![(4, 7), (5, 7)],
    };
    assert_eq!(text.locate(0, 1).to_string(), "p.yaml:4:7");
    let offset = text.text.find("später").unwrap();
    let place = text.locate(offset, "später".len());
    assert_eq!(
        (place.to_string(), place.length),
        ("p.yaml:5:9".to_owned(), 6)
    );
    let inside_a_character = offset + "sp".len() + 1;
    assert_eq!(
        text.locate(inside_a_character, 1).to_string(),
        "p.yaml:5:11"
    );
}

#[test]
fn an_offset_without_a_line_map_points_at_the_whole_scalar() {
    let span = SourceSpan {
        file: "p.yaml".into(),
        line: 3,
        column: 9,
        length: 1,
    };
    let text = SourceText {
        text: "folded text".to_owned(),
        span: span.clone(),
        lines: Vec::new(),
    };
    assert_eq!(text.locate(7, 1), span);
}
