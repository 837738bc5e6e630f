//! `pods/binding` and `bindings`: a scheduler puts a pod on a node.

use copepod_api::codec::{check_name, check_namespace};
use copepod_api::field::{Errors, Path};
use copepod_api::kind::Kind;
use copepod_api::status::ApiError;
use copepod_api::strategy::Part;
use http::Response;
use k8s_openapi::api::core::v1::{Binding, Pod, PodCondition, PodStatus};

use crate::admission::{typed, typed_mut};
use crate::body::Body;
use crate::handlers::decode;
use crate::handlers::update::{Change, change_object};
use crate::object_meta::now;
use crate::request::Context;
use crate::request::content::{self, Incoming};
use crate::request::options::WriteOptions;

/// Answers a POST of a Binding, to the pod's subresource or to the collection.
pub(crate) async fn create(cx: &Context, body: Incoming) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&cx.query, "CreateOptions")?;
    let body = content::read(&cx.headers, body).await?;
    let mut binding: Binding = decode::plain(cx, &body, "Binding")?;
    let namespace = cx.namespace().ok_or_else(ApiError::no_such_path)?;
    let mut given = binding.metadata.namespace.take().unwrap_or_default();
    check_namespace(&mut given, namespace)?;
    let name = binding.metadata.name.clone().unwrap_or_default();
    if !cx.name().is_empty() && name != cx.name() {
        check_name(&name, cx.name())?;
    }
    validate(&binding, &name)?;
    let kind = cx.state.registry.resource("", "v1", "pods").ok_or_else(ApiError::no_such_path)?;
    let change = Change {
        kind,
        namespace: Some(namespace),
        name: &name,
        part: Part::Other("binding"),
        dry_run: options.dry_run,
    };
    change_object(cx, change, &mut |current| {
        let mut object = current.object.boxed_clone();
        if let Some(uid) = binding.metadata.uid.as_ref().filter(|uid| !uid.is_empty()) {
            object.metadata_mut().uid = Some(uid.clone());
        }
        if let Some(version) = &binding.metadata.resource_version {
            object.metadata_mut().resource_version = Some(version.clone());
        }
        if let Some(pod) = typed::<Pod>(current.object) {
            check_unbound(kind, pod, &name)?;
        }
        if let Some(pod) = typed_mut::<Pod>(object.as_mut()) {
            assign(pod, &binding);
        }
        Ok(object)
    })
    .await?;
    super::created(cx)
}

fn validate(binding: &Binding, name: &str) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    let target = Path::new("target");
    let kind = binding.target.kind.as_deref().unwrap_or_default();
    if !kind.is_empty() && kind != "Node" {
        errors.not_supported(&target.child("kind"), kind, &["Node", "<empty>"]);
    }
    if binding.target.name.as_deref().unwrap_or_default().is_empty() {
        errors.required(&target.child("name"), "");
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid_named("", "Binding", name, &errors)) }
}

fn check_unbound(kind: &Kind, pod: &Pod, name: &str) -> Result<(), ApiError> {
    let conflict = |why: String| Err(ApiError::conflict(kind, name, &why));
    let spec = pod.spec.as_ref();
    if pod.metadata.deletion_timestamp.is_some() {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(node) = spec.and_then(|s| s.node_name.as_deref()).filter(|node| !node.is_empty()) {
        return conflict(format!("pod {name} is already assigned to node {node:?}"));
    }
    if spec.and_then(|s| s.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty()) {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    Ok(())
}

fn assign(pod: &mut Pod, binding: &Binding) {
    pod.spec.get_or_insert_default().node_name.clone_from(&binding.target.name);
    for (key, value) in binding.metadata.annotations.iter().flatten() {
        pod.metadata.annotations.get_or_insert_default().insert(key.clone(), value.clone());
    }
    for (key, value) in binding.metadata.labels.iter().flatten() {
        pod.metadata.labels.get_or_insert_default().insert(key.clone(), value.clone());
    }
    let conditions = pod.status.get_or_insert_with(PodStatus::default).conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "PodScheduled");
    conditions.push(PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(now()),
        ..PodCondition::default()
    });
}
