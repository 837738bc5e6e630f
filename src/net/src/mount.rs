//! Mounts: making them, taking them away, and finding what is mounted where.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::{Error, Result};

/// A line of `/proc/self/mountinfo` (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Part of the file system that is mounted.
    pub root: PathBuf,
    /// Where.
    pub target: PathBuf,
    /// Options of this mount, as `rw,nosuid`.
    pub options: String,
    /// Type, as `ext4`.
    pub fs_type: String,
    /// Device or name.
    pub source: String,
    /// Options of the file system, as the controllers of a cgroup hierarchy.
    pub super_options: String,
}

/// All mounts of this process's mount namespace, in the order they were made.
///
/// # Errors
/// When /proc is not mounted.
pub fn list() -> Result<Vec<Mount>> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs::read(path).map_err(|e| Error::file("read", path, e))?;
    Ok(text.split(|byte| *byte == b'\n').filter_map(parse).collect())
}

/// Mounts at or below a folder, the last made first: the order to unmount them in.
///
/// # Errors
/// As [`list`].
pub fn list_under(folder: &Path) -> Result<Vec<Mount>> {
    let mut found = list()?;
    found.retain(|mount| mount.target.starts_with(folder));
    found.reverse();
    Ok(found)
}

/// Whether something is mounted exactly here.
///
/// # Errors
/// As [`list`].
pub fn is_mount_point(path: &Path) -> Result<bool> {
    Ok(list()?.iter().any(|mount| mount.target == path))
}

/// How a bind mount shall be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bind {
    /// No writing through this mount.
    pub read_only: bool,
    /// With all that is mounted below the source.
    pub recursive: bool,
}

/// Shows `source` (a folder or file) at `target`, which must exist; private to this mount namespace's peers.
///
/// # Errors
/// When either path is missing or privilege lacks.
pub fn bind(source: &Path, target: &Path, how: Bind) -> Result<()> {
    let failed = |e: Errno| Error::file("mount at", target, e);
    let deep = if how.recursive { MsFlags::MS_REC } else { MsFlags::empty() };
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | deep, None::<&str>).map_err(failed)?;
    if how.read_only {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        if let Err(error) = mount(None::<&str>, target, None::<&str>, flags, None::<&str>) {
            // Better no mount than one that can be written to.
            let _ = umount2(target, MntFlags::MNT_DETACH);
            return Err(failed(error));
        }
    }
    Ok(())
}

/// A file system in memory at `target`, which must exist. Without a size limit it may use half of the memory.
///
/// # Errors
/// When the folder is missing or privilege lacks.
pub fn tmpfs(target: &Path, size_bytes: Option<u64>, mode: u32) -> Result<()> {
    let mut options = format!("mode={mode:o}");
    if let Some(size) = size_bytes {
        options.push_str(&format!(",size={size}"));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(|e| Error::file("mount at", target, e))
}

/// Unmounts what is at `path`, also while it is in use. False when nothing is mounted there.
///
/// # Errors
/// When privilege lacks.
pub fn unmount(path: &Path) -> Result<bool> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(false),
        Err(error) => Err(Error::file("unmount", path, error)),
    }
}

/// Unmounts everything at and below a folder; gives how many there were.
///
/// # Errors
/// The first failure, after all were tried.
pub fn unmount_under(folder: &Path) -> Result<usize> {
    let mut first = None;
    let mut count = 0;
    for found in list_under(folder)? {
        match unmount(&found.target) {
            Ok(true) => count += 1,
            Ok(false) => {}
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(count), Err)
}

/// Unmounts everything below a folder and removes it. Nothing is removed while anything is still mounted there, so
/// that the content of a volume is never taken for a leftover.
///
/// # Errors
/// When something cannot be unmounted or removed; a missing folder is a success.
pub fn remove_tree(folder: &Path) -> Result<()> {
    unmount_under(folder)?;
    if let Some(left) = list_under(folder)?.first() {
        return Err(Error::file("unmount", &left.target, Errno::EBUSY));
    }
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::file("remove", folder, error)),
    }
}

fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = unescape(fields.nth(3)?);
    let target = unescape(fields.next()?);
    let options = text(fields.next()?);
    // Optional fields end with a single hyphen.
    fields.find(|field| *field == b"-")?;
    let fs_type = text(fields.next()?);
    let source = text(fields.next()?);
    let super_options = fields.next().map(text).unwrap_or_default();
    Some(Mount { root, target, options, fs_type, source, super_options })
}

fn text(field: &[u8]) -> String {
    unescape(field).to_string_lossy().into_owned()
}

/// Undoes the kernel's `\040` for space and the like.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_with_a_space_is_read_as_it_is() {
        let line = b"36 35 98:0 /a /mnt/my\\040disk rw,noatime shared:1 master:2 - ext4 /dev/sda1 rw,errors=continue";
        let mount = parse(line).unwrap();
        assert_eq!(mount.target, Path::new("/mnt/my disk"));
        assert_eq!((mount.fs_type.as_str(), mount.super_options.as_str()), ("ext4", "rw,errors=continue"));
        assert_eq!(parse(b""), None);
    }
}
