//! Space on file systems.

use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// Size of a file system and what is left of it for ordinary users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Size in bytes.
    pub total_bytes: u64,
    /// Left in bytes.
    pub free_bytes: u64,
    /// All inodes; 0 where the file system makes them as needed.
    pub total_inodes: u64,
    /// Inodes left.
    pub free_inodes: u64,
}

/// The file system that `path` is on.
///
/// # Errors
/// When the path does not exist or cannot be reached.
pub fn space(path: &Path) -> io::Result<Space> {
    let stat = statvfs(path)?;
    let block = stat.fragment_size();
    Ok(Space {
        total_bytes: stat.blocks() * block,
        free_bytes: stat.blocks_available() * block,
        total_inodes: stat.files(),
        free_inodes: stat.files_available(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_a_size_and_something_free() {
        let space = space(Path::new("/")).unwrap();
        assert!(space.total_bytes > space.free_bytes && space.free_bytes > 0);
    }

    #[test]
    fn a_path_that_does_not_exist_is_an_error() {
        assert_eq!(space(Path::new("/no/such/path")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
