//! What each CNI command does.

use std::path::Path;

use copepod_net::ipam::Pool;
use copepod_net::link::{Bridge, Mac};
use copepod_net::pod::{self, Attached, Attachment};
use copepod_net::{Error, IpNet, NetNs, Netlink};
use serde_json::{Value, json};

use super::{Network, Refusal, code};

/// What the runtime says of the container.
struct Call {
    container: String,
    interface: String,
    namespace: String,
}

impl Call {
    fn read(namespace_needed: bool) -> Result<Self, Refusal> {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let call = Self {
            container: variable("CNI_CONTAINERID"),
            interface: variable("CNI_IFNAME"),
            namespace: variable("CNI_NETNS"),
        };
        let missing = [
            ("CNI_CONTAINERID", call.container.is_empty()),
            ("CNI_IFNAME", call.interface.is_empty()),
            ("CNI_NETNS", namespace_needed && call.namespace.is_empty()),
        ];
        match missing.iter().find(|(_, missing)| *missing) {
            Some((name, _)) => Err(Refusal::new(code::ENVIRONMENT, format!("{name} is not set"))),
            None => Ok(call),
        }
    }

    /// Name of the host's end: the same for ADD and DEL, and within the kernel's 15 bytes.
    fn host_link(&self) -> String {
        let mut hash: u32 = 0x811c_9dc5;
        for byte in self.container.bytes().chain([b'/']).chain(self.interface.bytes()) {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
        format!("veth{hash:08x}")
    }
}

fn pools(network: &Network) -> Result<Vec<Pool>, Refusal> {
    if network.subnets.is_empty() || network.bridge.is_empty() || network.state_dir.as_os_str().is_empty() {
        return Err(Refusal::new(code::CONFIG, "bridge, subnets and stateDir must be set"));
    }
    network
        .subnets
        .iter()
        .map(|subnet| Pool::new(&network.state_dir, *subnet).map_err(Refusal::from))
        .collect()
}

/// ADD: reserves addresses and connects the namespace to the bridge.
pub(super) fn add(network: &Network) -> Result<Value, Refusal> {
    let call = Call::read(true)?;
    let pools = pools(network)?;
    let result = connect(network, &call, &pools);
    if result.is_err() {
        release(&pools, &call)?;
    }
    result
}

fn connect(network: &Network, call: &Call, pools: &[Pool]) -> Result<Value, Refusal> {
    let namespace = NetNs::open(Path::new(&call.namespace))?;
    let mut addresses = Vec::new();
    for pool in pools {
        addresses.push(pool.with_length(pool.reserve(&call.container, &call.interface)?));
    }
    let attachment = Attachment {
        bridge: network.bridge.clone(),
        host_link: call.host_link(),
        pod_link: call.interface.clone(),
        mtu: network.mtu,
        hairpin: true,
        addresses,
        gateways: pools.iter().map(Pool::gateway).collect(),
    };
    let attached = match pod::attach(&namespace, &attachment) {
        // The bridge goes with the last reboot or `scripts/down`; the first pod makes it.
        Err(Error::NoLink { name }) if name == network.bridge => {
            Netlink::open()?.ensure_bridge(&bridge(network, pools))?;
            pod::attach(&namespace, &attachment)?
        }
        other => other?,
    };
    Ok(result(network, call, pools, &attachment.addresses, &attached))
}

/// The bridge of all pods of the node.
pub(super) fn bridge(network: &Network, pools: &[Pool]) -> Bridge {
    Bridge {
        name: network.bridge.clone(),
        mtu: network.mtu,
        addresses: pools.iter().map(Pool::gateway_net).collect(),
        promiscuous: false,
    }
}

fn result(network: &Network, call: &Call, pools: &[Pool], addresses: &[IpNet], attached: &Attached) -> Value {
    let with_family = network.cni_version.starts_with("0.");
    let ips: Vec<Value> = addresses
        .iter()
        .zip(pools)
        .map(|(address, pool)| {
            let mut ip = json!({"address": address.to_string(), "gateway": pool.gateway(), "interface": 1});
            if with_family {
                ip["version"] = json!(if address.addr().is_ipv4() { "4" } else { "6" });
            }
            ip
        })
        .collect();
    let routes: Vec<Value> = pools
        .iter()
        .map(|pool| {
            let all = if pool.gateway().is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            json!({"dst": all, "gw": pool.gateway()})
        })
        .collect();
    json!({
        "cniVersion": network.cni_version,
        "interfaces": [
            {"name": attached.host.name, "mac": text(attached.host.mac)},
            {"name": attached.pod.name, "mac": text(attached.pod.mac), "sandbox": call.namespace},
        ],
        "ips": ips,
        "routes": routes,
        "dns": {},
    })
}

fn text(mac: Option<Mac>) -> String {
    mac.unwrap_or_default().map(|byte| format!("{byte:02x}")).join(":")
}

/// DEL: takes the cable away and gives the addresses back; what is gone already is fine.
pub(super) fn delete(network: &Network) -> Result<(), Refusal> {
    let call = Call::read(false)?;
    pod::detach(&call.host_link())?;
    release(&pools(network)?, &call)
}

fn release(pools: &[Pool], call: &Call) -> Result<(), Refusal> {
    for pool in pools {
        pool.release(&call.container, &call.interface)?;
    }
    Ok(())
}

/// CHECK: the reservation and both ends are there.
pub(super) fn check(network: &Network) -> Result<(), Refusal> {
    let call = Call::read(true)?;
    for pool in pools(network)? {
        let held = pool.list()?;
        if !held.iter().any(|held| held.container == call.container && held.interface == call.interface) {
            return Err(Refusal::new(code::CHECK, format!("no address of {} is reserved", pool.subnet())));
        }
    }
    Netlink::open()?.link(&call.host_link())?;
    Netlink::open_in(&NetNs::open(Path::new(&call.namespace))?)?.link(&call.interface)?;
    Ok(())
}

/// GC: gives back the addresses of containers that are not among the valid ones.
pub(super) fn collect(network: &Network) -> Result<(), Refusal> {
    for pool in pools(network)? {
        pool.release_where(|held| {
            !network
                .valid_attachments
                .iter()
                .any(|valid| valid.container == held.container && valid.interface == held.interface)
        })?;
    }
    Ok(())
}

/// STATUS: whether ADD can work.
pub(super) fn status(network: &Network) -> Result<(), Refusal> {
    pools(network).map(|_| ()).map_err(|refusal| Refusal { code: code::TRY_AGAIN, ..refusal })
}
