//! Wiring of the agent.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use copepod_base::{Chain, Shutdown};
use copepod_client::events::Recorder;
use copepod_client::{Client, Informers, Scope};
use copepod_cri::containerd::{self, Supervisor};
use copepod_cri::import::{self, Importer, Outcome};
use copepod_cri::{Images, Runtime, RuntimeEvent};
use copepod_net::cgroup::{Cgroups, Group, Version};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use tokio::sync::{Notify, mpsc, watch};

use crate::config::{AgentConfig, RuntimeConfig};
use crate::kubelet_api::KubeletApi;
use crate::machine::Machine;
use crate::network::Network;
use crate::node::{self, NodeParts};
use crate::pods::hook::Pipeline;
use crate::pods::manager::Manager;
use crate::pods::registry::Registry;
use crate::pods::shared::Shared;
use crate::pods::status_manager::StatusManager;
use crate::spec::NodeFacts;
use crate::spec::cgroup::PODS;
use crate::spec::dns::NodeDns;
use crate::spec::resources::NodeResources;

/// The agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder cannot be made or read.
    #[error("cannot use the folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Our own containerd.
    #[error("cannot start containerd")]
    Containerd(#[from] containerd::Error),
    /// The runtime's endpoint or its answer.
    #[error("cannot use the container runtime")]
    Runtime(#[from] copepod_cri::Error),
    /// The pause image.
    #[error("cannot import the pause image")]
    Pause(#[from] import::Error),
    /// Control groups or addresses.
    #[error("cannot use this kernel")]
    Kernel(#[from] copepod_net::Error),
}

/// A running agent. It works until its shutdown; containers go on without it.
pub struct Agent {
    ready: watch::Receiver<bool>,
    kubelet_api: KubeletApi,
    /// Keeps watching over our own containerd.
    _supervisor: Option<Supervisor>,
}

/// The runtime as the agent uses it.
pub struct RuntimeParts {
    /// Sandboxes and containers.
    pub runtime: Arc<dyn Runtime>,
    /// Images.
    pub images: Arc<dyn Images>,
    /// What happens to containers.
    pub events: mpsc::Receiver<RuntimeEvent>,
    /// Told when an image has come by another way than a pod's pull.
    pub images_changed: Arc<Notify>,
}

impl Agent {
    /// Starts the runtime where it is ours, then everything else.
    ///
    /// # Errors
    /// When folders, runtime or kernel cannot be used.
    pub async fn start(config: AgentConfig, client: Client, shutdown: &Shutdown) -> Result<Self, Error> {
        let (endpoint, supervisor) = match &config.runtime {
            RuntimeConfig::Containerd(own) => {
                let supervisor = Supervisor::start((**own).clone(), shutdown).await?;
                (supervisor.endpoint(), Some(supervisor))
            }
            RuntimeConfig::Endpoint(endpoint) => (endpoint.clone(), None),
        };
        let (runtime, images) = copepod_cri::connect(&endpoint)?;
        let images_changed = Arc::new(Notify::new());
        import_images(&config, &endpoint, &*runtime, (&images_changed, shutdown)).await?;
        let events = copepod_cri::events::watch(&endpoint, runtime.clone(), shutdown)?;
        let pid = supervisor.as_ref().map(Supervisor::watch_pid);
        let parts = RuntimeParts { runtime, images, events, images_changed };
        let mut agent = Self::start_with(config, client, parts, pid, shutdown).await?;
        agent._supervisor = supervisor;
        Ok(agent)
    }

    /// Starts with a runtime that is there.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub async fn start_with(
        config: AgentConfig,
        client: Client,
        runtime: RuntimeParts,
        runtime_pid: Option<watch::Receiver<Option<i32>>>,
        shutdown: &Shutdown,
    ) -> Result<Self, Error> {
        let config = Arc::new(config);
        for (path, mode) in
            [(&config.data_dir, 0o700), (&config.pods_dir(), 0o750), (&config.logs_dir, 0o755)]
        {
            // The data folder may be shared and have its mode already.
            if !path.is_dir() {
                copepod_base::file::create_dir(path, mode)
                    .map_err(|source| Error::Folder { path: path.clone(), source })?;
            }
        }
        let machine = Machine::detect(&config.data_dir)
            .map_err(|source| Error::Folder { path: config.data_dir.clone(), source })?;
        let (addresses, mtu) = addresses(&config)?;
        let facts = facts(&config, &machine, &addresses, &*runtime.runtime).await?;

        let informers = Informers::new(client.clone(), shutdown);
        let mine =
            |field: &str| Scope { fields: Some(format!("{field}={}", config.node_name)), labels: None };
        let pods = informers.scoped::<Pod>(mine("spec.nodeName"));
        let nodes = informers.scoped::<Node>(mine("metadata.name"));
        let (network_ready, network_is_ready) = watch::channel(false);
        let (ready, is_ready) = watch::channel(false);
        let (bin_dir, conf_dir) = config.cni_dirs();
        let network = Network {
            bin_dir,
            conf_dir,
            ipam_dir: config.data_dir.join("networks/copepod"),
            bridge: config.bridge.clone(),
            mtu,
            cluster_cidrs: config.cluster_cidrs.clone(),
        };
        let shared = Arc::new(Shared {
            client: client.clone(),
            runtime: runtime.runtime.clone(),
            images: runtime.images.clone(),
            facts,
            recorder: Recorder::new(client.clone(), "kubelet", &config.node_name),
            services: informers.get::<Service>(),
            statuses: StatusManager::new(client.clone(), shutdown),
            registry: Registry::default(),
            pipeline: Pipeline::new(),
            images_changed: runtime.images_changed.clone(),
            network_ready: network_is_ready,
        });
        node::start(
            NodeParts {
                config: config.clone(),
                client,
                runtime: runtime.runtime,
                images: runtime.images,
                machine,
                addresses,
                nodes: nodes.clone(),
                network,
                network_ready,
                ready,
                images_changed: runtime.images_changed,
                runtime_pid,
            },
            shutdown,
        );
        let metrics = config.metrics.clone();
        let manager = Manager::new(shared.clone(), pods, nodes, runtime.events, shutdown);
        shutdown.spawn_until_cancelled("pods", manager.run());
        Ok(Self { ready: is_ready, kubelet_api: KubeletApi::new(shared, metrics), _supervisor: None })
    }

    /// Ends when the API has acknowledged that the node is ready.
    pub async fn ready(&self) {
        let mut ready = self.ready.clone();
        if ready.wait_for(|ready| *ready).await.is_err() {
            // The agent stops before it was ready.
            std::future::pending().await
        }
    }

    /// The API that serves logs and streams of this node's pods.
    #[must_use]
    pub fn kubelet_api(&self) -> KubeletApi {
        self.kubelet_api.clone()
    }
}

/// The pause image before the first pod; archives of the data folder in the background.
async fn import_images(
    config: &AgentConfig,
    endpoint: &str,
    runtime: &dyn Runtime,
    (changed, shutdown): (&Arc<Notify>, &Shutdown),
) -> Result<(), Error> {
    // Importing speaks containerd's own API.
    if runtime.version().await?.runtime_name != "containerd" {
        return Ok(());
    }
    let importer = Importer::new(endpoint)?;
    if !config.pause.archive.is_empty() && !importer.has(&config.pause.name).await? {
        importer.import(config.pause.archive).await?;
    }
    let cache = config.data_dir.join("images.json");
    let mut reports = importer.import_folder(&config.images_dir(), &cache, shutdown);
    let changed = changed.clone();
    shutdown.spawn_until_cancelled("image-reports", async move {
        while let Some(report) = reports.recv().await {
            match report.outcome {
                Outcome::Imported(images) => {
                    let names: Vec<String> = images.into_iter().flat_map(|i| i.names).collect();
                    tracing::info!(archive = %report.path.display(), ?names, "images imported");
                    changed.notify_one();
                }
                Outcome::Unchanged(_) => {}
                Outcome::Failed(error) => {
                    tracing::warn!(archive = %report.path.display(), error = %Chain(&error), "archive not imported");
                }
            }
        }
    });
    Ok(())
}

/// The node's addresses and the packet size of its link.
fn addresses(config: &AgentConfig) -> Result<(Vec<String>, u32), Error> {
    let found = copepod_net::node::addresses()?;
    let mut ips: Vec<String> = config.node_ips.iter().map(ToString::to_string).collect();
    if ips.is_empty() {
        ips = found.ipv4.or(found.ipv6).iter().map(ToString::to_string).collect();
    }
    if ips.is_empty() {
        // A machine without any network still runs pods.
        tracing::warn!("this machine has no address for others; using the loopback address");
        ips.push("127.0.0.1".to_owned());
    }
    let mtu = if config.mtu == 0 { found.link.map_or(0, |l| l.mtu) } else { config.mtu };
    Ok((ips, mtu))
}

async fn facts(
    config: &AgentConfig,
    machine: &Machine,
    addresses: &[String],
    runtime: &dyn Runtime,
) -> Result<NodeFacts, Error> {
    let cgroups = Cgroups::detect(config.cgroup_driver)?;
    let cgroup_root = Group::new(config.cgroup_root.clone());
    for group in [PODS.to_owned(), format!("{PODS}/burstable"), format!("{PODS}/besteffort")] {
        cgroups.create(&group.split('/').fold(cgroup_root.clone(), |g, name| g.child(name)))?;
    }
    let host = NodeDns::host_from(&config.resolv_conf);
    if host.servers.is_empty() {
        tracing::warn!(
            "the host has no name server that pods could use; pods with dnsPolicy Default have none"
        );
    }
    Ok(NodeFacts {
        name: config.node_name.clone(),
        runtime_name: runtime.version().await?.runtime_name,
        host_ips: addresses.to_vec(),
        resources: NodeResources {
            memory_bytes: i64::try_from(machine.memory_kib << 10).unwrap_or(i64::MAX),
            allocatable: machine.allocatable(config.max_pods),
            hugepage_sizes: machine.hugepages.keys().copied().collect(),
            cgroup_v2: cgroups.version() == Version::V2,
        },
        dns: NodeDns {
            cluster_servers: config.cluster_dns.iter().map(ToString::to_string).collect(),
            domain: config.cluster_domain.clone(),
            host,
        },
        cgroups,
        cgroup_root,
        pods_dir: config.pods_dir(),
        logs_dir: config.logs_dir.clone(),
        seccomp_dir: config.data_dir.join("seccomp"),
    })
}
