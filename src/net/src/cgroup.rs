//! Control groups, version 1 and 2: the groups above containers, their limits and their use.
//!
//! A machine that mounts controllers of both versions counts as version 1, as the runtimes see it.

mod usage;
mod v1;
mod v2;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::Pid;

use crate::{Error, Result};

pub use usage::Usage;

/// Where the hierarchies are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// Which interface the kernel offers for the controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller.
    V1,
    /// One hierarchy.
    V2,
}

/// Who names the groups, which the runtime must agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Groups are folders: `/kubepods/burstable/pod…`.
    Cgroupfs,
    /// Groups are systemd slices: `kubepods-burstable-pod….slice`.
    Systemd,
}

/// The control groups of this machine.
#[derive(Debug, Clone)]
pub struct Cgroups {
    version: Version,
    driver: Driver,
    /// Version 1: mount point of each controller; version 2: the one root under the empty name.
    hierarchies: Vec<Hierarchy>,
}

#[derive(Debug, Clone)]
struct Hierarchy {
    controllers: Vec<String>,
    root: PathBuf,
}

/// A group by the names from the root down.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group(Vec<String>);

impl Group {
    /// From names as `["kubepods", "burstable", "pod1234"]`.
    pub fn new<I: IntoIterator<Item = S>, S: Into<String>>(names: I) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// A group inside.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let mut names = self.0.clone();
        names.push(name.to_owned());
        Self(names)
    }
}

/// Limits of a group; what is `None` is left as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Share of the CPU under contention, 2 to 262,144 (1,024 is one CPU's); translated to a weight in version 2.
    pub cpu_shares: Option<u64>,
    /// CPU time in each period, microseconds; negative is no limit.
    pub cpu_quota_us: Option<i64>,
    /// The period, microseconds.
    pub cpu_period_us: Option<u64>,
    /// Memory in bytes; negative is no limit.
    pub memory_bytes: Option<i64>,
    /// Processes and threads; negative is no limit.
    pub pids: Option<i64>,
}

impl Cgroups {
    /// Finds out what this machine has.
    ///
    /// # Errors
    /// When no hierarchy is mounted.
    pub fn detect(driver: Driver) -> Result<Self> {
        let root = Path::new(ROOT);
        let fs = statfs(root).map_err(|e| Error::file("look at", root, e))?;
        if fs.filesystem_type() == CGROUP2_SUPER_MAGIC {
            let hierarchies = vec![Hierarchy { controllers: Vec::new(), root: root.to_owned() }];
            return Ok(Self { version: Version::V2, driver, hierarchies });
        }
        let hierarchies = v1::hierarchies()?;
        if hierarchies.is_empty() {
            let content = "no mounted controllers".to_owned();
            let expected = "cgroup version 1 or 2 mounted";
            return Err(Error::Content { path: root.to_owned(), content, expected });
        }
        Ok(Self { version: Version::V1, driver, hierarchies })
    }

    /// Version of the interface.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The driver given.
    #[must_use]
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// Controllers that groups can have.
    ///
    /// # Errors
    /// When the hierarchy cannot be read.
    pub fn controllers(&self) -> Result<Vec<String>> {
        match self.version {
            Version::V1 => Ok(self.hierarchies.iter().flat_map(|found| found.controllers.clone()).collect()),
            Version::V2 => v2::controllers(&self.hierarchies[0].root),
        }
    }

    /// What CRI calls the `cgroup_parent` of sandboxes in this group.
    #[must_use]
    pub fn parent_name(&self, group: &Group) -> String {
        match self.driver {
            Driver::Cgroupfs => format!("/{}", group.0.join("/")),
            Driver::Systemd => slice(&group.0),
        }
    }

    /// Path of the group below each root.
    fn relative(&self, group: &Group) -> PathBuf {
        match self.driver {
            Driver::Cgroupfs => group.0.iter().collect(),
            Driver::Systemd => (1..=group.0.len()).map(|length| slice(&group.0[..length])).collect(),
        }
    }

    /// The group's folders, one per hierarchy.
    fn folders(&self, group: &Group) -> Vec<PathBuf> {
        let relative = self.relative(group);
        self.hierarchies.iter().map(|hierarchy| hierarchy.root.join(&relative)).collect()
    }

    /// The group's folder in the hierarchy of a controller.
    pub(crate) fn folder(&self, group: &Group, controller: &str) -> Option<PathBuf> {
        let relative = self.relative(group);
        let has = |hierarchy: &&Hierarchy| {
            self.version == Version::V2 || hierarchy.controllers.iter().any(|name| name == controller)
        };
        self.hierarchies.iter().find(has).map(|hierarchy| hierarchy.root.join(relative))
    }

