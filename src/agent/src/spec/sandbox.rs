//! Configuration of a pod's sandbox.

use std::collections::HashMap;

use copepod_cri::v1;
use k8s_openapi::api::core::v1::Pod;

use super::{NodeFacts, all_containers, cgroup, dns, host_network, hosts, labels, list, pod_spec, security};

/// What the runtime gets for the pod's sandbox number `attempt`.
#[must_use]
pub fn config(pod: &Pod, node: &NodeFacts, attempt: u32) -> v1::PodSandboxConfig {
    let sysctls: HashMap<String, String> = pod_spec(pod)
        .security_context
        .as_ref()
        .map(|c| list(&c.sysctls).iter().map(|s| (s.name.clone(), s.value.clone())).collect())
        .unwrap_or_default();
    let parent = cgroup::pod_group(&node.cgroup_root, pod);
    v1::PodSandboxConfig {
        metadata: Some(labels::sandbox_metadata(pod, attempt)),
        hostname: if host_network(pod) {
            String::new()
        } else {
            hosts::kernel_hostname(pod, &node.dns.domain)
        },
        log_directory: node.pod_logs(pod).to_string_lossy().into_owned(),
        dns_config: Some(dns::pod_dns(pod, &node.dns)),
        port_mappings: port_mappings(pod),
        labels: labels::sandbox_labels(pod),
        annotations: labels::sandbox_annotations(pod),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: node.cgroups.parent_name(&parent),
            security_context: Some(security::sandbox_context(pod, &node.seccomp_dir)),
            sysctls,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Ports of containers that want one of the node's. Others are nobody's business: host port 0 means none.
fn port_mappings(pod: &Pod) -> Vec<v1::PortMapping> {
    if host_network(pod) {
        return Vec::new();
    }
    all_containers(pod_spec(pod))
        .flat_map(|(container, _)| list(&container.ports))
        .filter(|port| port.host_port.is_some_and(|p| p > 0))
        .map(|port| v1::PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => v1::Protocol::Udp,
                Some("SCTP") => v1::Protocol::Sctp,
                _ => v1::Protocol::Tcp,
            }
            .into(),
            container_port: port.container_port,
            host_port: port.host_port.unwrap_or(0),
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}
