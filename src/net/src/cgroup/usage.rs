//! What a group uses.

use std::fs;
use std::path::{Path, PathBuf};

use super::read;
use super::v1::number;
use crate::Result;

/// Use of a group and of all below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since the group was made, nanoseconds.
    pub cpu_ns: u64,
    /// Memory with the page cache, bytes.
    pub memory_bytes: u64,
    /// Memory without the page cache that the kernel can drop at once; what eviction looks at.
    pub working_set_bytes: u64,
    /// Anonymous memory, bytes.
    pub rss_bytes: u64,
    /// Page faults that needed no disk, and that did.
    pub page_faults: u64,
    /// Of which needed the disk.
    pub major_page_faults: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// Value of a key in a file of `key value` lines.
fn field(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

pub(super) fn v1(folder: impl Fn(&str) -> Option<PathBuf>) -> Result<Usage> {
    let memory = folder("memory");
    let stat = match &memory {
        Some(folder) => read(&folder.join("memory.stat"))?,
        None => String::new(),
    };
    let memory_bytes = number(memory.as_ref(), "memory.usage_in_bytes").unwrap_or(0);
    Ok(Usage {
        cpu_ns: number(folder("cpuacct").as_ref(), "cpuacct.usage").unwrap_or(0),
        memory_bytes,
        working_set_bytes: memory_bytes.saturating_sub(field(&stat, "total_inactive_file")),
        rss_bytes: field(&stat, "total_rss"),
        page_faults: field(&stat, "total_pgfault"),
        major_page_faults: field(&stat, "total_pgmajfault"),
        pids: number(folder("pids").as_ref(), "pids.current").unwrap_or(0),
    })
}

pub(super) fn v2(folder: &Path) -> Result<Usage> {
    let cpu = read(&folder.join("cpu.stat"))?;
    // The root group has no memory files.
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let folder = folder.to_owned();
    let memory_bytes = number(Some(&folder), "memory.current").unwrap_or(0);
    Ok(Usage {
        cpu_ns: field(&cpu, "usage_usec") * 1000,
        memory_bytes,
        working_set_bytes: memory_bytes.saturating_sub(field(&stat, "inactive_file")),
        rss_bytes: field(&stat, "anon"),
        page_faults: field(&stat, "pgfault"),
        major_page_faults: field(&stat, "pgmajfault"),
        pids: number(Some(&folder), "pids.current").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_mistaken_for_one_that_begins_like_it() {
        let text = "anon_thp 7\nanon 4096\ninactive_file 8\n";
        assert_eq!((field(text, "anon"), field(text, "inactive_file"), field(text, "none")), (4096, 8, 0));
    }
}
