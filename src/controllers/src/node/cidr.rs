//! Each node gets a part of the cluster's pod range, and no two get the same.
//!
//! One worker hands out, in the order of the range, the first part that no node of a live list has: what was given
//! is written on the node before anybody may use it, and a node's CIDR never changes (`spec.podCIDR`).

use copepod_client::controller::{Action, feed};
use copepod_client::{Queue, controller, error};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::Context;

/// Prefix lengths of a node's part: 256 addresses, or 2^64.
const NODE_PREFIX_V4: u8 = 24;
const NODE_PREFIX_V6: u8 = 64;

pub(super) fn start(context: &Context) {
    let queue: Queue<String> = Queue::new();
    let nodes = context.informers.get::<Node>();
    let all = nodes.clone();
    feed("node-cidr", nodes.subscribe(), &queue, &context.shutdown, move |change| {
        let node = change.object();
        let waiting = if change.is_deleted() {
            // It leaves its part to those that found none.
            all.list()
        } else {
            vec![node.clone()]
        };
        waiting
            .into_iter()
            .filter(|node| pod_cidr(node).is_none())
            .filter_map(|node| node.metadata.name.clone())
            .collect::<Vec<_>>()
    });
    let context = context.clone();
    copepod_base::spawn("node-cidr", async move {
        let shutdown = context.shutdown.clone();
        // One worker: two would give two nodes the same part.
        controller::run("node-cidr", queue, 1, &shutdown, move |name: String| {
            let context = context.clone();
            async move { assign(&context, &name).await }
        })
        .await;
    });
}

fn pod_cidr(node: &Node) -> Option<IpNet> {
    node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()
}

async fn assign(context: &Context, name: &str) -> Result<Action, kube::Error> {
    let api: Api<Node> = Api::all(context.client.clone());
    let nodes = api.list(&ListParams::default()).await?.items;
    let Some(node) = nodes.iter().find(|node| node.metadata.name.as_deref() == Some(name)) else {
        return Ok(Action::Done);
    };
    if pod_cidr(node).is_some() {
        return Ok(Action::Done);
    }
    let taken: Vec<IpNet> = nodes.iter().filter_map(pod_cidr).collect();
    let Some(free) = first_free(context.config.cluster_cidr, &taken) else {
        context.recorder.warning(
            node,
            "CIDRNotAvailable",
            format!("Node {name} status is now: CIDRNotAvailable"),
        );
        tracing::error!(node = name, range = %context.config.cluster_cidr, "the pod range is used up: use a larger --cluster-cidr for new clusters, or delete nodes that are gone");
        return Ok(Action::Done);
    };
    let patch = json!({
        "metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
        "spec": {"podCIDR": free.to_string(), "podCIDRs": [free.to_string()]}});
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => {
            tracing::info!(node = name, cidr = %free, "pod CIDR assigned");
            Ok(Action::Done)
        }
        Err(error) if error::is_not_found(&error) => Ok(Action::Done),
        // A conflict too: the node changed meanwhile and is looked at again.
        Err(error) => Err(error),
    }
}

/// The first part of `range` that overlaps none of `taken`. A range smaller than one part is one part.
fn first_free(range: IpNet, taken: &[IpNet]) -> Option<IpNet> {
    let wanted = match range {
        IpNet::V4(_) => NODE_PREFIX_V4,
        IpNet::V6(_) => NODE_PREFIX_V6,
    };
    let overlaps = |part: &IpNet| taken.iter().any(|other| other.contains(part) || part.contains(other));
    range.subnets(wanted.max(range.prefix_len())).ok()?.find(|part| !overlaps(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn parts_are_given_in_order_and_holes_are_filled() {
        let range = net("10.42.0.0/16");
        assert_eq!(first_free(range, &[]), Some(net("10.42.0.0/24")));
        assert_eq!(first_free(range, &[net("10.42.0.0/24"), net("10.42.2.0/24")]), Some(net("10.42.1.0/24")));
    }

    #[test]
    fn a_part_of_another_size_is_never_overlapped() {
        assert_eq!(first_free(net("10.42.0.0/16"), &[net("10.42.0.0/23")]), Some(net("10.42.2.0/24")));
    }

    #[test]
    fn a_range_that_is_used_up_gives_nothing() {
        assert_eq!(first_free(net("10.42.0.0/24"), &[net("10.42.0.0/24")]), None);
    }

    #[test]
    fn a_small_range_is_one_part() {
        assert_eq!(first_free(net("10.42.0.0/26"), &[]), Some(net("10.42.0.0/26")));
    }
}
