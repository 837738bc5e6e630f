//! The log file of containerd: bounded, and quoted when it ends too early.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// Size at which the file is cut; the part before is kept once, beside it.
pub(super) const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// How often the size is looked at.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(600);

/// Copies a large file to `<path>.1` and cuts it; containerd goes on writing, it appends.
pub(super) fn rotate(path: &Path, max_bytes: u64) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() > max_bytes => {
            let mut old = path.as_os_str().to_owned();
            old.push(".1");
            fs::copy(path, &old)?;
            OpenOptions::new().write(true).open(path)?.set_len(0)
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The last error that was logged, for a message.
///
/// When a plugin cannot be loaded, every plugin that needs it complains, and the last to complain is the one named at
/// the end: then the first complaint is quoted too.
pub(super) fn last_words(path: &Path) -> String {
    const TAIL: u64 = 32 * 1024;
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let is_end = |line: &&str| line.starts_with("containerd: ");
    let is_grave = |line: &&str| line.contains("level=fatal") || line.contains("level=error") || is_end(line);
    let mut lines = text.lines().rev();
    let Some(last) = lines.clone().find(is_grave).or_else(|| lines.clone().next()) else {
        return "it said nothing".to_owned();
    };
    // Not beyond the end of the run before.
    let run = lines.by_ref().skip_while(|line| line != &last).skip(1).take_while(|line| !is_end(line));
    let first = run.filter(|line| line.contains("failed to load plugin")).last();
    match first.filter(|_| is_end(&last)) {
        Some(first) => format!("{}; before it: {}", last.trim(), first.trim()),
        None => last.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_log_is_cut_and_its_past_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("containerd.log");
        rotate(&path, 10).unwrap();
        fs::write(&path, "a long first part").unwrap();
        rotate(&path, 10).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert_eq!(fs::read_to_string(folder.path().join("containerd.log.1")).unwrap(), "a long first part");
    }

    #[test]
    fn the_last_words_are_the_last_error_not_the_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("containerd.log");
        fs::write(&path, "level=info a\nlevel=fatal msg=\"disk full\"\nlevel=info bye\n").unwrap();
        assert_eq!(last_words(&path), "level=fatal msg=\"disk full\"");
    }

    #[test]
    fn the_first_of_several_plugins_that_could_not_load_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("containerd.log");
        let run = |cause: &str| {
            format!(
                "msg=\"failed to load plugin a\" error=\"{cause}\"\nmsg=\"failed to load plugin b\"\ncontainerd: load b\n"
            )
        };
        fs::write(&path, run("yesterday") + &run("disk full")).unwrap();
        let words = last_words(&path);
        assert!(
            words.starts_with("containerd: load b; before it: ") && words.contains("disk full"),
            "{words}"
        );
    }
}
