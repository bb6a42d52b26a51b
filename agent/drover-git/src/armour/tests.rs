use data_encoding::BASE64;

use super::{SIGNATURE_BYTES_MAX, signature_packet};

fn armoured(bytes: &[u8]) -> String {
    let text = BASE64.encode(bytes);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    format!(
        "-----BEGIN PGP SIGNATURE-----\nVersion: 1\n\n{}\n=abcd\n-----END PGP SIGNATURE-----\n",
        lines.join("\n")
    )
}

/// A packet in the new format, with a length of one, two or four bytes.
fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut packet = vec![0xc0 | tag];
    match length {
        0..192 => packet.push(length as u8),
        192..8384 => {
            let rest = length - 192;
            packet.extend([(rest >> 8) as u8 + 192, rest as u8]);
        }
        _ => {
            packet.push(255);
            packet.extend((length as u32).to_be_bytes());
        }
    }
    packet.extend(body);
    packet
}

/// A packet in the old format.
fn old(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80 | tag << 2 | 1];
    packet.extend((body.len() as u16).to_be_bytes());
    packet.extend(body);
    packet
}

#[test]
fn one_signature_is_taken_out_of_its_armour_as_it_is() {
    for length in [100, 191, 192, 193, 8383, 8384, 12_000] {
        let body = vec![7; length];
        for packet in [packet(2, &body), old(2, &body)] {
            let text = armoured(&packet);
            assert_eq!(signature_packet(&text).as_ref(), Ok(&packet), "{length}");
            // Tags have line ends of other systems, too.
            let text = text.replace('\n', "\r\n");
            assert_eq!(signature_packet(&text).as_ref(), Ok(&packet), "{length}");
        }
    }
}

#[test]
fn whatever_is_no_single_signature_is_no_business_of_gpg() {
    let one = packet(2, &[7; 100]);
    let refused = |text: &str, why: &str| {
        let said = signature_packet(text).unwrap_err();
        assert!(said.contains(why), "{said}");
    };
    let of = |bytes: &[u8], why: &str| refused(&armoured(bytes), why);
    // Packed data, a marker before it, and two signatures.
    of(&packet(8, &one), "something else in it");
    of(&old(8, &one), "something else in it");
    of(
        &[packet(10, b"PGP"), one.clone()].concat(),
        "something else in it",
    );
    of(&[one.clone(), packet(8, &one)].concat(), "several");
    of(&[one.clone(), one.clone()].concat(), "several");
    of(&one[..50], "cut off");
    // Lengths that are not known: of the old format, and in parts.
    of(&[0x80 | 8 << 2 | 3, 1, 2], "cannot be read");
    of(&[0xc2, 224, 1], "cannot be read");
    of(&[0xc2, 255, 0xff], "cannot be read");
    of(&[0xc2], "cannot be read");
    of(b"text", "cannot be read");
    of(b"", "cannot be read");
    let text = armoured(&one);
    refused(&format!("{text}{text}"), "something follows");
    refused(&text.replace("-----END", "-----AND"), "end is missing");
    refused(&text.replace("Version", "\nVersion"), "no base64");
    refused(&text.replace("SIGNATURE", "MESSAGE"), "no armoured");
    of(&packet(2, &vec![7; SIGNATURE_BYTES_MAX]), "too large");
}
