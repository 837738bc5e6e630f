//! Who gets in, and who may do what.

use std::time::Duration;

use copepod_base::clock;
use copepod_pki::service_account::{Binding, Reference};
use serde_json::{Value, json};

use super::support::{Cluster, request};
use crate::Identity;
use crate::authenticate::{Credentials, Peer};
use crate::pipeline;
use crate::request::content::BoxError;
use http_body_util::BodyExt;

/// Sends a request over a connection without a certificate.
async fn from_outside(cluster: &Cluster, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut request = request("GET", path, "", "").map(|body| body.map_err(BoxError::from).boxed_unsync());
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let peer = Credentials::Connection(std::sync::Arc::new(Peer::default()));
    let response = pipeline::serve(cluster.server.state().clone(), peer, request).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn nobody_without_credentials_gets_further_than_health_and_version() {
    let cluster = Cluster::new().await;
    for path in ["/healthz", "/livez", "/readyz", "/readyz/ping", "/version"] {
        assert_eq!(from_outside(&cluster, path, &[]).await.0, 200, "{path}");
    }
    for path in ["/", "/api", "/apis", "/metrics", "/openapi/v3", "/api/v1/pods", "/healthzz"] {
        let (code, status) = from_outside(&cluster, path, &[]).await;
        assert_eq!((code, &status["reason"]), (401, &json!("Unauthorized")), "{path}");
    }
    for header in ["Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer"] {
        assert_eq!(from_outside(&cluster, "/version", &[("authorization", header)]).await.0, 401, "{header}");
    }
}

#[tokio::test]
async fn a_service_account_s_token_works_as_long_as_the_account_does() {
    let cluster = Cluster::new().await;
    cluster.default_account("default").await;
    let account = cluster.get("/api/v1/namespaces/default/serviceaccounts/default").await.json();
    let reference = Reference {
        name: "default".to_owned(),
        uid: account["metadata"]["uid"].as_str().unwrap().to_owned(),
    };
    let issue = |reference: Reference, audiences: &[String]| {
        let binding = Binding::account("default", reference);
        cluster.signer.issue(binding, audiences, Duration::from_secs(600), clock::now()).unwrap().0
    };
    let bearer = format!("Bearer {}", issue(reference.clone(), &[]));
    let (code, _) = from_outside(&cluster, "/api", &[("authorization", &bearer)]).await;
    assert_eq!(code, 200);
    let (code, status) =
        from_outside(&cluster, "/api/v1/namespaces/default/pods", &[("authorization", &bearer)]).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "pods is forbidden: User \"system:serviceaccount:default:default\" cannot list resource \"pods\" in API group \
         \"\" in the namespace \"default\""
    );
    let foreign = format!("Bearer {}", issue(reference.clone(), &["vault".to_owned()]));
    assert_eq!(from_outside(&cluster, "/api", &[("authorization", &foreign)]).await.0, 401);
    let stale = format!("Bearer {}", issue(Reference { uid: "before".to_owned(), ..reference }, &[]));
    assert_eq!(from_outside(&cluster, "/api", &[("authorization", &stale)]).await.0, 401);
    cluster.delete("/api/v1/namespaces/default/serviceaccounts/default").await.expect(200);
    assert_eq!(from_outside(&cluster, "/api", &[("authorization", &bearer)]).await.0, 401);
}

#[tokio::test]
async fn only_who_may_impersonate_acts_as_somebody_else() {
    let cluster = Cluster::new().await;
    let as_jane = |identity: Identity| {
        let mut request = request("GET", "/api/v1/namespaces/default/pods/x", "", "");
        request.headers_mut().insert("impersonate-user", "jane".parse().unwrap());
        cluster.call(identity, request)
    };
    let refused = as_jane(Identity::new("joe", [])).await.expect(403);
    assert_eq!(
        refused.message(),
        "users \"jane\" is forbidden: User \"joe\" cannot impersonate resource \"users\" in API group \"\" at the \
         cluster scope"
    );
    let jane = as_jane(Identity::admin()).await.expect(403);
    assert_eq!(
        jane.message(),
        "pods \"x\" is forbidden: User \"jane\" cannot get resource \"pods\" in API group \"\" in the namespace \"default\""
    );
}

