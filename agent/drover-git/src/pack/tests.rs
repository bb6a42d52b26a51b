use super::*;

#[test]
fn a_damaged_index_is_an_error_and_not_an_empty_pack() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.idx");
    let mut bytes = b"\xfftOc\x00\x00\x00\x02".to_vec();
    bytes.resize(8 + 1024, 0);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(ids_of_index(&path).unwrap(), []);
    *bytes.last_mut().unwrap() = 1;
    fs::write(&path, &bytes).unwrap();
    assert!(ids_of_index(&path).is_err());
    bytes.extend([7; 20]);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(ids_of_index(&path).unwrap().len(), 1);
    fs::write(&path, b"nonsense").unwrap();
    assert!(ids_of_index(&path).is_err());
}
