//! Addresses: each instance has one of its own in 127.64.0.0/10, so that every instance of a group
//! can listen on the same port. All of 127.0.0.0/8 is local without any configuration on Linux.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// The first address: 127.64.0.0.
const FIRST: u32 = 0x7f40_0000;
/// How many there are.
const COUNT: u32 = 1 << 22;

/// Takes an address for the instance that will be in `folder`: the one that its token leads to, or
/// the next free one. The caller holds the lock of `base`.
///
/// A claim is a link to the folder, so that a claim whose folder is gone is known to be stale.
pub(crate) fn claim(base: &Path, folder: &Path, token: &str) -> io::Result<String> {
    let hash = Sha256::digest(token.as_bytes());
    let start = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    for step in 0..COUNT {
        let number = start.wrapping_add(step) % COUNT;
        // Some programs take .0 and .255 for a network and a broadcast.
        if matches!(number & 0xff, 0 | 0xff) {
            continue;
        }
        let address = Ipv4Addr::from_bits(FIRST + number).to_string();
        let link = base.join(".addresses").join(&address);
        match symlink(folder, &link) {
            Ok(()) => return Ok(address),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        // `exists` follows the link: false when the folder behind it is gone.
        if fs::read_link(&link)? == folder || !link.exists() {
            fs::remove_file(&link)?;
            symlink(folder, &link)?;
            return Ok(address);
        }
    }
    Err(io::Error::new(
        ErrorKind::StorageFull,
        "no free address in 127.64.0.0/10",
    ))
}

/// Gives the address back, if `folder` has it.
pub(crate) fn release(base: &Path, address: &str, folder: &Path) {
    let link = base.join(".addresses").join(address);
    if fs::read_link(&link).is_ok_and(|target| target == folder) {
        // A claim that stays behind is stale as soon as the folder is gone.
        let _ = fs::remove_file(link);
    }
}

#[cfg(test)]
mod tests;
