//! Version 1: one hierarchy per controller.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Hierarchy, Limits, write};
use crate::{Error, Result, mount};

/// Every mounted hierarchy, named ones (`name=systemd`) too: runtimes use them to find processes.
pub(super) fn hierarchies() -> Result<Vec<Hierarchy>> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for mount in mount::list()?.into_iter().filter(|mount| mount.fs_type == "cgroup") {
        let is_controller = |option: &&str| !matches!(*option, "rw" | "ro" | "clone_children" | "xattr");
        let controllers: Vec<String> =
            mount.super_options.split(',').filter(is_controller).map(str::to_owned).collect();
        // The same hierarchy can be mounted more than once.
        if !found.iter().any(|other| other.controllers == controllers) {
            found.push(Hierarchy { controllers, root: mount.target });
        }
    }
    Ok(found)
}

/// Makes the folders from the root down.
pub(super) fn create(hierarchy: &Hierarchy, relative: &Path) -> Result<()> {
    let cpuset = hierarchy.controllers.iter().any(|name| name == "cpuset");
    let mut folder = hierarchy.root.clone();
    for name in relative {
        let parent = folder.clone();
        folder.push(name);
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::file("create control group", &folder, error)),
        }
        if cpuset {
            inherit(&parent, &folder)?;
        }
    }
    Ok(())
}

/// A new cpuset is empty and takes no process until it is filled.
fn inherit(parent: &Path, folder: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = super::read(&folder.join(file))?;
        if own.trim().is_empty() {
            write(&folder.join(file), super::read(&parent.join(file))?.trim())?;
        }
    }
    Ok(())
}

/// Controller, file and value of each limit, in the order that the kernel takes them.
pub(super) fn files(limits: &Limits) -> Vec<(&'static str, &'static str, String)> {
    let mut files = Vec::new();
    if let Some(shares) = limits.cpu_shares {
        files.push(("cpu", "cpu.shares", shares.clamp(2, 262_144).to_string()));
    }
    if let Some(period) = limits.cpu_period_us {
        files.push(("cpu", "cpu.cfs_period_us", period.to_string()));
    }
    if let Some(quota) = limits.cpu_quota_us {
        files.push(("cpu", "cpu.cfs_quota_us", quota.max(-1).to_string()));
    }
    if let Some(bytes) = limits.memory_bytes {
        files.push(("memory", "memory.limit_in_bytes", bytes.max(-1).to_string()));
    }
    if let Some(pids) = limits.pids {
        let value = if pids < 0 { "max".to_owned() } else { pids.to_string() };
        files.push(("pids", "pids.max", value));
    }
    files
}

/// A number in a file of the folder; `None` without the folder or file.
pub(super) fn number(folder: Option<&PathBuf>, file: &str) -> Option<u64> {
    fs::read_to_string(folder?.join(file)).ok()?.trim().parse().ok()
}