#[tokio::test]
async fn a_node_may_do_what_its_agent_needs_and_nothing_to_others() {
    let cluster = Cluster::new().await;
    cluster.default_account("default").await;
    let node = || Identity::node("n1");
    let call = async |method: &str, path: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "" };
        cluster.call(node(), request(method, path, media, &body)).await
    };
    call("POST", "/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await.expect(201);
    call("POST", "/api/v1/nodes", json!({"metadata": {"name": "n2"}})).await.expect(403);
    call("PATCH", "/api/v1/nodes/n1/status", json!({"status": {"addresses": []}})).await.expect(200);
    call("PATCH", "/api/v1/nodes/n2/status", json!({"status": {}})).await.expect(403);
    let labels = |key: &str| json!({"metadata": {"labels": {key: "x"}}});
    call("PATCH", "/api/v1/nodes/n1", labels("kubernetes.io/hostname")).await.expect(200);
    call("PATCH", "/api/v1/nodes/n1", labels("example.com/rack")).await.expect(200);
    call("PATCH", "/api/v1/nodes/n1", labels("node-restriction.kubernetes.io/a")).await.expect(403);
    call("PATCH", "/api/v1/nodes/n1", labels("node-role.kubernetes.io/control-plane")).await.expect(403);
    let taint = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}});
    call("PATCH", "/api/v1/nodes/n1", taint).await.expect(403);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    call("POST", leases, json!({"metadata": {"name": "n1"}})).await.expect(201);
    call("POST", leases, json!({"metadata": {"name": "n2"}})).await.expect(403);

    let pods = "/api/v1/namespaces/default/pods";
    for (pod, on, secret) in [("mine", "n1", "a"), ("other", "n2", "b")] {
        let body = json!({"metadata": {"name": pod}, "spec": {
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "secret": {"secretName": secret}}],
        }});
        cluster.post(pods, body).await.expect(201);
        let binding = json!({"metadata": {"name": pod}, "target": {"kind": "Node", "name": on}});
        cluster.post(&format!("{pods}/{pod}/binding"), binding).await.expect(201);
        let secret = json!({"metadata": {"name": secret}});
        cluster.post("/api/v1/namespaces/default/secrets", secret).await.expect(201);
    }
    call("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", Value::Null).await.expect(200);
    call("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", Value::Null).await.expect(403);
    call("GET", "/api/v1/pods", Value::Null).await.expect(403);
    call("GET", &format!("{pods}/mine"), Value::Null).await.expect(200);
    call("GET", &format!("{pods}/other"), Value::Null).await.expect(403);
    call("GET", &format!("{pods}/gone"), Value::Null).await.expect(404);
    let running = json!({"status": {"phase": "Running"}});
    call("PATCH", &format!("{pods}/mine/status"), running.clone()).await.expect(200);
    call("PATCH", &format!("{pods}/other/status"), running).await.expect(403);
    call("DELETE", &format!("{pods}/other"), Value::Null).await.expect(403);
    call("GET", "/api/v1/namespaces/default/secrets/a", Value::Null).await.expect(200);
    let refused = call("GET", "/api/v1/namespaces/default/secrets/b", Value::Null).await.expect(403);
    assert!(refused.message().ends_with("no relationship found between node 'n1' and this object"));
    call("GET", "/api/v1/namespaces/default/secrets", Value::Null).await.expect(403);

    let pod = cluster.get(&format!("{pods}/mine")).await.json();
    let token = |uid: &Value| json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "mine", "uid": uid}}});
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    call("POST", path, token(&pod["metadata"]["uid"])).await.expect(201);
    call("POST", path, json!({"spec": {}})).await.expect(403);
    call("DELETE", &format!("{pods}/mine?gracePeriodSeconds=0"), Value::Null).await.expect(200);
    call("GET", "/api/v1/namespaces/default/secrets/a", Value::Null).await.expect(403);
}

#[tokio::test]
async fn reviews_tell_who_one_is_and_what_one_may_do() {
    let cluster = Cluster::new().await;
    let ask = async |identity: Identity, path: &str, body: Value| {
        cluster.call(identity, request("POST", path, "", &body.to_string())).await.expect(201).json()
    };
    let who =
        ask(Identity::new("joe", ["crew"]), "/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({}))
            .await;
    assert_eq!(who["status"]["userInfo"]["username"], "joe");
    assert_eq!(who["status"]["userInfo"]["groups"], json!(["crew", "system:authenticated"]));
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let question =
        json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}});
    assert_eq!(ask(Identity::new("joe", []), path, question.clone()).await["status"]["allowed"], false);
    assert_eq!(ask(Identity::admin(), path, question).await["status"]["allowed"], true);
    let other = json!({"spec": {
        "user": "system:kube-scheduler",
        "resourceAttributes": {"verb": "create", "resource": "pods", "subresource": "binding", "namespace": "default"},
    }});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    assert_eq!(ask(Identity::admin(), path, other).await["status"]["allowed"], true);
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let rules = ask(Identity::admin(), path, json!({"spec": {"namespace": "default"}})).await;
    assert_eq!(rules["status"]["resourceRules"][0]["verbs"], json!(["*"]));
}

#[tokio::test]
async fn a_certificate_request_carries_its_sender_and_nobody_else() {
    let cluster = Cluster::new().await;
    let body = json!({"metadata": {"name": "c"}, "spec": {
        "request": "LS0t", "signerName": "kubernetes.io/kube-apiserver-client-kubelet", "usages": ["client auth"],
        "username": "system:admin", "groups": ["system:masters"],
    }});
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let made = cluster
        .call(Identity::node("n"), request("POST", path, "", &body.to_string()))
        .await
        .expect(201)
        .json();
    assert_eq!(made["spec"]["username"], "system:node:n");
    assert_eq!(made["spec"]["groups"], json!(["system:nodes", "system:authenticated"]));
}
