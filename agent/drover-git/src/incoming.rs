//! What a remote sends for a fetch, looked at before libgit2 sees it. libgit2 takes differences and their bases
//! whole into memory, and reserves room for as many objects as a pack announces, so a small pack can cost
//! gigabytes. This follows the conversation as libgit2 does, finds the pack in it, and refuses what is beyond the
//! limits, or what two readers might read differently.

use std::fmt;

mod scan;
#[cfg(test)]
mod tests;

use scan::PackScan;

/// The size of an object of the local repository, if it is there.
pub(crate) type SizeOf = Box<dyn Fn(&[u8; 20]) -> Option<u64>>;

/// How much a pack may ask of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackLimits {
    /// Objects in one pack; libgit2 needs about 150 bytes of memory for each.
    pub objects: u32,
    /// Bytes of an object that has to be in memory as a whole: one sent as a difference, what it is a
    /// difference to, the difference itself, and every tree, commit and tag.
    pub whole_bytes: u64,
    /// Bytes of a listing of references.
    pub listing_bytes: u64,
}

/// Objects in a pack of the watched branch. Found by measuring: with the next limit at its end, too, an agent stays
/// below 128 MiB. The history of a repository with a commit every ten minutes for a year has that many.
pub const PACK_OBJECTS_MAX: u32 = 300_000;

/// Objects in a pack of a state branch, which nobody but agents writes: a million commits.
pub(crate) const STATE_OBJECTS_MAX: u32 = 8_000_000;

/// The largest object that is taken whole. Found by measuring: a difference of this size costs three times as much.
pub const WHOLE_BYTES_MAX: u64 = 12 << 20;

/// The longest listing of references: some 120,000 of them, each of which takes half a kilobyte while it is read.
pub const LISTING_BYTES_MAX: u64 = 8 << 20;

/// What all objects of a pack may inflate to; more than that compresses by a factor no honest content has.
const INFLATED_BYTES_MAX: u64 = 8 << 30;

impl Default for PackLimits {
    fn default() -> Self {
        Self {
            objects: PACK_OBJECTS_MAX,
            whole_bytes: WHOLE_BYTES_MAX,
            listing_bytes: LISTING_BYTES_MAX,
        }
    }
}

/// The kinds of objects that are always read as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholeKind {
    /// A commit.
    Commit,
    /// A folder.
    Tree,
    /// An annotated tag.
    Tag,
}

impl fmt::Display for WholeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Tag => "tag",
        })
    }
}

/// Why a pack is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackRefusal {
    /// It announces more objects than the limit.
    #[error(
        "a pack of {announced} objects, more than {limit}: `source.limits.objects` can be raised"
    )]
    Objects {
        /// What its header says.
        announced: u32,
        /// The limit.
        limit: u32,
    },
    /// An object that would have to be taken whole is too large.
    #[error("a {kind} of {size} bytes, more than {limit}: `source.limits.object` can be raised")]
    Whole {
        /// What it is.
        kind: WholeKind,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A difference, its base or its result is too large.
    #[error(
        "an object of {size} bytes as a difference to another one, where at most {limit} are taken: \
         exempt large files with `-delta` in .gitattributes and repack, or raise `source.limits.object`"
    )]
    Delta {
        /// The size in bytes of the largest of the three.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// It inflates to more than any limit permits.
    #[error("a pack that inflates to more than {limit} bytes")]
    Inflated {
        /// The limit in bytes.
        limit: u64,
    },
    /// There are too many references to begin with.
    #[error(
        "a listing of references of more than {limit} bytes: `source.limits.listing` can be raised"
    )]
    Listing {
        /// The limit in bytes.
        limit: u64,
    },
    /// It is no pack, or no answer of a Git server.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Where in the conversation the next byte belongs.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The four digits of a line's length.
    Length { digits: [u8; 4], known: usize },
    /// The first byte of a line, which says what it is.
    Kind { left: usize },
    /// The pack's band.
    Pack { left: usize },
    /// Anything else: references, acknowledgements, progress, an error.
    Other { left: usize },
    /// The pack itself, without lines around it, to the end.
    Bare,
    /// Behind the pack.
    Over,
}

const LINE_BEGINS: Place = Place::Length {
    digits: [0; 4],
    known: 0,
};

/// The bands of a line that belongs to the part with the pack.
const BAND_PACK: u8 = 1;
const BAND_PROGRESS: u8 = 2;
const BAND_ERROR: u8 = 3;