    /// Makes a group and those above it, with every controller that there is.
    ///
    /// # Errors
    /// Without privilege, or when the kernel refuses.
    pub fn create(&self, group: &Group) -> Result<()> {
        let relative = self.relative(group);
        match self.version {
            Version::V1 => self.hierarchies.iter().try_for_each(|hierarchy| v1::create(hierarchy, &relative)),
            Version::V2 => v2::create(&self.hierarchies[0].root, &relative),
        }
    }

    /// Whether the group is there.
    #[must_use]
    pub fn exists(&self, group: &Group) -> bool {
        self.folders(group).iter().any(|folder| folder.is_dir())
    }

    /// Sets limits. A limit of a controller that the kernel lacks is passed over.
    ///
    /// # Errors
    /// When the group is missing or the kernel refuses a value.
    pub fn set(&self, group: &Group, limits: &Limits) -> Result<()> {
        let files = match self.version {
            Version::V1 => v1::files(limits),
            Version::V2 => v2::files(limits),
        };
        for (controller, file, value) in files {
            let Some(folder) = self.folder(group, controller) else { continue };
            let path = folder.join(file);
            // A file is missing where its controller is, the folder where the group is.
            if path.exists() || !folder.exists() {
                write(&path, &value)?;
            }
        }
        Ok(())
    }

    /// What the group and all below it use.
    ///
    /// # Errors
    /// When the group is missing.
    pub fn usage(&self, group: &Group) -> Result<Usage> {
        match self.version {
            Version::V1 => usage::v1(|controller| self.folder(group, controller)),
            Version::V2 => usage::v2(&self.folders(group)[0]),
        }
    }

    /// Names of the groups directly inside, for finding what is left over.
    ///
    /// # Errors
    /// When the group cannot be read; a missing one has none.
    pub fn children(&self, group: &Group) -> Result<Vec<String>> {
        let Some(folder) = self.folder(group, "memory") else { return Ok(Vec::new()) };
        let folders = sub_folders(&folder)?;
        let names = folders.iter().filter_map(|path| path.file_name());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    /// Processes of the group and of all below it.
    ///
    /// # Errors
    /// When the group cannot be read; a missing one has none.
    pub fn processes(&self, group: &Group) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        for folder in self.folders(group) {
            collect_processes(&folder, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Kills every process of the group and of all below it; returns when the kernel has been told.
    ///
    /// # Errors
    /// When the group cannot be read.
    pub fn kill(&self, group: &Group) -> Result<()> {
        let own = self.folders(group);
        if self.version == Version::V2 && own[0].join("cgroup.kill").exists() {
            return write(&own[0].join("cgroup.kill"), "1");
        }
        for pid in self.processes(group)? {
            // One that ended meanwhile is what was wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        Ok(())
    }

    /// Removes the group and all below it, which must have no processes. A missing one is a success.
    ///
    /// # Errors
    /// `EBUSY` while there are processes.
    pub fn delete(&self, group: &Group) -> Result<()> {
        self.folders(group).iter().try_for_each(|folder| remove(folder))
    }
}

/// `["kubepods", "burstable"]` is `kubepods-burstable.slice`; a hyphen would mean a level.
fn slice(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| name.replace('-', "_")).collect();
    format!("{}.slice", names.join("-"))
}

fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).map_err(|e| Error::file("write", path, e))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Error::file("read", path, e))
}

fn sub_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read", folder, error)),
    };
    let folders = entries.filter_map(|entry| entry.ok().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())));
    Ok(folders.map(|entry| entry.path()).collect())
}

fn collect_processes(folder: &Path, pids: &mut Vec<i32>) -> Result<()> {
    for inner in sub_folders(folder)? {
        collect_processes(&inner, pids)?;
    }
    match fs::read_to_string(folder.join("cgroup.procs")) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        // Gone meanwhile, or a threaded group.
        Err(error) if is_gone(&error) || error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {}
        Err(error) => return Err(Error::file("read", folder, error)),
    }
    Ok(())
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENODEV as i32)
}

fn remove(folder: &Path) -> Result<()> {
    for inner in sub_folders(folder)? {
        remove(&inner)?;
    }
    match fs::remove_dir(folder) {
        Ok(()) => Ok(()),
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(Error::file("remove control group", folder, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_slices_are_nested_by_their_names() {
        let root = PathBuf::from("/x");
        let hierarchies = vec![Hierarchy { controllers: Vec::new(), root }];
        let cgroups = Cgroups { version: Version::V2, driver: Driver::Systemd, hierarchies };
        let group = Group::new(["kubepods", "burstable", "pod12-34"]);
        assert_eq!(cgroups.parent_name(&group), "kubepods-burstable-pod12_34.slice");
        let path = "/x/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12_34.slice";
        assert_eq!(cgroups.folders(&group), [PathBuf::from(path)]);
    }
}
