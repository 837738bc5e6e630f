//! Files that change all at once.
//!
//! The files lie in a folder of their own with a name that starts with `..`; `..data` points to it, and what the
//! container opens are links through `..data`. Replacing that one link replaces everything.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path};

use super::VolumeError;
use super::payload::{FileData, Payload};

const DATA: &str = "..data";

/// Makes `folder` show exactly `payload`. Unchanged content is left alone, so that watchers are not woken.
pub(super) fn write(folder: &Path, payload: &Payload, group: Option<u32>) -> Result<(), VolumeError> {
    let failed = |e: io::Error| VolumeError::file(folder, e);
    let data = folder.join(DATA);
    let old = fs::read_link(&data).ok();
    if old.is_some() && is_current(&data, payload) {
        return link_names(folder, payload).map_err(failed);
    }
    let stamp = jiff::Timestamp::try_from(copepod_base::clock::now()).unwrap_or_default();
    let name = format!("..{}.{:09}", stamp.strftime("%Y_%m_%d_%H_%M_%S"), fastrand::u32(..1_000_000_000));
    let fresh = folder.join(&name);
    let made = make_files(&fresh, payload, group).and_then(|()| {
        let temporary = folder.join("..data_tmp");
        remove_if_there(&temporary)?;
        symlink(&name, &temporary)?;
        fs::rename(&temporary, &data)?;
        link_names(folder, payload)
    });
    if let Err(error) = made {
        // What was made in vain must not pile up with each retry.
        let _ = fs::remove_dir_all(&fresh);
        return Err(failed(error));
    }
    remove_stale_names(folder, payload).map_err(failed)?;
    if let Some(old) = old {
        fs::remove_dir_all(folder.join(old)).or_else(ignore_missing).map_err(failed)?;
    }
    Ok(())
}

fn is_current(data: &Path, payload: &Payload) -> bool {
    let mut count = 0;
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { return false };
        for entry in entries.flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                count += 1;
            }
        }
    }
    count == payload.len()
        && payload.iter().all(|(path, file)| {
            let path = data.join(path);
            fs::read(&path).is_ok_and(|content| content == file.content)
                && fs::metadata(&path).is_ok_and(|m| m.permissions().mode() & 0o777 == file.mode & 0o777)
        })
}

fn make_files(fresh: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    make_dir(fresh, group)?;
    for (path, file) in payload {
        let relative = Path::new(path);
        let mut folder = fresh.to_owned();
        for part in relative.parent().into_iter().flat_map(Path::components) {
            folder.push(part);
            if !folder.exists() {
                make_dir(&folder, group)?;
            }
        }
        make_file(&fresh.join(relative), file, group)?;
    }
    Ok(())
}

fn make_dir(path: &Path, group: Option<u32>) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(if group.is_some() { 0o2755 } else { 0o755 }))?;
    if group.is_some() { chown(path, None, group) } else { Ok(()) }
}

fn make_file(path: &Path, file: &FileData, group: Option<u32>) -> io::Result<()> {
    use std::io::Write;
    let mut options = fs::OpenOptions::new();
    let mut out = options.write(true).create_new(true).mode(0o600).open(path)?;
    out.write_all(&file.content)?;
    if file.user.is_some() || group.is_some() {
        chown(path, file.user, group)?;
    }
    // A group that owns the volume may read all of it.
    let mode = if group.is_some() { file.mode | 0o440 } else { file.mode };
    out.set_permissions(fs::Permissions::from_mode(mode))
}

/// First parts of the paths: the names in the folder itself.
fn top_names(payload: &Payload) -> impl Iterator<Item = OsString> + '_ {
    payload.keys().filter_map(|path| match Path::new(path).components().next() {
        Some(Component::Normal(name)) => Some(name.to_owned()),
        _ => None,
    })
}

fn link_names(folder: &Path, payload: &Payload) -> io::Result<()> {
    for name in top_names(payload) {
        let link = folder.join(&name);
        let target = Path::new(DATA).join(&name);
        if fs::read_link(&link).is_ok_and(|t| t == target) {
            continue;
        }
        remove_if_there(&link)?;
        symlink(target, link)?;
    }
    Ok(())
}

fn remove_stale_names(folder: &Path, payload: &Payload) -> io::Result<()> {
    let wanted: std::collections::HashSet<OsString> = top_names(payload).collect();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with("..") && !wanted.contains(&name) {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(ignore_missing)
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        files
            .iter()
            .map(|(path, content)| {
                let file = FileData { content: content.as_bytes().to_vec(), mode: 0o640, user: None };
                ((*path).to_owned(), file)
            })
            .collect()
    }

    fn visible(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| !n.starts_with(".."))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_replaced_at_once_and_old_names_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        write(path, &payload(&[("a", "1"), ("d/e/f", "2")]), None).unwrap();
        assert_eq!(fs::read_to_string(path.join("d/e/f")).unwrap(), "2");
        assert_eq!(fs::metadata(path.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        let first = fs::read_link(path.join(DATA)).unwrap();
        write(path, &payload(&[("a", "1"), ("d/e/f", "2")]), None).unwrap();
        assert_eq!(fs::read_link(path.join(DATA)).unwrap(), first);
        write(path, &payload(&[("a", "3"), ("g", "4")]), None).unwrap();
        assert_ne!(fs::read_link(path.join(DATA)).unwrap(), first);
        assert_eq!(visible(path), ["a", "g"]);
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "3");
        // The old folder is gone: `..data`, one folder, two links.
        assert_eq!(fs::read_dir(path).unwrap().count(), 4);
    }

    #[test]
    fn an_owning_group_may_read() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &payload(&[("a", "1")]), Some(4711)).unwrap();
        let meta = fs::metadata(folder.path().join("a")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::gid(&meta), 4711);
    }
}
