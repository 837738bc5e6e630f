//! Host name of a pod and its `/etc/hosts`.

use std::fmt::Write;

use k8s_openapi::api::core::v1::Pod;

use super::{host_network, list, name, namespace, pod_spec};

/// Longest host name the kernel takes.
const MAX_HOSTNAME: usize = 63;

/// The pod's host name, and its domain when it has a subdomain.
#[must_use]
pub fn hostname(pod: &Pod, cluster_domain: &str) -> (String, Option<String>) {
    let spec = pod_spec(pod);
    if let Some(name) = &spec.hostname_override {
        return (name.clone(), None);
    }
    let host = match spec.hostname.as_deref().filter(|h| !h.is_empty()) {
        Some(host) => host.to_owned(),
        None => {
            let mut host = name(pod).to_owned();
            host.truncate(MAX_HOSTNAME);
            host.trim_end_matches(['-', '.']).to_owned()
        }
    };
    let domain = spec
        .subdomain
        .as_deref()
        .filter(|s| !s.is_empty())
        .map(|subdomain| format!("{subdomain}.{}.svc.{cluster_domain}", namespace(pod)));
    (host, domain)
}

/// What the kernel of the pod's sandbox is told: the full name with `setHostnameAsFQDN`.
#[must_use]
pub fn kernel_hostname(pod: &Pod, cluster_domain: &str) -> String {
    match hostname(pod, cluster_domain) {
        (host, Some(domain)) if pod_spec(pod).set_hostname_as_fqdn == Some(true) => {
            format!("{host}.{domain}")
        }
        (host, _) => host,
    }
}

/// Text of the file. `host_file` is the node's own file, used with the host's network.
#[must_use]
pub fn hosts_file(pod: &Pod, pod_ips: &[String], cluster_domain: &str, host_file: &str) -> String {
    let mut text = String::new();
    if host_network(pod) {
        text.push_str("# Kubernetes-managed hosts file (host network).\n");
        text.push_str(host_file);
    } else {
        let (host, domain) = hostname(pod, cluster_domain);
        text.push_str(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        for ip in pod_ips {
            // Writing to a String cannot fail.
            let _ = match &domain {
                Some(domain) => writeln!(text, "{ip}\t{host}.{domain}\t{host}"),
                None => writeln!(text, "{ip}\t{host}"),
            };
        }
    }
    let aliases = list(&pod_spec(pod).host_aliases);
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let _ = writeln!(text, "{}\t{}", alias.ip, list(&alias.hostnames).join("\t"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_with_a_subdomain_has_its_full_name_in_the_file() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {
            "containers": [], "hostname": "h", "subdomain": "s",
            "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}}))
        .unwrap();
        let text = hosts_file(&pod, &["10.42.0.5".into()], "cluster.local", "");
        assert!(text.contains("10.42.0.5\th.s.n.svc.cluster.local\th\n"), "{text}");
        assert!(text.ends_with("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"), "{text}");
    }

    #[test]
    fn a_long_pod_name_is_cut_to_a_valid_host_name() {
        let name = format!("{}-{}", "a".repeat(62), "b".repeat(20));
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        assert_eq!(hostname(&pod, "x").0, "a".repeat(62));
    }
}
