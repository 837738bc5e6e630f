//! Kernel settings by dotted name.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// File of a setting. Dots separate; a dot inside a link's name is written as a slash (`net.ipv4.conf.eth0/1.forwarding`).
fn path(name: &str) -> PathBuf {
    let swapped = name.chars().map(|c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    });
    Path::new("/proc/sys").join(swapped.collect::<String>())
}

/// The value, without the line's end.
///
/// # Errors
/// When there is no such setting.
pub fn read(name: &str) -> Result<String> {
    let path = path(name);
    let text = fs::read_to_string(&path).map_err(|e| Error::file("read", &path, e))?;
    Ok(text.trim_end().to_owned())
}

/// Sets a value; one that is set already is not written. Network settings are those of the calling thread's namespace.
///
/// # Errors
/// When there is no such setting, or the kernel refuses the value.
pub fn write(name: &str, value: &str) -> Result<()> {
    if read(name)? == value {
        return Ok(());
    }
    let path = path(name);
    fs::write(&path, value).map_err(|e| Error::file("write", &path, e))
}
