//! What stands in the armour of an OpenPGP signature, looked at before `gpg` sees it: whoever may push writes it, and in the
//! format stands more than signatures, such as packed data that fills a disk once it is unpacked.

use data_encoding::BASE64;

use crate::gnupg::PGP_SIGNATURE_BEGIN;

/// How an armoured signature ends.
const PGP_SIGNATURE_END: &str = "-----END PGP SIGNATURE-----";

/// The largest armoured signature; one of RSA with 4096 bits has 900 bytes.
const SIGNATURE_BYTES_MAX: usize = 32 << 10;

/// The tag of a packet that is a signature.
const SIGNATURE_TAG: u8 = 2;

/// Returns the one signature packet in an armour.
///
/// # Errors
///
/// Why it is not taken, for people.
pub(crate) fn signature_packet(armoured: &str) -> Result<Vec<u8>, String> {
    if armoured.len() > SIGNATURE_BYTES_MAX {
        return Err("it is too large".to_owned());
    }
    let mut lines = armoured.trim().lines().map(str::trim_end);
    if lines.next() != Some(PGP_SIGNATURE_BEGIN) {
        return Err("it is no armoured signature".to_owned());
    }
    // Headers such as `Version: …`, up to an empty line.
    let mut lines = lines.skip_while(|line| !line.is_empty()).skip(1);
    let mut text = String::new();
    let mut ended = false;
    for line in lines.by_ref() {
        if line == PGP_SIGNATURE_END {
            ended = true;
            break;
        }
        // The checksum is the last line: what it guards against is not who made it.
        if !line.starts_with('=') {
            text.push_str(line);
        }
    }
    if !ended {
        return Err("its end is missing".to_owned());
    }
    if lines.any(|line| !line.is_empty()) {
        return Err("something follows it".to_owned());
    }
    let bytes = BASE64.decode(text.as_bytes());
    let bytes = bytes.map_err(|error| format!("it is no base64: {error}"))?;
    let (tag, length) = head(&bytes).ok_or("its packet cannot be read")?;
    if tag != SIGNATURE_TAG {
        return Err("there is something else in it than a signature".to_owned());
    }
    if length < bytes.len() {
        return Err("there are several, or something else beside it".to_owned());
    }
    if length > bytes.len() {
        return Err("its packet is cut off".to_owned());
    }
    Ok(bytes)
}

/// Reads the tag of the first packet, and its length with what comes before its body. None: it says none, which no
/// signature does.
fn head(bytes: &[u8]) -> Option<(u8, usize)> {
    let number = |from: usize, count: usize| {
        let digits = bytes.get(from..from + count)?;
        let all = digits.iter();
        Some(all.fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    let first = *bytes.first()?;
    if first & 0x80 == 0 {
        return None;
    }
    if first & 0x40 == 0 {
        let count = match first & 3 {
            0 => 1,
            1 => 2,
            2 => 4,
            _ => return None,
        };
        let body = number(1, count)?;
        return Some(((first >> 2) & 0xf, body.checked_add(1 + count)?));
    }
    let (body, count) = match number(1, 1)? {
        short @ 0..192 => (short, 1),
        192..224 => (number(1, 2)? - (192 << 8) + 192, 2),
        255 => (number(2, 4)?, 5),
        // A part of a length that is not known.
        _ => return None,
    };
    Some((first & 0x3f, body.checked_add(1 + count)?))
}

#[cfg(test)]
mod tests;
