//! This machine's Node: registered, kept true, and alive.
//!
//! * [`machine`]: what the machine is and has, read from the kernel.
//! * [`register`]: the Node object as it is made, and what of an old one is kept.
//! * [`status`]: conditions and the rest of the status; written when it changes, and every five minutes.
//! * [`lease`]: the heartbeat, in a task of its own, so that nothing slow can stop it.

mod lease;
mod machine;
mod register;
mod status;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use copepod_base::Shutdown;
use copepod_client::{Client, Informer, Informers, Scope};
use copepod_cri::{Images, Runtime};
use copepod_net::IpNet;
use k8s_openapi::api::core::v1::{Node, Taint};
use tokio::sync::watch;

pub use machine::{Machine, ReadError};

/// What the Node says that the machine does not know by itself.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// `metadata.name`.
    pub name: String,
    /// Addresses of the node, one for each family, the preferred one first.
    pub ips: Vec<IpAddr>,
    /// Labels beside those that every node has.
    pub labels: Vec<(String, String)>,
    /// Taints that the Node is registered with; an existing Node keeps what it has.
    pub taints: Vec<Taint>,
    /// Version shown by `kubectl get nodes`.
    pub kubelet_version: String,
    /// Port of the kubelet API.
    pub kubelet_port: u16,
    /// Most pods.
    pub max_pods: u32,
    /// A folder on the file system that pods' files are on.
    pub data_dir: PathBuf,
}

/// The Node's parts that other tasks wait for.
#[derive(Clone)]
pub struct NodeHandle {
    node: Informer<Node>,
    name: String,
    ready: watch::Receiver<bool>,
    network: Arc<watch::Sender<()>>,
}

impl NodeHandle {
    /// Ends when the API has acknowledged that the Node is Ready.
    pub async fn ready(&self) {
        let mut ready = self.ready.clone();
        // The sender is gone only at shutdown; then nobody waits for the answer.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// The Node as last seen.
    #[must_use]
    pub fn node(&self) -> Option<Arc<Node>> {
        self.node.get(None, &self.name)
    }

    /// The pod CIDRs once the node has been given them; `None` when the agent stops first.
    pub async fn pod_cidrs(&self) -> Option<Vec<IpNet>> {
        let mut changes = self.node.subscribe();
        while let Some(change) = changes.recv().await {
            let cidrs = cidrs(change.object());
            if !change.is_deleted() && !cidrs.is_empty() {
                return Some(cidrs);
            }
        }
        None
    }

    /// Asks for a new look at the runtime, as after its network was configured.
    pub fn look(&self) {
        self.network.send_replace(());
    }
}

fn cidrs(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let texts = spec.pod_cidrs.iter().flatten().chain(spec.pod_cidr.iter().filter(|_| spec.pod_cidrs.is_none()));
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// Registers the Node and keeps it true and alive until the shutdown.
///
/// # Errors
/// When the kernel does not tell what the machine has.
pub fn start(
    config: NodeConfig,
    client: Client,
    informers: &Informers,
    runtime: Arc<dyn Runtime>,
    images: Arc<dyn Images>,
    shutdown: &Shutdown,
) -> Result<NodeHandle, ReadError> {
    let machine = Machine::read(&config.data_dir)?;
    let node = informers.scoped::<Node>(Scope {
        fields: Some(format!("metadata.name={}", config.name)),
        labels: None,
    });
    let (ready_sender, ready) = watch::channel(false);
    let (network, looks) = watch::channel(());
    let handle = NodeHandle { node: node.clone(), name: config.name.clone(), ready, network: Arc::new(network) };
    let writer = status::Writer { config: config.clone(), machine, client: client.clone(), runtime, images, node };
    shutdown.spawn_until_cancelled("node-status", writer.run(looks, ready_sender));
    shutdown.spawn_until_cancelled("node-lease", lease::run(client, config.name, handle.clone()));
    Ok(handle)
}
