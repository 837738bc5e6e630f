//! One containerd process, our child or one that outlived an earlier Copepod.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::{Config, Error};

/// How long containerd gets to end after SIGTERM.
const TERM_GRACE: Duration = Duration::from_secs(10);

/// A process that can be awaited and signalled without a race on its process id.
pub(super) struct Process {
    pid: i32,
    /// A pidfd: readable when the process has ended. It is no pipe, but tokio registers any descriptor through this
    /// type, and its general one has only an unsafe constructor.
    fd: pipe::Receiver,
    /// Kept so that the end of our own child is reaped.
    child: Option<Child>,
}

impl Process {
    /// Starts containerd in a process group of its own, its output in the log file.
    pub(super) fn spawn(config: &Config) -> Result<Self, Error> {
        let log = open_log(&config.log_file)
            .map_err(|source| Error::File { path: config.log_file.clone(), source })?;
        let binary = config.binary.display().to_string();
        let failed = |source| Error::Spawn { binary: binary.clone(), source };
        let errors = log.try_clone().map_err(failed)?;
        let child = Command::new(&config.binary)
            .arg("--config")
            .arg(&config.config_file)
            .envs(config.env.iter().map(|(name, value)| (name, value)))
            // Notifications for the service manager are Copepod's to send.
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(false)
            .spawn()
            .map_err(failed)?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
        Self::watch(pid, Some(child))
    }

    /// Takes over a process that is not our child.
    pub(super) fn adopt(pid: i32) -> Result<Self, Error> {
        Self::watch(pid, None)
    }

    fn watch(pid: i32, child: Option<Child>) -> Result<Self, Error> {
        let failed = |source| Error::Process { pid, source };
        let id = Pid::from_raw(pid).ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        let fd = pidfd_open(id, PidfdFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
        let fd = pipe::Receiver::from_owned_fd_unchecked(fd).map_err(failed)?;
        Ok(Self { pid, fd, child })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns when the process has ended.
    pub(super) async fn ended(&mut self) {
        // An error would mean that the runtime is shutting down; then nobody waits for the answer.
        let _ = self.fd.readable().await;
        if let Some(child) = &mut self.child {
            let _ = child.wait().await;
        }
    }

    /// SIGTERM, then SIGKILL; returns when the process has ended.
    pub(super) async fn stop(&mut self) {
        let _ = pidfd_send_signal(&self.fd, Signal::TERM);
        if tokio::time::timeout(TERM_GRACE, self.ended()).await.is_err() {
            tracing::warn!(pid = self.pid, "containerd ignores SIGTERM, killing it");
            let _ = pidfd_send_signal(&self.fd, Signal::KILL);
            self.ended().await;
        }
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // Append mode: the file may be cut while containerd writes.
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Start of a process in clock ticks since boot; tells whether a process id was used again.
pub(super) fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so count from its end: the start is field 22, the state field 3.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19)?.parse().ok()
}

/// Whether this process, and so what it starts, may make itself less likely to be killed for lack of memory:
/// CAP_SYS_RESOURCE, which root lacks in many containers.
pub(super) fn may_lower_oom_score() -> bool {
    const CAP_SYS_RESOURCE: u64 = 24;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    effective.is_none_or(|bits| bits & (1 << CAP_SYS_RESOURCE) != 0)
}
