use super::*;

const PROVIDER: &str = "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {name: local}\n\
                        spec: {type: process}\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let place = folder.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }
    folder
}

#[test]
fn a_folder_is_read_with_its_ignore_rules_and_without_hidden_files() {
    let folder = folder(&[
        ("providers/local.yaml", PROVIDER),
        (".github/workflows/ci.yaml", "on: push"),
        ("vendor/other.yaml", "kind: Deployment"),
        ("notes.txt", "not a document"),
        (".droverignore", "vendor/\n"),
    ]);
    let documents = Documents::from_path(folder.path()).unwrap();
    let paths: Vec<&str> = documents.texts.keys().map(String::as_str).collect();
    assert_eq!(paths, ["providers/local.yaml"]);
    assert!(
        documents.diagnostics.is_empty(),
        "{:?}",
        documents.diagnostics
    );
}

#[test]
fn a_link_is_not_followed_and_said_so() {
    let folder = folder(&[("providers/local.yaml", PROVIDER)]);
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("secret.yaml")).unwrap();
    let documents = Documents::from_path(folder.path()).unwrap();
    assert_eq!(documents.texts.len(), 1);
    let refused = &documents.diagnostics[0];
    assert_eq!(refused.code, "file-refused");
    assert_eq!(&*refused.span.file, "secret.yaml");
}

#[test]
fn a_single_file_is_read_alone() {
    let folder = folder(&[("a.yaml", PROVIDER), ("b.yaml", "nonsense: [")]);
    let documents = Documents::from_path(&folder.path().join("a.yaml")).unwrap();
    assert_eq!(documents.texts.len(), 1);
    assert!(Documents::from_path(&folder.path().join("c.yaml")).is_err());
}

#[test]
fn a_document_in_a_file_of_another_name_is_told() {
    let folder = folder(&[
        ("providers/local.yaml", PROVIDER),
        ("providers/other.YAML", PROVIDER),
        ("providers/third.yaml.bak", PROVIDER),
        ("notes.yaml.txt", "no document"),
        ("plain.txt", PROVIDER),
    ]);
    let documents = Documents::from_path(folder.path()).unwrap();
    assert_eq!(documents.texts.len(), 1);
    let told = documents.diagnostics.iter();
    let told: Vec<(&str, &str)> = told.map(|it| (it.code, &*it.span.file)).collect();
    let wanted = ["providers/other.YAML", "providers/third.yaml.bak"];
    assert_eq!(told, wanted.map(|file| ("file-not-read", file)));
}
