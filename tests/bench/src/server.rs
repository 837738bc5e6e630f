//! Copepod as a process inside the sandbox.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use copepod_base::clock;
use copepod_test_support::images;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

use crate::api::{Connection, Endpoint};
use crate::error::{Error, Result, io, wrong};
use crate::process;

/// A start that takes longer has failed.
const START_LIMIT: Duration = Duration::from_secs(120);
/// A stop that takes longer has failed.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at what nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Name of the node.
pub(crate) const NODE: &str = "bench";
/// The socket of the private containerd, in the run directory's usual place.
pub(crate) const RUNTIME: &str = "unix:///run/copepod/containerd/containerd.sock";

/// How Copepod is started.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The executable.
    pub(crate) executable: PathBuf,
    /// The sandbox's folder.
    pub(crate) folder: PathBuf,
    /// Whether this machine is a node, too.
    pub(crate) agent: bool,
}

/// A running Copepod. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Its process id.
    pub(crate) pid: u32,
    /// Time from the start of the process until it said `READY=1`.
    pub(crate) ready_after: Duration,
    kubeconfig: PathBuf,
    log: PathBuf,
}

impl Setup {
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Puts the test image where Copepod imports it from.
    pub(crate) fn add_image(&self) -> Result<()> {
        let folder = self.data().join("agent/images");
        std::fs::create_dir_all(&folder).map_err(io(format!("create {}", folder.display())))?;
        let busybox = std::env::var_os("PATH")
            .iter()
            .flat_map(std::env::split_paths)
            .map(|folder| folder.join("busybox"))
            .find(|path| path.is_file())
            .ok_or_else(|| wrong("busybox", "is not installed: apt-get install busybox-static"))?;
        let archive = images::busybox(&busybox).map_err(io("pack the test image"))?;
        let path = folder.join("busybox.tar");
        std::fs::write(&path, archive).map_err(io(format!("write {}", path.display())))
    }

    /// Starts it and waits until it is ready. With an agent, the node must then be Ready.
    pub(crate) async fn start(&self) -> Result<Server> {
        let socket = self.folder.join("notify");
        let _ = std::fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).map_err(io(format!("listen on {}", socket.display())))?;
        let config = self.folder.join("config.yaml");
        std::fs::write(&config, "").map_err(io(format!("write {}", config.display())))?;
        let log = self.folder.join("copepod.log");
        let output = std::fs::File::create(&log).map_err(io(format!("create {}", log.display())))?;
        let errors = output.try_clone().map_err(io("duplicate the log file"))?;
        let kubeconfig = self.folder.join("kubeconfig");
        let mut command = Command::new(&self.executable);
        command
            .arg("server")
            .arg("--config")
            .arg(&config)
            .arg("--data-dir")
            .arg(self.data())
            .arg("--write-kubeconfig")
            .arg(&kubeconfig)
            .args(["--node-name", NODE])
            .args((!self.agent).then_some("--disable-agent"))
            .env("NOTIFY_SOCKET", &socket)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .kill_on_drop(true);
        let begin = clock::instant();
        let mut child = command.spawn().map_err(io(format!("start {}", self.executable.display())))?;
        let pid = child.id().ok_or_else(|| wrong("copepod", "ended at once"))?;
        let ready = tokio::time::timeout(START_LIMIT, ready(&notify, &mut child)).await;
        let ready_after = begin.elapsed();
        match ready {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(status))) => return Err(ended(status, &log)),
            Ok(Err(error)) => return Err(io("wait for READY=1")(error)),
            Err(_) => {
                let what = format!("READY=1 from copepod; the end of its log:\n{}", tail(&log));
                return Err(Error::Late { what, limit: START_LIMIT });
            }
        }
        let server = Server { child, pid, ready_after, kubeconfig, log };
        if self.agent {
            server.check_node().await?;
        }
        Ok(server)
    }
}

/// Waits for `READY=1`; an exit status when the process ended instead.
async fn ready(notify: &UnixDatagram, child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    let mut buffer = [0; 4096];
    loop {
        tokio::select! {
            length = notify.recv(&mut buffer) => {
                let text = &buffer[..length?];
                if text.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                    return Ok(None);
                }
            }
            status = child.wait() => return status.map(Some),
        }
    }
}

impl Server {
    /// Its API.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        Endpoint::kubeconfig(&self.kubeconfig)
    }

    /// One HTTP/1.1 connection to its API.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        Connection::http1(&self.endpoint()?).await
    }

    /// Whether what `READY=1` says is so.
    async fn check_node(&self) -> Result<()> {
        let body = self.connect().await?.get(&format!("/api/v1/nodes/{NODE}")).await?;
        let node: Value = serde_json::from_slice(&body).map_err(crate::error::unusable("the node"))?;
        let conditions = node["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        if conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True") {
            return Ok(());
        }
        Err(wrong(
            "READY=1",
            format!("was sent while the node was not Ready: {}", node["status"]["conditions"]),
        ))
    }

    /// SIGTERM, and the time until it has ended.
    pub(crate) async fn stop(mut self) -> Result<Duration> {
        let begin = clock::instant();
        signal(self.pid, Signal::SIGTERM)?;
        match tokio::time::timeout(STOP_LIMIT, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(begin.elapsed()),
            Ok(Ok(status)) => Err(ended(status, &self.log)),
            Ok(Err(error)) => Err(io("wait for the end of copepod")(error)),
            Err(_) => Err(Error::Late { what: "copepod ends after SIGTERM".to_owned(), limit: STOP_LIMIT }),
        }
    }

    /// A namespace that pods can be created in.
    pub(crate) async fn namespace(&self, name: &str) -> Result<()> {
        let mut api = self.connect().await?;
        let object = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        api.create("/api/v1/namespaces", &object).await?;
        let path = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        eventually(&format!("the account of namespace {name}"), async || {
            let answer = api.send(http::Method::GET, &path, bytes::Bytes::new()).await?;
            Ok(answer.status.is_success())
        })
        .await
    }

    /// The value of an unlabelled metric of the API server; `None` when it has none of this name.
    pub(crate) async fn metric(&self, name: &str) -> Result<Option<u64>> {
        let body = self.connect().await?.get("/metrics").await?;
        let text = String::from_utf8_lossy(&body);
        Ok(text.lines().find_map(|line| {
            let (found, value) = line.split_once(' ')?;
            if found == name { value.trim().parse().ok() } else { None }
        }))
    }
}

/// Looks until `check` holds.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let looking = async {
        while !check().await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    };
    let late = |_| Error::Late { what: what.to_owned(), limit: START_LIMIT };
    tokio::time::timeout(START_LIMIT, looking).await.map_err(late)?
}

/// The private containerd of this sandbox.
pub(crate) fn containerd() -> Result<u32> {
    process::named("containerd").first().copied().ok_or_else(|| wrong("containerd", "does not run"))
}

/// Ends the private containerd, as a reboot would.
pub(crate) async fn stop_containerd() -> Result<()> {
    for pid in process::named("containerd") {
        signal(pid, Signal::SIGTERM)?;
    }
    eventually("containerd ends", async || Ok(process::named("containerd").is_empty())).await
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let id = i32::try_from(pid).map_err(|_| wrong("process id", format!("{pid} is none")))?;
    kill(Pid::from_raw(id), signal).map_err(|errno| io(format!("signal process {pid}"))(errno.into()))
}

fn ended(status: ExitStatus, log: &Path) -> Error {
    let status = status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
    Error::Ended { status, log: tail(log) }
}

/// The last lines of a file.
fn tail(path: &Path) -> String {
    const LINES: usize = 20;
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
