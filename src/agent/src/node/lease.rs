//! The heartbeat: a Lease renewed every ten seconds (KEP-589).

use std::time::Duration;

use copepod_base::Chain;
use copepod_base::backoff::{Backoff, Policy};
use copepod_client::{Client, error, time};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use kube::api::{Api, ObjectMeta, PostParams};

use super::NodeHandle;

const NAMESPACE: &str = "kube-node-lease";
const DURATION_SECONDS: i32 = 40;
/// A quarter of the duration, as the kubelet renews.
const RENEW_EVERY: Duration = Duration::from_secs(10);
const RETRY: Policy =
    Policy { initial: Duration::from_millis(200), max: Duration::from_secs(7), factor: 2.0, jitter: 0.2 };

/// Renews the Lease until the task is dropped.
pub(super) async fn run(client: Client, name: String, handle: NodeHandle) {
    let api: Api<Lease> = Api::namespaced(client, NAMESPACE);
    let mut known: Option<Lease> = None;
    let mut retry = Backoff::new(RETRY);
    loop {
        match renew(&api, &name, &handle, known.take()).await {
            Ok(lease) => {
                known = Some(lease);
                retry.reset();
                tokio::time::sleep(RENEW_EVERY).await;
            }
            Err(error) => {
                // A conflict only says that the copy is old; the next try reads it anew.
                tracing::debug!(node = name, error = %Chain(&error), "cannot renew the node's lease, will try again");
                if retry.failures() == 4 {
                    tracing::warn!(node = name, error = %Chain(&error), "the node's lease is not renewed");
                }
                tokio::time::sleep(retry.next_delay()).await;
            }
        }
    }
}

async fn renew(api: &Api<Lease>, name: &str, handle: &NodeHandle, known: Option<Lease>) -> Result<Lease, kube::Error> {
    let known = match known {
        Some(lease) => Some(lease),
        None => api.get_opt(name).await?,
    };
    let Some(mut lease) = known else {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                owner_references: owner(handle).map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(spec(name)),
        };
        return api.create(&PostParams::default(), &lease).await;
    };
    lease.spec = Some(spec(name));
    if lease.metadata.owner_references.is_none() {
        lease.metadata.owner_references = owner(handle).map(|owner| vec![owner]);
    }
    match api.replace(name, &PostParams::default(), &lease).await {
        Err(error) if error::is_not_found(&error) => {
            lease.metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            api.create(&PostParams::default(), &lease).await
        }
        other => other,
    }
}

fn spec(name: &str) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(name.to_owned()),
        lease_duration_seconds: Some(DURATION_SECONDS),
        renew_time: Some(time::now_micro()),
        ..LeaseSpec::default()
    }
}

/// The Lease goes with its Node.
fn owner(handle: &NodeHandle) -> Option<OwnerReference> {
    handle.node().and_then(|node| node.owner_ref(&()))
}
