//! Which addresses this machine has for others.

use std::net::IpAddr;

use crate::address::Address;
use crate::link::Link;
use crate::route::Route;
use crate::{Netlink, Result};

/// Addresses by which others reach this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeAddresses {
    /// The link they are on; none on a machine without any.
    pub link: Option<Link>,
    /// The IPv4 address.
    pub ipv4: Option<IpAddr>,
    /// The IPv6 address.
    pub ipv6: Option<IpAddr>,
}

/// Prefixes of links that pods and other container systems make: never the node's own.
const VIRTUAL: &[&str] =
    &["cni", "copepod", "docker", "veth", "br-", "flannel", "kube-", "virbr", "lxc", "cali", "tunl"];

/// Looks for the node's addresses in the calling thread's namespace.
///
/// The default route's link comes first (for each family; the lowest metric wins), else the first link with a global
/// address. Without any default route, or even any address, it is still no error.
///
/// # Errors
/// Only when the kernel gives no netlink socket.
pub fn addresses() -> Result<NodeAddresses> {
    let mut netlink = Netlink::open()?;
    let links = netlink.links()?;
    let addresses = netlink.addresses(None)?;
    let routes = netlink.routes()?;
    Ok(choose(&links, &addresses, &routes))
}

fn choose(links: &[Link], addresses: &[Address], routes: &[Route]) -> NodeAddresses {
    let mut chosen = NodeAddresses::default();
    for v4 in [true, false] {
        let mut defaults: Vec<&Route> = routes
            .iter()
            .filter(|route| route.is_default() && route.destination.addr().is_ipv4() == v4)
            .collect();
        defaults.sort_by_key(|route| route.metric);
        let by_route = defaults.iter().filter_map(|route| links.iter().find(|link| link.index == route.link));
        let any = links.iter().filter(|link| is_candidate(link));
        let found = by_route.chain(any).find_map(|link| {
            let address = best(link, addresses, v4)?;
            Some((link, address))
        });
        let Some((link, address)) = found else { continue };
        if chosen.link.is_none() {
            chosen.link = Some(link.clone());
        }
        if v4 {
            chosen.ipv4 = Some(address);
        } else {
            chosen.ipv6 = Some(address);
        }
    }
    chosen
}

fn is_candidate(link: &Link) -> bool {
    link.up && !link.loopback && !VIRTUAL.iter().any(|prefix| link.name.starts_with(prefix))
}

fn best(link: &Link, addresses: &[Address], v4: bool) -> Option<IpAddr> {
    let usable = |address: &&Address| {
        let ip = address.net.addr();
        address.link == link.index
            && address.global
            && !address.unusable
            && ip.is_ipv4() == v4
            && !ip.is_loopback()
    };
    let primary = addresses.iter().filter(usable).min_by_key(|address| address.secondary)?;
    Some(primary.net.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link { index, name: name.to_owned(), up: true, ..Link::default() }
    }

    fn address(link: u32, net: &str) -> Address {
        Address { link, net: net.parse().unwrap(), global: true, unusable: false, secondary: false }
    }

    #[test]
    fn the_default_route_with_the_lowest_metric_decides() {
        let links = [link(1, "eth0"), link(2, "wlan0")];
        let addresses =
            [address(1, "192.0.2.1/24"), address(2, "198.51.100.7/24"), address(2, "2001:db8::7/64")];
        let route =
            |link, metric| Route { metric, ..Route::default_via("192.0.2.254".parse().unwrap(), link) };
        let chosen = choose(&links, &addresses, &[route(1, 600), route(2, 100)]);
        assert_eq!(chosen.ipv4, Some("198.51.100.7".parse().unwrap()));
        assert_eq!(chosen.ipv6, Some("2001:db8::7".parse().unwrap()));
        assert_eq!(chosen.link.unwrap().name, "wlan0");
    }

    #[test]
    fn without_a_default_route_a_real_link_is_taken_before_a_bridge_of_containers() {
        let links = [link(1, "cni0"), link(2, "eth0")];
        let addresses = [address(1, "10.42.0.1/24"), address(2, "192.0.2.1/24")];
        assert_eq!(choose(&links, &addresses, &[]).ipv4, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(choose(&links[..1], &addresses, &[]), NodeAddresses::default());
    }
}
