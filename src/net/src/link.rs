//! Links: bridges, veth pairs, and what can be set on any link.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use nix::errno::Errno;

use crate::netlink::{Ask, Mode};
use crate::{Error, NetNs, Netlink, Result};

/// A hardware address.
pub type Mac = [u8; 6];

/// A link as the kernel shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Number within its namespace.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `bridge`, `veth`, …; empty for physical links.
    pub kind: String,
    /// Hardware address.
    pub mac: Option<Mac>,
    /// Bytes of a packet.
    pub mtu: u32,
    /// Set up by the administrator.
    pub up: bool,
    /// Up with a carrier.
    pub running: bool,
    /// The loopback link.
    pub loopback: bool,
    /// Receives everything on the wire.
    pub promiscuous: bool,
    /// Index of the bridge it is a port of.
    pub master: Option<u32>,
}

/// A bridge that shall be.
#[derive(Debug, Clone)]
pub struct Bridge {
    /// Name, at most 15 bytes.
    pub name: String,
    /// Bytes of a packet; 0 keeps the kernel's.
    pub mtu: u32,
    /// Addresses with their subnets; others are left alone.
    pub addresses: Vec<IpNet>,
    /// Promiscuous mode, which lets a pod reach itself through a service without hairpin ports.
    pub promiscuous: bool,
}

/// A cable with one end on this side and one in another namespace.
#[derive(Debug)]
pub struct Veth<'a> {
    /// Name of this side, at most 15 bytes.
    pub host: &'a str,
    /// Name of the other side.
    pub peer: &'a str,
    /// Namespace of the other side.
    pub namespace: &'a NetNs,
    /// Hardware address of the other side; the kernel's choice when not given.
    pub mac: Option<Mac>,
    /// Bytes of a packet on both sides; 0 keeps the kernel's.
    pub mtu: u32,
    /// Bridge that this side becomes a port of, with hairpin or without.
    pub bridge: Option<(u32, bool)>,
}

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

fn raise(message: &mut LinkMessage) {
    message.header.flags |= LinkFlags::Up;
    message.header.change_mask |= LinkFlags::Up;
}

pub(crate) fn set_up(name: &str) -> Ask {
    let mut message = named(name);
    raise(&mut message);
    Ask {
        action: format!("set link {name} up"),
        mode: Mode::Change,
        message: RouteNetlinkMessage::SetLink(message),
    }
}

pub(crate) fn get(name: &str) -> Ask {
    let message = RouteNetlinkMessage::GetLink(named(name));
    Ask { action: format!("look at link {name}"), mode: Mode::Get, message }
}

fn change(name: &str, what: &str, attribute: LinkAttribute) -> Ask {
    let mut message = named(name);
    message.attributes.push(attribute);
    Ask {
        action: format!("set {what} of link {name}"),
        mode: Mode::Change,
        message: RouteNetlinkMessage::SetLink(message),
    }
}

fn hairpin(name: &str, on: bool) -> Ask {
    let port = InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(on)]);
    let info = vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(port)];
    let mut ask = change(name, "hairpin mode", LinkAttribute::LinkInfo(info));
    // The kernel takes port data only in this kind of message.
    if let RouteNetlinkMessage::SetLink(message) = ask.message {
        ask.message = RouteNetlinkMessage::NewLink(message);
    }
    ask
}

fn delete(name: &str) -> Ask {
    let message = RouteNetlinkMessage::DelLink(named(name));
    Ask { action: format!("delete link {name}"), mode: Mode::Change, message }
}

