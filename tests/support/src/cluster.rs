//! One cluster: a sandbox with the built executable running in it.

use crate::curl::Curl;
use crate::kubectl::{Kubectl, Version};
use crate::namespace::Namespace;
use crate::process::{children, raw};
use crate::sandbox::Sandbox;
use crate::wait::until;
use crate::{executable, images, workspace};
use nix::sys::signal::{Signal, kill};
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time from the start of the process to a Ready node: a busy test machine, a first start.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Longest time that the import of the test images may take.
const IMPORT_LIMIT: Duration = Duration::from_secs(60);

/// How a cluster is to be started.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    args: Vec<String>,
    env: Vec<(String, String)>,
    config: String,
    without_images: bool,
    without_agent: bool,
}

impl Builder {
    /// Adds a flag of `copepod server`.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Sets a variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the text of its configuration file.
    #[must_use]
    pub fn config(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.config);
        self
    }

    /// Gives it no test images.
    #[must_use]
    pub fn without_images(mut self) -> Self {
        self.without_images = true;
        self
    }

    /// Runs a server without a node.
    #[must_use]
    pub fn without_agent(mut self) -> Self {
        self.without_agent = true;
        self.without_images().arg("--disable-agent")
    }

    /// Starts it and waits until its node is Ready and its images are there.
    ///
    /// # Panics
    /// When it does not start; shows its log.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Cluster {
        self.try_start().unwrap_or_else(|failure| panic!("the cluster does not start: {failure:?}"))
    }

    /// As [`Builder::start`].
    ///
    /// # Errors
    /// When the process ends, or is not ready in time.
    pub fn try_start(self) -> Result<Cluster, StartFailure> {
        let mut cluster = self.prepare();
        cluster.try_launch()?;
        Ok(cluster)
    }

    /// Everything but the start: folders and images are in place.
    ///
    /// # Panics
    /// When the test images are missing.
    #[must_use]
    pub fn prepare(self) -> Cluster {
        let sandbox = Sandbox::new();
        let target = sandbox.folder().join("data/agent/images");
        fs::create_dir_all(&target).expect("the sandbox's folder is writable");
        fs::write(sandbox.folder().join("config.yaml"), &self.config)
            .expect("the sandbox's folder is writable");
        if !self.without_images {
            for archive in images::ARCHIVES {
                let source = images::directory().join(archive);
                fs::copy(&source, target.join(archive))
                    .unwrap_or_else(|error| panic!("{}: {error}; images/build makes it", source.display()));
            }
        }
        Cluster {
            sandbox,
            settings: self,
            server: None,
            unique: AtomicU32::new(0),
            credentials: OnceLock::new(),
        }
    }
}

/// Why a start failed.
#[derive(Debug)]
pub struct StartFailure {
    /// How the process ended; none when it still ran.
    pub status: Option<ExitStatus>,
    /// All that it wrote to standard output and standard error.
    pub output: String,
}

/// A cluster of one node. Stops, and takes everything away, when dropped.
pub struct Cluster {
    sandbox: Sandbox,
    settings: Builder,
    /// `nsenter`, whose child is the server.
    server: Option<Child>,
    unique: AtomicU32,
    credentials: OnceLock<Credentials>,
}

/// Files of the authority, and of the administrator's certificate and key.
type Credentials = (PathBuf, (PathBuf, PathBuf));

