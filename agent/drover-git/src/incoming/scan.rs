//! Reads a pack as it passes, without keeping it: the header of each object, and as much of a difference as says how
//! large its base and its result are. Content is inflated into a small buffer and thrown away.

use flate2::{Decompress, FlushDecompress, Status};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use super::{PackLimits, PackRefusal, SizeOf, WholeKind};

/// What is inflated at once.
const SCRATCH_BYTES: usize = 32 << 10;

/// `PACK`, the version and the number of objects.
const HEADER_BYTES: usize = 12;

/// The longest size in an object's header and at the start of a difference: nine times seven bits are more than
/// any limit.
const SIZE_DIGITS_MAX: usize = 9;

const ID_BYTES: usize = 20;

type Id = [u8; ID_BYTES];

/// A pack that is half read.
pub(super) struct PackScan {
    limits: PackLimits,
    inflated_max: u64,
    size_of: SizeOf,
    part: Part,
    /// Bytes of the pack that were read.
    position: u64,
    /// Objects that are still to come.
    left: u32,
    inflated: u64,
    inflate: Decompress,
    scratch: Vec<u8>,
    /// Where objects begin, in order. Packs are limited to 2 GiB.
    starts: Vec<u32>,
    /// Those of them that are too large to be anybody's base.
    large: Vec<Large>,
    /// The bases that are named by their id; an object may come after what is based on it.
    named_bases: Vec<Id>,
}

/// An object that is too large to be taken whole; libgit2 writes it to disk as it comes.
struct Large {
    start: u32,
    size: u64,
    /// Known when it has been read to its end.
    id: Option<Id>,
}

/// What the next byte belongs to.
enum Part {
    Header(Gathered<HEADER_BYTES>),
    /// Kind and size of an object.
    Kind(Begun),
    /// How far back the base of a difference begins.
    BaseOffset {
        begun: Begun,
        distance: u64,
        digits: usize,
    },
    BaseId {
        begun: Begun,
        id: Gathered<ID_BYTES>,
    },
    Content(Content),
    Trailer(Gathered<ID_BYTES>),
    Over,
}

/// Bytes of a fixed number, some of them known.
struct Gathered<const N: usize> {
    bytes: [u8; N],
    known: usize,
}

impl<const N: usize> Gathered<N> {
    fn new() -> Self {
        Self {
            bytes: [0; N],
            known: 0,
        }
    }

    /// Takes a byte; returns whether all are known.
    fn take(&mut self, byte: u8) -> bool {
        self.bytes[self.known] = byte;
        self.known += 1;
        self.known == N
    }
}

/// An object's header.
#[derive(Clone, Copy, Default)]
struct Begun {
    start: u64,
    kind: u8,
    size: u64,
    digits: usize,
}

/// What is inflated.
struct Content {
    size: u64,
    seen: u64,
    delta: Option<DeltaSizes>,
    /// Of an object that is too large to be a base: what its id is made of.
    hash: Option<Box<Context>>,
}

/// The two numbers at the start of a difference: the sizes of its base and its result.
#[derive(Default)]
struct DeltaSizes {
    sizes: [u64; 2],
    known: usize,
    digits: usize,
}

const COMMIT: u8 = 1;
const TREE: u8 = 2;
const BLOB: u8 = 3;
const TAG: u8 = 4;
const DELTA_BY_OFFSET: u8 = 6;
const DELTA_BY_ID: u8 = 7;

fn malformed<T>(why: &'static str) -> Result<T, PackRefusal> {
    Err(PackRefusal::Malformed(why))
}

impl PackScan {
    pub(super) fn new(limits: PackLimits, inflated_max: u64, size_of: SizeOf) -> Self {
        Self {
            limits,
            inflated_max,
            size_of,
            part: Part::Header(Gathered::new()),
            position: 0,
            left: 0,
            inflated: 0,
            inflate: Decompress::new(true),
            scratch: vec![0; SCRATCH_BYTES],
            starts: Vec::new(),
            large: Vec::new(),
            named_bases: Vec::new(),
        }
    }

    /// Tells whether the pack was read to its end.
    #[cfg(test)]
    pub(super) fn is_over(&self) -> bool {
        matches!(self.part, Part::Over)
    }

    /// Returns how many objects have begun.
    #[cfg(test)]
    pub(super) fn objects(&self) -> usize {
        self.starts.len()
    }