impl Veth<'_> {
    /// The requests that make it; the first may be refused with `EEXIST`.
    pub(crate) fn asks(&self) -> Vec<Ask> {
        // The kernel cannot set the other end up before the pair is whole.
        let mut peer = named(self.peer);
        peer.attributes.push(LinkAttribute::NetNsFd(self.namespace.as_fd().as_raw_fd()));
        if let Some(mac) = self.mac {
            peer.attributes.push(LinkAttribute::Address(mac.to_vec()));
        }
        let mut message = named(self.host);
        raise(&mut message);
        if self.mtu > 0 {
            peer.attributes.push(LinkAttribute::Mtu(self.mtu));
            message.attributes.push(LinkAttribute::Mtu(self.mtu));
        }
        if let Some((bridge, _)) = self.bridge {
            message.attributes.push(LinkAttribute::Controller(bridge));
        }
        let data = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), data]));
        let mut asks = vec![Ask {
            action: format!("create link {} with its other end {}", self.host, self.peer),
            mode: Mode::Create,
            message: RouteNetlinkMessage::NewLink(message),
        }];
        if let Some((_, true)) = self.bridge {
            asks.push(hairpin(self.host, true));
        }
        asks.push(get(self.host));
        asks
    }
}

impl Netlink {
    /// All links.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let found = self.dump("list links", RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        Ok(found.into_iter().filter_map(parse).collect())
    }

    /// The link of this name.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn find_link(&mut self, name: &str) -> Result<Option<Link>> {
        match self.ask(get(name)) {
            Ok(found) => Ok(found.into_iter().find_map(parse)),
            Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The link of this name, which must be there.
    ///
    /// # Errors
    /// [`Error::NoLink`] when it is not.
    pub fn link(&mut self, name: &str) -> Result<Link> {
        self.find_link(name)?.ok_or_else(|| Error::NoLink { name: name.to_owned() })
    }

    /// Makes a bridge as described, up; what is right already is left alone.
    ///
    /// Its hardware address is derived from its first address, so that it does not change with the ports.
    ///
    /// # Errors
    /// When the kernel refuses, or a link of this name is no bridge.
    pub fn ensure_bridge(&mut self, bridge: &Bridge) -> Result<Link> {
        let name = &bridge.name;
        let mut message = named(name);
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        let mac = bridge.addresses.first().map(|net| mac_of(net.addr()));
        if let Some(mac) = mac {
            message.attributes.push(LinkAttribute::Address(mac.to_vec()));
        }
        let create = Ask {
            action: format!("create bridge {name}"),
            mode: Mode::Create,
            message: RouteNetlinkMessage::NewLink(message),
        };
        let mut answers = self.batch(vec![create, get(name)])?;
        let shown = answers.pop();
        if let Some(created) = answers.pop() {
            created.ok_or(Errno::EEXIST)?;
        }
        let link = shown.map(crate::netlink::Answer::ok).transpose()?.unwrap_or_default();
        let link = link.into_iter().find_map(parse).ok_or_else(|| Error::NoLink { name: name.to_owned() })?;
        if link.kind != "bridge" {
            let source = std::io::Error::other(format!("a link of kind {:?} has this name", link.kind));
            return Err(Error::Kernel { action: format!("create bridge {name}"), source });
        }
        self.adjust_bridge(bridge, &link, mac)?;
        for net in &bridge.addresses {
            self.ensure_address(&link, *net)?;
        }
        self.link(name)
    }

    fn adjust_bridge(&mut self, bridge: &Bridge, link: &Link, mac: Option<Mac>) -> Result<()> {
        let name = &bridge.name;
        let mut asks = Vec::new();
        if bridge.mtu > 0 && bridge.mtu != link.mtu {
            asks.push(change(name, "mtu", LinkAttribute::Mtu(bridge.mtu)));
        }
        if let Some(mac) = mac.filter(|mac| link.mac != Some(*mac)) {
            asks.push(change(name, "hardware address", LinkAttribute::Address(mac.to_vec())));
        }
        if link.promiscuous != bridge.promiscuous || !link.up {
            let mut ask = set_up(name);
            if let RouteNetlinkMessage::SetLink(message) = &mut ask.message {
                message.header.flags.set(LinkFlags::Promisc, bridge.promiscuous);
                message.header.change_mask |= LinkFlags::Promisc;
            }
            asks.push(ask);
        }
        self.batch_ok(asks)
    }

    /// Makes a veth pair, this side up and the other down; one that exists under the name on this side is replaced.
    /// Gives this side.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create_veth(&mut self, veth: &Veth<'_>) -> Result<Link> {
        let mut answers = self.batch(veth.asks())?;
        let exists = |answer: &crate::netlink::Answer| {
            answer.error.as_ref().and_then(std::io::Error::raw_os_error) == Some(Errno::EEXIST as i32)
        };
        if answers.first().is_some_and(exists) {
            self.delete_link(veth.host)?;
            answers = self.batch(veth.asks())?;
        }
        let mut link = None;
        for answer in answers {
            link = answer.ok()?.into_iter().find_map(parse).or(link);
        }
        link.ok_or_else(|| Error::NoLink { name: veth.host.to_owned() })
    }

    /// Deletes a link, and its other end if it is a veth. False when it was gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn delete_link(&mut self, name: &str) -> Result<bool> {
        let answer = self.batch(vec![delete(name)])?.pop();
        answer.map_or(Ok(false), |answer| answer.ok_or(Errno::ENODEV))
    }

    /// Sets a link up.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn set_link_up(&mut self, name: &str) -> Result<()> {
        self.ask(set_up(name)).map(|_| ())
    }

    /// Sets the largest packet, in bytes.
    ///
    /// # Errors
    /// When there is no such link, or the size is out of its range.
    pub fn set_mtu(&mut self, name: &str, mtu: u32) -> Result<()> {
        self.ask(change(name, "mtu", LinkAttribute::Mtu(mtu))).map(|_| ())
    }

    /// Sets the hardware address.
    ///
    /// # Errors
    /// When there is no such link, or it must be down for this.
    pub fn set_mac(&mut self, name: &str, mac: Mac) -> Result<()> {
        self.ask(change(name, "hardware address", LinkAttribute::Address(mac.to_vec()))).map(|_| ())
    }

    /// Lets a bridge send a packet back through the port it came from.
    ///
    /// # Errors
    /// When the link is no port of a bridge.
    pub fn set_hairpin(&mut self, name: &str, on: bool) -> Result<()> {
        self.ask(hairpin(name, on)).map(|_| ())
    }

    /// Makes the link a port of a bridge, by the bridge's index; 0 takes it off.
    ///
    /// # Errors
    /// When there is no such link or bridge.
    pub fn set_master(&mut self, name: &str, bridge: u32) -> Result<()> {
        self.ask(change(name, "bridge", LinkAttribute::Controller(bridge))).map(|_| ())
    }

    /// Moves a link to another namespace.
    ///
    /// # Errors
    /// When there is no such link, or its name is taken there.
    pub fn move_link(&mut self, name: &str, namespace: &NetNs) -> Result<()> {
        let fd = namespace.as_fd().as_raw_fd();
        self.ask(change(name, "namespace", LinkAttribute::NetNsFd(fd))).map(|_| ())
    }

    /// A batch of which each request must succeed.
    pub(crate) fn batch_ok(&mut self, asks: Vec<Ask>) -> Result<()> {
        if asks.is_empty() {
            return Ok(());
        }
        for answer in self.batch(asks)? {
            answer.ok()?;
        }
        Ok(())
    }
}

/// A hardware address made from an IP address, as bridges of container networks have: unique where addresses are.
#[must_use]
pub fn mac_of(address: IpAddr) -> Mac {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [0x0a, 0x58, a, b, c, d]
        }
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            [0x0a, 0x58, octets[12], octets[13], octets[14], octets[15]]
        }
    }
}

pub(crate) fn parse(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::Running),
        loopback: flags.contains(LinkFlags::Loopback),
        promiscuous: flags.contains(LinkFlags::Promisc),
        ..Link::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(index) => link.master = Some(index),
            LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok(),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        link.kind = kind.to_string();
                    }
                }
            }
            _ => {}
        }
    }
    Some(link)
}
