//! Routes of the main table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use crate::address::family;
use crate::netlink::{Ask, Mode};
use crate::{Netlink, Result};

/// A unicast route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to; a prefix of length 0 is the default route.
    pub destination: IpNet,
    /// Next hop; none for a subnet that is on the link.
    pub gateway: Option<IpAddr>,
    /// Index of the link.
    pub link: u32,
    /// Address to send from.
    pub source: Option<IpAddr>,
    /// Smaller is preferred.
    pub metric: u32,
}

impl Route {
    /// The default route over a gateway.
    #[must_use]
    pub fn default_via(gateway: IpAddr, link: u32) -> Self {
        let destination = match gateway {
            IpAddr::V4(_) => IpNet::new_assert(Ipv4Addr::UNSPECIFIED.into(), 0),
            IpAddr::V6(_) => IpNet::new_assert(Ipv6Addr::UNSPECIFIED.into(), 0),
        };
        Self { destination, gateway: Some(gateway), link, source: None, metric: 0 }
    }

    /// A subnet directly on a link.
    #[must_use]
    pub fn on_link(destination: IpNet, link: u32) -> Self {
        Self { destination, gateway: None, link, source: None, metric: 0 }
    }

    /// Whether it is for everything that no other route is for.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.destination.prefix_len() == 0
    }

    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family(self.destination.addr());
        message.header.destination_prefix_length = self.destination.prefix_len();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        message.header.scope = match self.gateway {
            None if self.destination.addr().is_ipv4() => RouteScope::Link,
            _ => RouteScope::Universe,
        };
        let attributes = &mut message.attributes;
        if !self.is_default() {
            attributes.push(RouteAttribute::Destination(self.destination.network().into()));
        }
        if let Some(gateway) = self.gateway {
            attributes.push(RouteAttribute::Gateway(gateway.into()));
        }
        if let Some(source) = self.source {
            attributes.push(RouteAttribute::PrefSource(source.into()));
        }
        if self.metric > 0 {
            attributes.push(RouteAttribute::Priority(self.metric));
        }
        attributes.push(RouteAttribute::Oif(self.link));
        message
    }
}

pub(crate) fn add(route: &Route) -> Ask {
    let message = RouteNetlinkMessage::NewRoute(route.message());
    let action = format!("add the route to {} over link {}", route.destination, route.link);
    Ask { action, mode: Mode::Replace, message }
}

impl Netlink {
    /// Unicast routes of the main table, IPv4 and IPv6.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn routes(&mut self) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let found = self.dump("list routes", RouteNetlinkMessage::GetRoute(message))?;
            routes.extend(found.into_iter().filter_map(parse));
        }
        Ok(routes)
    }

    /// Adds a route, in place of one with the same destination and metric.
    ///
    /// # Errors
    /// When the kernel refuses, as for an unreachable gateway.
    pub fn ensure_route(&mut self, route: &Route) -> Result<()> {
        self.ask(add(route)).map(|_| ())
    }

    /// Removes a route. False when there was none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove_route(&mut self, route: &Route) -> Result<bool> {
        let mut message = route.message();
        // Whoever added it.
        message.header.protocol = RouteProtocol::Unspec;
        message.header.scope = RouteScope::NoWhere;
        let action = format!("remove the route to {}", route.destination);
        let ask = Ask { action, mode: Mode::Change, message: RouteNetlinkMessage::DelRoute(message) };
        let answer = self.batch(vec![ask])?.pop();
        answer.map_or(Ok(false), |answer| answer.ok_or(Errno::ESRCH))
    }
}

fn to_ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

fn parse(message: RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    let header = message.header;
    if header.kind != RouteType::Unicast || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let any: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut destination = any;
    let mut route =
        Route { destination: IpNet::new(any, 0).ok()?, gateway: None, link: 0, source: None, metric: 0 };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = to_ip(address)?,
            RouteAttribute::Gateway(address) => route.gateway = to_ip(address),
            RouteAttribute::PrefSource(address) => route.source = to_ip(address),
            RouteAttribute::Oif(index) => route.link = *index,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            // The first hop of several names the link that counts.
            RouteAttribute::MultiPath(hops) => {
                let hop = hops.first()?;
                route.link = hop.interface_index;
                route.gateway = hop.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Gateway(address) => to_ip(address),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    route.destination = IpNet::new(destination, header.destination_prefix_length).ok()?;
    Some(route)
}
