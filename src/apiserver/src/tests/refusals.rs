//! Requests that are refused, and with which words.

use serde_json::json;

use super::support::{Cluster, request};
use crate::Identity;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn every_bad_request_has_the_code_and_reason_of_kubernetes() {
    let cluster = Cluster::new().await;
    let map = r#"{"metadata":{"name":"a"}}"#;
    cluster.call(Identity::admin(), request("POST", MAPS, "", map)).await.expect(201);
    let cases = [
        ("GET", "/nothing", "", "", 404, "NotFound"),
        ("GET", "/api/v2/pods", "", "", 404, "NotFound"),
        ("GET", "/api/v1/unknowns", "", "", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/nodes", "", "", 404, "NotFound"),
        ("GET", "/apis/apps/v1/namespaces/default/deployments/x", "", "", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/configmaps/a/status", "", "", 404, "NotFound"),
        ("POST", "/api/v1/namespaces/default/configmaps/a", "", map, 405, "MethodNotAllowed"),
        ("PUT", MAPS, "", map, 405, "MethodNotAllowed"),
        ("PATCH", MAPS, "", map, 405, "MethodNotAllowed"),
        ("POST", "/api/v1/configmaps", "", map, 405, "MethodNotAllowed"),
        ("DELETE", "/api/v1/configmaps", "", "", 405, "MethodNotAllowed"),
        ("POST", "/version", "", "", 405, "MethodNotAllowed"),
        ("POST", MAPS, "", "{", 400, "BadRequest"),
        ("POST", MAPS, "", "", 400, "BadRequest"),
        ("POST", MAPS, "application/yaml", "a: [", 400, "BadRequest"),
        ("POST", MAPS, "", r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"b"}}"#, 400, "BadRequest"),
        ("POST", MAPS, "", r#"{"metadata":{"name":"b","namespace":"other"}}"#, 400, "BadRequest"),
        ("POST", MAPS, "text/plain", map, 415, "UnsupportedMediaType"),
        ("POST", MAPS, "", map, 409, "AlreadyExists"),
        ("POST", MAPS, "", r#"{"metadata":{"name":"A_b"}}"#, 422, "Invalid"),
        ("POST", MAPS, "", r#"{"metadata":{}}"#, 422, "Invalid"),
        ("POST", "/api/v1/namespaces/absent/configmaps", "", map, 404, "NotFound"),
        ("PUT", "/api/v1/namespaces/default/configmaps/b", "", map, 400, "BadRequest"),
        (
            "PUT",
            "/api/v1/namespaces/default/configmaps/absent",
            "",
            r#"{"metadata":{"name":"absent"}}"#,
            404,
            "NotFound",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default/configmaps/a",
            "application/json",
            "{}",
            415,
            "UnsupportedMediaType",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default/configmaps/a",
            "application/apply-patch+yaml",
            "{}",
            415,
            "UnsupportedMediaType",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default/configmaps/a",
            "application/merge-patch+json",
            "[",
            400,
            "BadRequest",
        ),
        ("GET", "/api/v1/pods?labelSelector=a%3D%3D%3D", "", "", 400, "BadRequest"),
        ("GET", "/api/v1/pods?fieldSelector=spec.nothing%3Da", "", "", 400, "BadRequest"),
        ("GET", "/api/v1/pods?resourceVersion=x", "", "", 400, "BadRequest"),
        ("GET", "/api/v1/pods?continue=x", "", "", 400, "BadRequest"),
        ("GET", "/api/v1/pods?resourceVersionMatch=Exact", "", "", 422, "Invalid"),
        ("GET", "/api/v1/pods?resourceVersion=99999999", "", "", 504, "Timeout"),
        ("POST", "/api/v1/namespaces/default/configmaps?dryRun=Some", "", map, 422, "Invalid"),
        ("POST", "/api/v1/namespaces/default/configmaps?fieldValidation=Loud", "", map, 422, "Invalid"),
        ("DELETE", "/api/v1/namespaces/default/configmaps/a?propagationPolicy=Later", "", "", 422, "Invalid"),
        ("DELETE", "/api/v1/namespaces/default", "", "", 403, "Forbidden"),
    ];
    for (method, path, media, body, code, reason) in cases {
        let answer = cluster.call(Identity::admin(), request(method, path, media, body)).await;
        assert_eq!(
            (answer.code, answer.reason().as_str()),
            (code, reason),
            "{method} {path} {body}: {}",
            answer.text()
        );
        let status = answer.json();
        assert_eq!(
            (&status["kind"], &status["status"], &status["code"]),
            (&json!("Status"), &json!("Failure"), &json!(code))
        );
    }
}

#[tokio::test]
async fn a_body_over_three_mebibytes_is_refused_whether_announced_or_not() {
    let cluster = Cluster::new().await;
    let big = json!({"metadata": {"name": "a"}, "data": {"x": "y".repeat(3 << 20)}}).to_string();
    let answer = cluster.call(Identity::admin(), request("POST", MAPS, "", &big)).await;
    assert_eq!((answer.code, answer.reason().as_str()), (413, "RequestEntityTooLarge"));
    let mut announced = request("POST", MAPS, "", "{}");
    announced.headers_mut().insert("content-length", "4000000000".parse().unwrap());
    assert_eq!(cluster.call(Identity::admin(), announced).await.code, 413);
}

#[tokio::test]
async fn unknown_fields_are_dropped_shown_or_refused_as_the_client_wants() {
    let cluster = Cluster::new().await;
    let body = r#"{"metadata":{"name":"a"},"dta":{"x":"1"},"data":{},"data":{}}"#;
    let with = |validation: &str| format!("{MAPS}?dryRun=All&fieldValidation={validation}");
    let strict =
        cluster.call(Identity::admin(), request("POST", &with("Strict"), "", body)).await.expect(400);
    let message = strict.message();
    assert!(message.contains("strict decoding error:"), "{message}");
    assert!(message.contains("duplicate field \"data\""), "{message}");
    assert!(message.contains("unknown field \"dta\""), "{message}");
    let warned = cluster.call(Identity::admin(), request("POST", &with("Warn"), "", body)).await.expect(201);
    assert_eq!(warned.headers.get_all("warning").iter().count(), 2);
    let silent =
        cluster.call(Identity::admin(), request("POST", &with("Ignore"), "", body)).await.expect(201);
    assert!(silent.headers.get("warning").is_none());
}

#[tokio::test]
async fn a_representation_that_cannot_be_had_is_406_and_a_list_of_them_is_walked() {
    let cluster = Cluster::new().await;
    let get = |accept: &str| {
        let mut request = request("GET", "/api/v1/namespaces/default", "", "");
        request.headers_mut().insert("accept", accept.parse().unwrap());
        cluster.call(Identity::admin(), request)
    };
    assert_eq!(get("application/cbor").await.code, 406);
    let fallback = get("application/vnd.kubernetes.protobuf,application/json").await.expect(200);
    assert_eq!(fallback.headers["content-type"], "application/json");
    let yaml = get("application/yaml").await.expect(200);
    assert_eq!(yaml.headers["content-type"], "application/yaml");
    assert!(yaml.text().contains("\nkind: Namespace\n"), "{}", yaml.text());
    let metadata =
        get("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").await.expect(200).json();
    assert_eq!(metadata["kind"], "PartialObjectMetadata");
    assert!(metadata.get("spec").is_none());
    let table = get("application/json;as=Table;g=meta.k8s.io;v=v1").await.expect(200).json();
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("default")));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}
