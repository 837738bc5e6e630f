//! The node agent of this machine, from the checked configuration.

use std::net::IpAddr;
use std::sync::Arc;

use copepod_agent::{Agent, AgentConfig, PauseImage, RuntimeConfig};
use copepod_base::Shutdown;
use copepod_client::Client;
use k8s_openapi::api::core::v1::Taint;

use crate::config::{self, Config};
use crate::dialer::LocalNode;

/// The image of sandboxes, built with the executable (`build.rs`).
const PAUSE_NAME: &str = "copepod.io/pause:1";
const PAUSE_ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause.tar"));

/// Starts the agent, makes it reachable for the server, and returns when the Node is Ready.
///
/// The agent works as long as the returned value lives.
pub(crate) async fn start(
    config: &Config,
    node: &config::Node,
    ips: Vec<IpAddr>,
    client: Client,
    dialer: &Arc<LocalNode>,
    shutdown: &Shutdown,
) -> Result<Agent, copepod_agent::Error> {
    let agent = Agent::start(settings(config, node, ips), client, shutdown).await?;
    dialer.connect(agent.kubelet_api());
    agent.ready().await;
    Ok(agent)
}

fn settings(config: &Config, node: &config::Node, ips: Vec<IpAddr>) -> AgentConfig {
    let pause = PauseImage { name: PAUSE_NAME.to_owned(), archive: PAUSE_ARCHIVE };
    let mut settings =
        AgentConfig::new(&config.node_name, &config.data_dir.join("agent"), &config.run_dir, pause);
    settings.node_ips = ips;
    settings.labels = node.labels.iter().cloned().collect();
    settings.taints = node.taints.iter().map(taint).collect();
    settings.cluster_cidrs = vec![config.cluster_cidr];
    settings.cluster_dns = vec![config.cluster_dns];
    settings.cluster_domain.clone_from(&config.cluster_domain);
    settings.max_pods = node.max_pods;
    settings.kubelet_port = node.kubelet_port;
    settings.cgroup_root =
        node.cgroup_root.split('/').filter(|part| !part.is_empty()).map(Into::into).collect();
    if let Some(file) = &node.resolv_conf {
        settings.resolv_conf = vec![file.clone()];
    }
    if let Some(endpoint) = &node.container_runtime_endpoint {
        settings.runtime = RuntimeConfig::Endpoint(endpoint.clone());
    }
    settings
}

fn taint(taint: &config::Taint) -> Taint {
    Taint {
        key: taint.key.clone(),
        value: (!taint.value.is_empty()).then(|| taint.value.clone()),
        effect: taint.effect.clone(),
        time_added: None,
    }
}
