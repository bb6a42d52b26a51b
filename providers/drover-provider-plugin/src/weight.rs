//! What a JSON text takes in memory once it is read, told before it is: `{"":0},` has seven bytes and becomes seven
//! hundred. A text of a few megabytes, far below any limit of bytes, could otherwise end the agent and every group with it.

use std::fmt;

/// What a value takes beside its content: its place in a list, which may be twice as long as what is in it.
const VALUE_BYTES: usize = 64;

/// What a list takes beside that: the first allocation has room for four values.
const LIST_BYTES: usize = 128;

/// What a map takes beside that: the first allocation has room for eleven entries.
const MAP_BYTES: usize = 640;

/// What an entry of a map takes beside its key's text and its value.
const ENTRY_BYTES: usize = 96;

/// What a text takes beside its bytes: an allocation of its own.
const TEXT_BYTES: usize = 32;

/// How deep values may be nested: what `serde_json` reads. A plugin's answers are some five levels deep.
pub(crate) const DEPTH_MAX: usize = 127;

/// Why a text is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooMuch {
    /// It takes more memory than this.
    #[error("its values take more than {} of memory", Size(*.0))]
    Memory(usize),
    /// It is nested too deeply.
    #[error("it is nested more than {DEPTH_MAX} levels deep")]
    Depth,
}

/// A size as people read it.
pub(crate) struct Size(pub(crate) usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 >> 20 {
            0 => write!(f, "{} KiB", self.0 >> 10),
            mebibytes => write!(f, "{mebibytes} MiB"),
        }
    }
}

/// Estimates the memory that a text takes once it is read into maps and lists, in bytes, without allocating any. Too much
/// rather than too little, and at most twice what it takes; of what is no JSON, the part before the first mistake.
///
/// # Errors
///
/// It takes more than `max`, or is nested too deeply.
pub(crate) fn weigh(text: &[u8], max: usize) -> Result<usize, TooMuch> {
    let (mut weight, mut depth) = (VALUE_BYTES, 0_usize);
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        weight += match byte {
            b'"' => TEXT_BYTES + skip_text(&mut rest),
            b',' => VALUE_BYTES,
            b':' => ENTRY_BYTES,
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(TooMuch::Depth);
                }
                VALUE_BYTES + if *byte == b'{' { MAP_BYTES } else { LIST_BYTES }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                0
            }
            _ => 0,
        };
        if weight > max {
            return Err(TooMuch::Memory(max));
        }
    }
    Ok(weight)
}

/// Goes on behind a text that has begun, and returns how many bytes it has.
fn skip_text(rest: &mut std::slice::Iter<'_, u8>) -> usize {
    let mut length = 0;
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => break,
            b'\\' => {
                rest.next();
                length += 2;
            }
            _ => length += 1,
        }
    }
    length
}

#[cfg(test)]
mod tests;
