//! How much room there is, measured: the file system's free space and what the store really takes.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a buffer may hold however little is free: some hours of fixes. The store has taken as much room already.
const LEAST_BYTES: u64 = 256 << 10;

/// Bytes that an unprivileged process may still write on the file system of `path`.
///
/// # Errors
/// When the file system does not say.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(path)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Bytes that a folder's files take on flash: their blocks, not their lengths, which may have holes.
///
/// # Errors
/// When the folder cannot be read.
pub fn taken_bytes(directory: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { taken_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}

/// What the buffer may hold now. While less is free than there should be, it stays at what it holds: data that is
/// given up leaves room within the store's file, which seldom shrinks, so giving up more would free nothing.
#[must_use]
pub(super) const fn bound(max_bytes: u64, held_bytes: u64, free: u64, min_free: u64) -> u64 {
    if free >= min_free {
        return max_bytes;
    }
    let steady = if held_bytes > LEAST_BYTES { held_bytes } else { LEAST_BYTES };
    if steady < max_bytes { steady } else { max_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_little_free_the_buffer_keeps_its_size_and_never_exceeds_its_bound() {
        let (mib, max) = (1 << 20, 256 << 20);
        assert_eq!(bound(max, 10 * mib, 64 * mib, 64 * mib), max);
        assert_eq!(bound(max, 10 * mib, 64 * mib - 1, 64 * mib), 10 * mib);
        assert_eq!(bound(max, 0, 0, 64 * mib), LEAST_BYTES);
        assert_eq!(bound(mib, 2 * mib, 0, 64 * mib), mib);
    }

    #[test]
    fn free_and_taken_are_read_from_the_file_system() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(folder.path()).unwrap() > 0);
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/file"), vec![1; 100_000]).unwrap();
        let taken = taken_bytes(folder.path()).unwrap();
        assert!((100_000..200_000).contains(&taken) || taken == 0, "{taken}");
        // A file with a hole takes less than its length.
        fs::File::create(folder.path().join("hole")).unwrap().set_len(1 << 30).unwrap();
        assert!(taken_bytes(folder.path()).unwrap() < 1 << 29);
    }
}
