use super::*;

#[test]
fn yaml_quotes_whatever_could_be_something_else() {
    let value = serde_json::json!({
        "items": [{"name": "web", "labels": {"env": "no", "tier": "10"}, "holds": []}, "a: b"],
        "size": 3,
        "none": null,
    });
    insta::assert_snapshot!(yaml(&value).unwrap(), @r#"
    items:
      - holds: []
        labels:
          env: "no"
          tier: "10"
        name: web
      - "a: b"
    none: null
    size: 3
    "#);
}
