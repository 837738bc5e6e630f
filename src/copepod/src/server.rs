//! `copepod server`: the parts, in the order in which they need each other.
//!
//! 1. Everything that can refuse is asked first: folders, port, database, keys. A refusal changes nothing and is one
//!    line.
//! 2. The API serves. Controllers and scheduler are its clients, in the process.
//! 3. The agent registers the node; when the node is Ready, systemd is told.
//! 4. SIGTERM or SIGINT cancel the shutdown tree; the store is closed last. No container is stopped.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use copepod_agent::Agent;
use copepod_apiserver::{Dependencies, Identity, Server, ServerConfig};
use copepod_base::metrics::Metrics;
use copepod_base::{Chain, Shutdown, clock, file};
use copepod_client::events::Recorder;
use copepod_client::{Client, Informers};
use copepod_net::node::NodeAddresses;
use copepod_pki::{JoinToken, Kubeconfig, Pki, PkiConfig};
use copepod_store::sqlite::{Sqlite, SqliteConfig};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::agent;
use crate::config::Config;
use crate::dialer::LocalNode;
use crate::role;

/// How long tasks may take to end after a signal; then the process ends anyway.
const DRAIN: Duration = Duration::from_millis(1500);

/// How often certificates are looked at. They are renewed months before they expire.
const RENEWAL: Duration = Duration::from_secs(12 * 3600);

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("copepod must run as root, to make containers, network devices and mounts; try sudo")]
    NotRoot,
    #[error("cannot use the folder {path}: choose another with --{flag}, or make it writable")]
    Folder { path: PathBuf, flag: &'static str, source: io::Error },
    #[error(
        "cannot listen on {address}: stop what uses the port, or choose another with --https-listen-port"
    )]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Store(#[from] copepod_store::Error),
    #[error(transparent)]
    Pki(#[from] copepod_pki::Error),
    #[error(transparent)]
    Token(#[from] copepod_pki::TokenError),
    #[error("cannot write the kubeconfig {path}")]
    Kubeconfig { path: PathBuf, source: io::Error },
    #[error("cannot read this machine's addresses")]
    Addresses(#[source] copepod_net::Error),
    #[error(transparent)]
    Server(#[from] copepod_apiserver::StartError),
    #[error(transparent)]
    Agent(#[from] agent::Error),
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
}

/// Runs the server until a signal asks it to stop.
pub(crate) async fn run(config: Config) -> Result<(), Error> {
    if config.node.is_some() && !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    make_folders(&config)?;
    let listener = listen(&config).await?;
    let shutdown = Shutdown::new();
    let store = open_store(&config, &shutdown)?;
    let result = {
        let parts = start(&config, listener, store.clone(), &shutdown);
        tokio::select! {
            result = parts => match result {
                Ok(_agent) => {
                    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                    Ok(())
                }
                Err(error) => Err(error),
            },
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    };
    notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping; containers go on");
    shutdown.cancel();
    if tokio::time::timeout(DRAIN, shutdown.finished()).await.is_err() {
        tracing::warn!("some tasks did not end in time and are left behind");
    }
    tracing::debug!("all tasks ended, closing the datastore");
    store.close().await?;
    tracing::debug!("the datastore is closed");
    result
}

fn make_folders(config: &Config) -> Result<(), Error> {
    let folders = [
        (config.data_dir.join("server"), "data-dir", 0o700),
        (config.data_dir.join("agent/images"), "data-dir", 0o755),
        (config.run_dir.clone(), "run-dir", 0o711),
    ];
    for (path, flag, mode) in folders {
        file::create_dir(&path, mode).map_err(|source| Error::Folder { path: path.clone(), flag, source })?;
    }
    Ok(())
}

async fn listen(config: &Config) -> Result<TcpListener, Error> {
    let address = SocketAddr::new(config.bind_address, config.https_listen_port);
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

fn open_store(config: &Config, shutdown: &Shutdown) -> Result<Arc<Sqlite>, Error> {
    let store = SqliteConfig {
        // Heartbeats wait in memory for a minute: they must not wear the disk.
        relaxed_journal: Some(config.run_dir.join("store.journal")),
        ..SqliteConfig::new(&config.database)
    };
    Ok(Sqlite::open(store, shutdown)?)
}

/// Starts all parts; returns when the node is Ready (or at once without an agent). The agent must be kept.
async fn start(
    config: &Config,
    listener: TcpListener,
    store: Arc<Sqlite>,
    shutdown: &Shutdown,
) -> Result<Option<Agent>, Error> {
    let machine = copepod_net::node::addresses().map_err(Error::Addresses)?;
    let ips = node_ips(config, &machine);
    let pki_config = pki_config(config, &ips);
    let pki = Arc::new(Pki::ensure(&pki_config)?);
    let port = listener.local_addr().map_or(config.https_listen_port, |address| address.port());
    keep_token(config, &pki)?;
    write_kubeconfig(config, &pki, port)?;
    shutdown.spawn_until_cancelled("certificates", renew(pki.clone(), pki_config));

    let metrics = Metrics::new();
    store.stats().register(&metrics);
    let dialer = Arc::new(LocalNode::new(config.node_name.clone()));
    let server = Server::new(
        ServerConfig {
            service_cidr: config.service_cidr,
            node_ports: config.node_ports.clone(),
            ..ServerConfig::new(advertised(config, &ips, port))
        },
        Dependencies {
            store,
            registry: copepod_api::registry::Registry::builtin(),
            certificates: Some(pki.authenticator().clone()),
            signer: pki.signer().clone(),
            tokens: Vec::new(),
            dialer: dialer.clone(),
            metrics: metrics.clone(),
        },
        shutdown,
    )
    .await?;
    let serving = server.clone();
    let tls = copepod_pki::server_tls(&pki);
    shutdown.spawn("api", async move { serving.serve(listener, tls).await });
    tracing::info!(version = crate::version::LONG, port, "the API is served");

    start_controllers(config, &server, &pki, shutdown);
    let agent = match &config.node {
        Some(node) => {
            let client = client_of(&server, Identity::node(&config.node_name));
            let marker = client_of(&server, Identity::apiserver());
            shutdown.spawn_until_cancelled(
                "role",
                role::keep(marker, config.node_name.clone(), shutdown.clone()),
            );
            let agent =
                agent::start(agent::Inputs { config, node, ips, pki, client }, &dialer, shutdown).await?;
            tracing::info!(node = config.node_name, "the node is ready");
            Some(agent)
        }
        None => {
            tracing::info!("no agent on this machine");
            None
        }
    };
    notify(&[sd_notify::NotifyState::Ready]);
    Ok(agent)
}

fn client_of(server: &Server, identity: Identity) -> Client {
    copepod_client::in_process(server.service(identity))
}

fn start_controllers(config: &Config, server: &Server, pki: &Pki, shutdown: &Shutdown) {
    let manager = client_of(server, Identity::new("system:kube-controller-manager", []));
    // One cache of each kind for controllers and scheduler: it is the largest thing that either keeps.
    let informers = Informers::new(manager.clone(), shutdown);
    let recorder = Recorder::new(manager.clone(), "controller-manager", "");
    let settings = copepod_controllers::Config {
        root_ca: pki.server_ca().cert_pem().to_owned(),
        cluster_cidr: config.cluster_cidr,
    };
    copepod_controllers::start(settings, manager, informers.clone(), recorder, shutdown);

    let scheduler = client_of(server, Identity::new("system:kube-scheduler", []));
    let recorder = Recorder::new(scheduler.clone(), "default-scheduler", "");
    let node = shutdown.child();
    shutdown.spawn("scheduler", async move {
        copepod_scheduler::run(copepod_scheduler::Config::default(), scheduler, &informers, recorder, &node)
            .await;
    });
}

/// The node's addresses: as told, else those of the interface with the default route. A machine without any network
/// still runs pods for itself.
fn node_ips(config: &Config, machine: &NodeAddresses) -> Vec<IpAddr> {
    let told = config.node.as_ref().map(|node| node.ips.clone()).unwrap_or_default();
    if !told.is_empty() {
        return told;
    }
    let family = |ip: &&IpAddr| ip.is_ipv4() == config.cluster_cidr.addr().is_ipv4();
    let found: Vec<IpAddr> = machine.ipv4.iter().chain(&machine.ipv6).filter(family).copied().collect();
    if found.is_empty() { vec![IpAddr::from([127, 0, 0, 1])] } else { found }
}

fn advertised(config: &Config, ips: &[IpAddr], port: u16) -> SocketAddr {
    let first = ips.first().copied().unwrap_or(IpAddr::from([127, 0, 0, 1]));
    SocketAddr::new(config.advertise_address.unwrap_or(first), port)
}

fn pki_config(config: &Config, ips: &[IpAddr]) -> PkiConfig {
    let mut sans = config.tls_san.clone();
    // The first address of the range is that of the Service `kubernetes`.
    sans.extend(config.service_cidr.hosts().next().map(|ip| ip.to_string()));
    sans.extend(config.advertise_address.map(|ip| ip.to_string()));
    PkiConfig {
        dir: config.data_dir.join("server/tls"),
        sans,
        cluster_domain: config.cluster_domain.clone(),
        node_name: config.node_name.clone(),
        node_ips: ips.to_vec(),
    }
}

fn keep_token(config: &Config, pki: &Pki) -> Result<(), Error> {
    let chosen = config.token.as_deref().map(str::parse).transpose()?;
    JoinToken::ensure(&config.data_dir.join("server/token"), pki.server_ca().cert_pem(), chosen)?;
    Ok(())
}

fn write_kubeconfig(config: &Config, pki: &Pki, port: u16) -> Result<(), Error> {
    let path = &config.write_kubeconfig;
    let failed = |source| Error::Kubeconfig { path: path.clone(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let kubeconfig = Kubeconfig {
        server: format!("https://127.0.0.1:{port}"),
        ca_pem: pki.server_ca().cert_pem().to_owned(),
        client: pki.client_admin(),
    };
    kubeconfig.write(path, config.write_kubeconfig_mode).map_err(failed)
}

/// Renews certificates in place, long before they expire.
async fn renew(pki: Arc<Pki>, config: PkiConfig) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        match pki.refresh(&config, clock::now()) {
            Ok(true) => tracing::info!("certificates renewed"),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(error = %Chain(&error), "cannot renew certificates, will try again")
            }
        }
    }
}

/// Tells systemd, where it started us; nobody else listens.
fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}
