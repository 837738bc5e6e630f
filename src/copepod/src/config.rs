//! Flags, checked once and for all: whoever holds a [`Config`] need not ask again whether it makes sense.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::cli::{ClusterArgs, ServerArgs};

/// Parts that `--disable` knows, Copepod's own names first, then what k3s calls them.
const PARTS: [&str; 9] = [
    "dns",
    "ingress",
    "servicelb",
    "local-storage",
    "metrics-server",
    "coredns",
    "traefik",
    "runtimes",
    "network-policy",
];

/// Why the flags make no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("--{flag}={value}: {problem}")]
    Flag { flag: &'static str, value: String, problem: String },
    #[error("cannot read --token-file={path}")]
    TokenFile { path: PathBuf, source: std::io::Error },
    #[error("this machine has no usable host name ({name:?}): set one, or give --node-name")]
    NodeName { name: String },
}

fn flag(flag: &'static str, value: impl ToString, problem: impl Into<String>) -> Error {
    Error::Flag { flag, value: value.to_string(), problem: problem.into() }
}

/// Everything `copepod server` was told, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) bind_address: IpAddr,
    pub(crate) https_listen_port: u16,
    pub(crate) advertise_address: Option<IpAddr>,
    pub(crate) tls_san: Vec<String>,
    pub(crate) cluster_cidr: IpNet,
    pub(crate) service_cidr: IpNet,
    pub(crate) node_ports: RangeInclusive<u16>,
    pub(crate) cluster_dns: IpAddr,
    pub(crate) cluster_domain: String,
    pub(crate) token: Option<String>,
    pub(crate) database: PathBuf,
    pub(crate) write_kubeconfig: PathBuf,
    pub(crate) write_kubeconfig_mode: u32,
    /// `None` with `--disable-agent`.
    pub(crate) node: Option<Node>,
    /// Name of this machine, also where it runs no agent.
    pub(crate) node_name: String,
}

/// What the node agent was told.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) taints: Vec<Taint>,
    pub(crate) container_runtime_endpoint: Option<String>,
    pub(crate) kubelet_port: u16,
    pub(crate) max_pods: u32,
    pub(crate) cgroup_root: String,
    pub(crate) resolv_conf: Option<PathBuf>,
}

/// A taint as `--node-taint` writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taint {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) effect: String,
}

impl Config {
    /// Checks the flags of `copepod server`.
    pub(crate) fn new(args: ServerArgs) -> Result<Self, Error> {
        let cluster_cidr = cidr("cluster-cidr", &args.cluster.cluster_cidr)?;
        let service_cidr = cidr("service-cidr", &args.cluster.service_cidr)?;
        if cluster_cidr.contains(&service_cidr) || service_cidr.contains(&cluster_cidr) {
            return Err(flag(
                "service-cidr",
                service_cidr,
                format!("overlaps --cluster-cidr={cluster_cidr}"),
            ));
        }
        let cluster_dns = cluster_dns(args.cluster.cluster_dns, service_cidr)?;
        for part in &args.cluster.disable {
            if !PARTS.contains(&part.as_str()) {
                return Err(flag("disable", part, format!("no such part; there are {}", PARTS.join(", "))));
            }
        }
        let mode = args.client.write_kubeconfig_mode;
        let write_kubeconfig_mode = u32::from_str_radix(&mode, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .ok_or_else(|| flag("write-kubeconfig-mode", &mode, "must be an octal file mode such as 0600"))?;
        let labels = args.node.node_label.iter().map(|text| label(text)).collect::<Result<_, _>>()?;
        let taints = args.node.node_taint.iter().map(|text| taint(text)).collect::<Result<_, _>>()?;
        let node = (!args.cluster.disable_agent).then_some(Node {
            ips: args.node.node_ip,
            labels,
            taints,
            container_runtime_endpoint: args.node.container_runtime_endpoint,
            kubelet_port: args.node.kubelet_port,
            max_pods: args.node.max_pods,
            cgroup_root: args.node.cgroup_root,
            resolv_conf: args.node.resolv_conf,
        });
        Ok(Self {
            database: database(args.cluster.datastore_endpoint.as_deref(), &args.general.data_dir)?,
            token: token(&args.cluster)?,
            node_name: node_name(args.node.node_name)?,
            data_dir: args.general.data_dir,
            run_dir: args.general.run_dir,
            bind_address: args.listener.bind_address,
            https_listen_port: args.listener.https_listen_port,
            advertise_address: args.listener.advertise_address,
            tls_san: args.listener.tls_san,
            cluster_cidr,
            service_cidr,
            node_ports: port_range(&args.cluster.service_node_port_range)?,
            cluster_dns,
            cluster_domain: args.cluster.cluster_domain,
            write_kubeconfig: args.client.write_kubeconfig,
            write_kubeconfig_mode,
            node,
        })
    }
}

fn cidr(name: &'static str, text: &str) -> Result<IpNet, Error> {
    let net: IpNet =
        text.parse().map_err(|_| flag(name, text, "must be an address range such as 10.42.0.0/16"))?;
    if net.trunc() != net {
        return Err(flag(name, text, format!("has bits beyond its prefix; did you mean {}?", net.trunc())));
    }
    Ok(net)
}

fn cluster_dns(given: Option<IpAddr>, service_cidr: IpNet) -> Result<IpAddr, Error> {
    match given {
        Some(ip) if service_cidr.contains(&ip) => Ok(ip),
        Some(ip) => Err(flag("cluster-dns", ip, format!("is not in --service-cidr={service_cidr}"))),
        None => service_cidr.hosts().nth(9).ok_or_else(|| {
            flag("service-cidr", service_cidr, "is too small: it must have at least ten addresses")
        }),
    }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, Error> {
    text.split_once('-')
        .and_then(|(first, last)| Some(first.trim().parse().ok()?..=last.trim().parse().ok()?))
        .filter(|range| *range.start() > 0 && !range.is_empty())
        .ok_or_else(|| flag("service-node-port-range", text, "must be two ports such as 30000-32767"))
}

fn database(endpoint: Option<&str>, data_dir: &std::path::Path) -> Result<PathBuf, Error> {
    match endpoint {
        None => Ok(data_dir.join("server/db/state.db")),
        Some(url) => url
            .strip_prefix("sqlite://")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .ok_or_else(|| flag("datastore-endpoint", url, "must be sqlite:// and an absolute path")),
    }
}

fn token(args: &ClusterArgs) -> Result<Option<String>, Error> {
    let text = match &args.token_file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|source| Error::TokenFile { path: path.clone(), source })?,
        ),
        None => args.token.clone(),
    };
    let Some(token) = text.map(|t| t.trim().to_owned()) else { return Ok(None) };
    if token.is_empty() {
        return Err(flag("token", "", "must not be empty"));
    }
    Ok(Some(token))
}

