//! Keeping packs few and small. Every group of commits adds a pack, libgit2 never packs again, and a
//! repository with thousands of packs is slow for everybody. A new pack is large, too: it has whole
//! folders and documents, since what they were before is in another one. So now and then the small ones
//! are joined into one, in which each version is told by its difference from the next.
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
mod writer;

#[cfg(test)]
mod tests;

/// Packs that are joined at the latest; beyond some hundreds every lookup gets slower.
pub(crate) const PACKS_MAX: usize = 200;

/// Packs from this size on are left alone, so that history is not rewritten again and again: joining as much
/// takes some six seconds, in which nothing is committed.
const JOINED_BYTES_MAX: u64 = 8 << 20;

/// Bytes of new packs that are not worth joining by themselves.
const NEW_BYTES_MIN: u64 = 1 << 20;

/// New packs are joined with the largest when they have this part of its size: what is rewritten stays in
/// proportion to what is new, and what is not joined yet, to the rest.
const NEW_PART: u64 = 4;

/// Files beside a pack that mean that somebody counts on it.
const GUARDS: [&str; 4] = ["keep", "promisor", "mtimes", "bitmap"];

/// Joins the small packs when there are at least `packs_max`, or when that makes the repository much
/// smaller. Returns whether it did.
///
/// Safe beside other readers and writers: the new pack is complete before an old one goes, and
/// readers that miss an object look again.
pub(crate) fn join_small_packs(dir: &Path, packs_max: usize) -> Result<bool, GitError> {
    let repository = open_repository(dir)?;
    let folder = repository.commondir().join("objects").join("pack");
    let failed = |source| GitError::Io {
        path: folder.clone(),
        source,
    };
    let Some(packs) = small_packs(&folder).map_err(failed)? else {
        return Ok(false);
    };
    if packs.len() < 2 || packs.len() < packs_max && !is_worth_it(&packs) {
        return Ok(false);
    }
    let mut objects = BTreeSet::new();
    for (pack, _) in &packs {
        let ids = ids_of_index(&pack.with_extension("idx")).map_err(failed)?;
        objects.extend(ids);
    }
    let joined = join(&repository, &folder, &objects)?;
    let known = ids_of_index(&joined.with_extension("idx")).map_err(failed)?;
    if !known
        .into_iter()
        .collect::<BTreeSet<_>>()
        .is_superset(&objects)
    {
        remove_pack(&joined).map_err(failed)?;
        return Err(failed(io::Error::other("the joined pack lacks objects")));
    }
    make_durable(&folder, &joined).map_err(failed)?;
    for (pack, _) in packs {
        // The name is a hash of the content: a pack that is this one already stays.
        if pack != joined {
            remove_pack(&pack).map_err(failed)?;
        }
    }
    Ok(true)
}

/// Returns whether the packs beside the largest are many bytes.
fn is_worth_it(packs: &[(PathBuf, u64)]) -> bool {
    let sizes = || packs.iter().map(|(_, size)| *size);
    let largest = sizes().max().unwrap_or(0);
    let new = sizes().sum::<u64>() - largest;
    new >= NEW_BYTES_MIN.max(largest / NEW_PART)
}

/// Writes exactly these objects as one pack with its index, and returns where.
fn join(
    repository: &Repository,
    folder: &Path,
    objects: &BTreeSet<git2::Oid>,
) -> Result<PathBuf, GitError> {
    let broken = |error| GitError::local("join packs", error);
    let chains = chains::chains(repository, objects)?;
    let odb = repository.odb().map_err(broken)?;
    // Reads back every object that it is given, and names it by what it then is.
    let mut indexer = Indexer::new(None, folder, 0, false).map_err(broken)?;
    writer::write(&odb, &chains, &mut indexer)?;
    let name = indexer.commit().map_err(broken)?;
    Ok(folder.join(format!("pack-{name}.pack")))
}

/// The packs that go are the only other copy.
fn make_durable(folder: &Path, pack: &Path) -> io::Result<()> {
    File::open(pack)?.sync_all()?;
    File::open(pack.with_extension("idx"))?.sync_all()?;
    File::open(folder)?.sync_all()
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
fn small_packs(folder: &Path) -> io::Result<Option<Vec<(PathBuf, u64)>>> {
    if folder.join("multi-pack-index").exists() || folder.join("multi-pack-index.d").exists() {
        return Ok(None);
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
    Ok(Some(small))
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
