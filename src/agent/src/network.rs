//! The node's side of the pod network: the configuration for the CNI role, forwarding, masquerading.

use std::io;
use std::path::{Path, PathBuf};

use copepod_net::iptables::{self, Chain, Family, Iptables, Jump, Table};
use copepod_net::sysctl;
use ipnet::IpNet;
use serde_json::json;

/// Prefix of all chains made here.
const CHAINS: &str = "COPEPOD-MASQ";
/// Multicast is for the link: it keeps its source.
const MULTICAST: &str = "224.0.0.0/4";
/// The same for IPv6.
const MULTICAST_V6: &str = "ff00::/8";

/// The pod network cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file of the CNI configuration.
    #[error("cannot write {path} for the pod network")]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The packet filter.
    #[error("cannot set masquerade rules for pods: install iptables or check the kernel's netfilter modules")]
    Iptables(#[from] iptables::Error),
    /// A kernel setting.
    #[error("cannot turn on packet forwarding")]
    Sysctl(#[source] copepod_net::Error),
}

/// What the network is made of.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    /// Folder for the plugin.
    pub(crate) bin_dir: PathBuf,
    /// Folder for the configuration.
    pub(crate) conf_dir: PathBuf,
    /// Folder of address reservations.
    pub(crate) ipam_dir: PathBuf,
    /// The bridge.
    pub(crate) bridge: String,
    /// Largest packet; 0 keeps the kernel's.
    pub(crate) mtu: u32,
    /// All pods of the cluster.
    pub(crate) cluster_cidrs: Vec<IpNet>,
}

impl Network {
    /// Sets everything up for pods of these ranges. Repeatable.
    ///
    /// # Errors
    /// When the kernel, the packet filter or the disk refuses.
    pub(crate) async fn set_up(&self, pod_cidrs: &[IpNet]) -> Result<(), Error> {
        sysctls(pod_cidrs)?;
        for (family, v4) in [(Family::V4, true), (Family::V6, false)] {
            let own: Vec<IpNet> = pod_cidrs.iter().copied().filter(|c| c.addr().is_ipv4() == v4).collect();
            if own.is_empty() {
                continue;
            }
            let cluster: Vec<IpNet> =
                self.cluster_cidrs.iter().copied().filter(|c| c.addr().is_ipv4() == v4).collect();
            Iptables::detect(family).await?.apply(CHAINS, &rules(&own, &cluster, v4)).await?;
        }
        self.link_plugins()?;
        // The configuration comes last: it tells the runtime that the network is ready.
        let path = self.conf_dir.join("10-copepod.conflist");
        self.write(&path, &self.conflist(pod_cidrs))
    }

    fn conflist(&self, pod_cidrs: &[IpNet]) -> Vec<u8> {
        let conf = json!({
            "cniVersion": "1.0.0",
            "name": "copepod",
            "plugins": [{
                "type": "copepod",
                "bridge": self.bridge,
                "mtu": self.mtu,
                "subnets": pod_cidrs,
                "dataDir": self.ipam_dir,
            }],
        });
        let mut text = serde_json::to_vec_pretty(&conf).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// The plugins are this executable under other names. A host's own `loopback` stays.
    fn link_plugins(&self) -> Result<(), Error> {
        let failed = |source| Error::File { path: self.bin_dir.clone(), source };
        let own = std::env::current_exe().map_err(failed)?;
        std::fs::create_dir_all(&self.bin_dir).map_err(failed)?;
        for (name, replace) in [("copepod", true), ("loopback", false)] {
            let link = self.bin_dir.join(name);
            let target = std::fs::read_link(&link);
            let is_other = link.symlink_metadata().is_ok() && target.is_err();
            if target.is_ok_and(|target| target == own) || (is_other && !replace) {
                continue;
            }
            let temporary = self.bin_dir.join(format!(".{name}.tmp"));
            // Left from a start that was cut off.
            let _ = std::fs::remove_file(&temporary);
            std::os::unix::fs::symlink(&own, &temporary).map_err(failed)?;
            std::fs::rename(&temporary, &link).map_err(failed)?;
        }
        Ok(())
    }

    fn write(&self, path: &Path, text: &[u8]) -> Result<(), Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        std::fs::create_dir_all(&self.conf_dir).map_err(failed)?;
        copepod_base::file::write_atomic(path, text, 0o644).map_err(failed)
    }
}

fn sysctls(pod_cidrs: &[IpNet]) -> Result<(), Error> {
    let set = |name: &str| match sysctl::read(name) {
        Ok(value) if value.trim() == "1" => Ok(()),
        _ => sysctl::write(name, "1").map_err(Error::Sysctl),
    };
    if pod_cidrs.iter().any(|c| c.addr().is_ipv4()) {
        set("net.ipv4.ip_forward")?;
    }
    if pod_cidrs.iter().any(|c| c.addr().is_ipv6()) {
        set("net.ipv6.conf.all.forwarding")?;
    }
    // Lets rules see traffic between pods of one bridge. Without the module there is nothing to see.
    for name in ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"] {
        if let Err(error) = set(name) {
            tracing::debug!(name, error = %copepod_base::Chain(&error), "bridged traffic is not filtered");
        }
    }
    Ok(())
}

fn rules(own: &[IpNet], cluster: &[IpNet], v4: bool) -> Vec<Table> {
    let rule = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<String>>();
    let mut masquerade = Vec::new();
    for source in own.iter().map(ToString::to_string) {
        for target in cluster.iter().map(ToString::to_string) {
            masquerade.push(rule(&["-s", &source, "-d", &target, "-j", "RETURN"]));
        }
        let multicast = if v4 { MULTICAST } else { MULTICAST_V6 };
        masquerade.push(rule(&["-s", &source, "-d", multicast, "-j", "RETURN"]));
        masquerade.push(rule(&["-s", &source, "-j", "MASQUERADE"]));
    }
    // Other software (Docker) sets the policy of FORWARD to DROP.
    let mut forward = Vec::new();
    for net in cluster.iter().chain(own).map(ToString::to_string) {
        for side in ["-s", "-d"] {
            let rule = rule(&[side, &net, "-j", "ACCEPT"]);
            if !forward.contains(&rule) {
                forward.push(rule);
            }
        }
    }
    let forward_chain = format!("{CHAINS}-FWD");
    vec![
        Table {
            name: "nat".to_owned(),
            chains: vec![Chain { name: CHAINS.to_owned(), rules: masquerade }],
            jumps: vec![Jump {
                from: "POSTROUTING".to_owned(),
                to: CHAINS.to_owned(),
                conditions: Vec::new(),
                first: false,
            }],
        },
        Table {
            name: "filter".to_owned(),
            chains: vec![Chain { name: forward_chain.clone(), rules: forward }],
            jumps: vec![Jump {
                from: "FORWARD".to_owned(),
                to: forward_chain,
                conditions: Vec::new(),
                first: false,
            }],
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_keep_their_address_inside_the_cluster_only() {
        let own = ["10.42.1.0/24".parse().unwrap()];
        let cluster = ["10.42.0.0/16".parse().unwrap()];
        let tables = rules(&own, &cluster, true);
        let nat: Vec<String> = tables[0].chains[0].rules.iter().map(|r| r.join(" ")).collect();
        assert_eq!(
            nat,
            [
                "-s 10.42.1.0/24 -d 10.42.0.0/16 -j RETURN",
                "-s 10.42.1.0/24 -d 224.0.0.0/4 -j RETURN",
                "-s 10.42.1.0/24 -j MASQUERADE"
            ]
        );
    }
}
