//! Objects that every cluster has, kept up by the server through its own API: system namespaces, priority classes, and
//! the Service by which pods reach the server.

use std::net::IpAddr;

use bytes::Bytes;
use copepod_api::status::ApiError;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use ipnet::IpNet;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::identity::Identity;
use crate::server::{Server, Service};

const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];
const SERVICE: &str = "kubernetes";

/// Makes what is missing and corrects what differs.
///
/// # Errors
/// The first refusal.
pub(crate) async fn ensure(server: &Server) -> Result<(), ApiError> {
    let client = Client(server.service(Identity::apiserver()));
    for name in NAMESPACES {
        client.ensure("/api/v1/namespaces", &namespace(name)).await?;
    }
    for class in priority_classes() {
        client.ensure("/apis/scheduling.k8s.io/v1/priorityclasses", &class).await?;
    }
    let config = &server.state().config;
    let cidr = service_cidr(&config.service_cidr);
    client.ensure("/apis/networking.k8s.io/v1/servicecidrs", &cidr).await?;
    let (address, port) = (config.advertise.ip(), config.advertise.port());
    let service = service(first_address(&config.service_cidr), port);
    client.keep("/api/v1/namespaces/default/services", &service, &["/spec/ports"]).await?;
    let endpoints = endpoints(address, port);
    client.keep("/api/v1/namespaces/default/endpoints", &endpoints, &["/subsets"]).await?;
    let slice = endpoint_slice(address, port);
    client
        .keep(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            &slice,
            &["/endpoints", "/ports"],
        )
        .await
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn priority_classes() -> [Value; 2] {
    [
        ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
        ("system-cluster-critical", 2_000_000_000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."),
    ]
    .map(|(name, value, description)| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "description": description,
        })
    })
}

fn service_cidr(cidr: &IpNet) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": SERVICE},
        "spec": {"cidrs": [cidr.to_string()]},
    })
}

/// The first address of the range is the API's.
fn first_address(cidr: &IpNet) -> IpAddr {
    match cidr.network() {
        IpAddr::V4(base) => IpAddr::V4((u32::from(base) + 1).into()),
        IpAddr::V6(base) => IpAddr::V6((u128::from(base) + 1).into()),
    }
}

fn labels() -> Value {
    json!({"component": "apiserver", "provider": "kubernetes"})
}

fn service(address: IpAddr, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": "default", "labels": labels()},
        "spec": {
            "type": "ClusterIP", "clusterIP": address.to_string(), "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    })
}

fn endpoints(address: IpAddr, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": SERVICE, "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": [{"ip": address.to_string()}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    })
}

fn endpoint_slice(address: IpAddr, port: u16) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": SERVICE, "namespace": "default",
            "labels": {"kubernetes.io/service-name": SERVICE},
        },
        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    })
}

/// The server's own client.
struct Client(Service);

impl Client {
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request =
            Request::builder().method(method).uri(path).body(Full::new(bytes)).map_err(ApiError::internal)?;
        let Ok(response) = self.0.clone().oneshot(request).await;
        let code = response.status();
        let bytes = response.into_body().collect().await.map_err(ApiError::internal)?.to_bytes();
        if code.is_success() {
            return serde_json::from_slice(&bytes).map_err(ApiError::internal);
        }
        match serde_json::from_slice(&bytes) {
            Ok(status) => Err(ApiError(Box::new(status))),
            Err(_) => Err(ApiError::internal(String::from_utf8_lossy(&bytes))),
        }
    }

    /// Makes an object that is not there.
    async fn ensure(&self, path: &str, wanted: &Value) -> Result<(), ApiError> {
        let name = wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        match self.call(Method::GET, &format!("{path}/{name}"), None).await {
            Err(error) if error.code() == 404 => {}
            other => return other.map(drop),
        }
        match self.call(Method::POST, path, Some(wanted)).await {
            Err(error) if error.code() == 409 => Ok(()),
            other => other.map(drop),
        }
    }

    /// Makes an object, or sets its fields at these JSON pointers.
    async fn keep(&self, path: &str, wanted: &Value, fields: &[&str]) -> Result<(), ApiError> {
        let name = wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let own = format!("{path}/{name}");
        let mut object = match self.call(Method::GET, &own, None).await {
            Err(error) if error.code() == 404 => {
                return self.call(Method::POST, path, Some(wanted)).await.map(drop);
            }
            other => other?,
        };
        for field in fields {
            let value = wanted.pointer(field).cloned().unwrap_or_default();
            if let Some(slot) = object.pointer_mut(field) {
                *slot = value;
            } else if let (Some(map), Some(name)) = (object.as_object_mut(), field.strip_prefix('/')) {
                map.insert(name.to_owned(), value);
            }
        }
        // What is right already is not written again.
        self.call(Method::PUT, &own, Some(&object)).await.map(drop)
    }
}
