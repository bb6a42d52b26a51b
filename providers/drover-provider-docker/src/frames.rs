//! The streams in which an engine sends what a container or a command prints: frames of a kind (1 standard
//! output, 2 standard error), three zero bytes, the length in four bytes, the highest first, and the text.

/// Bytes of a frame's head.
const HEAD: usize = 8;

/// Returns the text of all frames, in their order. A frame that is cut short counts as far as it goes.
pub(crate) fn text(mut bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() {
        let [kind, zero @ .., a, b, c, d] = *head;
        if kind > 2 || zero != [0, 0, 0] {
            // No frames: a container with a terminal prints straight.
            out.extend_from_slice(bytes);
            return String::from_utf8_lossy(&out).into_owned();
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let length = length.min(rest.len());
        out.extend_from_slice(&rest[..length]);
        bytes = &rest[length..];
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Lines of what was printed in a message: what a shell error and its cause usually take.
const MESSAGE_LINES: usize = 5;
/// Most bytes of them: messages travel in listings, events and commits.
const MESSAGE_BYTES_MAX: usize = 1_000;

/// Returns the end of `text` as one short message: its last lines, no longer than fits a listing.
pub(crate) fn digest(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(MESSAGE_LINES)..].join("\n");
    let start = last.len().saturating_sub(MESSAGE_BYTES_MAX);
    let start = (start..=last.len()).find(|at| last.is_char_boundary(*at));
    last[start.unwrap_or(0)..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend((text.len() as u32).to_be_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn joins_the_frames_of_both_streams_in_their_order() {
        let stream = [frame(1, "one\n"), frame(2, "two\n"), frame(1, "")].concat();
        assert_eq!(text(&stream), "one\ntwo\n");
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn takes_a_frame_that_is_cut_short_as_far_as_it_goes() {
        let stream = [frame(1, "one\n"), frame(2, "two\n")].concat();
        assert_eq!(text(&stream[..stream.len() - 2]), "one\ntw");
        assert_eq!(text(&stream[..14]), "one\n");
    }

    #[test]
    fn takes_what_has_no_frames_as_it_is() {
        assert_eq!(text(b"printed to a terminal\n"), "printed to a terminal\n");
    }

    #[test]
    fn shortens_to_the_last_lines() {
        let long = "one\ntwo\n\nthree\nfour\r\n\nfive\nsix\n\n";
        assert_eq!(digest(long), "two\nthree\nfour\nfive\nsix");
        assert_eq!(digest(&"é".repeat(600)).len(), 1_000);
    }
}
