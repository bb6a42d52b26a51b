use super::*;

#[test]
fn keeps_between_half_and_all_of_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut writer = LogWriter::new(path.clone(), 100);
    let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    for number in 0..1_000 {
        writer.write(format!("line {number}\n").as_bytes());
        assert!(size(&path) <= 50 && size(&older(&path)) <= 50);
    }
    assert!(size(&path) + size(&older(&path)) >= 50);
    assert_eq!(tail(&path, 2).unwrap(), "line 998\nline 999\n");
}

#[test]
fn a_piece_larger_than_the_limit_leaves_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    LogWriter::new(path.clone(), 8).write(b"0123456789");
    assert_eq!(tail(&path, 1).unwrap(), "456789\n");
}

#[test]
fn there_is_no_log_before_the_first_output() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(tail(&dir.path().join("log"), 9).unwrap(), "");
}

#[test]
fn output_that_cannot_be_written_is_lost_without_harm() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no-such-folder/log");
    LogWriter::new(path, 100).write(b"lost\n");
}

#[test]
fn a_message_is_short_and_whole_characters() {
    assert_eq!(digest("a\n\nb\n  \nc\n"), "a\nb\nc");
    assert_eq!(digest("1\n2\n3\n4\n5\n6\n7\n"), "3\n4\n5\n6\n7");
    let long = digest(&"é".repeat(5_000));
    assert!(long.len() <= MESSAGE_BYTES_MAX && long.chars().all(|c| c == 'é'));
}

#[test]
fn reads_as_much_as_the_lines_need() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let limit = 2 * 1_024 * 1_024;
    let mut writer = LogWriter::new(path.clone(), limit);
    for number in 0..100_000 {
        writer.write(format!("line number {number}\n").as_bytes());
    }
    for lines in [0, 1, 1_000, 20_000, 60_000] {
        let tail = tail(&path, lines).unwrap();
        let first = format!("line number {}", 100_000 - lines);
        assert_eq!(tail.lines().count(), lines);
        assert!(lines == 0 || tail.starts_with(&first), "{lines}");
    }
    let all = tail(&path, usize::MAX).unwrap();
    assert!(all.len() as u64 >= limit / 2);
    // One line longer than the first read is found whole.
    writer.write(&vec![b'x'; 200_000]);
    assert_eq!(tail(&path, 1).unwrap().len(), 200_001);
}
