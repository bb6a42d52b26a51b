//! Keeping packs few and small. Every group of commits adds a pack, in which each version of a file is told
//! by its difference from the next. libgit2 never packs again, and a repository with thousands of packs
//! is slow for everybody. A new pack is large, too: it has whole folders and documents, since what they
//! were before is in another one. So now and then the small ones are joined.
//!
//! Every object of the joined packs is kept, reachable or not: the repository may be a person's,
//! with stashes and reflogs that we know nothing about.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use git2::{Indexer, Repository};

use crate::error::GitError;
use crate::open::open_repository;

mod chains;
mod delta;
mod source;
mod writer;

pub(crate) use source::Source;

#[cfg(test)]
mod tests;

/// Packs that are joined at the latest; beyond some hundreds every lookup gets slower.
const PACKS_MAX: usize = 200;

/// Packs from this size on are left alone, so that history is not rewritten again and again: joining as much
/// takes some six seconds of a core.
const JOINED_BYTES_MAX: u64 = 8 << 20;

/// Bytes of new packs that are not worth joining by themselves.
const NEW_BYTES_MIN: u64 = 1 << 20;

/// New packs are joined with the largest when they have this part of its size: what is rewritten stays in
/// proportion to what is new, and what is not joined yet, to the rest.
const NEW_PART: u64 = 4;

/// Files beside a pack that mean that somebody counts on it.
const GUARDS: [&str; 4] = ["keep", "promisor", "mtimes", "bitmap"];

/// Returns whether there are [`PACKS_MAX`] small packs, or joining them makes the repository much smaller.
pub(crate) fn are_to_be_joined(dir: &Path) -> Result<bool, GitError> {
    let folder = folder_of(&open_repository(dir)?);
    let packs = small_packs(&folder).map_err(|source| GitError::Io {
        path: folder,
        source,
    })?;
    Ok(packs.len() >= 2 && (packs.len() >= PACKS_MAX || is_worth_it(&packs)))
}

fn folder_of(repository: &Repository) -> PathBuf {
    repository.commondir().join("objects").join("pack")
}

/// Small packs and the one that has all that is in them.
pub(crate) struct Joined {
    pack: PathBuf,
    small: Vec<PathBuf>,
}

impl Joined {
    /// Removes the small packs.
    ///
    /// Safe beside other readers and writers: the new pack is complete before an old one goes, and
    /// readers that miss an object look again.
    pub(crate) fn replace(self) -> Result<(), GitError> {
        for small in self.small {
            // The name is a hash of the content: a pack that is the new one already stays.
            if small != self.pack {
                remove_pack(&small).map_err(|source| GitError::Io {
                    path: small,
                    source,
                })?;
            }
        }
        Ok(())
    }
}

/// Writes what is in the small packs as one, which is on disk then.
pub(crate) fn join_small_packs(dir: &Path) -> Result<Joined, GitError> {
    let folder = folder_of(&open_repository(dir)?);
    let failed = |source| GitError::Io {
        path: folder.clone(),
        source,
    };
    let packs = small_packs(&folder).map_err(failed)?;
    let mut objects = BTreeSet::new();
    for (pack, _) in &packs {
        let ids = ids_of_index(&pack.with_extension("idx")).map_err(failed)?;
        objects.extend(ids);
    }
    let joined = store(Source::closing(dir)?, &objects)?;
    let known = ids_of_index(&joined.with_extension("idx")).map_err(failed)?;
    if !known
        .into_iter()
        .collect::<BTreeSet<_>>()
        .is_superset(&objects)
    {
        remove_pack(&joined).map_err(failed)?;
        return Err(failed(io::Error::other("the joined pack lacks objects")));
    }
    // What goes is the only other copy.
    make_durable(&joined)?;
    Ok(Joined {
        pack: joined,
        small: packs.into_iter().map(|(pack, _)| pack).collect(),
    })
}

/// Returns whether the packs beside the largest are many bytes.
fn is_worth_it(packs: &[(PathBuf, u64)]) -> bool {
    let sizes = || packs.iter().map(|(_, size)| *size);
    let largest = sizes().max().unwrap_or(0);
    let new = sizes().sum::<u64>() - largest;
    new >= NEW_BYTES_MIN.max(largest / NEW_PART)
}

/// Writes exactly these objects, of which there are some, as one pack with its index, and returns where.
pub(crate) fn store(
    mut source: Source<'_>,
    objects: &BTreeSet<git2::Oid>,
) -> Result<PathBuf, GitError> {
    let broken = |error| GitError::local("write a pack", error);
    let folder = folder_of(source.repository()?);
    let chains = chains::chains(&mut source, objects)?;
    // Reads back every object that it is given, and names it by what it then is.
    let mut indexer = Indexer::new(None, &folder, 0, false).map_err(broken)?;
    writer::write(&mut source, &chains, &mut indexer)?;
    let name = indexer.commit().map_err(broken)?;
    let pack = folder.join(format!("pack-{name}.pack"));
    Ok(pack)
}

/// Returns when a pack is on disk.
pub(crate) fn make_durable(pack: &Path) -> Result<(), GitError> {
    let folder = pack.parent().unwrap_or(Path::new("."));
    for path in [pack, &pack.with_extension("idx"), folder] {
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|source| GitError::Io {
            path: path.to_owned(),
            source,
        })?;
    }
    Ok(())
}

fn packs_in(folder: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "pack")
        {
            found.insert(path);
        }
    }
    Ok(found)
}

/// The packs that may be joined, with their sizes; none at all where an index over several packs names them.
fn small_packs(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    if folder.join("multi-pack-index").exists() || folder.join("multi-pack-index.d").exists() {
        return Ok(Vec::new());
    }
    let mut small = Vec::new();
    for pack in packs_in(folder)? {
        let guarded = GUARDS
            .iter()
            .any(|guard| pack.with_extension(guard).exists());
        let indexed = pack.with_extension("idx").exists();
        let size = fs::metadata(&pack)?.len();
        if indexed && !guarded && size < JOINED_BYTES_MAX {
            small.push((pack, size));
        }
    }
    Ok(small)
}

/// Removes a pack; the index goes first, so that no reader finds an entry without its pack.
fn remove_pack(pack: &Path) -> io::Result<()> {
    for extension in ["idx", "rev", "pack"] {
        match fs::remove_file(pack.with_extension(extension)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // Somebody else collected garbage at the same time.
            _ => {}
        }
    }
    Ok(())
}

/// Reads the object ids of a version 2 pack index: magic, version, 256 counts, then the ids.
fn ids_of_index(path: &Path) -> io::Result<Vec<git2::Oid>> {
    const HEADER: usize = 8;
    const COUNTS: usize = 256 * 4;
    const ID: usize = 20;
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "not a version 2 pack index");
    let bytes = fs::read(path)?;
    if !bytes.starts_with(b"\xfftOc\x00\x00\x00\x02") {
        return Err(broken());
    }
    let last = bytes
        .get(HEADER + COUNTS - 4..HEADER + COUNTS)
        .and_then(|count| <[u8; 4]>::try_from(count).ok())
        .ok_or_else(broken)?;
    let count = u32::from_be_bytes(last) as usize;
    let ids = bytes
        .get(HEADER + COUNTS..)
        .and_then(|rest| rest.get(..count.checked_mul(ID)?))
        .ok_or_else(broken)?;
    ids.chunks_exact(ID)
        .map(|id| git2::Oid::from_bytes(id).map_err(|_| broken()))
        .collect()
}
