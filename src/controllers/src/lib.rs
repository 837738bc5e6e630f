//! The controllers: each keeps one promise of the API by comparing what is with what should be.
//!
//! | module | promise |
//! |---|---|
//! | [`namespace`] | a deleted namespace is emptied, pods first, and then removed |
//! | [`service_account`] | every namespace has the ServiceAccount `default` |
//! | [`root_ca`] | every namespace has the ConfigMap `kube-root-ca.crt` |
//! | [`replica_set`] | as many pods as asked for |
//! | [`deployment`] | ReplicaSets follow the template, step by step |
//! | [`garbage`] | what has lost its owners goes; what blocks its owner goes first |
//! | [`node`] | a silent node is marked, tainted, and its pods evicted; every node has a pod CIDR |
//! | [`pod_gc`] | pods of vanished nodes and piles of finished pods go |
//!
//! Where there is something to decide, the decision is a pure function over observed objects (`plan`), with its own
//! tests; the loop around it only reads the shared informers, writes through the API and is woken by changes.

mod claim;
mod condition;
mod deployment;
mod garbage;
mod namespace;
mod node;
mod pod_gc;
mod pods;
mod replica_set;
mod root_ca;
mod service_account;
mod written;

use copepod_base::Shutdown;
use copepod_client::events::Recorder;
use copepod_client::{Action, Client, Informers, error};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ObjectMeta;

/// What the controllers must know of the cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// Certificates in PEM that pods trust the API server by.
    pub root_ca: String,
    /// Range that nodes get their pod CIDRs from.
    pub cluster_cidr: IpNet,
}

/// What every controller works with.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) client: Client,
    pub(crate) informers: Informers,
    pub(crate) recorder: Recorder,
    pub(crate) shutdown: Shutdown,
}

/// Starts all controllers; they end with the shutdown.
pub fn start(config: Config, client: Client, informers: Informers, recorder: Recorder, shutdown: &Shutdown) {
    let context = Context { config, client, informers, recorder, shutdown: shutdown.clone() };
    namespace::start(&context);
    service_account::start(&context);
    root_ca::start(&context);
    replica_set::start(&context.named("replicaset-controller"));
    deployment::start(&context.named("deployment-controller"));
    garbage::start(&context);
    node::start(&context);
    pod_gc::start(&context);
}

impl Context {
    /// The context of a controller whose events come from this component, as `kubectl describe` shows it.
    fn named(&self, component: &str) -> Self {
        Self { recorder: self.recorder.named(component), ..self.clone() }
    }
}

/// The end of a reconciliation that made sure that something exists: that somebody else was faster, or that the
/// namespace is going away, is as good as success.
pub(crate) fn ensured<T>(result: Result<T, kube::Error>) -> Result<Action, kube::Error> {
    match result {
        Ok(_) => Ok(Action::Done),
        Err(error) if error::is_already_exists(&error) || error::is_namespace_terminating(&error) => {
            Ok(Action::Done)
        }
        Err(error) => Err(error),
    }
}

/// What was written, or `None` when the object is gone or is another one of the same name (the write named a uid).
pub(crate) fn still_there<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(written) => Ok(Some(written)),
        Err(error) if error::is_not_found(&error) || error::is_conflict(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The server's words about a failure, without what kube puts around them.
pub(crate) fn message(error: &kube::Error) -> String {
    error::api_status(error).map_or_else(|| error.to_string(), |status| status.message.clone())
}

/// Whether a controller's selector picks an object. One that cannot be read, or that is missing, picks nothing.
pub(crate) fn selects(selector: Option<&LabelSelector>, metadata: &ObjectMeta) -> bool {
    let Ok(selector) = copepod_api::selector::LabelSelector::from_object(selector) else { return false };
    match &metadata.labels {
        Some(labels) => selector.matches(labels),
        None => selector.matches(&std::collections::BTreeMap::new()),
    }
}

#[cfg(test)]
mod tests;
