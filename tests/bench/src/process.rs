//! What /proc knows of a process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Result, io, wrong};

/// Clock ticks of /proc per second: USER_HZ, which Linux fixes at 100 for programs.
const TICKS_PER_SECOND: u64 = 100;

/// Counters of a process since its start, and its memory now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time, in steps of 10 ms.
    pub(crate) cpu: Duration,
    /// Bytes that it caused to be written to a disk.
    pub(crate) written: u64,
    /// How often its threads went to sleep by themselves, so: how often they were woken.
    pub(crate) wakeups: u64,
    /// Resident memory, bytes.
    pub(crate) resident: u64,
    /// Resident memory with shared pages divided among their users, bytes.
    pub(crate) proportional: u64,
    /// Resident memory that no file backs, bytes.
    pub(crate) anonymous: u64,
}

impl Usage {
    /// Reads all of it. Threads that have ended no longer count among the wake-ups.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let rollup = read(pid, "smaps_rollup")?;
        let io = read(pid, "io")?;
        Ok(Self {
            cpu: cpu(pid)?,
            written: field(&io, "write_bytes:").unwrap_or_default(),
            wakeups: wakeups(pid)?,
            resident: field(&read(pid, "status")?, "VmRSS:").unwrap_or_default() * 1024,
            proportional: field(&rollup, "Pss:").unwrap_or_default() * 1024,
            anonymous: field(&rollup, "Anonymous:").unwrap_or_default() * 1024,
        })
    }

    /// What happened between `earlier` and now, over `time`.
    pub(crate) fn since(&self, earlier: &Self, time: Duration) -> Load {
        let seconds = time.as_secs_f64();
        let rate = |now: u64, then: u64| count(now.saturating_sub(then)) / seconds;
        Load {
            cpu_percent: self.cpu.saturating_sub(earlier.cpu).as_secs_f64() / seconds * 100.0,
            written_per_second: rate(self.written, earlier.written),
            wakeups_per_second: rate(self.wakeups, earlier.wakeups),
        }
    }

    /// The memory figures.
    pub(crate) fn memory_json(&self) -> Value {
        json!({
            "resident_bytes": self.resident,
            "proportional_bytes": self.proportional,
            "anonymous_bytes": self.anonymous,
        })
    }
}

/// Rates over some time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Share of one core.
    pub(crate) cpu_percent: f64,
    /// Bytes to disk per second.
    pub(crate) written_per_second: f64,
    /// Voluntary context switches per second.
    pub(crate) wakeups_per_second: f64,
}

impl Load {
    /// All figures.
    pub(crate) fn to_json(self) -> Value {
        json!({
            "cpu_percent": self.cpu_percent,
            "written_bytes_per_second": self.written_per_second,
            "wakeups_per_second": self.wakeups_per_second,
        })
    }
}

/// User and system time of a process, with that of its threads that have ended.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let stat = read(pid, "stat")?;
    // The name in parentheses may hold anything, so count from its end: utime is field 14, the state field 3.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks: Option<u64> = (11..13).map(|n| fields.get(n)?.parse::<u64>().ok()).sum();
    let ticks = ticks.ok_or_else(|| wrong(format!("/proc/{pid}/stat"), "has no utime"))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Bytes that the process caused to be written so far.
pub(crate) fn written(pid: u32) -> Result<u64> {
    Ok(field(&read(pid, "io")?, "write_bytes:").unwrap_or_default())
}

/// The processes with this name (as in /proc/*/comm).
pub(crate) fn named(name: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|pid| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name)
    })
    .filter(|pid| is_running(*pid))
    .collect()
}

/// Whether the process exists and is no zombie.
fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    })
}

fn wakeups(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(Path::new(&folder)).map_err(io(format!("read {folder}")))?;
    // A thread may end while this looks.
    let statuses = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    Ok(statuses.filter_map(|status| field(&status, "voluntary_ctxt_switches:")).sum())
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(io(format!("read {path}")))
}

/// The number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A counter as a number to calculate with; exact below 2^53.
#[allow(clippy::cast_precision_loss, reason = "rates are shown with a few digits")]
pub(crate) fn count(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_has_slept() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident >= usage.anonymous && usage.anonymous > 0 && usage.proportional > 0);
    }

    #[test]
    fn rates_are_per_second_and_cpu_is_a_share_of_one_core() {
        let then = Usage {
            cpu: Duration::from_millis(500),
            written: 1_000,
            wakeups: 10,
            resident: 0,
            proportional: 0,
            anonymous: 0,
        };
        let now = Usage { cpu: Duration::from_millis(800), written: 61_000, wakeups: 70, ..then };
        let load = now.since(&then, Duration::from_secs(60));
        assert!((load.cpu_percent - 0.5).abs() < 1e-9);
        assert!((load.written_per_second - 1_000.0).abs() < 1e-9);
        assert!((load.wakeups_per_second - 1.0).abs() < 1e-9);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        assert_eq!(
            field(
                "nonvoluntary_ctxt_switches:\t5\nvoluntary_ctxt_switches:\t7\n",
                "voluntary_ctxt_switches:"
            ),
            Some(7)
        );
        assert_eq!(field("VmRSS:\t  1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(field("", "VmRSS:"), None);
    }
}
