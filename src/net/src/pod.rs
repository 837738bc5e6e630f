//! A pod's cable to the bridge, in three round trips to the kernel.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::link::{Link, Mac, Veth, get, mac_of, parse, set_up};
use crate::netlink::Answer;
use crate::route::Route;
use crate::{Error, NetNs, Netlink, Result, address, route};

/// How a pod shall be connected.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// Name of the bridge.
    pub bridge: String,
    /// Name of the host's end, at most 15 bytes.
    pub host_link: String,
    /// Name of the pod's end, as `eth0`.
    pub pod_link: String,
    /// Bytes of a packet; 0 keeps the kernel's.
    pub mtu: u32,
    /// Lets the pod reach itself through the bridge (through a service's address).
    pub hairpin: bool,
    /// The pod's addresses with their subnets.
    pub addresses: Vec<IpNet>,
    /// Default gateways, one for each family.
    pub gateways: Vec<IpAddr>,
}

/// A connected pod.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The host's end.
    pub host: Link,
    /// The pod's end.
    pub pod: Link,
}

/// Connects the pod's namespace to the bridge in the calling thread's namespace, with addresses and default routes, `lo`
/// up. An earlier cable under the same host name is replaced.
///
/// # Errors
/// When there is no such bridge or the kernel refuses; nothing is left then.
pub fn attach(namespace: &NetNs, attachment: &Attachment) -> Result<Attached> {
    let mut host = Netlink::open()?;
    let bridge = host.link(&attachment.bridge)?;
    let mac: Option<Mac> = attachment.addresses.first().map(|net| mac_of(net.addr()));
    let veth = Veth {
        host: &attachment.host_link,
        peer: &attachment.pod_link,
        namespace,
        mac,
        mtu: attachment.mtu,
        bridge: Some((bridge.index, attachment.hairpin)),
    };
    let outside = host.create_veth(&veth)?;
    match configure(namespace, attachment) {
        Ok(inside) => Ok(Attached { host: outside, pod: inside }),
        Err(error) => {
            // The first error is the one to tell.
            let _ = host.delete_link(&attachment.host_link);
            Err(error)
        }
    }
}

fn configure(namespace: &NetNs, attachment: &Attachment) -> Result<Link> {
    let mut inside = Netlink::open_in(namespace)?;
    let mut shown = None;
    for answer in inside.batch(vec![set_up("lo"), set_up(&attachment.pod_link), get(&attachment.pod_link)])? {
        shown = Answer::ok(answer)?.into_iter().find_map(parse).or(shown);
    }
    let link = shown.ok_or_else(|| Error::NoLink { name: attachment.pod_link.clone() })?;
    let mut asks: Vec<_> = attachment.addresses.iter().map(|net| address::add(&link, *net)).collect();
    for gateway in &attachment.gateways {
        // A gateway outside of the pod's subnets (as with /32 addresses) is on the link nevertheless.
        if !attachment.addresses.iter().any(|net| net.contains(gateway)) {
            let single = IpNet::from(*gateway);
            asks.push(route::add(&Route::on_link(single, link.index)));
        }
        asks.push(route::add(&Route::default_via(*gateway, link.index)));
    }
    inside.batch_ok(asks)?;
    Ok(link)
}

/// Takes the cable away; both ends go. False when there was none.
///
/// # Errors
/// When the kernel refuses.
pub fn detach(host_link: &str) -> Result<bool> {
    Netlink::open()?.delete_link(host_link)
}
