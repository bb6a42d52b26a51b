use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::scan::PackScan;
use super::*;

const LIMITS: PackLimits = PackLimits {
    objects: 1_000,
    whole_bytes: 10_000,
    listing_bytes: 10_000,
};

const INFLATED_MAX: u64 = 1 << 20;

fn scan() -> PackScan {
    PackScan::new(LIMITS, INFLATED_MAX, Box::new(|_| None))
}

fn read(mut scan: PackScan, pack: &[u8], chunk: usize) -> Result<PackScan, PackRefusal> {
    for bytes in pack.chunks(chunk) {
        scan.feed(bytes)?;
    }
    Ok(scan)
}

/// Asserts that a pack is refused, in whatever pieces it comes, and returns why.
#[track_caller]
fn refused(pack: &[u8]) -> PackRefusal {
    let whole = read(scan(), pack, pack.len()).err();
    assert_eq!(whole, read(scan(), pack, 1).err());
    whole.expect("a refusal")
}

#[track_caller]
fn accepted(pack: &[u8]) {
    for chunk in [1, pack.len()] {
        assert!(read(scan(), pack, chunk).unwrap().is_over());
    }
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 127 {
        bytes.push(value as u8 & 127 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Kind and size of an object, as a pack has them.
fn head(kind: u8, size: u64) -> Vec<u8> {
    let more = if size > 15 { 128 } else { 0 };
    let mut bytes = vec![kind << 4 | (size & 15) as u8 | more];
    if size > 15 {
        bytes.extend(number(size >> 4));
    }
    bytes
}

fn object(kind: u8, content: &[u8]) -> Vec<u8> {
    [head(kind, content.len() as u64), deflated(content)].concat()
}

/// How far back a base is.
fn distance(value: u64) -> Vec<u8> {
    let mut bytes = vec![value as u8 & 127];
    let mut rest = value >> 7;
    while rest > 0 {
        rest -= 1;
        bytes.insert(0, rest as u8 & 127 | 128);
        rest >>= 7;
    }
    bytes
}

/// A difference that says that its base and its result are that large.
fn delta(base: u64, result: u64) -> Vec<u8> {
    [number(base), number(result), vec![1, b'x']].concat()
}

fn delta_by_offset(back: u64, content: &[u8]) -> Vec<u8> {
    let head = head(6, content.len() as u64);
    [head, distance(back), deflated(content)].concat()
}

fn delta_by_id(id: [u8; 20], content: &[u8]) -> Vec<u8> {
    let head = head(7, content.len() as u64);
    [head, id.to_vec(), deflated(content)].concat()
}

fn pack_of(count: u32, objects: &[Vec<u8>]) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend(count.to_be_bytes());
    pack.extend(objects.concat());
    pack.extend([0; 20]);
    pack
}

fn pack(objects: &[Vec<u8>]) -> Vec<u8> {
    pack_of(u32::try_from(objects.len()).unwrap(), objects)
}

fn too_large(size: u64) -> PackRefusal {
    PackRefusal::Delta {
        size,
        limit: LIMITS.whole_bytes,
    }
}

const BLOB: u8 = 3;

#[test]
fn what_is_within_the_limits_is_taken() {
    let small = object(BLOB, b"small");
    let back = small.len() as u64;
    let on_it = delta_by_offset(back, &delta(5, 10_000));
    // As libgit2 writes it to disk as it comes, a file may be of any size as long as nothing is based on it.
    let large = object(BLOB, &vec![0; 500_000]);
    let ours = delta_by_id([1; 20], &delta(5, 7));
    accepted(&pack(&[small, on_it, large, ours, object(BLOB, b"")]));
    accepted(&pack(&[]));
}

#[test]
fn differences_are_refused_by_each_of_their_sizes() {
    let small = object(BLOB, b"small");
    let back = small.len() as u64;
    let on_it = |content: &[u8]| pack(&[small.clone(), delta_by_offset(back, content)]);
    assert_eq!(refused(&on_it(&delta(5, 10_001))), too_large(10_001));
    assert_eq!(refused(&on_it(&delta(1 << 40, 5))), too_large(1 << 40));
    let long = [delta(5, 10), vec![0; 20_000]].concat();
    assert_eq!(refused(&on_it(&long)), too_large(long.len() as u64));
    let named = pack(&[delta_by_id([1; 20], &delta(5, 10_001))]);
    assert_eq!(refused(&named), too_large(10_001));
}

#[test]
fn a_large_base_is_found_whatever_the_difference_says() {
    let content = vec![b'x'; 12_345];
    let large = object(BLOB, &content);
    let back = large.len() as u64;
    let lie = delta(5, 7);
    let by_offset = pack(&[large.clone(), delta_by_offset(back, &lie)]);
    assert_eq!(refused(&by_offset), too_large(12_345));
    let id = crate::oid::Oid::of_blob(&content).unwrap().raw();
    let id: [u8; 20] = id.as_bytes().try_into().unwrap();
    let by_id = delta_by_id(id, &lie);
    let behind = pack(&[large.clone(), by_id.clone()]);
    assert_eq!(refused(&behind), too_large(12_345));
    let before = pack(&[by_id.clone(), large]);
    assert_eq!(refused(&before), too_large(12_345));
    // One that is here already.
    let here = PackScan::new(
        LIMITS,
        INFLATED_MAX,
        Box::new(move |other| (other == &id).then_some(99_999)),
    );
    let outcome = read(here, &pack(&[by_id]), 1);
    assert_eq!(outcome.err(), Some(too_large(99_999)));
}

#[test]
fn a_base_in_the_midst_of_content_is_none() {
    // Not compressed, so that the object inside stands in the pack as it is.
    let inner = object(BLOB, &vec![0; 900_000]);
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(&inner).unwrap();
    let outer = [head(BLOB, inner.len() as u64), encoder.finish().unwrap()].concat();
    let at = outer.windows(inner.len()).position(|w| w == inner).unwrap();
    let back = (outer.len() - at) as u64;
    let evil = pack(&[outer.clone(), delta_by_offset(back, &delta(5, 7))]);
    assert_eq!(
        refused(&evil),
        PackRefusal::Malformed("a base that is no object")
    );
    for back in [0, 12 + outer.len() as u64 + 1, u64::MAX >> 8] {
        let evil = pack(&[outer.clone(), delta_by_offset(back, &delta(5, 7))]);
        assert!(matches!(refused(&evil), PackRefusal::Malformed(_)));
    }
}

#[test]
fn what_is_always_read_as_a_whole_is_limited() {
    for (kind, is) in [
        (1, WholeKind::Commit),
        (2, WholeKind::Tree),
        (4, WholeKind::Tag),
    ] {
        accepted(&pack(&[object(kind, &vec![0; 10_000])]));
        let expected = PackRefusal::Whole {
            kind: is,
            size: 10_001,
            limit: 10_000,
        };
        assert_eq!(refused(&pack(&[object(kind, &vec![0; 10_001])])), expected);
    }
}

#[test]
fn numbers_and_bytes_are_limited() {
    let expected = PackRefusal::Objects {
        announced: 1_001,
        limit: 1_000,
    };
    assert_eq!(refused(&pack_of(1_001, &[])), expected);
    let large = object(BLOB, &vec![0; 600_000]);
    let other = object(BLOB, &vec![1; 600_000]);
    let expected = PackRefusal::Inflated {
        limit: INFLATED_MAX,
    };
    assert_eq!(refused(&pack(&[large, other])), expected);
}

#[test]
fn what_is_no_pack_is_refused() {
    let small = object(BLOB, b"small");
    let longer = [head(BLOB, 4), deflated(b"small")].concat();
    let shorter = [head(BLOB, 6), deflated(b"small")].concat();
    let mut broken = small.clone();
    broken[3] ^= 255;
    let endless = vec![255; 30];
    let no_sizes = delta_by_id([1; 20], &[5]);
    let endless_sizes = delta_by_id([1; 20], &[255; 30]);
    for (object, expected) in [
        (longer, "an object that is longer than it says"),
        (shorter, "an object that is shorter than it says"),
        (broken, "an object that cannot be inflated"),
        (endless, "an object of an impossible size"),
        (no_sizes, "a difference without sizes"),
        (endless_sizes, "a difference of an impossible size"),
        (object(0, b"x"), "an object of an unknown kind"),
        (object(5, b"x"), "an object of an unknown kind"),
    ] {
        let why = refused(&pack(&[object, vec![0; 40]]));
        assert_eq!(why, PackRefusal::Malformed(expected));
    }
    let more = [pack(&[small]), vec![0]].concat();
    assert!(matches!(refused(&more), PackRefusal::Malformed(_)));
    let other = b"PACK\0\0\0\x04\0\0\0\0".to_vec();
    assert!(matches!(refused(&other), PackRefusal::Malformed(_)));
}

fn git(folder: &Path, arguments: &[&str], input: &str) -> Vec<u8> {
    let mut child = Command::new("git")
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    output.stdout
}

/// Packs as Git makes them: with differences by offset and by id, with and without their bases.
fn packs_of_git() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    git(place, &["init", "-q", "-b", "main"], "");
    let mut lines: Vec<String> = (0..300).map(|n| format!("line {n} of many\n")).collect();
    for round in 0..20 {
        lines[round * 7] = format!("changed in round {round}\n");
        std::fs::write(place.join("long.txt"), lines.concat()).unwrap();
        std::fs::write(place.join(format!("{round}.txt")), "").unwrap();
        git(place, &["add", "."], "");
        git(place, &["commit", "-q", "-m", "round"], "");
    }
    git(place, &["tag", "-a", "-m", "tag", "v1"], "");
    let pack = |more: &[&str], input: &str| {
        let always = ["pack-objects", "--stdout", "-q", "--revs"];
        git(place, &[&always, more].concat(), input)
    };
    vec![
        pack(&["--all"], ""),
        pack(&["--all", "--delta-base-offset"], ""),
        pack(&["--thin", "--delta-base-offset"], "main\n^main~3\n"),
        pack(&["--all", "--window=0"], ""),
    ]
}

fn sample_limits() -> PackLimits {
    PackLimits {
        objects: 10_000,
        whole_bytes: 1 << 20,
        listing_bytes: 10_000,
    }
}

#[test]
fn packs_of_git_are_read_to_their_end_in_whatever_pieces_they_come() {
    for pack in packs_of_git() {
        let announced = u32::from_be_bytes(pack[8..12].try_into().unwrap());
        for chunk in [1, 2, 3, 7, 64, 4_096, pack.len()] {
            let scan = PackScan::new(sample_limits(), INFLATED_MAX, Box::new(|_| Some(1)));
            let scan = read(scan, &pack, chunk).unwrap();
            assert!(scan.is_over(), "pieces of {chunk}");
            assert_eq!(scan.objects(), announced as usize, "pieces of {chunk}");
        }
        for end in [pack.len() - 1, pack.len() - 21, 13] {
            let scan = PackScan::new(sample_limits(), INFLATED_MAX, Box::new(|_| None));
            assert!(!read(scan, &pack[..end], 64).unwrap().is_over());
        }
    }
}

/// Numbers that look random and are the same each time.
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed * 2 + 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let packs = packs_of_git();
    let mut next = numbers(7);
    let mut outcomes = [0_u32; 2];
    for round in 0..4_000 {
        let mut bytes = packs[round % packs.len()].clone();
        for _ in 0..=next() % 4 {
            let at = next() as usize % bytes.len();
            match next() % 3 {
                0 => bytes[at] ^= 1 << (next() % 8),
                1 => bytes.truncate(at.max(12)),
                _ => {
                    let other = next() as usize % bytes.len();
                    bytes[at] = bytes[other];
                }
            }
        }
        let scan = PackScan::new(sample_limits(), INFLATED_MAX, Box::new(|_| None));
        let chunk = 1 + next() as usize % 700;
        outcomes[usize::from(read(scan, &bytes, chunk).is_ok())] += 1;
    }
    // Both happen, or nothing was tried.
    assert!(outcomes.iter().all(|count| *count > 100), "{outcomes:?}");
    for _ in 0..2_000 {
        let length = next() as usize % 300;
        let mut bytes = b"PACK\0\0\0\x02\0\0\0\x09".to_vec();
        bytes.extend(
            std::iter::repeat_with(&mut next)
                .take(length)
                .map(|n| n as u8),
        );
        let _ = read(scan(), &bytes, 1 + length / 3);
        let mut incoming = incoming();
        let _ = incoming.arrived(&bytes[12..]);
    }
}

