//! This machine as a Node object.
//!
//! * registration: the object is made, or an existing one taken over with what users have put on it;
//! * status: capacity, addresses, conditions; sent when it changes, at the latest every five minutes;
//! * lease: the heartbeat, in a task of its own so that nothing slow can make the node look dead;
//! * network: set up as soon as the node has its pod CIDR.

mod lease;
mod register;
mod status;

use std::sync::Arc;
use std::time::Duration;

use copepod_base::backoff::{Backoff, Policy};
use copepod_base::{Chain, Shutdown};
use copepod_client::{Client, Informer};
use copepod_cri::{Images, Runtime};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use tokio::sync::{Notify, watch};

use crate::config::AgentConfig;
use crate::machine::Machine;
use crate::network::Network;
use status::Observed;

/// How often conditions are looked at when nothing calls for it.
const LOOK: Duration = Duration::from_secs(60);
/// Between looks whether the runtime has taken the network configuration: 3 ms growing to 100 ms.
const NETWORK_POLL: Policy =
    Policy { initial: Duration::from_millis(3), max: Duration::from_millis(100), factor: 1.5, jitter: 0.0 };
/// How long that may take before it is reported and tried again.
const NETWORK_WITHIN: Duration = Duration::from_secs(10);

/// What the node's tasks work with.
pub(crate) struct NodeParts {
    pub(crate) config: Arc<AgentConfig>,
    pub(crate) client: Client,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) images: Arc<dyn Images>,
    pub(crate) machine: Machine,
    /// Addresses of the node, the primary one first.
    pub(crate) addresses: Vec<String>,
    pub(crate) nodes: Informer<Node>,
    pub(crate) network: Network,
    pub(crate) network_ready: watch::Sender<bool>,
    pub(crate) ready: watch::Sender<bool>,
    /// Told when the runtime has got another image.
    pub(crate) images_changed: Arc<Notify>,
    /// Process of our own containerd; `None` inside while it is down.
    pub(crate) runtime_pid: Option<watch::Receiver<Option<i32>>>,
}

/// Starts the node's tasks.
pub(crate) fn start(parts: NodeParts, shutdown: &Shutdown) {
    let lease = lease::Lease::new(parts.client.clone(), &parts.config.node_name);
    shutdown.spawn_until_cancelled("node-lease", lease.run(parts.nodes.clone()));
    shutdown.spawn_until_cancelled("node", NodeTask { parts, set_up: None, sent: None }.run());
}

struct NodeTask {
    parts: NodeParts,
    /// Pod CIDRs the network was set up for.
    set_up: Option<Vec<IpNet>>,
    sent: Option<status::Sent>,
}

impl NodeTask {
    async fn run(mut self) {
        let api: Api<Node> = Api::all(self.parts.client.clone());
        let mut backoff = Backoff::new(Policy::REQUEST);
        let mut node = loop {
            match register::register(&api, &self.parts).await {
                Ok(node) => break node,
                Err(error) => {
                    let delay = backoff.next_delay();
                    tracing::debug!(?delay, error = %Chain(&error), "the node is not registered yet");
                    tokio::time::sleep(delay).await;
                }
            }
        };
        tracing::info!(node = self.parts.config.node_name, "the node is registered");
        let mut changes = self.parts.nodes.subscribe();
        let mut pid = self.parts.runtime_pid.clone();
        let images_changed = self.parts.images_changed.clone();
        let mut backoff = Backoff::new(Policy::REQUEST);
        loop {
            let next = match self.sync(&api, &node).await {
                Ok(()) => {
                    backoff.reset();
                    LOOK
                }
                Err(error) => {
                    let delay = backoff.next_delay();
                    tracing::warn!(?delay, error = %Chain(&error), "the node's status was not sent");
                    delay
                }
            };
            let runtime_changed = async {
                let changed = match &mut pid {
                    Some(pid) => pid.changed().await.is_ok(),
                    None => false,
                };
                if !changed {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                change = changes.recv() => match change {
                    Some(change) if change.is_deleted() => {
                        // Somebody deleted the object; this machine still is a node.
                        self.sent = None;
                        match register::register(&api, &self.parts).await {
                            Ok(fresh) => node = fresh,
                            Err(error) => tracing::warn!(error = %Chain(&error), "the node is not registered again yet"),
                        }
                    }
                    Some(change) => node = (**change.object()).clone(),
                    None => return,
                },
                () = runtime_changed => {}
                () = images_changed.notified() => {}
                () = tokio::time::sleep(next) => {}
            }
            while let Some(change) = changes.try_recv() {
                if !change.is_deleted() {
                    node = (**change.object()).clone();
                }
            }
        }
    }

    async fn sync(&mut self, api: &Api<Node>, node: &Node) -> Result<(), kube::Error> {
        let cidrs = pod_cidrs(node);
        if !cidrs.is_empty() && self.set_up.as_ref() != Some(&cidrs) {
            match self.parts.network.set_up(&cidrs).await {
                Ok(()) => self.set_up = Some(cidrs),
                Err(error) => tracing::error!(error = %Chain(&error), "the pod network is not ready"),
            }
        }
        let observed = self.observe().await;
        let network_ready = self.set_up.is_some() && observed.network.is_ok() && observed.runtime.is_ok();
        self.parts.network_ready.send_replace(network_ready);
        let status = status::wanted(&self.parts, node, &observed);
        if let Some(patch) = status::patch(node, &status, self.sent.as_ref()) {
            api.patch_status(
                &self.parts.config.node_name,
                &kube::api::PatchParams::default(),
                &kube::api::Patch::Strategic(&patch),
            )
            .await?;
            self.sent = Some(status::Sent { status, at: copepod_base::clock::instant() });
        }
        if network_ready && observed.runtime.is_ok() && !*self.parts.ready.borrow() {
            tracing::info!("the node is ready");
            self.parts.ready.send_replace(true);
        }
        Ok(())
    }

    /// Asks the runtime how it is. Once the network is configured, it gets a moment to take the configuration.
    async fn observe(&self) -> Observed {
        let look = async {
            let mut backoff = Backoff::new(NETWORK_POLL);
            loop {
                let observed = status::observe(&*self.parts.runtime).await;
                if self.set_up.is_none() || observed.network.is_ok() || observed.runtime.is_err() {
                    return observed;
                }
                tokio::time::sleep(backoff.next_delay()).await;
            }
        };
        let mut observed = match tokio::time::timeout(NETWORK_WITHIN, look).await {
            Ok(observed) => observed,
            Err(_) => status::observe(&*self.parts.runtime).await,
        };
        observed.images = status::images(&*self.parts.images).await;
        observed
    }
}

fn pod_cidrs(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let many = spec.pod_cidrs.iter().flatten();
    let mut cidrs: Vec<IpNet> = many.filter_map(|c| c.parse().ok()).collect();
    if cidrs.is_empty() {
        cidrs.extend(spec.pod_cidr.as_ref().and_then(|c| c.parse::<IpNet>().ok()));
    }
    cidrs
}