fn node_name(given: Option<String>) -> Result<String, Error> {
    let name = match given {
        Some(name) => name,
        None => nix::unistd::gethostname().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
    }
    .to_ascii_lowercase();
    let label = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(Error::NodeName { name });
    }
    Ok(name)
}

fn label(text: &str) -> Result<(String, String), Error> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| flag("node-label", text, "must be key=value"))
}

fn taint(text: &str) -> Result<Taint, Error> {
    let wrong = || {
        flag(
            "node-taint",
            text,
            "must be key=value:effect with the effect NoSchedule, PreferNoSchedule or NoExecute",
        )
    };
    let (pair, effect) = text.rsplit_once(':').ok_or_else(wrong)?;
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if key.is_empty() || !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
        return Err(wrong());
    }
    Ok(Taint { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn config(line: &[&str]) -> Result<Config, Error> {
        let words = ["copepod", "server", "--node-name=n"].into_iter().chain(line.iter().copied());
        let crate::cli::Command::Server(args) = crate::cli::Cli::parse_from(words).command;
        Config::new(*args)
    }

    #[test]
    fn dns_is_the_tenth_address_of_the_service_range() {
        assert_eq!(config(&[]).unwrap().cluster_dns.to_string(), "10.43.0.10");
        assert_eq!(config(&["--service-cidr=10.99.0.0/16"]).unwrap().cluster_dns.to_string(), "10.99.0.10");
    }

    #[test]
    fn flags_that_make_no_sense_are_refused_by_name() {
        for (line, part) in [
            ("--cluster-cidr=10.42.0.1/16", "did you mean 10.42.0.0/16"),
            ("--service-cidr=10.42.1.0/24", "overlaps"),
            ("--cluster-dns=1.2.3.4", "not in --service-cidr"),
            ("--write-kubeconfig-mode=rw", "octal"),
            ("--node-taint=a=b:Sometimes", "NoSchedule"),
            ("--node-label=x", "key=value"),
            ("--disable=nothing", "no such part"),
            ("--service-node-port-range=9-1", "two ports"),
            ("--datastore-endpoint=mysql://x", "sqlite://"),
        ] {
            let error = config(&[line]).unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn a_taint_may_have_no_value() {
        let node = config(&["--node-taint=k:NoExecute"]).unwrap().node.unwrap();
        assert_eq!(
            node.taints,
            [Taint { key: "k".into(), value: String::new(), effect: "NoExecute".into() }]
        );
    }
}
