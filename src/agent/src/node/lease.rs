//! The heartbeat.

use std::time::Duration;

use copepod_base::Chain;
use copepod_client::{Client, Informer};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as ApiLease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::PostParams;

/// Namespace of the leases of nodes.
const NAMESPACE: &str = "kube-node-lease";
/// After this many seconds without a heartbeat the node counts as dead.
const DURATION_S: i32 = 40;
/// Between heartbeats.
const PERIOD: Duration = Duration::from_secs(10);
/// After a heartbeat that failed.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Lease {
    api: Api<ApiLease>,
    node: String,
    /// As the API gave it back last.
    known: Option<ApiLease>,
}

impl Lease {
    pub(super) fn new(client: Client, node: &str) -> Self {
        Self { api: Api::namespaced(client, NAMESPACE), node: node.to_owned(), known: None }
    }

    pub(super) async fn run(mut self, nodes: Informer<Node>) {
        // The lease belongs to the node, so the node has to be there.
        let mut changes = nodes.subscribe();
        while nodes.get(None, &self.node).is_none() {
            if changes.recv().await.is_none() {
                return;
            }
        }
        drop(changes);
        loop {
            let uid = nodes.get(None, &self.node).and_then(|n| n.metadata.uid.clone());
            match self.beat(uid).await {
                Ok(()) => tokio::time::sleep(PERIOD).await,
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "no heartbeat");
                    self.known = None;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn beat(&mut self, node_uid: Option<String>) -> Result<(), kube::Error> {
        let known = match self.known.take() {
            Some(known) => Some(known),
            None => self.api.get_opt(&self.node).await?,
        };
        let lease = self.renewed(known.as_ref(), node_uid);
        let answer = match known {
            Some(_) => self.api.replace(&self.node, &PostParams::default(), &lease).await?,
            None => self.api.create(&PostParams::default(), &lease).await?,
        };
        self.known = Some(answer);
        Ok(())
    }

    fn renewed(&self, known: Option<&ApiLease>, node_uid: Option<String>) -> ApiLease {
        let now = Timestamp::try_from(copepod_base::clock::now()).unwrap_or_default();
        let mut lease = known.cloned().unwrap_or_else(|| ApiLease {
            metadata: ObjectMeta {
                name: Some(self.node.clone()),
                namespace: Some(NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            },
            ..ApiLease::default()
        });
        if let Some(uid) = node_uid {
            lease.metadata.owner_references = Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: self.node.clone(),
                uid,
                ..OwnerReference::default()
            }]);
        }
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        spec.holder_identity = Some(self.node.clone());
        spec.lease_duration_seconds = Some(DURATION_S);
        spec.renew_time = Some(MicroTime(now));
        lease
    }
}
