//! Whether this node can run a pod that was bound to it.

use k8s_openapi::api::core::v1::{Node, Pod};

use super::status::Failure;
use crate::spec::resources::{ResourceList, milli, pod_request, value};
use crate::spec::{list, pod_spec};

/// Checks node selector and resources against the node and the pods it runs already.
///
/// # Errors
/// What the pod's status shall say: it fails and is not retried.
pub fn admit(pod: &Pod, node: &Node, running: &[&Pod]) -> Result<(), Failure> {
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let selector = pod_spec(pod).node_selector.iter().flatten();
    if !selector.into_iter().all(|(k, v)| labels.get(k) == Some(v)) {
        return Err(Failure {
            reason: "NodeAffinity".to_owned(),
            message: "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
                .to_owned(),
        });
    }
    let wanted_os = pod_spec(pod).node_selector.as_ref().and_then(|s| s.get("kubernetes.io/os"));
    let os = pod_spec(pod).os.as_ref().map(|os| &os.name);
    if wanted_os.or(os).is_some_and(|os| os != "linux") {
        return Err(Failure {
            reason: "PodOSNotSupported".to_owned(),
            message: "Failed to admit pod as the OS field doesn't match node OS".to_owned(),
        });
    }
    let empty = ResourceList::new();
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref()).unwrap_or(&empty);
    let insufficient = |resource: &str, requested: i64, used: i64, capacity: i64| Failure {
        reason: format!("OutOf{resource}"),
        message: format!(
            "Pod was rejected: Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        ),
    };
    if let Some(limit) = allocatable.get("pods").map(value) {
        let used = i64::try_from(running.len()).unwrap_or(i64::MAX);
        if used + 1 > limit {
            return Err(insufficient("pods", 1, used, limit));
        }
    }
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        let requested = pod_request(pod, resource);
        let Some(capacity) = allocatable.get(resource) else { continue };
        let capacity = if resource == "cpu" { milli(capacity) } else { value(capacity) };
        let used: i64 = running.iter().map(|p| pod_request(p, resource)).sum();
        if requested > 0 && requested + used > capacity {
            return Err(insufficient(resource, requested, used, capacity));
        }
    }
    taints(pod, node)
}

/// A NoExecute taint that is not tolerated keeps a pod from starting.
fn taints(pod: &Pod, node: &Node) -> Result<(), Failure> {
    let tolerations = list(&pod_spec(pod).tolerations);
    let taints = node.spec.as_ref().map(|s| list(&s.taints)).unwrap_or_default();
    let hated = taints.iter().filter(|t| t.effect == "NoExecute").find(|taint| {
        !tolerations.iter().any(|tolerated| {
            let effect = tolerated.effect.as_deref().unwrap_or_default();
            let key = tolerated.key.as_deref().unwrap_or_default();
            let exists = tolerated.operator.as_deref() == Some("Exists");
            (effect.is_empty() || effect == taint.effect)
                && (key == taint.key || (key.is_empty() && exists))
                && (exists
                    || tolerated.value.as_deref().unwrap_or_default()
                        == taint.value.as_deref().unwrap_or_default())
        })
    });
    match hated {
        // Being not ready is this agent's own doing, and passes.
        Some(taint) if !taint.key.starts_with("node.kubernetes.io/") => Err(Failure {
            reason: "TaintToleration".to_owned(),
            message: format!(
                "Predicate TaintToleration failed: node(s) had untolerated taint {{{}: {}}}",
                taint.key,
                taint.value.as_deref().unwrap_or_default()
            ),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node() -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n", "labels": {"disk": "ssd"}},
            "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "2"}}}))
        .unwrap()
    }

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn reason(pod: &Pod, running: &[&Pod]) -> Option<String> {
        admit(pod, &node(), running).err().map(|f| f.reason)
    }

    #[test]
    fn what_does_not_fit_is_rejected_with_kubelets_reasons() {
        let cpu = |amount: &str| {
            pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": amount}}}]}))
        };
        assert_eq!(reason(&cpu("600m"), &[]), None);
        assert_eq!(reason(&cpu("600m"), &[&cpu("600m")]).as_deref(), Some("OutOfcpu"));
        assert_eq!(reason(&cpu("0"), &[&cpu("0"), &cpu("0")]).as_deref(), Some("OutOfpods"));
        let other = pod(json!({"nodeSelector": {"disk": "hdd"}, "containers": []}));
        assert_eq!(reason(&other, &[]).as_deref(), Some("NodeAffinity"));
    }
}
