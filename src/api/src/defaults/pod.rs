//! Pods and pod templates.

use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, PodSpec, PodTemplate, PodTemplateSpec};

use super::{absent, container, each, text, volume};

/// A pod.
pub(crate) fn pod(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    self::spec(spec);
    absent(&mut spec.enable_service_links, true);
    let host_network = spec.host_network == Some(true);
    for container in spec.containers.iter_mut().chain(each(&mut spec.init_containers)) {
        container::requests(&mut container.resources);
        if host_network {
            host_ports(container);
        }
    }
    container::requests(&mut spec.resources);
}

/// On the network of the node every port is a port of the node.
fn host_ports(container: &mut Container) {
    for port in each(&mut container.ports) {
        if port.host_port.unwrap_or_default() == 0 {
            port.host_port = Some(port.container_port);
        }
    }
}

/// A stored pod template.
pub(crate) fn pod_template(object: &mut PodTemplate) {
    object.template.iter_mut().for_each(template);
}

/// The template of a workload.
pub(crate) fn template(template: &mut PodTemplateSpec) {
    template.spec.iter_mut().for_each(spec);
}

fn spec(spec: &mut PodSpec) {
    text(&mut spec.dns_policy, "ClusterFirst");
    text(&mut spec.restart_policy, "Always");
    text(&mut spec.scheduler_name, "default-scheduler");
    absent(&mut spec.termination_grace_period_seconds, 30);
    absent(&mut spec.security_context, PodSecurityContext::default());
    // `serviceAccount` is the old name of `serviceAccountName`; both are served.
    if let Some(old) = spec.service_account.clone().filter(|name| !name.is_empty()) {
        text(&mut spec.service_account_name, &old);
    }
    if spec.service_account_name.as_deref().is_some_and(|name| !name.is_empty()) {
        spec.service_account.clone_from(&spec.service_account_name);
    }
    spec.containers.iter_mut().chain(each(&mut spec.init_containers)).for_each(container::container);
    each(&mut spec.ephemeral_containers).for_each(container::ephemeral);
    each(&mut spec.volumes).for_each(volume::volume);
}
