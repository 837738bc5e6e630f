//! What the node's kernel must do for pods: forward packets, and hide pod addresses from the world outside.

use copepod_base::Chain;
use copepod_net::iptables::{self, Chain as RuleChain, Family, Iptables, Jump, Table};
use copepod_net::{IpNet, sysctl};

/// Prefix of the chains that belong to the pod network.
const PREFIX: &str = "COPEPOD-POD";
const MASQUERADE: &str = "COPEPOD-POD-MASQ";
const FORWARD: &str = "COPEPOD-POD-FWD";

/// Why the node cannot carry pod traffic.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A kernel setting.
    #[error("cannot let the kernel forward packets")]
    Forwarding(#[source] copepod_net::Error),
    /// The packet filter.
    #[error("cannot set the pod network's iptables rules")]
    Rules(#[source] iptables::Error),
}

/// Prepares the kernel for pods with addresses of `pods` in a cluster whose pods have addresses of `cluster`.
///
/// # Errors
/// When forwarding cannot be turned on, or rules not be set: pods would not reach anything.
pub async fn prepare(pods: &[IpNet], cluster: &[IpNet]) -> Result<(), Error> {
    for (family, v4) in [(Family::V4, true), (Family::V6, false)] {
        let own: Vec<&IpNet> = pods.iter().filter(|net| net.addr().is_ipv4() == v4).collect();
        if own.is_empty() {
            continue;
        }
        let forwarding = if v4 { "net.ipv4.ip_forward" } else { "net.ipv6.conf.all.forwarding" };
        sysctl::write(forwarding, "1").map_err(Error::Forwarding)?;
        bridge_to_filter(v4).await;
        let filter = Iptables::detect(family).await.map_err(Error::Rules)?;
        let cluster: Vec<&IpNet> = cluster.iter().filter(|net| net.addr().is_ipv4() == v4).collect();
        filter.apply(PREFIX, &tables(&own, &cluster, v4)).await.map_err(Error::Rules)?;
    }
    Ok(())
}

/// Packets between pods of one bridge must meet the filter as others do. The module may be built in, or missing in a
/// container: then the setting is not there, and only that traffic is unfiltered.
async fn bridge_to_filter(v4: bool) {
    let name = if v4 { "net.bridge.bridge-nf-call-iptables" } else { "net.bridge.bridge-nf-call-ip6tables" };
    if sysctl::read(name).is_err() {
        let loaded = tokio::process::Command::new("modprobe").arg("br_netfilter").output().await;
        if let Err(error) = loaded {
            tracing::debug!(%error, "cannot run modprobe");
        }
    }
    if let Err(error) = sysctl::write(name, "1") {
        tracing::warn!(error = %Chain(&error), "packets between pods of this node do not meet the packet filter");
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(ToOwned::to_owned).collect()
}

fn tables(own: &[&IpNet], cluster: &[&IpNet], v4: bool) -> Vec<Table> {
    let multicast = if v4 { "224.0.0.0/4" } else { "ff00::/8" };
    let mut masquerade = Vec::new();
    for net in own {
        for inside in cluster.iter().map(ToString::to_string).chain([multicast.to_owned()]) {
            masquerade.push(words(&format!("-s {net} -d {inside} -j RETURN")));
        }
        masquerade.push(words(&format!("-s {net} -j MASQUERADE --random-fully")));
    }
    let forward = cluster
        .iter()
        .flat_map(|net| [words(&format!("-s {net} -j ACCEPT")), words(&format!("-d {net} -j ACCEPT"))])
        .collect();
    let jump = |from: &str, to: &str| Jump { from: from.into(), to: to.into(), conditions: Vec::new(), first: false };
    vec![
        Table {
            name: "nat".into(),
            chains: vec![RuleChain { name: MASQUERADE.into(), rules: masquerade }],
            jumps: vec![jump("POSTROUTING", MASQUERADE)],
        },
        Table {
            name: "filter".into(),
            chains: vec![RuleChain { name: FORWARD.into(), rules: forward }],
            jumps: vec![jump("FORWARD", FORWARD)],
        },
    ]
}
