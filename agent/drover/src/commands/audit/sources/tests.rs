use super::*;

#[test]
fn a_document_is_compared_as_a_whole() {
    let web = "kind: Group\nmetadata: {name: web}\nspec:\n  size: 3\n  deletion: {protect: true}\n";
    let file = format!("---\nkind: Provider\n---\n{web}");
    assert!(has("groups/web.yaml", &file, web));
    let cut = web.split("  deletion").next().unwrap();
    assert!(file.contains(cut));
    assert!(!has("groups/web.yaml", &file, cut));
    assert!(!has("groups/web.yaml", &file, ""));
}
