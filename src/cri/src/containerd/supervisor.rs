//! Keeps one containerd running and knows it again after a restart of Copepod.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use copepod_base::backoff::{Backoff, Policy};
use copepod_base::{Chain, Shutdown, clock, file};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::process::{self, Process, start_ticks};
use super::{Config, Error, Version, log};
use crate::Runtime;
use crate::client::{RuntimeClient, channel};

/// Time from start to the first answer, on a slow machine with a cold disk and many containers to load.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// Between looks at a containerd that starts: 5 ms growing to 200 ms.
const READY_POLL: Policy =
    Policy { initial: Duration::from_millis(5), max: Duration::from_millis(200), factor: 1.5, jitter: 0.0 };

/// Between restarts of one that dies: 100 ms doubling to 30 s.
const RESTART: Policy = Policy::REQUEST;

/// One that lived this long has recovered: the next restart is immediate again.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// Longest path in a `sockaddr_un`, without the closing zero.
const MAX_SOCKET_PATH: usize = 107;

/// A containerd that is kept running.
///
/// Dropping it ends only the supervision. Ending Copepod in any way leaves containerd and all containers running;
/// [`Supervisor::stop`] ends containerd, and even that leaves the containers.
pub struct Supervisor {
    inner: Arc<Inner>,
    shutdown: Shutdown,
    task: Option<tokio::task::JoinHandle<Option<Process>>>,
}

struct Inner {
    config: Config,
    version: Version,
    identity: String,
    pid: watch::Sender<Option<i32>>,
    adopted: bool,
    restarts: AtomicU32,
}

/// What the pid file says.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    pid: i32,
    start_ticks: u64,
    identity: String,
}

impl Supervisor {
    /// Adopts the containerd that runs with this configuration, or starts one; returns when it answers CRI calls.
    ///
    /// One that runs with another configuration, or hangs, is ended first; its containers live on.
    ///
    /// # Errors
    /// When containerd is missing, too old, cannot be started or does not answer.
    pub async fn start(config: Config, shutdown: &Shutdown) -> Result<Self, Error> {
        let version = Version::of(&config.binary).await?;
        prepare(&config)?;
        let text = config.render(version, process::may_lower_oom_score());
        file::write_atomic(&config.config_file, text.as_bytes(), 0o600)
            .map_err(|source| Error::File { path: config.config_file.clone(), source })?;
        let identity = identity(&config, version, &text);
        let (mut process, adopted) = match adopt(&config, &identity).await? {
            Some(process) => (process, true),
            None => (launch(&config, &identity).await?, false),
        };
        wait_ready(&config, &mut process).await?;
        tracing::info!(%version, pid = process.pid(), adopted, "containerd is ready");
        let inner = Arc::new(Inner {
            pid: watch::Sender::new(Some(process.pid())),
            config,
            version,
            identity,
            adopted,
            restarts: AtomicU32::new(0),
        });
        let shutdown = shutdown.child();
        let task =
            shutdown.spawn("containerd-supervisor", supervise(inner.clone(), process, shutdown.clone()));
        Ok(Self { inner, shutdown, task: Some(task) })
    }

    /// The endpoint for [`crate::connect`], `unix:///…`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.inner.config.endpoint()
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.inner.config.socket
    }

    /// Version of the program.
    #[must_use]
    pub fn version(&self) -> Version {
        self.inner.version
    }

    /// Whether it was running already when this supervisor started.
    #[must_use]
    pub fn adopted(&self) -> bool {
        self.inner.adopted
    }

    /// Process id of the containerd that runs now; `None` between its death and its restart.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        *self.inner.pid.borrow()
    }

    /// Follows the process id, as [`Supervisor::pid`].
    #[must_use]
    pub fn watch_pid(&self) -> watch::Receiver<Option<i32>> {
        self.inner.pid.subscribe()
    }

    /// How often it had to be restarted.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.inner.restarts.load(Ordering::Relaxed)
    }

    /// Ends containerd. Containers and their shims live on; stop them first when they shall not.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        if let Some(task) = self.task.take()
            && let Ok(Some(mut process)) = task.await
        {
            process.stop().await;
        }
        let _ = fs::remove_file(&self.inner.config.pid_file);
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Waits for the end of containerd, again and again; gives back the running process at shutdown.
async fn supervise(inner: Arc<Inner>, mut process: Process, shutdown: Shutdown) -> Process {
    let mut backoff = Backoff::new(RESTART);
    loop {
        let started = clock::instant();
        if !watch_one(&inner.config, &mut process, &shutdown).await {
            return process;
        }
        inner.pid.send_replace(None);
        if started.elapsed() > STABLE_AFTER {
            backoff.reset();
        }
        // Not in the macro: with its `log` feature, tracing has a module of that name in there.
        let last_words = log::last_words(&inner.config.log_file);
        tracing::error!(last_words, "containerd ended; containers go on, restarting it");
        loop {
            match restart(&inner).await {
                Ok(new) => {
                    process = new;
                    break;
                }
                Err(error) => tracing::error!("cannot restart containerd: {}", Chain(&error)),
            }
            if shutdown.guard(tokio::time::sleep(backoff.next_delay())).await.is_none() {
                return process;
            }
        }
        inner.restarts.fetch_add(1, Ordering::Relaxed);
        inner.pid.send_replace(Some(process.pid()));
    }
}

