//! Version 2: one hierarchy, controllers enabled from the root down.

use std::fs;
use std::io;
use std::path::Path;

use super::{Limits, read, write};
use crate::{Error, Result};

/// Controllers that Copepod and runtimes use.
const WANTED: &[&str] = &["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];

/// Controllers that a group can give to its children.
pub(super) fn controllers(folder: &Path) -> Result<Vec<String>> {
    Ok(read(&folder.join("cgroup.controllers"))?.split_whitespace().map(str::to_owned).collect())
}

/// Makes the folders from the root down and gives each every wanted controller.
pub(super) fn create(root: &Path, relative: &Path) -> Result<()> {
    let mut folder = root.to_owned();
    for name in relative {
        enable(&folder)?;
        folder.push(name);
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::file("create control group", &folder, error)),
        }
    }
    enable(&folder)
}

/// Lets the children of a group have the wanted controllers.
fn enable(folder: &Path) -> Result<()> {
    let path = folder.join("cgroup.subtree_control");
    let available = controllers(folder)?;
    let enabled = read(&path)?;
    for name in WANTED {
        let is_on = enabled.split_whitespace().any(|other| other == *name);
        if !is_on && available.iter().any(|other| other == name) {
            // One by one: a controller that is refused (realtime tasks, for cpu) must not cost the others.
            if let Err(error) = write(&path, &format!("+{name}")) {
                tracing::warn!(controller = name, folder = %folder.display(), "cannot enable: {error}");
            }
        }
    }
    Ok(())
}

/// Weight for shares: 2 to 262,144 onto 1 to 10,000, as the runtimes translate it.
fn weight(shares: u64) -> u64 {
    1 + ((shares.clamp(2, 262_144) - 2) * 9_999) / 262_142
}

fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// Controller, file and value of each limit.
pub(super) fn files(limits: &Limits) -> Vec<(&'static str, &'static str, String)> {
    let mut files = Vec::new();
    if let Some(shares) = limits.cpu_shares {
        files.push(("cpu", "cpu.weight", weight(shares).to_string()));
    }
    if let Some(quota) = limits.cpu_quota_us {
        let period = limits.cpu_period_us.unwrap_or(100_000);
        files.push(("cpu", "cpu.max", format!("{} {period}", or_max(quota))));
    }
    if let Some(bytes) = limits.memory_bytes {
        files.push(("memory", "memory.max", or_max(bytes)));
    }
    if let Some(pids) = limits.pids {
        files.push(("pids", "pids.max", or_max(pids)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_the_weights_that_runc_writes() {
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 39, 10_000));
    }

    #[test]
    fn no_limit_is_written_as_max() {
        let limits = Limits { cpu_quota_us: Some(-1), memory_bytes: Some(-1), ..Limits::default() };
        let values: Vec<String> = files(&limits).into_iter().map(|(_, _, value)| value).collect();
        assert_eq!(values, ["max 100000", "max"]);
    }
}
