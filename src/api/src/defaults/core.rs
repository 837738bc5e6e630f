//! The core group, apart from pods.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ClientIPConfig, Endpoints, LimitRange, LimitRangeItem, Namespace, Node, PersistentVolume,
    PersistentVolumeClaim, ReplicationController, Secret, Service, ServiceSpec, SessionAffinityConfig,
    TypedLocalObjectReference, TypedObjectReference,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{absent, each, is_empty, pod, text, volume};

/// Label with the name of a namespace on the namespace itself.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// A namespace.
pub(crate) fn namespace(object: &mut Namespace) {
    if let Some(name) = object.metadata.name.clone().filter(|name| !name.is_empty()) {
        object.metadata.labels.get_or_insert_default().insert(NAMESPACE_NAME.to_owned(), name);
    }
    object.spec.get_or_insert_default();
    text(&mut object.status.get_or_insert_default().phase, "Active");
}

/// A node.
pub(crate) fn node(object: &mut Node) {
    object.spec.get_or_insert_default();
    if let Some(status) = &mut object.status
        && status.allocatable.is_none()
    {
        status.allocatable.clone_from(&status.capacity);
    }
}

/// A secret: the plain texts of `stringData` become data.
pub(crate) fn secret(object: &mut Secret) {
    text(&mut object.type_, "Opaque");
    if let Some(texts) = object.string_data.take() {
        let data = object.data.get_or_insert_default();
        data.extend(texts.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))));
    }
}

/// A service; addresses are given by the API server.
pub(crate) fn service(object: &mut Service) {
    service_spec(object.spec.get_or_insert_default());
}

fn service_spec(spec: &mut ServiceSpec) {
    text(&mut spec.session_affinity, "None");
    match spec.session_affinity.as_deref() {
        Some("None") => spec.session_affinity_config = None,
        Some("ClientIP") => {
            let config = spec
                .session_affinity_config
                .get_or_insert_with(|| SessionAffinityConfig { client_ip: Some(ClientIPConfig::default()) });
            absent(&mut config.client_ip.get_or_insert_default().timeout_seconds, 10_800);
        }
        _ => {}
    }
    text(&mut spec.type_, "ClusterIP");
    for port in each(&mut spec.ports) {
        text(&mut port.protocol, "TCP");
        let unset = match &port.target_port {
            None => true,
            Some(IntOrString::Int(number)) => *number == 0,
            Some(IntOrString::String(name)) => name.is_empty(),
        };
        if unset {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
    let type_ = spec.type_.as_deref().unwrap_or_default();
    let external = matches!(type_, "NodePort" | "LoadBalancer")
        || (type_ == "ClusterIP" && !is_empty(spec.external_ips.as_ref(), Vec::is_empty));
    if external {
        text(&mut spec.external_traffic_policy, "Cluster");
    }
    if matches!(type_, "NodePort" | "LoadBalancer" | "ClusterIP") {
        absent(&mut spec.internal_traffic_policy, "Cluster".to_owned());
    }
    if type_ == "LoadBalancer" {
        absent(&mut spec.allocate_load_balancer_node_ports, true);
    }
}

/// Endpoints.
pub(crate) fn endpoints(object: &mut Endpoints) {
    for port in each(&mut object.subsets).flat_map(|subset| each(&mut subset.ports)) {
        text(&mut port.protocol, "TCP");
    }
}

/// A replication controller takes labels and selector from its template.
pub(crate) fn replication_controller(object: &mut ReplicationController) {
    let spec = object.spec.get_or_insert_default();
    absent(&mut spec.replicas, 1);
    let Some(template) = &mut spec.template else { return };
    pod::template(template);
    let labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    if labels.is_empty() {
        return;
    }
    if is_empty(spec.selector.as_ref(), |map| map.is_empty()) {
        spec.selector = Some(labels.clone());
    }
    if is_empty(object.metadata.labels.as_ref(), |map| map.is_empty()) {
        object.metadata.labels = Some(labels);
    }
}

/// A limit range.
pub(crate) fn limit_range(object: &mut LimitRange) {
    for item in object.spec.iter_mut().flat_map(|spec| &mut spec.limits) {
        limit_range_item(item);
    }
}

fn limit_range_item(item: &mut LimitRangeItem) {
    if item.type_ != "Container" {
        return;
    }
    let limits = item.default.get_or_insert_default();
    for (name, max) in item.max.iter().flatten() {
        limits.entry(name.clone()).or_insert_with(|| max.clone());
    }
    let requests = item.default_request.get_or_insert_default();
    for (name, quantity) in limits.iter().chain(item.min.iter().flatten()) {
        requests.entry(name.clone()).or_insert_with(|| quantity.clone());
    }
}

/// A claim.
pub(crate) fn claim(object: &mut PersistentVolumeClaim) {
    volume::claim(object.spec.get_or_insert_default());
    text(&mut object.status.get_or_insert_default().phase, "Pending");
}

/// `dataSource` and `dataSourceRef` of a new claim say the same where both can.
pub(crate) fn claim_sources(object: &mut PersistentVolumeClaim) {
    let Some(spec) = &mut object.spec else { return };
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(source), None) => {
            spec.data_source_ref = Some(TypedObjectReference {
                api_group: source.api_group.clone(),
                kind: source.kind.clone(),
                name: source.name.clone(),
                namespace: None,
            });
        }
        (None, Some(source)) if source.namespace.as_deref().unwrap_or_default().is_empty() => {
            spec.data_source = Some(TypedLocalObjectReference {
                api_group: source.api_group.clone(),
                kind: source.kind.clone(),
                name: source.name.clone(),
            });
        }
        _ => {}
    }
}

/// A volume.
pub(crate) fn persistent_volume(object: &mut PersistentVolume) {
    let spec = object.spec.get_or_insert_default();
    text(&mut spec.persistent_volume_reclaim_policy, "Retain");
    absent(&mut spec.volume_mode, "Filesystem".to_owned());
    spec.host_path.iter_mut().for_each(volume::host_path);
    spec.azure_disk.iter_mut().for_each(volume::azure_disk);
    if let Some(source) = &mut spec.iscsi {
        text(&mut source.iscsi_interface, "default");
    }
    if let Some(source) = &mut spec.rbd {
        volume::rbd(&mut source.pool, &mut source.user, &mut source.keyring);
    }
    if let Some(source) = &mut spec.scale_io {
        volume::scale_io(&mut source.storage_mode, &mut source.fs_type);
    }
    text(&mut object.status.get_or_insert_default().phase, "Pending");
}
