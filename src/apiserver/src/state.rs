//! What all requests share.

use std::sync::Arc;

use copepod_api::registry::Registry;
use copepod_base::Shutdown;
use copepod_pki::service_account::Signer;
use copepod_store::Store;

use crate::admission;
use crate::authenticate::Authentication;
use crate::authorize;
use crate::config::ServerConfig;
use crate::discovery::Documents;
use crate::flow::Flow;
use crate::health::Health;
use crate::metrics::ApiMetrics;
use crate::node::NodeDialer;
use crate::watch::Hub;

/// The server's parts; requests hold it by `Arc`.
pub(crate) struct State {
    pub(crate) config: ServerConfig,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Registry,
    pub(crate) authentication: Authentication,
    pub(crate) authorizer: authorize::Chain,
    pub(crate) admission: admission::Chain,
    pub(crate) signer: Arc<Signer>,
    pub(crate) dialer: Arc<dyn NodeDialer>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) flow: Flow,
    pub(crate) health: Health,
    pub(crate) documents: Documents,
    pub(crate) metrics: ApiMetrics,
    pub(crate) shutdown: Shutdown,
}
