//! Environment of a container.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Service};

use super::field::{self, Addresses, FieldError};
use super::resources::NodeResources;
use super::{expand::expand, list, namespace, pod_spec};

/// ConfigMaps and Secrets that a pod refers to, as far as they exist.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// By name.
    pub config_maps: BTreeMap<String, Arc<ConfigMap>>,
    /// By name.
    pub secrets: BTreeMap<String, Arc<Secret>>,
}

/// Everything a container's environment is made of.
pub struct Inputs<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Objects it refers to.
    pub sources: &'a Sources,
    /// Services of its namespace, and `kubernetes` of `default`.
    pub services: &'a [Arc<Service>],
    /// Addresses of pod and node.
    pub addresses: &'a Addresses,
    /// The node's resources.
    pub node: &'a NodeResources,
}

/// Why the environment cannot be made; shown as `CreateContainerConfigError`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A ConfigMap that is not optional is missing.
    #[error("configmap \"{0}\" not found")]
    NoConfigMap(String),
    /// A Secret that is not optional is missing.
    #[error("secret \"{0}\" not found")]
    NoSecret(String),
    /// A key that is not optional is missing.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Namespace of the pod.
        namespace: String,
        /// Name of the object.
        name: String,
        /// The key.
        key: String,
    },
    /// A field reference.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// Names of the objects that containers of the pod refer to in their environment: ConfigMaps, then Secrets.
#[must_use]
pub fn references(pod: &Pod) -> (Vec<String>, Vec<String>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    for (container, _) in super::all_containers(pod_spec(pod)) {
        for from in list(&container.env_from) {
            maps.extend(from.config_map_ref.as_ref().map(|r| r.name.clone()));
            secrets.extend(from.secret_ref.as_ref().map(|r| r.name.clone()));
        }
        for source in list(&container.env).iter().filter_map(|e| e.value_from.as_ref()) {
            maps.extend(source.config_map_key_ref.as_ref().map(|r| r.name.clone()));
            secrets.extend(source.secret_key_ref.as_ref().map(|r| r.name.clone()));
        }
    }
    for names in [&mut maps, &mut secrets] {
        names.sort();
        names.dedup();
    }
    (maps, secrets)
}

