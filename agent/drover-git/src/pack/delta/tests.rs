use super::*;

/// Reads instructions as Git does.
fn applied(base: &[u8], delta: &[u8]) -> Vec<u8> {
    let mut bytes = delta.iter().copied();
    let mut number = || {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = bytes.next().unwrap();
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    };
    assert_eq!(number(), base.len());
    let length = number();
    let mut out = Vec::new();
    while let Some(first) = bytes.next() {
        if first & 0x80 == 0 {
            assert_ne!(first, 0);
            out.extend(bytes.by_ref().take(first.into()));
            continue;
        }
        let mut field = |bits: std::ops::Range<u8>| {
            let mut value = 0;
            for (position, bit) in bits.enumerate() {
                if first & 1 << bit != 0 {
                    value |= usize::from(bytes.next().unwrap()) << (8 * position);
                }
            }
            value
        };
        let (from, size) = (field(0..4), field(4..7));
        let size = if size == 0 { COPY_MAX } else { size };
        out.extend_from_slice(&base[from..from + size]);
    }
    assert_eq!(out.len(), length);
    out
}

/// Bytes that do not repeat, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn delta(base: &[u8], target: &[u8]) -> usize {
    let delta = encode(base, target).unwrap();
    assert!(
        applied(base, &delta) == target,
        "the delta makes something else"
    );
    delta.len()
}

#[test]
fn an_edit_in_the_middle_costs_what_is_new() {
    let base = noise(1, 5_000);
    let mut target = base.clone();
    target.splice(2_000..2_010, *b"0123456789abc");
    // Two sizes of two bytes, two copies, and thirteen bytes with their length.
    assert!(delta(&base, &target) <= 4 + 2 * 7 + 14);
}

#[test]
fn texts_of_every_kind_come_out_as_they_were() {
    let base = noise(1, 3_000);
    let twice = [&base[..], &base[..]].concat();
    let repeated = vec![b'a'; 10_000];
    for (base, target) in [
        (&b""[..], &b""[..]),
        (b"", &base[..]),
        (&base, b""),
        (b"short", b"short"),
        (&base, &base),
        (&base, &twice),
        (&twice, &base),
        (&repeated, &repeated[1..]),
        (&base, &noise(2, 3_000)),
    ] {
        delta(base, target);
    }
}

#[test]
fn long_copies_and_far_offsets_are_split_and_written_whole() {
    let base = noise(1, 300_000);
    let target = base[70_000..].to_vec();
    assert!(delta(&base, &target) < 40);
    // Exactly the length that is written as none.
    delta(&base, &base[..COPY_MAX]);
    delta(&base, &base[1..=COPY_MAX]);
}

#[test]
fn a_large_base_is_looked_at_in_steps() {
    let base = noise(1, DENSE_BYTES_MAX + 5_000);
    let mut target = base.clone();
    target.splice(600_001..600_001, *b"new");
    assert!(delta(&base, &target) < 400);
}