fn incoming() -> Incoming {
    let mut incoming = Incoming::new(LIMITS, Box::new(|_| None));
    incoming.said(b"0042want 1111111111111111111111111111111111111111 side-band-64k\n0000");
    incoming
}

fn line(payload: &[u8]) -> Vec<u8> {
    let mut line = format!("{:04x}", payload.len() + 4).into_bytes();
    line.extend(payload);
    line
}

fn band(band: u8, content: &[u8]) -> Vec<u8> {
    line(&[&[band], content].concat())
}

/// Hears what the other side says, after libgit2 has said that it is ready, byte by byte.
fn heard(mut incoming: Incoming, said: &[Vec<u8>]) -> Result<Incoming, PackRefusal> {
    incoming.said(b"0032have 1111111111111111111111111111111111111111\n0009done\n");
    for byte in said.concat() {
        incoming.arrived(&[byte])?;
    }
    Ok(incoming)
}

fn lines_of(pack: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![line(b"NAK\n"), band(2, b"counting")];
    for piece in pack.chunks(5) {
        lines.push(band(1, piece));
        lines.push(band(2, b"."));
    }
    lines
}

#[test]
fn a_pack_is_found_in_its_band() {
    let good = pack(&[object(BLOB, b"small")]);
    let mut lines = lines_of(&good);
    lines.push(b"0000".to_vec());
    let incoming = heard(incoming(), &lines).unwrap();
    assert!(incoming.scan.is_over());
    let evil = pack(&[object(2, &vec![0; 10_001])]);
    let outcome = heard(self::incoming(), &lines_of(&evil));
    assert!(matches!(outcome.err(), Some(PackRefusal::Whole { .. })));
}