/// The lines of a fetch as they arrive, from the first reference to the end of the pack.
pub(crate) struct Incoming {
    place: Place,
    /// Whether libgit2 asked for bands, which it does where the remote offers them.
    bands: bool,
    /// Whether libgit2 has said that it wants the pack now.
    asked: bool,
    pack_began: bool,
    scan: PackScan,
}

impl Incoming {
    pub(crate) fn new(limits: PackLimits, size_of: SizeOf) -> Self {
        Self {
            place: LINE_BEGINS,
            bands: false,
            asked: false,
            pack_began: false,
            scan: PackScan::new(limits, INFLATED_BYTES_MAX, size_of),
        }
    }

    /// Takes note of what libgit2 says, which always is whole lines.
    pub(crate) fn said(&mut self, bytes: &[u8]) {
        let bands = b" side-band";
        self.bands |= bytes.windows(bands.len()).any(|window| window == bands);
        self.asked |= bytes.ends_with(b"0009done\n");
    }

    /// Looks at what is about to be handed to libgit2.
    ///
    /// # Errors
    ///
    /// What is wrong with it: then it must not be handed on.
    pub(crate) fn arrived(&mut self, bytes: &[u8]) -> Result<(), PackRefusal> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.step(rest)?;
        }
        Ok(())
    }

    /// Goes on by at least one byte, and returns what is left.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], PackRefusal> {
        let (first, rest) = (bytes[0], &bytes[1..]);
        match self.place {
            Place::Length { mut digits, known } => {
                digits[known] = first;
                self.place = match known {
                    3 => self.line(digits)?,
                    _ => Place::Length {
                        digits,
                        known: known + 1,
                    },
                };
                Ok(rest)
            }
            Place::Kind { left } => {
                self.place = self.kind(first, left - 1)?;
                Ok(rest)
            }
            Place::Pack { left } => {
                let (own, rest) = bytes.split_at(left.min(bytes.len()));
                self.scan.feed(own)?;
                let left = left - own.len();
                self.place = if left == 0 {
                    LINE_BEGINS
                } else {
                    Place::Pack { left }
                };
                Ok(rest)
            }
            Place::Other { left } => {
                let passed = left.min(bytes.len());
                let left = left - passed;
                self.place = if left == 0 {
                    LINE_BEGINS
                } else {
                    Place::Other { left }
                };
                Ok(&bytes[passed..])
            }
            Place::Bare => {
                self.scan.feed(bytes)?;
                Ok(&[])
            }
            Place::Over => Err(PackRefusal::Malformed("something behind the pack")),
        }
    }

    /// What follows a line's length.
    fn line(&mut self, digits: [u8; 4]) -> Result<Place, PackRefusal> {
        if digits == *b"PACK" && self.asked && !self.bands {
            self.scan.feed(&digits)?;
            self.pack_began = true;
            return Ok(Place::Bare);
        }
        let text = std::str::from_utf8(&digits).ok();
        let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let length = text.and_then(|text| usize::from_str_radix(text, 16).ok());
        match length {
            // Behind a pack this is the end, elsewhere it separates parts.
            Some(0) if self.pack_began => Ok(Place::Over),
            Some(0) => Ok(LINE_BEGINS),
            Some(length @ 5..) => Ok(Place::Kind { left: length - 4 }),
            Some(_) | None => Err(PackRefusal::Malformed("a line of an impossible length")),
        }
    }

    /// What a line is, by its first byte.
    fn kind(&mut self, first: u8, left: usize) -> Result<Place, PackRefusal> {
        let ended = left == 0;
        match first {
            BAND_PACK if !self.asked || !self.bands => {
                Err(PackRefusal::Malformed("a pack that nobody asked for"))
            }
            BAND_PACK => {
                self.pack_began = true;
                Ok(if ended {
                    LINE_BEGINS
                } else {
                    Place::Pack { left }
                })
            }
            // libgit2 begins to take the pack at an acknowledgement: behind one, there is none.
            _ if self.pack_began && !matches!(first, BAND_PROGRESS | BAND_ERROR) => Err(
                PackRefusal::Malformed("another line in the midst of the pack"),
            ),
            _ => Ok(if ended {
                LINE_BEGINS
            } else {
                Place::Other { left }
            }),
        }
    }
}
