//! Writes a pack in which each object is told by its difference from the next newer version of the same
//! path. libgit2's own packs choose by size, name their bases by id, and write a difference only where it
//! is less than half: a state branch takes half as much again with them, and much more once there are
//! thousands of versions of about the same size.

use std::collections::HashMap;
use std::io::{self, Write};
use std::rc::Rc;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use git2::{ObjectType, Oid};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use super::chains::{Chain, Family};
use super::delta;
use super::source::Source;
use crate::error::GitError;

/// Versions until one that is told by its difference from the one as many versions newer. Short, and
/// folders with many entries cost more; long, and the chains to be followed are.
const STRIDE: usize = 40;

/// Versions until one stands for itself. With [`STRIDE`] and the first of a family this keeps to the 50
/// steps that Git allows by default: longer chains are cut when somebody collects garbage.
const WHOLE: usize = 400;

/// An object that another one is told by.
#[derive(Clone)]
struct Base {
    data: Rc<Vec<u8>>,
    offset: u64,
}

/// Writes the objects of chains as a pack.
pub(super) fn write(
    source: &mut Source<'_>,
    chains: &[Chain],
    out: &mut dyn Write,
) -> Result<(), GitError> {
    let count = chains
        .iter()
        .map(|chain| chain.objects.len())
        .sum::<usize>();
    let mut pack = Pack {
        out,
        sum: Context::new(&SHA1_FOR_LEGACY_USE_ONLY),
        written: 0,
    };
    let mut header = b"PACK\0\0\0\x02".to_vec();
    header.extend_from_slice(&(count as u32).to_be_bytes());
    pack.put(&header)?;
    let mut families: HashMap<&Family, (Oid, u64)> = HashMap::new();
    for chain in chains {
        let family = chain.family.as_ref();
        let first = family.and_then(|family| families.get(family)).copied();
        let offset = pack.chain(source, chain, first)?;
        if let (Some(family), Some(id)) = (family, chain.objects.first()) {
            families.entry(family).or_insert((*id, offset));
        }
    }
    let sum = pack.sum.clone().finish();
    pack.put(sum.as_ref())
}

struct Pack<'w> {
    out: &'w mut dyn Write,
    sum: Context,
    written: u64,
}

impl Pack<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), GitError> {
        self.out.write_all(bytes).map_err(failed)?;
        self.sum.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes a chain, and returns where its first object is. `alike` is the first of the family.
    fn chain(
        &mut self,
        source: &mut Source<'_>,
        chain: &Chain,
        alike: Option<(Oid, u64)>,
    ) -> Result<u64, GitError> {
        let begin = self.written;
        let (mut newer, mut stride): (Option<Base>, Option<Base>) = (None, None);
        for (position, id) in chain.objects.iter().enumerate() {
            let (kind, data) = source.read(*id)?;
            let base = match (position % WHOLE, position % STRIDE) {
                (0, _) => match alike {
                    Some((id, offset)) => Some(Base {
                        data: Rc::new(source.read(id)?.1),
                        offset,
                    }),
                    None => None,
                },
                (_, 0) => stride.take(),
                (_, _) => newer.take(),
            };
            let offset = self.written;
            self.object(kind, &data, base.as_ref())?;
            let data = Rc::new(data);
            newer = Some(Base { data, offset });
            if position % STRIDE == 0 {
                stride.clone_from(&newer);
            }
        }
        Ok(begin)
    }

    /// Writes an object in the shorter of the two ways.
    fn object(
        &mut self,
        kind: ObjectType,
        data: &[u8],
        base: Option<&Base>,
    ) -> Result<(), GitError> {
        let delta = base.and_then(|base| {
            let delta = delta::encode(&base.data, data)?;
            Some((base.offset, delta))
        });
        let small = delta.as_ref().is_some_and(|it| it.1.len() < data.len() / 2);
        let whole = if small { None } else { Some(deflated(data)?) };
        if let Some((base, delta)) = delta {
            const OFFSET_DELTA: u8 = 6;
            let packed = deflated(&delta)?;
            if whole
                .as_ref()
                .is_none_or(|whole| packed.len() < whole.len())
            {
                let mut header = header(OFFSET_DELTA, delta.len());
                header.extend(back(self.written - base));
                self.put(&header)?;
                return self.put(&packed);
            }
        }
        let kind = match kind {
            ObjectType::Commit => 1,
            ObjectType::Tree => 2,
            ObjectType::Blob => 3,
            ObjectType::Tag => 4,
            ObjectType::Any => unreachable!("an object has a type of its own"),
        };
        self.put(&header(kind, data.len()))?;
        self.put(&whole.map_or_else(|| deflated(data), Ok)?)
    }
}

fn deflated(bytes: &[u8]) -> Result<Vec<u8>, GitError> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).map_err(failed)?;
    encoder.finish().map_err(failed)
}

/// Kind and size: four bits of it, then seven a byte.
fn header(kind: u8, size: usize) -> Vec<u8> {
    let mut bytes = vec![kind << 4 | (size & 0x0f) as u8];
    let mut size = size >> 4;
    while size > 0 {
        *bytes.last_mut().expect("there is one") |= 0x80;
        bytes.push((size & 0x7f) as u8);
        size >>= 7;
    }
    bytes
}

/// How far before it the base begins: seven bits a byte, the highest first, and no number in two ways.
fn back(mut distance: u64) -> Vec<u8> {
    let mut bytes = vec![(distance & 0x7f) as u8];
    loop {
        distance >>= 7;
        if distance == 0 {
            break;
        }
        distance -= 1;
        bytes.push(0x80 | (distance & 0x7f) as u8);
    }
    bytes.reverse();
    bytes
}

fn failed(source: io::Error) -> GitError {
    GitError::Io {
        path: "objects/pack".into(),
        source,
    }
}
