//! What a [`crate::Server`] is made of.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use copepod_api::registry::Registry;
use copepod_base::metrics::Metrics;
use copepod_pki::ClientAuthenticator;
use copepod_pki::service_account::Signer;
use copepod_store::Store;
use ipnet::IpNet;

use crate::authenticate::TokenAuthenticator;
use crate::node::NodeDialer;

/// Settings.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// What `/version` says.
    pub version: VersionInfo,
    /// Where Services get their addresses from; the first address is the API's own.
    pub service_cidr: IpNet,
    /// Where Services get their node ports from.
    pub node_ports: RangeInclusive<u16>,
    /// Where nodes and pods reach this server: the endpoint of the Service `default/kubernetes`.
    pub advertise: SocketAddr,
    /// Connections at one time; further ones wait to be accepted.
    pub max_connections: usize,
}

impl ServerConfig {
    /// The settings of a default cluster that is reached at this address.
    ///
    /// # Panics
    /// Never: the default range is valid.
    #[must_use]
    pub fn new(advertise: SocketAddr) -> Self {
        Self {
            version: VersionInfo::default(),
            service_cidr: "10.43.0.0/16".parse().expect("the default range is valid"),
            node_ports: 30000..=32767,
            advertise,
            max_connections: 20_000,
        }
    }
}

/// Build facts for `/version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// For example `v1.36.0+copepod0.1.0`.
    pub git_version: String,
    /// Commit of the build.
    pub git_commit: String,
    /// RFC 3339.
    pub build_date: String,
}

impl Default for VersionInfo {
    fn default() -> Self {
        Self {
            git_version: concat!("v1.36.0+copepod", env!("CARGO_PKG_VERSION")).to_owned(),
            git_commit: option_env!("COPEPOD_COMMIT").unwrap_or_default().to_owned(),
            build_date: option_env!("COPEPOD_BUILD_DATE").unwrap_or("1970-01-01T00:00:00Z").to_owned(),
        }
    }
}

/// What the server works with.
pub struct Dependencies {
    /// Where objects are kept.
    pub store: Arc<dyn Store>,
    /// The kinds that are served.
    pub registry: Registry,
    /// Knows client certificates; without it nobody comes in by one.
    pub certificates: Option<ClientAuthenticator>,
    /// Makes and knows service account tokens.
    pub signer: Arc<Signer>,
    /// Knows other bearer tokens.
    pub tokens: Vec<Arc<dyn TokenAuthenticator>>,
    /// The way to the nodes.
    pub dialer: Arc<dyn NodeDialer>,
    /// The process's metrics.
    pub metrics: Metrics,
}
