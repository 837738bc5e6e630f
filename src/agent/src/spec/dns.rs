//! `/etc/resolv.conf` of a pod.

use copepod_cri::v1;
use k8s_openapi::api::core::v1::Pod;

use super::{host_network, list, namespace, pod_spec};

/// Kernel and libc limits that kubelet keeps to: name servers.
const MAX_SERVERS: usize = 3;
/// Search domains (v1.36 allows 32 with 2,048 characters).
const MAX_SEARCHES: usize = 32;

/// A parsed `resolv.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options, such as `ndots:5`.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Parses the file's text (resolv.conf(5)): the last `search` counts, `domain` is a search of one.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().map(str::to_owned)),
                Some("search" | "domain") => {
                    conf.searches =
                        words.map(|w| w.trim_end_matches('.').to_owned()).filter(|w| !w.is_empty()).collect();
                }
                Some("options") => conf.options = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        conf
    }

    /// Whether a pod could use it: a server that is no loopback address, which would be the pod's own.
    fn is_usable(&self) -> bool {
        self.servers.iter().any(|s| !is_loopback(s))
    }
}

fn is_loopback(server: &str) -> bool {
    server.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Name resolution of the node.
#[derive(Debug, Clone, Default)]
pub struct NodeDns {
    /// Addresses of the cluster's DNS service; empty when the cluster has none.
    pub cluster_servers: Vec<String>,
    /// The cluster's domain.
    pub domain: String,
    /// The host's own resolvers.
    pub host: ResolvConf,
}

impl NodeDns {
    /// Reads the host's resolvers. Where the file names only a local stub (systemd-resolved's 127.0.0.53), the real
    /// servers are in the file beside it; the first usable of `files` is taken.
    #[must_use]
    pub fn host_from(files: &[std::path::PathBuf]) -> ResolvConf {
        let mut first = None;
        for file in files {
            let Ok(text) = std::fs::read_to_string(file) else { continue };
            let mut conf = ResolvConf::parse(&text);
            if conf.is_usable() {
                conf.servers.retain(|s| !is_loopback(s));
                return conf;
            }
            first.get_or_insert(conf);
        }
        let mut conf = first.unwrap_or_default();
        conf.servers.clear();
        conf
    }
}

/// The pod's resolver settings by its `dnsPolicy` and `dnsConfig`.
#[must_use]
pub fn pod_dns(pod: &Pod, node: &NodeDns) -> v1::DnsConfig {
    let spec = pod_spec(pod);
    let cluster_first = match spec.dns_policy.as_deref() {
        Some("ClusterFirstWithHostNet") => true,
        Some("Default" | "None") => false,
        _ => !host_network(pod),
    } && !node.cluster_servers.is_empty();
    let mut dns = if spec.dns_policy.as_deref() == Some("None") {
        ResolvConf::default()
    } else if cluster_first {
        let domain = &node.domain;
        let mut searches =
            vec![format!("{}.svc.{domain}", namespace(pod)), format!("svc.{domain}"), domain.clone()];
        searches.extend(node.host.searches.iter().cloned());
        ResolvConf { servers: node.cluster_servers.clone(), searches, options: vec!["ndots:5".to_owned()] }
    } else {
        node.host.clone()
    };
    if let Some(extra) = &spec.dns_config {
        dns.servers.extend(list(&extra.nameservers).iter().cloned());
        dns.searches.extend(list(&extra.searches).iter().cloned());
        for option in list(&extra.options) {
            let name = option.name.as_deref().unwrap_or_default();
            dns.options.retain(|o| o.split(':').next() != Some(name));
            dns.options.push(match option.value.as_deref() {
                Some(value) if !value.is_empty() => format!("{name}:{value}"),
                _ => name.to_owned(),
            });
        }
    }
    dedup(&mut dns.servers);
    dedup(&mut dns.searches);
    dns.servers.truncate(MAX_SERVERS);
    dns.searches.truncate(MAX_SEARCHES);
    v1::DnsConfig { servers: dns.servers, searches: dns.searches, options: dns.options }
}

fn dedup(items: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    items.retain(|item| seen.insert(item.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node() -> NodeDns {
        NodeDns {
            cluster_servers: vec!["10.43.0.10".into()],
            domain: "cluster.local".into(),
            host: ResolvConf::parse("nameserver 192.0.2.1 # comment\nsearch lan. corp\noptions timeout:1\n"),
        }
    }

    fn dns(spec: serde_json::Value) -> v1::DnsConfig {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}))
                .unwrap();
        pod_dns(&pod, &node())
    }

    #[test]
    fn cluster_first_asks_only_the_cluster_and_searches_the_host_domains_last() {
        let got = dns(json!({"containers": []}));
        assert_eq!(got.servers, ["10.43.0.10"]);
        assert_eq!(
            got.searches,
            ["n.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan", "corp"]
        );
        assert_eq!(got.options, ["ndots:5"]);
    }

    #[test]
    fn host_network_and_default_use_the_host_resolvers() {
        for spec in [
            json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirst"}),
            json!({"containers": [], "dnsPolicy": "Default"}),
        ] {
            let got = dns(spec);
            assert_eq!(
                (got.servers, got.options),
                (vec!["192.0.2.1".to_owned()], vec!["timeout:1".to_owned()])
            );
        }
        let got = dns(json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}));
        assert_eq!(got.servers, ["10.43.0.10"]);
    }

    #[test]
    fn none_uses_only_what_the_pod_says_and_options_replace_each_other() {
        let got =
            dns(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.2.3.4"]}}));
        assert_eq!((got.servers.len(), got.searches.len()), (1, 0));
        let got = dns(json!({"containers": [],
            "dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}));
        assert_eq!(got.options, ["ndots:2", "edns0"]);
    }

    #[test]
    fn a_stub_resolver_is_passed_over_for_the_file_with_the_real_servers() {
        let folder = tempfile::tempdir().unwrap();
        let (stub, real) = (folder.path().join("stub"), folder.path().join("real"));
        std::fs::write(&stub, "nameserver 127.0.0.53\n").unwrap();
        std::fs::write(&real, "nameserver 192.0.2.7\n").unwrap();
        assert_eq!(NodeDns::host_from(&[stub.clone(), real]).servers, ["192.0.2.7"]);
        assert!(NodeDns::host_from(&[stub]).servers.is_empty());
    }
}
