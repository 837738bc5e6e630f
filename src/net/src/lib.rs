//! What Copepod asks of the Linux kernel: links, addresses, routes, namespaces, packet filter, sysctls, cgroups, mounts.
//!
//! * [`netns`]: network namespaces, and running code inside one.
//! * [`netlink`]: one conversation with the kernel about links, addresses and routes; [`link`], [`address`], [`route`]
//!   are its subjects.
//! * [`pod`]: a pod's cable to the bridge in three round trips.
//! * [`node`]: which addresses this machine has for others.
//! * [`iptables`]: rule sets as data, applied as one transaction.
//! * [`ipam`]: addresses of a subnet handed out through files.
//! * [`cgroup`], [`sysctl`], [`mount`], [`disk`]: the file interfaces.
//!
//! Nothing here knows of Kubernetes. Everything is idempotent: asking for what is there already is a success, and so is
//! deleting what is gone.
#![warn(missing_docs)]

pub mod address;
pub mod cgroup;
pub mod disk;
pub mod error;
pub mod ipam;
pub mod iptables;
pub mod link;
pub mod mount;
pub mod netlink;
pub mod netns;
pub mod node;
pub mod pod;
pub mod route;
pub mod sysctl;

pub use error::Error;
pub use ipnet::{IpNet, Ipv4Net, Ipv6Net};
pub use netlink::Netlink;
pub use netns::NetNs;

/// Result of a request to the kernel.
pub type Result<T> = std::result::Result<T, Error>;
