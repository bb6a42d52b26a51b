//! Keeping the number of packs small. Every group of commits adds a pack, libgit2 never packs
//! again, and a repository with thousands of packs is slow for everybody. So once there are some
//! hundreds, the small ones are joined into one, with deltas between the trees.
//!
//! Every object of the joined packs is kept, reachable or not: the repository may be a person's,
//! with stashes and reflogs that we know nothing about.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::GitError;
use crate::open::open_repository;
use crate::write::store;

#[cfg(test)]
mod tests;

/// Packs that are joined at the latest; beyond some hundreds every lookup gets slower.
pub(crate) const PACKS_MAX: usize = 200;

/// Packs from this size on are left alone, so that history is not rewritten again and again.
const JOINED_BYTES_MAX: u64 = 16 << 20;

/// Files beside a pack that mean that somebody counts on it.
const GUARDS: [&str; 4] = ["keep", "promisor", "mtimes", "bitmap"];

/// Joins the small packs when there are at least `packs_max`. Returns whether it did.
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
    if packs.len() < packs_max.max(2) {
        return Ok(false);
    }
    let mut objects = BTreeSet::new();
    for pack in &packs {
        let ids = ids_of_index(&pack.with_extension("idx")).map_err(failed)?;
        objects.extend(ids);
    }
    let objects: Vec<git2::Oid> = objects.into_iter().collect();
    let before = packs_in(&folder).map_err(failed)?;
    store(&repository, &objects)?;
    let after = packs_in(&folder).map_err(failed)?;
    // Without a new pack the old ones already are it (the name is a hash of the content).
    if after.difference(&before).next().is_none() {
        return Ok(false);
    }
    for pack in packs {
        remove_pack(&pack).map_err(failed)?;
    }
    Ok(true)
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

/// The packs that may be joined; none at all where an index over several packs names them.
fn small_packs(folder: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    if folder.join("multi-pack-index").exists() || folder.join("multi-pack-index.d").exists() {
        return Ok(None);
    }
    let mut small = Vec::new();
    for pack in packs_in(folder)? {
        let guarded = GUARDS
            .iter()
            .any(|guard| pack.with_extension(guard).exists());
        let indexed = pack.with_extension("idx").exists();
        if indexed && !guarded && fs::metadata(&pack)?.len() < JOINED_BYTES_MAX {
            small.push(pack);
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
