//! The real kubectl, in a cluster's network.

use crate::process::{Finished, Running};
use crate::sandbox::Sandbox;
use std::path::PathBuf;
use std::process::Command;

/// Which kubectl.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The cluster's own minor version: WebSocket for exec, attach and port-forward.
    Current,
    /// 1.20, the one of Debian 12: SPDY.
    Old,
}

impl Version {
    fn path(self) -> PathBuf {
        let (variable, folder) = match self {
            Self::Current => ("COPEPOD_KUBECTL", "kubectl"),
            Self::Old => ("COPEPOD_KUBECTL_OLD", "kubectl-old"),
        };
        let path = std::env::var_os(variable).map_or_else(
            || crate::workspace().join("target/tools").join(folder).join("usr/bin/kubectl"),
            PathBuf::from,
        );
        assert!(path.exists(), "{} is missing: scripts/test unpacks it", path.display());
        path
    }
}

/// kubectl with a kubeconfig, in a sandbox's network.
pub struct Kubectl<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) version: Version,
    pub(crate) namespace: Option<String>,
}

impl Kubectl<'_> {
    /// The command, not yet run; for what the other methods do not offer. It may not run longer than two minutes.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.network_command("timeout");
        command.args(["--foreground", "--kill-after=1", "120"]).arg(self.version.path());
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", self.sandbox.folder());
        command.current_dir(self.sandbox.folder());
        if let Some(namespace) = &self.namespace {
            command.arg("--namespace").arg(namespace);
        }
        command.args(args);
        command
    }

    /// Runs it to its end.
    #[track_caller]
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Finished {
        Finished::of(&mut self.command(args), b"")
    }

    /// Runs it to its end with `input` on its standard input.
    #[track_caller]
    #[must_use]
    pub fn run_with(&self, args: &[&str], input: impl AsRef<[u8]>) -> Finished {
        Finished::of(&mut self.command(args), input.as_ref())
    }

    /// Runs it and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok()
    }

    /// Runs it and returns what it printed, without white space around.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn text(&self, args: &[&str]) -> String {
        self.run(args).ok().trim().to_owned()
    }

    /// Value at a JSON path of one object, for example `pod/a` and `{.status.podIP}`.
    ///
    /// # Panics
    /// When the object does not exist.
    #[track_caller]
    #[must_use]
    pub fn field(&self, object: &str, path: &str) -> String {
        self.text(&["get", object, "-o", &format!("jsonpath={path}")])
    }

    /// An object, or a list, as JSON.
    ///
    /// # Panics
    /// When it does not exist.
    #[track_caller]
    #[must_use]
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let mut all = vec!["get", "-o", "json"];
        all.extend(args);
        serde_json::from_str(&self.ok(&all)).expect("kubectl prints JSON")
    }

    /// `kubectl apply -f -`.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.run_with(&["apply", "-f", "-"], manifest).ok()
    }

    /// `kubectl create -f -`.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn create(&self, manifest: &str) -> String {
        self.run_with(&["create", "-f", "-"], manifest).ok()
    }

    /// Waits until `object` meets a condition, such as `condition=Ready`, `delete` or `jsonpath={.status.phase}=Failed`.
    /// Without a name, all objects of a kind must.
    ///
    /// # Panics
    /// When it does not within 90 seconds; shows the object and its events then.
    #[track_caller]
    pub fn wait(&self, object: &str, condition: &str) {
        let condition = format!("--for={condition}");
        let mut args = vec!["wait", object, &condition, "--timeout=90s"];
        if !object.contains('/') {
            args.push("--all");
        }
        let waited = self.run(&args);
        if !waited.status.success() {
            let described = self.run(&["describe", object]);
            panic!("{object} should reach {condition}: {waited}\n{described}");
        }
    }

    /// Starts it beside the test.
    #[track_caller]
    #[must_use]
    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(&mut self.command(args))
    }

    /// Starts it beside the test on a terminal of its own.
    #[track_caller]
    #[must_use]
    pub fn start_on_terminal(&self, args: &[&str]) -> Running {
        let plain = self.command(args);
        let words = std::iter::once(plain.get_program()).chain(plain.get_args());
        let line: Vec<String> =
            words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"))).collect();
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--flush", "--command", &line.join(" "), "/dev/null"]);
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", self.sandbox.folder()).env("TERM", "dumb");
        Running::start(&mut command)
    }
}
