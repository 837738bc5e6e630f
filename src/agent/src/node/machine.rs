//! What the machine is and has.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use copepod_net::disk;

/// Memory that pods may not ask for: where eviction begins (`memory.available<100Mi`).
const EVICTION_MEMORY_BYTES: u64 = 100 << 20;

/// Why the machine could not be described.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}, which tells what this machine has")]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// Cause.
    pub source: io::Error,
}

/// What does not change while the machine runs.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(super) cpus: u64,
    pub(super) memory_bytes: u64,
    pub(super) disk_bytes: u64,
    /// Huge pages by size in KiB: how many bytes are set aside.
    pub(super) huge_pages: BTreeMap<u64, u64>,
    pub(super) architecture: &'static str,
    pub(super) kernel: String,
    pub(super) os_image: String,
    pub(super) machine_id: String,
    pub(super) system_uuid: String,
    pub(super) boot_id: String,
}

impl Machine {
    /// Reads `/proc` and `/sys`, and the size of the file system of `data_dir`.
    ///
    /// # Errors
    /// When CPUs, memory or file system cannot be read. What only names the machine may be missing.
    pub fn read(data_dir: &Path) -> Result<Self, ReadError> {
        let cpus = read("/sys/devices/system/cpu/online")?;
        let memory = read("/proc/meminfo")?;
        let space = disk::space(data_dir).map_err(|source| ReadError { path: data_dir.to_owned(), source })?;
        let machine_id = name("/etc/machine-id");
        let uuid = name("/sys/class/dmi/id/product_uuid");
        Ok(Self {
            cpus: count(&cpus),
            memory_bytes: kibibytes(&memory, "MemTotal") * 1024,
            disk_bytes: space.total_bytes,
            huge_pages: huge_pages(Path::new("/sys/kernel/mm/hugepages")),
            architecture: architecture(),
            kernel: name("/proc/sys/kernel/osrelease"),
            os_image: os_image(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            boot_id: name("/proc/sys/kernel/random/boot_id"),
        })
    }

    /// Memory that pods may ask for.
    pub(super) fn allocatable_memory_bytes(&self) -> u64 {
        self.memory_bytes.saturating_sub(self.huge_pages.values().sum()).saturating_sub(EVICTION_MEMORY_BYTES)
    }

    /// Memory that is free or can be freed at once, in bytes.
    pub(super) fn available_memory_bytes() -> Option<u64> {
        let text = fs::read_to_string("/proc/meminfo").ok()?;
        Some(kibibytes(&text, "MemAvailable") * 1024)
    }

    /// Whether memory is so short that eviction would begin.
    pub(super) fn is_memory_short() -> bool {
        Self::available_memory_bytes().is_some_and(|available| available < EVICTION_MEMORY_BYTES)
    }

    /// Process numbers in use, and how many there can be.
    pub(super) fn processes() -> Option<(u64, u64)> {
        // The fourth field is running/all threads.
        let load = fs::read_to_string("/proc/loadavg").ok()?;
        let used = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
        let most = fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse().ok()?;
        Some((used, most))
    }
}

fn read(path: &str) -> Result<String, ReadError> {
    fs::read_to_string(path).map_err(|source| ReadError { path: path.into(), source })
}

fn name(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Numbers in a list such as `0-3,6`.
fn count(list: &str) -> u64 {
    list.trim()
        .split(',')
        .filter_map(|part| match part.split_once('-') {
            Some((first, last)) => Some(last.parse::<u64>().ok()?.saturating_sub(first.parse().ok()?) + 1),
            None => part.parse::<u64>().ok().map(|_| 1),
        })
        .sum()
}

/// A line such as `MemTotal:  8000000 kB`.
fn kibibytes(text: &str, key: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn huge_pages(folder: &Path) -> BTreeMap<u64, u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let kib: u64 = name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let number: u64 = fs::read_to_string(entry.path().join("nr_hugepages")).ok()?.trim().parse().ok()?;
            Some((kib, number * kib * 1024))
        })
        .collect()
}

fn os_image(release: &str) -> String {
    release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|value| value.trim_matches('"').to_owned())
        .unwrap_or_else(|| "Linux".into())
}

/// The architecture as Go and image indexes call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_counted_from_ranges_and_single_numbers() {
        assert_eq!(count("0-3,6\n"), 5);
        assert_eq!(count("0\n"), 1);
    }

    #[test]
    fn memory_is_found_by_its_key() {
        assert_eq!(kibibytes("MemTotal:       100 kB\nMemAvailable:    50 kB\n", "MemAvailable"), 50);
    }

    #[test]
    fn this_machine_can_be_read() {
        let machine = Machine::read(&std::env::temp_dir()).unwrap();
        assert!(machine.cpus > 0 && machine.disk_bytes > 0);
        assert!(machine.allocatable_memory_bytes() < machine.memory_bytes);
    }
}
