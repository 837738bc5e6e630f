//! Fields of a pod that a container can ask for: `fieldRef` and `resourceFieldRef`.

use copepod_api::quantity::Quantity as Parsed;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::resources::{NodeResources, milli, value};
use super::{all_containers, name, namespace, pod_spec, uid};

/// Addresses known once the sandbox runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Addresses of the node, the primary one first.
    pub host_ips: Vec<String>,
    /// Addresses of the pod, the primary one first.
    pub pod_ips: Vec<String>,
}

/// Why a field has no value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The path names no field a container may ask for.
    #[error("unsupported fieldPath: {0}")]
    UnsupportedPath(String),
    /// `containerName` names no container of the pod.
    #[error("container {0} not found")]
    NoContainer(String),
    /// The resource is none that can be asked for.
    #[error("unsupported container resource : {0}")]
    UnsupportedResource(String),
    /// A divisor that is no quantity.
    #[error("divisor {0} is not a quantity")]
    BadDivisor(String),
}

/// Value of a `fieldRef` path. Labels and annotations as a whole have the downward API file format.
///
/// # Errors
/// When the path is not supported.
pub fn field(pod: &Pod, path: &str, addresses: &Addresses) -> Result<String, FieldError> {
    let spec = pod_spec(pod);
    if let Some((field, key)) = subscript(path) {
        let map = match field {
            "metadata.labels" => &pod.metadata.labels,
            "metadata.annotations" => &pod.metadata.annotations,
            _ => return Err(FieldError::UnsupportedPath(path.to_owned())),
        };
        return Ok(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    let first = |ips: &[String]| ips.first().cloned().unwrap_or_default();
    Ok(match path {
        "metadata.name" => name(pod).to_owned(),
        "metadata.namespace" => namespace(pod).to_owned(),
        "metadata.uid" => uid(pod).to_owned(),
        "metadata.labels" => format_map(pod.metadata.labels.iter().flatten()),
        "metadata.annotations" => format_map(pod.metadata.annotations.iter().flatten()),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => first(&addresses.host_ips),
        "status.hostIPs" => addresses.host_ips.join(","),
        "status.podIP" => first(&addresses.pod_ips),
        "status.podIPs" => addresses.pod_ips.join(","),
        _ => return Err(FieldError::UnsupportedPath(path.to_owned())),
    })
}

/// Splits `metadata.labels['key']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

/// One `key="value"` per line, sorted by key, values escaped.
fn format_map<'a>(entries: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    entries.map(|(key, value)| format!("{key}={}\n", quote(value))).collect::<String>().trim_end().to_owned()
}

/// A Go string literal, which is what upstream writes.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Value of a `resourceFieldRef`, in units of its divisor, rounded up. A limit that is not set is the node's.
///
/// # Errors
/// When the container or the resource does not exist.
pub fn resource_field(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    node: &NodeResources,
) -> Result<String, FieldError> {
    let container = match selector.container_name.as_deref().filter(|n| !n.is_empty()) {
        Some(wanted) => all_containers(pod_spec(pod))
            .map(|(c, _)| c)
            .find(|c| c.name == wanted)
            .ok_or_else(|| FieldError::NoContainer(wanted.to_owned()))?,
        None => own.ok_or_else(|| FieldError::NoContainer(String::new()))?,
    };
    let unsupported = || FieldError::UnsupportedResource(selector.resource.clone());
    let (list, resource) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let known =
        matches!(resource, "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-");
    let resources = container.resources.as_ref();
    let quantity = match list {
        _ if !known => return Err(unsupported()),
        "limits" => resources
            .and_then(|r| r.limits.as_ref())
            .and_then(|l| l.get(resource))
            .filter(|q| milli(q) > 0)
            .or_else(|| node.allocatable.get(resource)),
        "requests" => resources.and_then(|r| r.requests.as_ref()).and_then(|l| l.get(resource)),
        _ => return Err(unsupported()),
    };
    let divisor = match &selector.divisor {
        Some(divisor) if Parsed::parse(&divisor.0).is_err() => {
            return Err(FieldError::BadDivisor(divisor.0.clone()));
        }
        Some(divisor) if milli(divisor) > 0 => divisor.clone(),
        _ => Quantity("1".to_owned()),
    };
    let number = |q: &Quantity| if resource == "cpu" { milli(q) } else { value(q) };
    let amount = quantity.map_or(0, number);
    let unit = number(&divisor).max(1);
    Ok((amount / unit + i64::from(amount % unit > 0)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u",
                "labels": {"b": "two \"words\"", "a": "1\n"}, "annotations": {"x/y": "z"}},
            "spec": {"nodeName": "node", "serviceAccountName": "sa", "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "1Mi"}}}]}
        }))
        .unwrap()
    }

    #[test]
    fn every_documented_field_has_its_value() {
        let addresses = Addresses {
            host_ips: vec!["10.0.0.1".into()],
            pod_ips: vec!["10.42.0.2".into(), "fd00::2".into()],
        };
        for (path, expected) in [
            ("metadata.name", "p"),
            ("metadata.namespace", "n"),
            ("metadata.uid", "u"),
            ("metadata.labels['b']", "two \"words\""),
            ("metadata.labels['none']", ""),
            ("metadata.annotations['x/y']", "z"),
            ("metadata.labels", "a=\"1\\n\"\nb=\"two \\\"words\\\"\""),
            ("spec.nodeName", "node"),
            ("spec.serviceAccountName", "sa"),
            ("status.hostIP", "10.0.0.1"),
            ("status.podIP", "10.42.0.2"),
            ("status.podIPs", "10.42.0.2,fd00::2"),
        ] {
            assert_eq!(field(&pod(), path, &addresses).as_deref(), Ok(expected), "{path}");
        }
        assert!(field(&pod(), "spec.hostname", &addresses).is_err());
    }

    #[test]
    fn resources_are_rounded_up_to_the_divisor_and_missing_limits_are_the_nodes() {
        let node = NodeResources {
            allocatable: [("memory".to_owned(), Quantity("4Gi".into()))].into(),
            ..NodeResources::default()
        };
        let pod = pod();
        let ask = |resource: &str, divisor: Option<&str>| {
            let selector = ResourceFieldSelector {
                container_name: Some("c".into()),
                divisor: divisor.map(|d| Quantity(d.into())),
                resource: resource.into(),
            };
            resource_field(&pod, None, &selector, &node)
        };
        assert_eq!(ask("limits.cpu", None).as_deref(), Ok("2"));
        assert_eq!(ask("limits.cpu", Some("1m")).as_deref(), Ok("1500"));
        assert_eq!(ask("requests.memory", Some("1Ki")).as_deref(), Ok("1024"));
        assert_eq!(ask("limits.memory", Some("1Gi")).as_deref(), Ok("4"));
        assert_eq!(ask("requests.cpu", None).as_deref(), Ok("0"));
        assert!(ask("limits.gpu", None).is_err());
    }
}