/// The environment, in order: what `envFrom` and `env` say, then service variables they do not replace.
///
/// # Errors
/// When a required object, key or field does not exist.
pub fn environment(container: &Container, inputs: &Inputs<'_>) -> Result<Vec<(String, String)>, EnvError> {
    let services = service_variables(inputs);
    let mut result: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: String| match result.iter_mut().find(|(n, _)| n == name) {
        Some(entry) => entry.1 = value,
        None => result.push((name.to_owned(), value)),
    };
    for from in list(&container.env_from) {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match inputs.sources.config_maps.get(&reference.name) {
                Some(map) => {
                    for (key, value) in map.data.iter().flatten() {
                        set(&format!("{prefix}{key}"), value.clone());
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(EnvError::NoConfigMap(reference.name.clone())),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match inputs.sources.secrets.get(&reference.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        set(&format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(EnvError::NoSecret(reference.name.clone())),
            }
        }
    }
    for variable in list(&container.env) {
        let value = match (&variable.value, &variable.value_from) {
            (_, Some(_)) => match referenced(container, variable, inputs)? {
                Some(value) => value,
                // An optional reference to nothing leaves the variable out.
                None => continue,
            },
            (Some(text), None) => expand(text, |name| {
                result
                    .iter()
                    .find(|(n, _)| n == name)
                    .map(|(_, v)| v.as_str())
                    .or_else(|| services.get(name).map(String::as_str))
            }),
            (None, None) => String::new(),
        };
        match result.iter_mut().find(|(n, _)| *n == variable.name) {
            Some(entry) => entry.1 = value,
            None => result.push((variable.name.clone(), value)),
        }
    }
    for (name, value) in services {
        if !result.iter().any(|(n, _)| *n == name) {
            result.push((name, value));
        }
    }
    Ok(result)
}

fn referenced(
    container: &Container,
    variable: &k8s_openapi::api::core::v1::EnvVar,
    inputs: &Inputs<'_>,
) -> Result<Option<String>, EnvError> {
    let Some(source) = &variable.value_from else { return Ok(None) };
    let no_key = |kind, name: &str, key: &str| EnvError::NoKey {
        kind,
        namespace: namespace(inputs.pod).to_owned(),
        name: name.to_owned(),
        key: key.to_owned(),
    };
    if let Some(reference) = &source.field_ref {
        return Ok(Some(field::field(inputs.pod, &reference.field_path, inputs.addresses)?));
    }
    if let Some(reference) = &source.resource_field_ref {
        return Ok(Some(field::resource_field(inputs.pod, Some(container), reference, inputs.node)?));
    }
    if let Some(reference) = &source.config_map_key_ref {
        let optional = reference.optional == Some(true);
        return match inputs.sources.config_maps.get(&reference.name) {
            None if optional => Ok(None),
            None => Err(EnvError::NoConfigMap(reference.name.clone())),
            Some(map) => match map.data.as_ref().and_then(|d| d.get(&reference.key)) {
                Some(value) => Ok(Some(value.clone())),
                None if optional => Ok(None),
                None => Err(no_key("ConfigMap", &reference.name, &reference.key)),
            },
        };
    }
    if let Some(reference) = &source.secret_key_ref {
        let optional = reference.optional == Some(true);
        return match inputs.sources.secrets.get(&reference.name) {
            None if optional => Ok(None),
            None => Err(EnvError::NoSecret(reference.name.clone())),
            Some(secret) => match secret.data.as_ref().and_then(|d| d.get(&reference.key)) {
                Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
                None if optional => Ok(None),
                None => Err(no_key("Secret", &reference.name, &reference.key)),
            },
        };
    }
    Ok(Some(String::new()))
}

/// Variables in the manner of Docker links. Without `enableServiceLinks` only those of the API's own service.
fn service_variables(inputs: &Inputs<'_>) -> BTreeMap<String, String> {
    let links = pod_spec(inputs.pod).enable_service_links.unwrap_or(true);
    let own = namespace(inputs.pod);
    let mut variables = BTreeMap::new();
    let is_master = |service: &Service| {
        service.metadata.namespace.as_deref() == Some("default")
            && service.metadata.name.as_deref() == Some("kubernetes")
    };
    // The pod's own namespace comes last, so that a service of its own named `kubernetes` wins.
    let masters = inputs.services.iter().filter(|s| is_master(s));
    let locals = inputs.services.iter().filter(|s| links && s.metadata.namespace.as_deref() == Some(own));
    for service in masters.chain(locals) {
        add_service(service, &mut variables);
    }
    variables
}

fn add_service(service: &Service, variables: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return };
    let upper = |text: &str| text.to_uppercase().replace(['-', '.'], "_");
    let prefix = upper(service.metadata.name.as_deref().unwrap_or_default());
    let bracketed = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let ports = list(&spec.ports);
    variables.insert(format!("{prefix}_SERVICE_HOST"), ip.to_owned());
    for (at, port) in ports.iter().enumerate() {
        if at == 0 {
            variables.insert(format!("{prefix}_SERVICE_PORT"), port.port.to_string());
        }
        if let Some(name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            variables.insert(format!("{prefix}_SERVICE_PORT_{}", upper(name)), port.port.to_string());
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{bracketed}:{}", protocol.to_lowercase(), port.port);
        if at == 0 {
            variables.insert(format!("{prefix}_PORT"), url.clone());
        }
        let key = format!("{prefix}_PORT_{}_{protocol}", port.port);
        variables.insert(format!("{key}_PROTO"), protocol.to_lowercase());
        variables.insert(format!("{key}_PORT"), port.port.to_string());
        variables.insert(format!("{key}_ADDR"), ip.to_owned());
        variables.insert(key, url);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(namespace: &str, name: &str, ip: &str) -> Arc<Service> {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace},
                "spec": {"clusterIP": ip, "ports": [{"name": "http-x", "port": 80, "protocol": "TCP"}]}}))
            .unwrap(),
        )
    }

    fn build(spec: serde_json::Value) -> Result<BTreeMap<String, String>, EnvError> {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}}, "spec": spec}),
        )
        .unwrap();
        let sources = Sources {
            config_maps: [(
                "cm".to_owned(),
                Arc::new(
                    serde_json::from_value(json!({"metadata": {}, "data": {"K": "v", "L": "w"}})).unwrap(),
                ),
            )]
            .into(),
            secrets: [(
                "s".to_owned(),
                Arc::new(serde_json::from_value(json!({"metadata": {}, "data": {"K": "c2VjcmV0"}})).unwrap()),
            )]
            .into(),
        };
        let services = [
            service("default", "kubernetes", "10.43.0.1"),
            service("n", "my-web", "10.43.0.9"),
            service("n", "headless", "None"),
            service("other", "far", "10.43.0.8"),
        ];
        let inputs = Inputs {
            pod: &pod,
            sources: &sources,
            services: &services,
            addresses: &Addresses::default(),
            node: &NodeResources::default(),
        };
        Ok(environment(&pod_spec(&pod).containers[0], &inputs)?.into_iter().collect())
    }

    #[test]
    fn later_sources_win_and_values_see_what_came_before() {
        let env = build(json!({"containers": [{"name": "c",
            "envFrom": [{"configMapRef": {"name": "cm"}}, {"prefix": "S_", "secretRef": {"name": "s"}}],
            "env": [{"name": "L", "value": "$(K)-$(S_K)-$(LATER)-$(KUBERNETES_SERVICE_HOST)"},
                {"name": "LATER", "value": "x"}, {"name": "EMPTY"},
                {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}]}]}))
        .unwrap();
        assert_eq!(env["L"], "v-secret-$(LATER)-10.43.0.1");
        assert_eq!((env["EMPTY"].as_str(), env["LABEL"].as_str()), ("", "b"));
    }

    #[test]
    fn services_become_variables_and_links_can_be_turned_off() {
        let env = build(json!({"containers": [{"name": "c"}]})).unwrap();
        assert_eq!(env["MY_WEB_SERVICE_HOST"], "10.43.0.9");
        assert_eq!(env["MY_WEB_SERVICE_PORT_HTTP_X"], "80");
        assert_eq!(env["MY_WEB_PORT_80_TCP"], "tcp://10.43.0.9:80");
        assert!(!env.contains_key("FAR_SERVICE_HOST") && !env.contains_key("HEADLESS_SERVICE_HOST"));
        let env = build(json!({"enableServiceLinks": false, "containers": [{"name": "c"}]})).unwrap();
        assert_eq!(env.len(), 8);
        assert_eq!(env["KUBERNETES_PORT"], "tcp://10.43.0.1:80");
    }

    #[test]
    fn missing_objects_and_keys_are_errors_unless_optional() {
        let with = |from: serde_json::Value| {
            build(json!({"containers": [{"name": "c", "env": [{"name": "X", "valueFrom": from}]}]}))
        };
        assert_eq!(
            with(json!({"configMapKeyRef": {"name": "no", "key": "k"}})).unwrap_err().to_string(),
            "configmap \"no\" not found"
        );
        assert_eq!(
            with(json!({"secretKeyRef": {"name": "s", "key": "k"}})).unwrap_err().to_string(),
            "couldn't find key k in Secret n/s"
        );
        assert!(
            !with(json!({"secretKeyRef": {"name": "no", "key": "k", "optional": true}}))
                .unwrap()
                .contains_key("X")
        );
    }
}
