//! The node agent of this machine, from the checked configuration.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use copepod_agent::kubelet_api::Authorize;
use copepod_agent::{Agent, AgentConfig, PauseImage, RuntimeConfig};
use copepod_base::{Shutdown, clock};
use copepod_client::Client;
use copepod_pki::Pki;
use copepod_pki::tls::{ClientVerifier, ServingCert, server_config};
use k8s_openapi::api::core::v1::Taint;
use tokio::net::TcpListener;

use crate::config::{self, Config};
use crate::dialer::LocalNode;

/// The image of sandboxes, built with the executable (`build.rs`).
const PAUSE_NAME: &str = "copepod.io/pause:1";
const PAUSE_ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause.tar"));

/// Group of those who may use the kubelet API on its port: the API server and administrators.
const ALLOWED: &str = "system:masters";

/// Where copepod keeps its data unless told otherwise.
const USUAL_DATA_DIR: &str = "/var/lib/copepod";

/// Why the agent could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Agent(#[from] copepod_agent::Error),
    #[error(
        "cannot listen on {address} for the kubelet API: stop what uses the port, or choose another with --kubelet-port"
    )]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Pki(#[from] copepod_pki::Error),
}

/// What the agent is started with.
pub(crate) struct Inputs<'a> {
    pub(crate) config: &'a Config,
    pub(crate) node: &'a config::Node,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) pki: Arc<Pki>,
    pub(crate) client: Client,
}

/// Starts the agent, makes it reachable for the server, and returns when the Node is Ready.
///
/// The agent works as long as the returned value lives.
pub(crate) async fn start(
    inputs: Inputs<'_>,
    dialer: &LocalNode,
    shutdown: &Shutdown,
) -> Result<Agent, Error> {
    let Inputs { config, node, ips, pki, client } = inputs;
    let address = SocketAddr::new(config.bind_address, node.kubelet_port);
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    let agent = Agent::start(settings(config, node, ips), client, shutdown).await?;
    let api = agent.kubelet_api();
    api.serve_tls(listener, tls(&pki)?, authorize(pki), shutdown);
    dialer.connect(api);
    agent.ready().await;
    Ok(agent)
}

fn tls(pki: &Pki) -> Result<Arc<rustls::ServerConfig>, copepod_pki::Error> {
    let verifier = ClientVerifier::new(&[pki.client_ca()]);
    let mut tls = server_config(ServingCert::new(&pki.serving_kubelet())?, Arc::new(verifier));
    // The kubelet API upgrades connections, which HTTP/2 does not have.
    Arc::make_mut(&mut tls).alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

fn authorize(pki: Arc<Pki>) -> Authorize {
    Arc::new(move |chain| {
        let identity = pki.authenticator().authenticate(chain, clock::now());
        identity.is_ok_and(|identity| identity.groups.iter().any(|group| group == ALLOWED))
    })
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
    if config.data_dir == Path::new(USUAL_DATA_DIR) {
        // Where log collectors look. Other clusters on this machine keep their logs with their data.
        settings.logs_dir = PathBuf::from("/var/log/pods");
    }
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
