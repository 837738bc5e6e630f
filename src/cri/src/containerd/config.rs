//! The configuration that containerd gets from us.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::Version;

/// The kernel shall kill almost anything before containerd; k3s's and the kubelet's value.
pub const DEFAULT_OOM_SCORE: i32 = -999;

/// Where the private containerd keeps its things and how it shall work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The program; a bare name is looked up in PATH.
    pub binary: PathBuf,
    /// Persistent data: content, snapshots, metadata.
    pub root: PathBuf,
    /// State until reboot: shims, mounts.
    pub state: PathBuf,
    /// The socket; at most 107 bytes.
    pub socket: PathBuf,
    /// Where its config file is written.
    pub config_file: PathBuf,
    /// Where process id, start time and configuration of the running one are noted.
    pub pid_file: PathBuf,
    /// Its standard output and error; rotated once at 8 MiB.
    pub log_file: PathBuf,
    /// Image of the sandbox's own process; imported before the first pod.
    pub sandbox_image: String,
    /// Folder of CNI plugins.
    pub cni_bin_dir: PathBuf,
    /// Folder of the CNI configuration.
    pub cni_conf_dir: PathBuf,
    /// Whether pod cgroups are systemd slices; must match how the agent names them.
    pub systemd_cgroup: bool,
    /// `runc` or `crun`; containerd's default when not given.
    pub oci_runtime: Option<PathBuf>,
    /// Folder with a `hosts.toml` per registry.
    pub registry_dir: Option<PathBuf>,
    /// Layers of one image fetched at once.
    pub max_concurrent_downloads: u32,
    /// Snapshotter: `overlayfs`, or `native` on a file system that cannot be under an overlay.
    pub snapshotter: String,
    /// Score of containerd itself for the kernel's out-of-memory choice.
    pub oom_score: i32,
    /// Additional environment, as proxies for pulls.
    pub env: Vec<(String, String)>,
}

impl Config {
    /// The usual layout: data under `<agent_dir>/containerd`, state and socket under `<run_dir>/containerd`.
    #[must_use]
    pub fn new(agent_dir: &Path, run_dir: &Path, sandbox_image: &str) -> Self {
        let data = agent_dir.join("containerd");
        let run = run_dir.join("containerd");
        Self {
            binary: PathBuf::from("containerd"),
            root: data.join("root"),
            state: run.join("state"),
            socket: run.join("containerd.sock"),
            config_file: agent_dir.join("etc/containerd/config.toml"),
            pid_file: run.join("containerd.pid"),
            log_file: data.join("containerd.log"),
            sandbox_image: sandbox_image.to_owned(),
            cni_bin_dir: agent_dir.join("etc/cni/bin"),
            cni_conf_dir: agent_dir.join("etc/cni/net.d"),
            systemd_cgroup: false,
            oci_runtime: None,
            registry_dir: Some(agent_dir.join("etc/containerd/certs.d")),
            max_concurrent_downloads: 3,
            snapshotter: "overlayfs".to_owned(),
            oom_score: DEFAULT_OOM_SCORE,
            env: Vec::new(),
        }
    }

    /// The endpoint for [`crate::connect`].
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The config file for this version. Where `may_lower_oom_score` is false (no CAP_SYS_RESOURCE), containers are
    /// not given scores that runc could not set.
    #[must_use]
    pub fn render(&self, version: Version, may_lower_oom_score: bool) -> String {
        let mut text = String::from("# Written by copepod at each start; changes are lost.\n");
        let two = version.major >= 2;
        let oom_score = if may_lower_oom_score { self.oom_score } else { self.oom_score.max(0) };
        self.render_common(&mut text, two, oom_score);
        let restrict = format!("restrict_oom_score_adj = {}\n", !may_lower_oom_score);
        // Writing to a String cannot fail.
        let _ = if two {
            self.render_three(&mut text, &restrict, version)
        } else {
            self.render_two(&mut text, &restrict)
        };
        text
    }

    fn render_common(&self, text: &mut String, two: bool, oom_score: i32) {
        let disabled = if two { DISABLED_2X } else { DISABLED_1X };
        let mut unused: Vec<String> = disabled.iter().map(|name| quote(name)).collect();
        for name in ["native", "overlayfs"] {
            if self.snapshotter != name {
                unused.push(quote(&format!("io.containerd.snapshotter.v1.{name}")));
            }
        }
        let _ = write!(
            text,
            "version = {version}\nroot = {root}\nstate = {state}\noom_score = {oom}\ndisabled_plugins = [{unused}]\n\
             required_plugins = [\"io.containerd.grpc.v1.cri\"]\n\n\
             [grpc]\naddress = {socket}\nmax_recv_message_size = 16777216\nmax_send_message_size = 16777216\n\n\
             [debug]\naddress = \"\"\nlevel = \"warn\"\n\n[metrics]\naddress = \"\"\n\n",
            version = if two { 3 } else { 2 },
            root = quote_path(&self.root),
            state = quote_path(&self.state),
            oom = oom_score,
            unused = unused.join(", "),
            socket = quote_path(&self.socket),
        );
    }

