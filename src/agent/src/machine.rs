//! What this machine is and has, read from the kernel.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use k8s_openapi::api::core::v1::{NodeSwapStatus, NodeSystemInfo};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::spec::resources::ResourceList;

/// kubelet's default eviction threshold for memory, kept from pods.
const RESERVED_MEMORY_KIB: u64 = 100 << 10;
/// Share of the disk that pods may ask for, in percent; the rest is kubelet's default eviction threshold.
const DISK_SHARE: u64 = 90;

/// Facts of the machine.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// CPUs that are on.
    pub cpus: u64,
    /// Memory in KiB.
    pub memory_kib: u64,
    /// Swap in bytes.
    pub swap_bytes: u64,
    /// Huge pages: size in bytes to count.
    pub hugepages: BTreeMap<u64, u64>,
    /// Size of the file system of the data folder, in KiB.
    pub disk_kib: u64,
    /// Names and ids, without versions of components.
    pub info: NodeSystemInfo,
}

impl Machine {
    /// Looks at the machine; `data_dir` must exist.
    ///
    /// # Errors
    /// When /proc or the data folder cannot be read.
    pub fn detect(data_dir: &Path) -> io::Result<Self> {
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let stat = nix::sys::statvfs::statvfs(data_dir)?;
        let disk = stat.blocks() * stat.fragment_size();
        let swap_bytes = meminfo_kib(&meminfo, "SwapTotal:") << 10;
        Ok(Self {
            cpus: fs::read_to_string("/sys/devices/system/cpu/online")
                .map(|text| count_cpus(&text))
                .unwrap_or(1),
            memory_kib: meminfo_kib(&meminfo, "MemTotal:"),
            swap_bytes,
            hugepages: hugepages(Path::new("/sys/kernel/mm/hugepages")),
            disk_kib: disk >> 10,
            info: NodeSystemInfo {
                architecture: architecture().to_owned(),
                boot_id: line("/proc/sys/kernel/random/boot_id"),
                kernel_version: line("/proc/sys/kernel/osrelease"),
                machine_id: line("/etc/machine-id"),
                operating_system: "linux".to_owned(),
                os_image: os_image(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
                swap: (swap_bytes > 0).then(|| NodeSwapStatus { capacity: i64::try_from(swap_bytes).ok() }),
                system_uuid: system_uuid(),
                ..NodeSystemInfo::default()
            },
        })
    }

    /// What the node has.
    #[must_use]
    pub fn capacity(&self, max_pods: u32) -> ResourceList {
        self.list(max_pods, self.memory_kib, format!("{}Ki", self.disk_kib))
    }

    /// What of it pods may ask for.
    #[must_use]
    pub fn allocatable(&self, max_pods: u32) -> ResourceList {
        let disk = (self.disk_kib << 10) / 100 * DISK_SHARE;
        self.list(max_pods, self.memory_kib.saturating_sub(RESERVED_MEMORY_KIB), disk.to_string())
    }

    fn list(&self, max_pods: u32, memory_kib: u64, disk: String) -> ResourceList {
        let reserved: u64 = self.hugepages.iter().map(|(size, count)| size * count).sum();
        let mut list = ResourceList::from([
            ("cpu".to_owned(), Quantity(self.cpus.to_string())),
            // Huge pages are no memory for anything else.
            ("memory".to_owned(), Quantity(format!("{}Ki", memory_kib.saturating_sub(reserved >> 10)))),
            ("pods".to_owned(), Quantity(max_pods.to_string())),
            ("ephemeral-storage".to_owned(), Quantity(disk)),
        ]);
        for (size, count) in &self.hugepages {
            let bytes = size * count;
            list.insert(format!("hugepages-{}", binary(*size)), Quantity(binary(bytes)));
        }
        list
    }
}

/// `2Mi`, `1Gi`: the shortest exact form.
fn binary(bytes: u64) -> String {
    for (shift, unit) in [(30, "Gi"), (20, "Mi"), (10, "Ki")] {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn system_uuid() -> String {
    let uuid = line("/sys/class/dmi/id/product_uuid");
    if uuid.is_empty() { line("/etc/machine-id") } else { uuid }
}

/// Go's name of the architecture.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn meminfo_kib(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|l| l.strip_prefix(key));
    value.and_then(|v| v.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// CPUs in a list such as `0-3,5`.
fn count_cpus(list: &str) -> u64 {
    let count = list
        .trim()
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(last.parse::<u64>().ok()?.saturating_sub(first.parse().ok()?) + 1)
        })
        .sum();
    std::cmp::max(count, 1)
}

fn hugepages(folder: &Path) -> BTreeMap<u64, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let size = name.strip_prefix("hugepages-").and_then(|n| n.strip_suffix("kB")?.parse::<u64>().ok());
        let count = fs::read_to_string(entry.path().join("nr_hugepages")).ok();
        if let (Some(size), Some(count)) = (size, count.and_then(|c| c.trim().parse().ok())) {
            found.insert(size << 10, count);
        }
    }
    found
}

fn os_image(text: &str) -> String {
    let value = |key: &str| {
        let found = text.lines().find_map(|l| l.strip_prefix(key));
        found.map(|v| v.trim_matches('"').to_owned()).filter(|v| !v.is_empty())
    };
    value("PRETTY_NAME=").or_else(|| value("NAME=")).unwrap_or_else(|| "Linux".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_files_are_understood() {
        assert_eq!(count_cpus("0-3,5,8-9\n"), 7);
        assert_eq!(count_cpus("0\n"), 1);
        assert_eq!(meminfo_kib("MemFree: 1 kB\nMemTotal:       8048420 kB\n", "MemTotal:"), 8_048_420);
        assert_eq!(
            os_image("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            "Debian GNU/Linux 12 (bookworm)"
        );
        assert_eq!((binary(2 << 20), binary(0), binary(1500)), ("2Mi".into(), "0".into(), "1500".into()));
    }

    #[test]
    fn this_machine_has_resources_and_pods_get_less_than_all() {
        let machine = Machine::detect(Path::new("/")).unwrap();
        let number = |list: &ResourceList, key: &str| crate::spec::resources::value(&list[key]);
        let (all, some) = (machine.capacity(110), machine.allocatable(110));
        assert!(number(&all, "cpu") >= 1);
        assert!(number(&some, "memory") < number(&all, "memory"));
        assert!(number(&some, "ephemeral-storage") < number(&all, "ephemeral-storage"));
        assert!(!machine.info.kernel_version.is_empty());
    }
}