impl Cluster {
    /// Settings of a new cluster.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts the server again after [`Cluster::stop`] or [`Cluster::kill9`]; returns the time until it was ready.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn launch(&mut self) -> Duration {
        self.try_launch().unwrap_or_else(|failure| panic!("the cluster does not start: {failure:?}"))
    }

    /// As [`Cluster::launch`].
    ///
    /// # Errors
    /// When the process ends, or is not ready in time.
    #[allow(clippy::disallowed_methods)] // the harness has no use for the product's clock
    pub fn try_launch(&mut self) -> Result<Duration, StartFailure> {
        assert!(self.server.is_none(), "the server runs already");
        let folder = self.sandbox.folder();
        let log = self.log_path();
        let output =
            File::options().create(true).append(true).open(&log).expect("the sandbox's folder is writable");
        let before = output.metadata().map_or(0, |data| data.len());
        let socket = folder.join("notify");
        let _ = fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).expect("the sandbox's folder is writable");
        notify.set_read_timeout(Some(Duration::from_millis(100))).expect("a valid time");

        // By `env`, so that a PATH for the server is not also one for what starts it.
        let mut command = self.sandbox.command("/usr/bin/env");
        command.args(self.settings.env.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg(executable()).arg("server").arg("--data-dir").arg(self.data_dir());
        command.arg("--config").arg(folder.join("config.yaml"));
        command.arg("--write-kubeconfig").arg(self.kubeconfig());
        command.args(&self.settings.args);
        command.env("NOTIFY_SOCKET", &socket);
        let errors = output.try_clone().expect("a file");
        let start = Instant::now();
        let mut server = command.stdout(output).stderr(errors).spawn().expect("nsenter starts");
        let said = |log: &PathBuf| {
            let text = fs::read(log).unwrap_or_default();
            String::from_utf8_lossy(&text[usize::try_from(before).unwrap_or(0)..]).into_owned()
        };
        let mut message = [0; 4096];
        loop {
            let length = notify.recv(&mut message).unwrap_or(0);
            if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == "READY=1") {
                break;
            }
            if let Ok(Some(status)) = server.try_wait() {
                return Err(StartFailure { status: Some(status), output: said(&log) });
            }
            if start.elapsed() > START_LIMIT {
                let failure = StartFailure { status: None, output: said(&log) };
                let _ = server.kill();
                let _ = server.wait();
                return Err(failure);
            }
        }
        let took = start.elapsed();
        self.server = Some(server);
        if !self.settings.without_images {
            self.wait_for_images(&[images::BUSYBOX, images::SERVER]);
        }
        Ok(took)
    }

    /// Waits until containerd has these images.
    ///
    /// # Panics
    /// When it has not within a minute.
    #[track_caller]
    pub fn wait_for_images(&self, names: &[&str]) {
        until(&format!("{names:?} imported; {}", self.log_tail()), IMPORT_LIMIT, || {
            let listed = self.ctr("images ls -q").stdout;
            names.iter().all(|name| listed.lines().any(|line| line == *name))
        });
    }

    /// Runs containerd's `ctr` in the namespace of Kubernetes.
    #[track_caller]
    #[must_use]
    pub fn ctr(&self, arguments: &str) -> crate::Finished {
        self.sandbox.shell(&format!("ctr -a /run/copepod/containerd/containerd.sock -n k8s.io {arguments}"))
    }

    /// Stops the server by SIGTERM; returns how it ended and how long that took.
    ///
    /// # Panics
    /// When it does not run, or does not stop within 20 seconds.
    #[track_caller]
    #[allow(clippy::disallowed_methods)] // the harness has no use for the product's clock
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.signal(Signal::SIGTERM);
        let mut server = self.server.take().expect("the server runs");
        let status = crate::wait::eventually("the server stops", Duration::from_secs(20), || {
            server.try_wait().expect("a child of ours")
        });
        (status, start.elapsed())
    }

    /// Ends the server by SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.server.take().expect("the server runs").wait();
    }

    /// Stops the server and starts it again; returns the time from start to ready.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn restart(&mut self) -> Duration {
        self.stop();
        self.launch()
    }

    /// The server's process id on the host.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        let wrapper = self.server.as_ref().expect("the server runs").id();
        *children(wrapper).first().expect("the server runs")
    }

    fn signal(&self, signal: Signal) {
        kill(raw(self.pid()), signal).expect("the server runs");
    }

    /// kubectl as the administrator, of the cluster's own version.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl<'_> {
        self.kubectl_of(Version::Current)
    }

    /// kubectl as the administrator.
    #[must_use]
    pub fn kubectl_of(&self, version: Version) -> Kubectl<'_> {
        Kubectl { sandbox: &self.sandbox, kubeconfig: self.kubeconfig(), version, namespace: None }
    }

    /// A new namespace, which goes when the test ends.
    #[must_use]
    #[track_caller]
    pub fn namespace(&self, topic: &str) -> Namespace<'_> {
        Namespace::new(self, topic)
    }

    /// Raw requests to the API.
    #[must_use]
    #[track_caller]
    pub fn curl(&self) -> Curl<'_> {
        let kubectl = self.kubectl();
        let (authority, admin) = self.credentials.get_or_init(|| self.save_credentials()).clone();
        Curl {
            authority,
            admin,
            server: kubectl.text(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]),
            sandbox: &self.sandbox,
        }
    }

    /// Files of the authority, and of the administrator's certificate and key.
    fn save_credentials(&self) -> Credentials {
        let folder = self.sandbox.folder();
        let kubectl = self.kubectl();
        let save = |file: &str, expression: &str| {
            let path = folder.join(file);
            let template = format!("go-template={{{{{expression} | base64decode}}}}");
            fs::write(&path, kubectl.ok(&["config", "view", "--raw", "-o", &template])).expect("writable");
            path
        };
        let authority = save("ca.pem", r#"index (index .clusters 0).cluster "certificate-authority-data""#);
        let certificate = save("admin.pem", r#"index (index .users 0).user "client-certificate-data""#);
        (authority, (certificate, save("admin.key", r#"index (index .users 0).user "client-key-data""#)))
    }

    /// Name of its node.
    #[must_use]
    pub fn node(&self) -> &str {
        self.sandbox.name()
    }

    /// Its namespaces and folders.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Its data folder.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.sandbox.folder().join("data")
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.sandbox.folder().join("kubeconfig.yaml")
    }

    /// A name that no other test of this cluster uses.
    #[must_use]
    pub fn unique(&self, topic: &str) -> String {
        format!("{topic}-{}", self.unique.fetch_add(1, Ordering::Relaxed))
    }

    /// All that the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.sandbox.folder().join("copepod.log")
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Copies the logs to a place that outlives the cluster and says where, for a test that fails.
    pub fn keep_logs(&self) {
        let kept = workspace().join("target/e2e-failures").join(self.sandbox.name());
        let test = thread::current().name().unwrap_or("?").to_owned();
        if fs::create_dir_all(&kept).is_err() {
            return;
        }
        let _ = fs::copy(self.log_path(), kept.join("copepod.log"));
        let _ = self.sandbox.shell(&format!(
            "find data run /run/copepod /var/log -name '*.log' -not -path '*/snapshots/*' -size -10M \
             -exec cp --parents -t {} {{}} + 2>/dev/null",
            kept.display()
        ));
        eprintln!("logs: {}", kept.display());
        eprintln!("again: cargo test -p copepod-e2e -- --exact {test}");
        eprintln!("last lines of the server:\n{}", self.log_tail());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            self.keep_logs();
        }
        if let Some(mut server) = self.server.take() {
            for pid in children(server.id()) {
                let _ = kill(raw(pid), Signal::SIGKILL);
            }
            let _ = server.wait();
        }
    }
}