#[test]
fn a_pack_is_found_without_bands() {
    let plain = || {
        let mut plain = Incoming::new(LIMITS, Box::new(|_| None));
        plain.said(b"0032want 1111111111111111111111111111111111111111\n0000");
        plain
    };
    let good = pack(&[object(BLOB, b"small")]);
    let incoming = heard(plain(), &[line(b"NAK\n"), good]).unwrap();
    assert!(incoming.scan.is_over());
    let evil = pack(&[object(2, &vec![0; 10_001])]);
    let outcome = heard(plain(), &[line(b"NAK\n"), evil.clone()]);
    assert!(matches!(outcome.err(), Some(PackRefusal::Whole { .. })));
    // libgit2 would not look for it there.
    let good = pack(&[object(BLOB, b"small")]);
    assert!(heard(plain(), &lines_of(&good)).is_err());
    assert!(heard(self::incoming(), &[line(b"NAK\n"), good]).is_err());
}

#[test]
fn nothing_can_pass_for_the_pack_that_libgit2_does_not_take_for_it() {
    let decoy = pack(&[object(BLOB, b"small")]);
    let malformed = |outcome: Result<Incoming, PackRefusal>| {
        let why = outcome.err();
        assert!(matches!(why, Some(PackRefusal::Malformed(_))), "{why:?}");
    };
    // Before libgit2 asks, it skips such a line.
    let mut early = incoming();
    let outcome = early.arrived(&band(1, &decoy));
    assert!(matches!(outcome, Err(PackRefusal::Malformed(_))));
    // At an acknowledgement it begins to take what follows.
    malformed(heard(incoming(), &[band(1, &decoy), line(b"NAK\n")]));
    malformed(heard(
        incoming(),
        &[lines_of(&decoy).concat(), line(b"NAK\n")],
    ));
    let ended = [lines_of(&decoy).concat(), b"0000".to_vec(), line(b"NAK\n")];
    malformed(heard(incoming(), &ended));
    let ended = [lines_of(&decoy).concat(), b"0000".to_vec(), band(2, b".")];
    malformed(heard(incoming(), &ended));
    malformed(heard(
        incoming(),
        &[lines_of(&decoy).concat(), band(1, b"more")],
    ));
    for length in [b"0001", b"0003", b"0004", b"-001", b"+005", b"PACK"] {
        malformed(heard(incoming(), &[length.to_vec()]));
    }
}
