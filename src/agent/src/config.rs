//! What the agent is told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use copepod_base::metrics::Metrics;
use copepod_cri::containerd;
use copepod_net::cgroup::Driver;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Taint;

/// Settings of the agent. Every path can be moved.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Name of the node.
    pub node_name: String,
    /// Addresses of the node, the primary one first; found on the machine when empty.
    pub node_ips: Vec<IpAddr>,
    /// Labels the node gets.
    pub labels: BTreeMap<String, String>,
    /// Taints the node gets when it is registered for the first time.
    pub taints: Vec<Taint>,
    /// Address ranges of all pods: traffic to them keeps its source address.
    pub cluster_cidrs: Vec<IpNet>,
    /// Addresses of the cluster's DNS service; empty without one.
    pub cluster_dns: Vec<IpAddr>,
    /// Domain of the cluster.
    pub cluster_domain: String,
    /// The agent's data: containerd, images, pods, configuration.
    pub data_dir: PathBuf,
    /// What does not outlive a boot.
    pub run_dir: PathBuf,
    /// Folder of container logs.
    pub logs_dir: PathBuf,
    /// Resolver files of the host, the first usable one counts.
    pub resolv_conf: Vec<PathBuf>,
    /// The container runtime.
    pub runtime: RuntimeConfig,
    /// The image of sandboxes.
    pub pause: PauseImage,
    /// Most pods on the node.
    pub max_pods: u32,
    /// Names of the control group above all pods' groups; empty for the root.
    pub cgroup_root: Vec<String>,
    /// Who names control groups; must agree with the runtime.
    pub cgroup_driver: Driver,
    /// Port of the kubelet API.
    pub kubelet_port: u16,
    /// Name of the bridge that pods are connected to.
    pub bridge: String,
    /// Largest packet of pods, in bytes; 0 is that of the node's own link.
    pub mtu: u32,
    /// Version of Copepod, part of the node's kubelet version.
    pub version: String,
    /// What `/metrics` of the kubelet API prints.
    pub metrics: Metrics,
}

/// Which container runtime.
#[derive(Debug, Clone)]
pub enum RuntimeConfig {
    /// A containerd of our own, started and watched.
    Containerd(Box<containerd::Config>),
    /// Somebody else's runtime behind a CRI endpoint.
    Endpoint(String),
}

/// The image of sandboxes, part of the executable.
#[derive(Debug, Clone)]
pub struct PauseImage {
    /// Full name of the image.
    pub name: String,
    /// OCI archive; empty when the image comes from elsewhere.
    pub archive: &'static [u8],
}

impl AgentConfig {
    /// Usual settings with everything below two folders.
    #[must_use]
    pub fn new(node_name: &str, data_dir: &Path, run_dir: &Path, pause: PauseImage) -> Self {
        let containerd = containerd::Config::new(data_dir, run_dir, &pause.name);
        Self {
            node_name: node_name.to_owned(),
            node_ips: Vec::new(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            cluster_cidrs: vec![IpNet::new_assert([10, 42, 0, 0].into(), 16)],
            cluster_dns: vec![[10, 43, 0, 10].into()],
            cluster_domain: "cluster.local".to_owned(),
            data_dir: data_dir.to_owned(),
            run_dir: run_dir.to_owned(),
            logs_dir: data_dir.join("logs"),
            resolv_conf: vec!["/etc/resolv.conf".into(), "/run/systemd/resolve/resolv.conf".into()],
            runtime: RuntimeConfig::Containerd(Box::new(containerd)),
            pause,
            max_pods: 110,
            cgroup_root: Vec::new(),
            cgroup_driver: Driver::Cgroupfs,
            kubelet_port: 10250,
            bridge: "cni0".to_owned(),
            mtu: 0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            metrics: Metrics::new(),
        }
    }

    /// Folder of a folder per pod.
    #[must_use]
    pub fn pods_dir(&self) -> PathBuf {
        self.data_dir.join("pods")
    }

    /// Folder of image archives to import.
    #[must_use]
    pub fn images_dir(&self) -> PathBuf {
        self.data_dir.join("images")
    }

    /// Folders of CNI plugins and of the CNI configuration.
    #[must_use]
    pub fn cni_dirs(&self) -> (PathBuf, PathBuf) {
        match &self.runtime {
            RuntimeConfig::Containerd(config) => (config.cni_bin_dir.clone(), config.cni_conf_dir.clone()),
            // Where every runtime looks by default.
            RuntimeConfig::Endpoint(_) => ("/opt/cni/bin".into(), "/etc/cni/net.d".into()),
        }
    }
}
