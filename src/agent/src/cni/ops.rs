//! The operations.

use copepod_net::ipam::{self, Pool};
use copepod_net::link::Bridge;
use copepod_net::pod::{Attachment, attach, detach};
use copepod_net::{IpNet, NetNs, Netlink};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;

use super::CniError;
use super::conf::{Conf, Parameters};

fn pools(conf: &Conf) -> Result<Vec<Pool>, CniError> {
    conf.subnets
        .iter()
        .map(|subnet| Pool::new(&conf.data_dir, *subnet).map_err(|e| CniError::failed(&e)))
        .collect()
}

/// Name of the host's end: stable for the attachment, unique on the node, at most 15 bytes.
fn host_link(container: &str, interface: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(container);
    hash.update([0]);
    hash.update(interface);
    format!("veth{}", hex::encode(&hash.finalize()[..5]))
}

pub(super) fn add(conf: &Conf, parameters: &Parameters) -> Result<Value, CniError> {
    let (container, interface) = parameters.attachment()?;
    if parameters.netns.is_empty() {
        return Err(CniError::environment("required env variables [CNI_NETNS] missing"));
    }
    let pools = pools(conf)?;
    let namespace = NetNs::open(Path::new(&parameters.netns)).map_err(|e| CniError::failed(&e))?;
    let mut addresses = Vec::new();
    let result = connect(conf, &pools, &namespace, (container, interface), &mut addresses);
    if result.is_err() {
        // Whoever gets an error need not call DEL.
        for pool in &pools {
            let _ = pool.release(container, interface);
        }
    }
    result
}

fn connect(
    conf: &Conf,
    pools: &[Pool],
    namespace: &NetNs,
    (container, interface): (&str, &str),
    addresses: &mut Vec<IpNet>,
) -> Result<Value, CniError> {
    let kernel = |e: copepod_net::Error| CniError::failed(&e);
    for pool in pools {
        let address = pool.reserve(container, interface).map_err(|e| match e {
            ipam::Error::Exhausted { .. } => CniError::new(11, &e.to_string(), ""),
            other => CniError::failed(&other),
        })?;
        addresses.push(pool.with_length(address));
    }
    let bridge = Bridge {
        name: conf.bridge.clone(),
        mtu: conf.mtu,
        addresses: pools.iter().map(Pool::gateway_net).collect(),
        promiscuous: false,
    };
    let bridge = ensure_bridge(&bridge).map_err(kernel)?;
    let attachment = Attachment {
        bridge: conf.bridge.clone(),
        host_link: host_link(container, interface),
        pod_link: interface.to_owned(),
        mtu: conf.mtu,
        hairpin: true,
        addresses: addresses.clone(),
        gateways: pools.iter().map(Pool::gateway).collect(),
    };
    let attached = attach(namespace, &attachment).map_err(kernel)?;
    let ips: Vec<Value> = pools
        .iter()
        .zip(addresses.iter())
        .map(|(pool, address)| json!({"interface": 2, "address": address.to_string(), "gateway": pool.gateway()}))
        .collect();
    let routes: Vec<Value> = pools
        .iter()
        .map(|pool| {
            let all = if pool.gateway().is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            json!({"dst": all, "gw": pool.gateway()})
        })
        .collect();
    Ok(json!({
        "cniVersion": conf.cni_version,
        "interfaces": [
            {"name": conf.bridge, "mac": mac(bridge.mac)},
            {"name": attachment.host_link, "mac": mac(attached.host.mac)},
            {"name": interface, "mac": mac(attached.pod.mac), "sandbox": namespace.path()},
        ],
        "ips": ips,
        "routes": routes,
        "dns": {},
    }))
}

/// The bridge is usually there: then one look is enough.
fn ensure_bridge(bridge: &Bridge) -> copepod_net::Result<copepod_net::link::Link> {
    let mut netlink = Netlink::open()?;
    netlink.ensure_bridge(bridge)
}

fn mac(mac: Option<copepod_net::link::Mac>) -> String {
    mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")).unwrap_or_default()
}

pub(super) fn del(conf: &Conf, parameters: &Parameters) -> Result<(), CniError> {
    let (container, interface) = parameters.attachment()?;
    // The cable goes with either end; the namespace may be gone already.
    detach(&host_link(container, interface)).map_err(|e| CniError::failed(&e))?;
    for pool in pools(conf)? {
        pool.release(container, interface).map_err(|e| CniError::failed(&e))?;
    }
    Ok(())
}

pub(super) fn check(conf: &Conf, parameters: &Parameters) -> Result<(), CniError> {
    let (container, interface) = parameters.attachment()?;
    let wrong = |what: String| CniError::new(999, &what, "");
    let Some(previous) = &conf.prev_result else {
        return Err(CniError::new(7, "invalid network config", "CHECK needs prevResult"));
    };
    let kernel = |e: copepod_net::Error| CniError::failed(&e);
    let host = host_link(container, interface);
    if Netlink::open().and_then(|mut n| n.find_link(&host)).map_err(kernel)?.is_none() {
        return Err(wrong(format!("{host} is missing")));
    }
    let mut inside = Netlink::open_at(Path::new(&parameters.netns)).map_err(kernel)?;
    let Some(link) = inside.find_link(interface).map_err(kernel)? else {
        return Err(wrong(format!("{interface} is missing in the pod")));
    };
    let addresses = inside.addresses(Some(&link)).map_err(kernel)?;
    for ip in previous["ips"].as_array().into_iter().flatten() {
        let wanted = ip["address"].as_str().and_then(|a| a.parse::<IpNet>().ok());
        if !wanted.is_some_and(|w| addresses.iter().any(|a| a.net == w)) {
            return Err(wrong(format!("address {} is missing on {interface}", ip["address"])));
        }
    }
    Ok(())
}

pub(super) fn status(conf: &Conf) -> Result<(), CniError> {
    // 50: the plugin cannot serve ADD.
    let unable =
        |e: &(dyn std::error::Error + 'static)| CniError::new(50, &copepod_base::Chain(e).to_string(), "");
    for pool in pools(conf)? {
        pool.list().map_err(|e| unable(&e))?;
    }
    Netlink::open().map(|_| ()).map_err(|e| unable(&e))
}

pub(super) fn gc(conf: &Conf) -> Result<(), CniError> {
    let valid = &conf.valid_attachments;
    for pool in pools(conf)? {
        let stale = |held: &ipam::Reservation| {
            !valid.iter().any(|v| v.container_id == held.container && v.ifname == held.interface)
        };
        for held in pool.list().map_err(|e| CniError::failed(&e))?.iter().filter(|held| stale(held)) {
            detach(&host_link(&held.container, &held.interface)).map_err(|e| CniError::failed(&e))?;
        }
        pool.release_where(stale).map_err(|e| CniError::failed(&e))?;
    }
    Ok(())
}
