//! `log`, `exec`, `attach`, `portforward`: which container of which node, then the node's answer.

use copepod_api::field::{Errors, Path};
use copepod_api::kind::Kind;
use copepod_api::status::ApiError;
use http::Response;
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use crate::body::Body;
use crate::node;
use crate::request::Context;
use crate::request::query::percent_encode;
use crate::storage;

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Parameters of `log` that the node understands.
const LOG_PARAMETERS: &[&str] =
    &["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"];

/// Answers a GET of a container's log.
pub(super) async fn log(cx: &Context, kind: &Kind) -> Result<Response<Body>, ApiError> {
    validate_log(cx)?;
    let pod = pod(cx, kind).await?;
    let container = container(cx, &pod)?;
    let node = node_of(cx, &pod)?;
    let mut path = path(cx, "containerLogs", Some(&container));
    let mut separator = '?';
    for name in LOG_PARAMETERS {
        for value in cx.query.all(name) {
            path.push_str(&format!("{separator}{name}={}", percent_encode(value)));
            separator = '&';
        }
    }
    node::stream(cx, &node, &path).await
}

/// Opens a stream to a container or a pod.
pub(super) async fn open(cx: &Context, kind: &Kind, what: &str) -> Result<Response<Body>, ApiError> {
    let pod = pod(cx, kind).await?;
    if what == "portforward" {
        let node = node_of(cx, &pod)?;
        let ports: Vec<String> =
            cx.query.all("ports").map(|ports| format!("ports={}", percent_encode(ports))).collect();
        let path = format!("{}?{}", path(cx, "portForward", None), ports.join("&"));
        return node::upgrade(cx, &node, path.trim_end_matches('?')).await;
    }
    let container = container(cx, &pod)?;
    let node = node_of(cx, &pod)?;
    let mut parameters: Vec<String> =
        [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")]
            .into_iter()
            .filter(|(name, _)| cx.query.flag(name))
            .map(|(_, name)| format!("{name}=1"))
            .collect();
    parameters.extend(cx.query.all("command").map(|word| format!("command={}", percent_encode(word))));
    let path = format!("{}?{}", path(cx, what, Some(&container)), parameters.join("&"));
    node::upgrade(cx, &node, &path).await
}

async fn pod(cx: &Context, kind: &Kind) -> Result<Pod, ApiError> {
    let record = storage::get(cx.state.store.as_ref(), kind, &cx.key(kind), cx.name()).await?;
    serde_json::from_slice(&record.value).map_err(ApiError::internal)
}

fn path(cx: &Context, endpoint: &str, container: Option<&str>) -> String {
    let container = container.map(|name| format!("/{}", percent_encode(name))).unwrap_or_default();
    format!(
        "/{endpoint}/{}/{}{container}",
        percent_encode(cx.namespace().unwrap_or_default()),
        percent_encode(cx.name())
    )
}

fn node_of(cx: &Context, pod: &Pod) -> Result<String, ApiError> {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.node_name.clone())
        .filter(|node| !node.is_empty())
        .ok_or_else(|| ApiError::bad_request(format!("pod {} does not have a host assigned", cx.name())))
}

/// The container that is asked for, or the pod's only or default one.
fn container(cx: &Context, pod: &Pod) -> Result<String, ApiError> {
    let name = cx.name();
    let spec = pod.spec.as_ref();
    let ordinary: Vec<&str> =
        spec.iter().flat_map(|spec| &spec.containers).map(|container| container.name.as_str()).collect();
    let others: Vec<&str> = spec.map(other_containers).unwrap_or_default();
    let exists = |wanted: &str| ordinary.contains(&wanted) || others.contains(&wanted);
    if let Some(wanted) = cx.query.text("container") {
        if exists(wanted) {
            return Ok(wanted.to_owned());
        }
        return Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {name}")));
    }
    let default = pod.metadata.annotations.as_ref().and_then(|a| a.get(DEFAULT_CONTAINER));
    if let Some(default) = default.filter(|default| exists(default)) {
        return Ok(default.clone());
    }
    match ordinary.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(ApiError::bad_request(format!("a container name must be specified for pod {name}"))),
        many => {
            let init: Vec<&str> = spec
                .iter()
                .flat_map(|spec| spec.init_containers.iter().flatten())
                .map(|container| container.name.as_str())
                .collect();
            let init = if init.is_empty() {
                String::new()
            } else {
                format!(" or one of the init containers: [{}]", init.join(" "))
            };
            Err(ApiError::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{}]{init}",
                many.join(" ")
            )))
        }
    }
}

fn other_containers(spec: &PodSpec) -> Vec<&str> {
    let init = spec.init_containers.iter().flatten().map(|container| container.name.as_str());
    init.chain(spec.ephemeral_containers.iter().flatten().map(|container| container.name.as_str())).collect()
}

fn validate_log(cx: &Context) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    for (name, least, why) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
        ("limitBytes", 1, "must be greater than 0"),
    ] {
        if let Some(value) = cx.query.number(name)?.filter(|value| *value < least) {
            errors.invalid(&Path::new(name), value, why);
        }
    }
    if cx.query.text("sinceSeconds").is_some() && cx.query.text("sinceTime").is_some() {
        errors.forbidden(&Path::new(""), "at most one of `sinceTime` or `sinceSeconds` may be specified");
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid_named("", "PodLogOptions", cx.name(), &errors))
    }
}
