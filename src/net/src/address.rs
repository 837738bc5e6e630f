//! Addresses of links.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use crate::link::Link;
use crate::netlink::{Ask, Mode};
use crate::{Netlink, Result};

/// An address of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Index of the link.
    pub link: u32,
    /// The address with its subnet's length.
    pub net: IpNet,
    /// Valid beyond this link and machine.
    pub global: bool,
    /// An IPv6 address that was replaced by a newer one, or is not proven unique yet.
    pub unusable: bool,
    /// Further address of a subnet that has one.
    pub secondary: bool,
}

pub(crate) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn message(link: &Link, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(net.addr());
    message.header.prefix_len = net.prefix_len();
    message.header.index = link.index;
    message.attributes.push(AddressAttribute::Local(net.addr()));
    message.attributes.push(AddressAttribute::Address(net.addr()));
    match net {
        IpNet::V4(v4) if v4.prefix_len() < 31 => {
            message.attributes.push(AddressAttribute::Broadcast(v4.broadcast()));
        }
        IpNet::V4(_) => {}
        // We hand addresses out ourselves: no wait for a duplicate to object.
        IpNet::V6(_) => message.header.flags |= AddressHeaderFlags::Nodad,
    }
    message
}

pub(crate) fn add(link: &Link, net: IpNet) -> Ask {
    let action = format!("add address {net} to link {}", link.name);
    Ask { action, mode: Mode::Replace, message: RouteNetlinkMessage::NewAddress(message(link, net)) }
}

impl Netlink {
    /// Addresses of all links, or of one.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn addresses(&mut self, link: Option<&Link>) -> Result<Vec<Address>> {
        let ask = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let found = self.dump("list addresses", ask)?;
        let wanted = |address: &Address| link.is_none_or(|link| link.index == address.link);
        Ok(found.into_iter().filter_map(parse).filter(wanted).collect())
    }

    /// Gives a link an address.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn ensure_address(&mut self, link: &Link, net: IpNet) -> Result<()> {
        self.ask(add(link, net)).map(|_| ())
    }

    /// Takes an address from a link. False when it did not have it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove_address(&mut self, link: &Link, net: IpNet) -> Result<bool> {
        let mut message = message(link, net);
        message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
        let action = format!("remove address {net} from link {}", link.name);
        let ask = Ask { action, mode: Mode::Change, message: RouteNetlinkMessage::DelAddress(message) };
        let answer = self.batch(vec![ask])?.pop();
        answer.map_or(Ok(false), |answer| answer.ok_or(Errno::EADDRNOTAVAIL))
    }
}

fn parse(message: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let header = message.header;
    let mut own = None;
    let mut peer = None;
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(address),
            AddressAttribute::Address(address) => peer = Some(address),
            _ => {}
        }
    }
    let bad = AddressHeaderFlags::Tentative | AddressHeaderFlags::Deprecated | AddressHeaderFlags::Dadfailed;
    Some(Address {
        link: header.index,
        net: IpNet::new(own.or(peer)?, header.prefix_len).ok()?,
        global: header.scope == AddressScope::Universe,
        unusable: header.flags.intersects(bad),
        secondary: header.family == AddressFamily::Inet
            && header.flags.contains(AddressHeaderFlags::Secondary),
    })
}
