//! Namespaces, cgroups and folders of one cluster; see `sandbox.sh` for what it is made of.

use crate::process::{Finished, children};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, process, thread};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A place where a cluster runs alone. All of it is gone once this is dropped, or the test process is.
pub struct Sandbox {
    name: String,
    folder: PathBuf,
    keeper: Child,
    input: Option<ChildStdin>,
    /// Host's id of the sandbox's process 1.
    init: u32,
}

impl Sandbox {
    /// Makes one, with a default route that leads nowhere.
    ///
    /// # Panics
    /// When not root, or when the kernel lacks namespaces or cgroups.
    #[must_use]
    pub fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "the end-to-end tests need root: they make namespaces");
        let name = format!("cpd-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // Short, because a path of a unix socket holds at most 107 bytes.
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let script = folder.join("sandbox.sh");
        fs::write(&script, include_str!("sandbox.sh")).expect("the folder is writable");
        fs::write(folder.join("enter.sh"), include_str!("enter.sh")).expect("the folder is writable");

        let mut keeper = Command::new("sh")
            .arg(&script)
            .arg(&name)
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("sh starts");
        let mut line = String::new();
        let stdout = keeper.stdout.take().expect("piped");
        let read = BufReader::new(stdout).read_line(&mut line);
        assert!(read.is_ok() && line == "ready\n", "sandbox {name} did not come up, see above");
        let init = children(keeper.id())
            .into_iter()
            .flat_map(children)
            .next()
            .expect("the keeper runs unshare, which runs process 1");
        let input = keeper.stdin.take();
        Self { name, folder, keeper, input, init }
    }

    /// Its folder: short, and removed at the end.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Name of the host inside, and of the cgroups outside.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside: all namespaces, cgroups, in the sandbox's folder.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.nsenter(&["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]);
        command.arg("sh").arg(self.folder.join("enter.sh")).arg(&self.folder).arg(program.as_ref());
        command
    }

    /// A command of the host that will use the sandbox's network and nothing else of it.
    #[must_use]
    pub fn network_command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.nsenter(&["--net"]);
        command.arg(program.as_ref());
        command
    }

    /// Runs a shell script inside, to its end.
    #[track_caller]
    #[must_use]
    pub fn shell(&self, script: &str) -> Finished {
        Finished::of(self.command("sh").arg("-c").arg(script), b"")
    }

    fn nsenter(&self, namespaces: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.init.to_string()).args(namespaces).arg("--").current_dir("/");
        // The caller's own settings must not reach the product.
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            let foreign = ["COPEPOD_", "CONTAINERD_", "KUBE", "CARGO", "NOTIFY_SOCKET"];
            if foreign.iter().any(|prefix| name.starts_with(prefix))
                || name.to_lowercase().ends_with("_proxy")
            {
                command.env_remove(&key);
            }
        }
        command
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Ends process 1, and with it everything inside; the keeper then removes the cgroups and the folder.
        self.input = None;
        for _ in 0..200 {
            if !matches!(self.keeper.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