/// True when the process ended, false at shutdown; bounds the log meanwhile.
async fn watch_one(config: &Config, process: &mut Process, shutdown: &Shutdown) -> bool {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return false,
            () = process.ended() => return true,
            () = tokio::time::sleep(log::CHECK_EVERY) => bound_log(config),
        }
    }
}

async fn restart(inner: &Inner) -> Result<Process, Error> {
    let mut process = launch(&inner.config, &inner.identity).await?;
    wait_ready(&inner.config, &mut process).await?;
    Ok(process)
}

fn bound_log(config: &Config) {
    if let Err(error) = log::rotate(&config.log_file, log::MAX_BYTES) {
        tracing::warn!(path = %config.log_file.display(), "cannot rotate containerd's log: {error}");
    }
}

/// Folders that must exist, and what can be refused without starting anything.
fn prepare(config: &Config) -> Result<(), Error> {
    if config.socket.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(Error::SocketPath { path: config.socket.clone() });
    }
    let parents = [&config.socket, &config.config_file, &config.pid_file, &config.log_file];
    let parents = parents.iter().filter_map(|path| path.parent()).map(Path::to_owned);
    let own = [Some(config.root.clone()), Some(config.state.clone()), config.registry_dir.clone()];
    for path in parents.chain(own.into_iter().flatten()) {
        fs::create_dir_all(&path).map_err(|source| Error::File { path, source })?;
    }
    Ok(())
}

/// Changes whenever a running containerd must be restarted to follow its configuration.
fn identity(config: &Config, version: Version, text: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(text);
    hash.update(format!("{version} {:?} {:?}", config.binary, config.env));
    hex::encode(hash.finalize())
}

async fn launch(config: &Config, identity: &str) -> Result<Process, Error> {
    bound_log(config);
    let process = Process::spawn(config)?;
    let pid = process.pid();
    let note = Note { pid, start_ticks: start_ticks(pid).unwrap_or_default(), identity: identity.to_owned() };
    let failed = |source| Error::File { path: config.pid_file.clone(), source };
    let text = serde_json::to_vec(&note).map_err(|error| failed(error.into()))?;
    file::write_atomic(&config.pid_file, &text, 0o600).map_err(failed)?;
    Ok(process)
}

/// The containerd that an earlier Copepod left behind, if it may stay.
async fn adopt(config: &Config, identity: &str) -> Result<Option<Process>, Error> {
    let note = fs::read(&config.pid_file).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok());
    // The pid file may be lost or older than the process; who listens on the socket is certain.
    let note = match (listener(&config.socket).await, note) {
        (Some(pid), Some(note)) if pid == note.pid => note,
        (Some(pid), _) => {
            let start_ticks = start_ticks(pid).unwrap_or_default();
            Note { pid, start_ticks, identity: String::new() }
        }
        (None, Some(note)) => note,
        (None, None) => return Ok(None),
    };
    if start_ticks(note.pid) != Some(note.start_ticks) {
        return Ok(None);
    }
    let mut process = match Process::adopt(note.pid) {
        Ok(process) => process,
        Err(Error::Process { source, .. }) if is_gone(&source) => return Ok(None),
        Err(error) => return Err(error),
    };
    if note.identity != identity {
        tracing::info!(pid = note.pid, "containerd runs with another configuration, restarting it");
        process.stop().await;
        return Ok(None);
    }
    match wait_ready(config, &mut process).await {
        Ok(()) => Ok(Some(process)),
        Err(Error::Ended { .. }) => Ok(None),
        Err(error) => {
            tracing::warn!(pid = note.pid, "restarting containerd: {}", Chain(&error));
            process.stop().await;
            Ok(None)
        }
    }
}

/// Process id of whoever listens on the socket.
async fn listener(socket: &PathBuf) -> Option<i32> {
    let stream = UnixStream::connect(socket).await.ok()?;
    stream.peer_cred().ok()?.pid()
}

/// Returns when the CRI service answers; fails when the process ends first or time is up.
async fn wait_ready(config: &Config, process: &mut Process) -> Result<(), Error> {
    let answers = async {
        let runtime = RuntimeClient::new(channel(&config.socket));
        let mut backoff = Backoff::new(READY_POLL);
        loop {
            // Connecting alone is not enough: the socket is served before the CRI plugin is initialised.
            if listener(&config.socket).await.is_some() && runtime.status(false).await.is_ok() {
                return;
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    };
    tokio::select! {
        () = answers => Ok(()),
        () = process.ended() => Err(Error::Ended {
            last_words: log::last_words(&config.log_file),
            log: config.log_file.clone(),
        }),
        () = tokio::time::sleep(READY_WITHIN) => Err(Error::NotReady {
            socket: config.socket.clone(),
            after: READY_WITHIN,
            log: config.log_file.clone(),
        }),
    }
}

/// True for "no such process".
fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}
