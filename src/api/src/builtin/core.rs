//! The core group, and its events in `events.k8s.io`.

use k8s_openapi::api::core::v1;
use k8s_openapi::api::events::v1 as events;

use super::{Builder, CREATE, GET, PART, PROXY, STREAM, UPDATE, gvk, kind, review};
use crate::convert::EventsV1;
use crate::kind::{Access, Verb};

/// Namespaces cannot be deleted many at once.
const NAMESPACE: &[Verb] =
    &[Verb::Create, Verb::Delete, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch];

pub(super) fn kinds() -> Vec<Builder> {
    vec![
        review::<v1::Binding>(),
        kind::<v1::ComponentStatus>().short(&["cs"]).verbs(&[Verb::Get, Verb::List]),
        kind::<v1::ConfigMap>().short(&["cm"]),
        kind::<v1::Endpoints>().short(&["ep"]).create_on_update(),
        kind::<v1::Event>()
            .short(&["ev"])
            .create_on_update()
            .expiring(1)
            .field("involvedObject.kind")
            .field("involvedObject.namespace")
            .field("involvedObject.name")
            .field("involvedObject.uid")
            .field("involvedObject.apiVersion")
            .field("involvedObject.resourceVersion")
            .field("involvedObject.fieldPath")
            .field("reason")
            .field("reportingComponent")
            .field_at("source", "source.component", "")
            .or("reportingComponent")
            .field("type"),
        kind::<v1::LimitRange>().short(&["limits"]).create_on_update(),
        kind::<v1::Namespace>()
            .short(&["ns"])
            .verbs(NAMESPACE)
            .part("finalize", UPDATE)
            .status()
            .field("status.phase"),
        kind::<v1::Node>().short(&["no"]).connect("proxy", "NodeProxyOptions", PROXY).status().field_at(
            "spec.unschedulable",
            "spec.unschedulable",
            "false",
        ),
        kind::<v1::PersistentVolume>().short(&["pv"]).status(),
        kind::<v1::PersistentVolumeClaim>().short(&["pvc"]).status(),
        pods(),
        kind::<v1::PodTemplate>().generation(),
        kind::<v1::ReplicationController>()
            .short(&["rc"])
            .category("all")
            .scale()
            .status()
            .generation()
            .field_at("status.replicas", "status.replicas", "0"),
        kind::<v1::ResourceQuota>().short(&["quota"]).status(),
        kind::<v1::Secret>().field("type"),
        kind::<v1::Service>()
            .short(&["svc"])
            .category("all")
            .create_on_update()
            .connect("proxy", "ServiceProxyOptions", PROXY)
            .status()
            .field("spec.clusterIP")
            .field("spec.type"),
        kind::<v1::ServiceAccount>().short(&["sa"]).sub(
            "token",
            gvk("authentication.k8s.io", "v1", "TokenRequest"),
            CREATE,
            Access::Connect,
        ),
        kind::<events::Event>()
            .short(&["ev"])
            .create_on_update()
            .expiring(1)
            .stored_as("core", &EventsV1)
            .field_at("regarding.kind", "involvedObject.kind", "")
            .field_at("regarding.namespace", "involvedObject.namespace", "")
            .field_at("regarding.name", "involvedObject.name", "")
            .field_at("regarding.uid", "involvedObject.uid", "")
            .field_at("regarding.apiVersion", "involvedObject.apiVersion", "")
            .field_at("regarding.resourceVersion", "involvedObject.resourceVersion", "")
            .field_at("regarding.fieldPath", "involvedObject.fieldPath", "")
            .field("reason")
            .field_at("reportingController", "reportingComponent", "")
            .field("type"),
    ]
}

fn pods() -> Builder {
    kind::<v1::Pod>()
        .short(&["po"])
        .category("all")
        .connect("attach", "PodAttachOptions", STREAM)
        .connect("binding", "Binding", CREATE)
        .part("ephemeralcontainers", PART)
        .sub("eviction", gvk("policy", "v1", "Eviction"), CREATE, Access::Connect)
        .connect("exec", "PodExecOptions", STREAM)
        .connect("log", "", GET)
        .connect("portforward", "PodPortForwardOptions", STREAM)
        .connect("proxy", "PodProxyOptions", PROXY)
        .part("resize", PART)
        .status()
        .generation()
        .graceful()
        .field("spec.nodeName")
        .field("spec.restartPolicy")
        .field("spec.schedulerName")
        .field("spec.serviceAccountName")
        .field_at("spec.hostNetwork", "spec.hostNetwork", "false")
        .field("status.phase")
        .field("status.podIP")
        .field_at("status.podIPs", "status.podIP", "")
        .field("status.nominatedNodeName")
}