    /// Reads on.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), PackRefusal> {
        let mut rest = bytes;
        while let Some((first, behind)) = rest.split_first() {
            let part = std::mem::replace(&mut self.part, Part::Over);
            let taken = match part {
                Part::Content(content) => self.content(content, rest)?,
                Part::Over => return malformed("something behind the end of the pack"),
                other => {
                    self.part = self.byte(other, *first)?;
                    rest.len() - behind.len()
                }
            };
            self.position += taken as u64;
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Takes one byte of a part that is read byte by byte.
    fn byte(&mut self, part: Part, byte: u8) -> Result<Part, PackRefusal> {
        match part {
            Part::Header(mut header) => {
                if !header.take(byte) {
                    return Ok(Part::Header(header));
                }
                self.header(header.bytes)
            }
            Part::Kind(begun) => self.kind(begun, byte),
            Part::BaseOffset {
                begun,
                distance,
                digits,
            } => self.base_offset(begun, distance, digits, byte),
            Part::BaseId { begun, mut id } => {
                if !id.take(byte) {
                    return Ok(Part::BaseId { begun, id });
                }
                if let Some(size) = (self.size_of)(&id.bytes) {
                    self.check_delta(size)?;
                }
                self.named_bases.push(id.bytes);
                self.begin(begun)
            }
            Part::Trailer(mut checksum) => {
                if !checksum.take(byte) {
                    return Ok(Part::Trailer(checksum));
                }
                self.check_named_bases()?;
                Ok(Part::Over)
            }
            // These two are not read byte by byte.
            Part::Content(_) | Part::Over => malformed("a pack that is read out of order"),
        }
    }

    fn header(&mut self, header: [u8; HEADER_BYTES]) -> Result<Part, PackRefusal> {
        let [p, a, c, k, rest @ ..] = header;
        let [v0, v1, v2, v3, n0, n1, n2, n3] = rest;
        let version = u32::from_be_bytes([v0, v1, v2, v3]);
        if [p, a, c, k] != *b"PACK" || !matches!(version, 2 | 3) {
            return malformed("something else where the pack begins");
        }
        self.left = u32::from_be_bytes([n0, n1, n2, n3]);
        if self.left > self.limits.objects {
            return Err(PackRefusal::Objects {
                announced: self.left,
                limit: self.limits.objects,
            });
        }
        Ok(self.next())
    }

    /// What comes after an object, or after the header.
    fn next(&self) -> Part {
        if self.left == 0 {
            Part::Trailer(Gathered::new())
        } else {
            Part::Kind(Begun::default())
        }
    }

    fn kind(&mut self, mut begun: Begun, byte: u8) -> Result<Part, PackRefusal> {
        if begun.digits == 0 {
            let Ok(start) = u32::try_from(self.position) else {
                return malformed("a pack of more than 4 GiB");
            };
            begun.start = self.position;
            begun.kind = byte >> 4 & 7;
            begun.size = u64::from(byte & 15);
            self.starts.push(start);
        } else {
            begun.size |= u64::from(byte & 127) << (7 * begun.digits - 3);
        }
        begun.digits += 1;
        if begun.digits > SIZE_DIGITS_MAX {
            return malformed("an object of an impossible size");
        }
        if byte & 128 != 0 {
            return Ok(Part::Kind(begun));
        }
        self.check_size(begun)?;
        match begun.kind {
            COMMIT | TREE | BLOB | TAG => self.begin(begun),
            DELTA_BY_OFFSET => Ok(Part::BaseOffset {
                begun,
                distance: 0,
                digits: 0,
            }),
            DELTA_BY_ID => Ok(Part::BaseId {
                begun,
                id: Gathered::new(),
            }),
            _ => malformed("an object of an unknown kind"),
        }
    }

    fn check_size(&self, begun: Begun) -> Result<(), PackRefusal> {
        let Begun { kind, size, .. } = begun;
        let whole = match kind {
            COMMIT => Some(WholeKind::Commit),
            TREE => Some(WholeKind::Tree),
            TAG => Some(WholeKind::Tag),
            _ => None,
        };
        let limit = self.limits.whole_bytes;
        match whole {
            Some(kind) if size > limit => Err(PackRefusal::Whole { kind, size, limit }),
            None if kind != BLOB => self.check_delta(size),
            Some(_) | None => Ok(()),
        }
    }

    fn check_delta(&self, size: u64) -> Result<(), PackRefusal> {
        let limit = self.limits.whole_bytes;
        if size > limit {
            return Err(PackRefusal::Delta { size, limit });
        }
        Ok(())
    }

    fn base_offset(
        &mut self,
        begun: Begun,
        distance: u64,
        digits: usize,
        byte: u8,
    ) -> Result<Part, PackRefusal> {
        // Each further digit adds one, so that no number has two spellings.
        let before = if digits == 0 { 0 } else { distance + 1 };
        let distance = before << 7 | u64::from(byte & 127);
        // Also keeps the shift from losing anything.
        if distance > begun.start {
            return malformed("a base before the start of the pack");
        }
        if byte & 128 != 0 {
            return Ok(Part::BaseOffset {
                begun,
                distance,
                digits: digits + 1,
            });
        }
        let base = u32::try_from(begun.start - distance).unwrap_or(u32::MAX);
        // Elsewhere could be bytes that were only ever looked at as content.
        if distance == 0 || self.starts.binary_search(&base).is_err() {
            return malformed("a base that is no object");
        }
        if let Ok(index) = self.large.binary_search_by_key(&base, |large| large.start) {
            self.check_delta(self.large[index].size)?;
        }
        self.begin(begun)
    }

    fn begin(&mut self, begun: Begun) -> Result<Part, PackRefusal> {
        let delta = matches!(begun.kind, DELTA_BY_OFFSET | DELTA_BY_ID);
        let mut hash = None;
        if begun.size > self.limits.whole_bytes {
            let Ok(start) = u32::try_from(begun.start) else {
                return malformed("a pack of more than 4 GiB");
            };
            self.large.push(Large {
                start,
                size: begun.size,
                id: None,
            });
            let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
            context.update(format!("blob {}\0", begun.size).as_bytes());
            hash = Some(Box::new(context));
        }
        self.inflate.reset(true);
        Ok(Part::Content(Content {
            size: begun.size,
            seen: 0,
            delta: delta.then(DeltaSizes::default),
            hash,
        }))
    }

    /// Inflates what is there of an object. Returns how many bytes it took.
    fn content(&mut self, mut content: Content, bytes: &[u8]) -> Result<usize, PackRefusal> {
        let mut taken = 0;
        loop {
            let (read, made) = (self.inflate.total_in(), self.inflate.total_out());
            let outcome =
                self.inflate
                    .decompress(&bytes[taken..], &mut self.scratch, FlushDecompress::None);
            let Ok(status) = outcome else {
                return malformed("an object that cannot be inflated");
            };
            let read = self.inflate.total_in() - read;
            let made = self.inflate.total_out() - made;
            taken += usize::try_from(read).unwrap_or(usize::MAX);
            self.made(&mut content, usize::try_from(made).unwrap_or(usize::MAX))?;
            if status == Status::StreamEnd {
                self.end(content)?;
                self.part = self.next();
                return Ok(taken);
            }
            if read == 0 && made == 0 {
                if taken < bytes.len() {
                    return malformed("an object that cannot be inflated");
                }
                self.part = Part::Content(content);
                return Ok(taken);
            }
        }
    }

    /// Looks at what was inflated just now.
    fn made(&mut self, content: &mut Content, count: usize) -> Result<(), PackRefusal> {
        let made = &self.scratch[..count];
        content.seen += count as u64;
        self.inflated += count as u64;
        if content.seen > content.size {
            return malformed("an object that is longer than it says");
        }
        if self.inflated > self.inflated_max {
            return Err(PackRefusal::Inflated {
                limit: self.inflated_max,
            });
        }
        if let Some(hash) = &mut content.hash {
            hash.update(made);
        }
        let Some(sizes) = &mut content.delta else {
            return Ok(());
        };
        for byte in made {
            if sizes.known == sizes.sizes.len() {
                break;
            }
            let limit = self.limits.whole_bytes;
            match sizes.take(*byte)? {
                Some(size) if size > limit => return Err(PackRefusal::Delta { size, limit }),
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, content: Content) -> Result<(), PackRefusal> {
        if content.seen != content.size {
            return malformed("an object that is shorter than it says");
        }
        if content.delta.is_some_and(|sizes| sizes.known < 2) {
            return malformed("a difference without sizes");
        }
        if let Some(hash) = content.hash {
            let id = Id::try_from(hash.finish().as_ref()).ok();
            if let Some(large) = self.large.last_mut() {
                large.id = id;
            }
        }
        self.left -= 1;
        Ok(())
    }

    /// Packs of Git's name few bases by id, and what inflates to many large objects has no room for more.
    fn check_named_bases(&self) -> Result<(), PackRefusal> {
        let is_named = |large: &&Large| large.id.is_some_and(|id| self.named_bases.contains(&id));
        match self.large.iter().find(is_named) {
            Some(large) => self.check_delta(large.size),
            None => Ok(()),
        }
    }
}

impl DeltaSizes {
    /// Takes a byte; returns the number that it ends.
    fn take(&mut self, byte: u8) -> Result<Option<u64>, PackRefusal> {
        if self.digits == SIZE_DIGITS_MAX {
            return malformed("a difference of an impossible size");
        }
        let size = &mut self.sizes[self.known];
        *size |= u64::from(byte & 127) << (7 * self.digits);
        self.digits += 1;
        if byte & 128 != 0 {
            return Ok(None);
        }
        self.known += 1;
        self.digits = 0;
        Ok(Some(*size))
    }
}