    /// Version 2 of the file: one section for the whole CRI plugin (containerd 1.6 and 1.7).
    fn render_two(&self, text: &mut String, restrict: &str) -> std::fmt::Result {
        let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
        writeln!(text, "[{cri}]")?;
        writeln!(text, "sandbox_image = {}", quote(&self.sandbox_image))?;
        writeln!(text, "max_concurrent_downloads = {}", self.max_concurrent_downloads)?;
        text.push_str(STREAMING);
        text.push_str(restrict);
        writeln!(text, "enable_unprivileged_ports = true\nenable_unprivileged_icmp = true\n")?;
        writeln!(text, "[{cri}.cni]\n{}", self.render_cni())?;
        writeln!(text, "[{cri}.containerd]\nsnapshotter = {}", quote(&self.snapshotter))?;
        writeln!(text, "default_runtime_name = \"runc\"\ndiscard_unpacked_layers = false\n")?;
        self.render_runtime(text, &format!("{cri}.containerd"))?;
        self.render_registry(text, cri)
    }

    /// Version 3 of the file: images, runtime and streaming in sections of their own (containerd 2.x).
    fn render_three(&self, text: &mut String, restrict: &str, version: Version) -> std::fmt::Result {
        let runtime = "plugins.\"io.containerd.cri.v1.runtime\"";
        let images = "plugins.\"io.containerd.cri.v1.images\"";
        writeln!(text, "[plugins.\"io.containerd.grpc.v1.cri\"]\n{STREAMING}")?;
        writeln!(
            text,
            "[{runtime}]\n{restrict}enable_unprivileged_ports = true\nenable_unprivileged_icmp = true\n"
        )?;
        writeln!(text, "[{runtime}.cni]")?;
        // 2.1 knows several folders and refuses both spellings at once.
        let folder = quote_path(&self.cni_bin_dir);
        if version.minor >= 1 || version.major > 2 {
            writeln!(text, "bin_dirs = [{folder}]")?;
        } else {
            writeln!(text, "bin_dir = {folder}")?;
        }
        writeln!(text, "conf_dir = {}\n", quote_path(&self.cni_conf_dir))?;
        writeln!(text, "[{runtime}.containerd]\ndefault_runtime_name = \"runc\"\n")?;
        self.render_runtime(text, &format!("{runtime}.containerd"))?;
        writeln!(text, "[{images}]\nsnapshotter = {}", quote(&self.snapshotter))?;
        writeln!(text, "discard_unpacked_layers = false")?;
        writeln!(text, "max_concurrent_downloads = {}\n", self.max_concurrent_downloads)?;
        writeln!(text, "[{images}.pinned_images]\nsandbox = {}\n", quote(&self.sandbox_image))?;
        self.render_registry(text, images)
    }

    fn render_cni(&self) -> String {
        format!(
            "bin_dir = {}\nconf_dir = {}\n",
            quote_path(&self.cni_bin_dir),
            quote_path(&self.cni_conf_dir)
        )
    }

    fn render_runtime(&self, text: &mut String, parent: &str) -> std::fmt::Result {
        writeln!(text, "[{parent}.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n")?;
        writeln!(text, "[{parent}.runtimes.runc.options]\nSystemdCgroup = {}", self.systemd_cgroup)?;
        if let Some(runtime) = &self.oci_runtime {
            writeln!(text, "BinaryName = {}", quote_path(runtime))?;
        }
        writeln!(text)
    }

    fn render_registry(&self, text: &mut String, parent: &str) -> std::fmt::Result {
        match &self.registry_dir {
            Some(folder) => writeln!(text, "[{parent}.registry]\nconfig_path = {}", quote_path(folder)),
            None => Ok(()),
        }
    }
}

/// Streams (exec, attach, port-forward) are served on a port of the kernel's choice, on loopback only.
const STREAMING: &str =
    "disable_tcp_service = true\nstream_server_address = \"127.0.0.1\"\nstream_server_port = \"0\"\n";

/// What Copepod never uses; each costs memory or start time.
const DISABLED_1X: &[&str] = &[
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
    // Its events of memory and CPU go to metrics, which are off; shims report out-of-memory kills themselves.
    "io.containerd.monitor.v1.cgroups",
];

/// The same for 2.x.
const DISABLED_2X: &[&str] = &[
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.nri.v1.nri",
];

fn quote_path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

/// A TOML basic string.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(major: u32, edit: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::new(Path::new("/data"), Path::new("/run/x"), "copepod.io/pause:1");
        edit(&mut config);
        config.render(Version { major, minor: 7, patch: 0 }, true)
    }

    #[test]
    fn each_major_version_gets_its_own_layout_of_sections() {
        let one = render(1, |_| {});
        assert!(one.contains("version = 2\n") && one.contains("sandbox_image = \"copepod.io/pause:1\""));
        let two = render(2, |_| {});
        assert!(two.contains("version = 3\n") && two.contains("sandbox = \"copepod.io/pause:1\""));
        assert!(!two.contains("sandbox_image"));
    }

    #[test]
    fn the_snapshotter_in_use_is_never_disabled() {
        let text = render(1, |config| config.snapshotter = "native".to_owned());
        let disabled = text.lines().find(|line| line.starts_with("disabled_plugins")).unwrap();
        assert!(disabled.contains("v1.overlayfs") && !disabled.contains("v1.native"));
    }

    #[test]
    fn paths_with_quotes_and_backslashes_stay_inside_their_string() {
        let text = render(1, |config| config.root = PathBuf::from("/a\"b\\c"));
        assert!(text.contains(r#"root = "/a\"b\\c""#), "{text}");
    }

    #[test]
    fn without_the_capability_no_score_is_lowered() {
        let config = Config::new(Path::new("/data"), Path::new("/run/x"), "p");
        let text = config.render(Version::OLDEST, false);
        assert!(text.contains("oom_score = 0\n") && text.contains("restrict_oom_score_adj = true\n"));
    }
}
