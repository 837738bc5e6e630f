//! Requests that are wrong, and the words they are refused with.

use crate::shared::{namespace, shared};
use copepod_test_support::{Answer, Credentials, Curl};
use serde_json::json;

const JSON: &str = "Content-Type: application/json";
const MERGE: &str = "Content-Type: application/merge-patch+json";

#[track_caller]
fn send(curl: &Curl<'_>, method: &str, path: &str, header: &str, body: &str) -> Answer {
    curl.send(&Credentials::Admin, method, path, &[header], body.as_bytes())
}

#[test]
fn bodies_that_cannot_be_read_are_refused() {
    let namespace = namespace("bodies");
    let curl = shared().curl();
    let maps = format!("/api/v1/namespaces/{}/configmaps", namespace.name());
    let post = |header: &str, body: &str| send(&curl, "POST", &maps, header, body);
    post(JSON, "{\"metadata\":").is_status(400, "BadRequest", "");
    post(JSON, "[]").is_status(400, "BadRequest", "");
    post("Content-Type: application/yaml", "a: [b").is_status(400, "BadRequest", "");
    post(JSON, r#"{"apiVersion":"v1","kind":"Nonsense","metadata":{"name":"a"}}"#).is_status(
        400,
        "BadRequest",
        "Nonsense in version \"v1\" cannot be handled as a ConfigMap",
    );
    post(JSON, r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}"#).is_status(
        400,
        "BadRequest",
        "cannot be handled as a ConfigMap",
    );
    post(JSON, r#"{"metadata":{"name":"a"},"data":{"x":5}}"#).is_status(400, "BadRequest", "data");
    post("Content-Type: text/plain", "hello").is_status(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: application/json",
    );
    let strict = format!("{maps}?fieldValidation=Strict");
    send(&curl, "POST", &strict, JSON, r#"{"metadata":{"name":"a"},"date":{}}"#).is_status(
        400,
        "BadRequest",
        "strict decoding error: unknown field \"date\"",
    );
    send(&curl, "POST", &strict, JSON, r#"{"metadata":{"name":"a"},"data":{"x":"1"},"data":{"y":"2"}}"#)
        .is_status(400, "BadRequest", "duplicate field \"data\"");
    // YAML is as good as JSON.
    assert_eq!(
        post("Content-Type: application/yaml", "metadata: {name: from-yaml}\ndata: {a: b}\n").code,
        201
    );
    let accept = curl.send(&Credentials::Admin, "GET", &maps, &["Accept: image/png"], b"");
    accept.is_status(406, "NotAcceptable", "only the following media types are accepted");
}

#[test]
fn a_body_of_more_than_three_mebibytes_is_refused() {
    let namespace = namespace("large");
    let curl = shared().curl();
    let maps = format!("/api/v1/namespaces/{}/configmaps", namespace.name());
    let body = |size: usize| json!({"metadata": {"name": "a"}, "data": {"x": "y".repeat(size)}}).to_string();
    send(&curl, "POST", &maps, JSON, &body(3 << 20)).is_status(
        413,
        "RequestEntityTooLarge",
        "limit is 3145728",
    );
    let answer = send(&curl, "POST", &maps, JSON, &body(900_000));
    assert_eq!(answer.code, 201, "a large one that is allowed");
    // What a config map may hold is less than what a request may.
    send(&curl, "POST", &maps, JSON, &body(1_200_000).replace("\"a\"", "\"b\""))
        .is_status(422, "Invalid", "Too long");
}

#[test]
fn paths_and_methods_that_do_not_exist_are_refused() {
    let curl = shared().curl();
    for path in ["/nope", "/apis/nope/v1", "/apis/nope/v1/things", "/api/v2"] {
        assert_eq!(curl.get(path).code, 404, "{path}");
    }
    for path in ["/api/v1/nopes", "/apis/apps/v1/namespaces/default/nopes", "/apis/apps/v9/deployments"] {
        let answer = curl.get(path);
        assert_eq!(answer.code, 404, "{path}: {answer:?}");
    }
    curl.get("/api/v1/nopes").is_status(404, "NotFound", "the server could not find the requested resource");
    curl.get("/api/v1/namespaces/default/configmaps/nope").is_status(
        404,
        "NotFound",
        "configmaps \"nope\" not found",
    );
    let put = curl.json("PUT", "/api/v1/namespaces/default/configmaps", "{}");
    put.is_status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
    let post = curl.json("POST", "/api/v1/namespaces/default/configmaps/a", "{}");
    post.is_status(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    );
    for path in [
        "/api/v1/namespaces/default/../../../version",
        "//api//v1/nodes",
        "/api/v1/namespaces/default/configmaps/a%2fb",
    ] {
        let answer = curl.get(path);
        assert!((300..500).contains(&answer.code), "{path}: {answer:?}");
    }
}

#[test]
fn versions_that_do_not_fit_are_conflicts() {
    let namespace = namespace("versions");
    let curl = shared().curl();
    let maps = format!("/api/v1/namespaces/{}/configmaps", namespace.name());
    let object = format!("{maps}/a");
    let made = curl.json("POST", &maps, r#"{"metadata":{"name":"a"}}"#).json();
    let old = made["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    curl.json("POST", &maps, r#"{"metadata":{"name":"a"}}"#).is_status(
        409,
        "AlreadyExists",
        "configmaps \"a\" already exists",
    );
    let put = |version: &str| {
        let body = json!({"metadata": {"name": "a", "resourceVersion": version}, "data": {"x": version}});
        curl.json("PUT", &object, body.to_string())
    };
    assert_eq!(put(&old).code, 200);
    put(&old).is_status(
        409,
        "Conflict",
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the \
         latest version and try again",
    );
    assert!((400..500).contains(&put("abc").code));
    let patch = json!({"metadata": {"resourceVersion": old}, "data": {"z": "1"}}).to_string();
    send(&curl, "PATCH", &object, MERGE, &patch).is_status(409, "Conflict", "the object has been modified");
    let wrong = json!({"preconditions": {"uid": "11111111-1111-1111-1111-111111111111"}}).to_string();
    curl.json("DELETE", &object, wrong).is_status(
        409,
        "Conflict",
        "the UID in the precondition (11111111-1111-1111-1111-111111111111) does not match the UID in record",
    );
    let create = json!({"metadata": {"name": "b", "resourceVersion": "5"}}).to_string();
    let create = curl.json("POST", &maps, create);
    assert!(create.body.contains("resourceVersion should not be set on objects to be created"), "{create:?}");
    assert!((400..500).contains(&curl.get(&format!("{maps}?resourceVersion=abc")).code));
}

#[test]
fn names_are_checked_with_the_words_of_kubernetes() {
    let namespace = namespace("naming");
    let curl = shared().curl();
    let maps = format!("/api/v1/namespaces/{}/configmaps", namespace.name());
    let bad = curl.json("POST", &maps, r#"{"metadata":{"name":"Bad_Name"}}"#);
    bad.is_status(
        422,
        "Invalid",
        "ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain must \
         consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
         (e.g. 'example.com', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    );
    let details = bad.json()["details"].clone();
    assert_eq!((&details["name"], &details["kind"]), (&"Bad_Name".into(), &"ConfigMap".into()), "{details}");
    let cause = &details["causes"][0];
    assert_eq!(
        (&cause["reason"], &cause["field"]),
        (&"FieldValueInvalid".into(), &"metadata.name".into()),
        "{details}"
    );
    let long = json!({"metadata": {"name": "a".repeat(254)}}).to_string();
    curl.json("POST", &maps, long).is_status(422, "Invalid", "must be no more than 253 ");
    curl.json("POST", &maps, "{}").is_status(422, "Invalid", "name or generateName is required");
    curl.json("POST", &maps, r#"{"metadata":{"name":"a","namespace":"other"}}"#).is_status(
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    );
    let labels = r#"{"metadata":{"name":"a","labels":{"bad key!":"x"}}}"#;
    curl.json("POST", &maps, labels).is_status(
        422,
        "Invalid",
        "metadata.labels: Invalid value: \"bad key!\"",
    );
    let space =
        |name: &str| curl.json("POST", "/api/v1/namespaces", json!({"metadata": {"name": name}}).to_string());
    space("a.b").is_status(422, "Invalid", "must not contain dots");
    space("A_b").is_status(
        422,
        "Invalid",
        "a lowercase RFC 1123 label must consist of lower case alphanumeric",
    );
    curl.json("POST", "/api/v1/namespaces/nowhere/configmaps", r#"{"metadata":{"name":"a"}}"#).is_status(
        404,
        "NotFound",
        "namespaces \"nowhere\" not found",
    );
    curl.json("PUT", &format!("{maps}/a"), r#"{"metadata":{"name":"b"}}"#).is_status(
        400,
        "BadRequest",
        "the name of the object (b) does not match the name on the URL (a)",
    );
}

#[test]
fn required_fields_are_asked_for_by_name() {
    let namespace = namespace("required");
    let curl = shared().curl();
    let core = format!("/api/v1/namespaces/{}", namespace.name());
    let pods = format!("{core}/pods");
    let pod = |spec: serde_json::Value| {
        curl.json("POST", &pods, json!({"metadata": {"name": "a"}, "spec": spec}).to_string())
    };
    pod(json!({})).is_status(422, "Invalid", "Pod \"a\" is invalid: spec.containers: Required value");
    pod(json!({"containers": [{"image": "x"}]})).is_status(
        422,
        "Invalid",
        "spec.containers[0].name: Required value",
    );
    pod(json!({"containers": [{"name": "a"}]})).is_status(
        422,
        "Invalid",
        "spec.containers[0].image: Required value",
    );
    pod(json!({"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]})).is_status(
        422,
        "Invalid",
        "spec.containers[1].name: Duplicate value: \"a\"",
    );
    pod(json!({"containers": [{"name": "a", "image": "x"}], "restartPolicy": "Sometimes"})).is_status(
        422,
        "Invalid",
        "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
    );
    pod(json!({"containers": [{"name": "a", "image": "x", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}]}))
        .is_status(422, "Invalid", "must be less than or equal to cpu limit of 1");
    pod(json!({"containers": [{"name": "a", "image": "x", "resources": {"limits": {"cpu": "lots"}}}]}))
        .is_status(400, "BadRequest", "quantities must match the regular expression");
    let service = json!({"metadata": {"name": "a"}, "spec": {"selector": {"a": "b"}}}).to_string();
    curl.json("POST", &format!("{core}/services"), service).is_status(
        422,
        "Invalid",
        "spec.ports: Required value",
    );
    let deployments = format!("/apis/apps/v1/namespaces/{}/deployments", namespace.name());
    let deployment = |selector: &str| {
        json!({"metadata": {"name": "a"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": selector}},
               "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}}})
    };
    curl.json("POST", &deployments, deployment("b").to_string()).is_status(
        422,
        "Invalid",
        "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`",
    );
    assert_eq!(curl.json("POST", &deployments, deployment("a").to_string()).code, 201);
    let change =
        r#"{"spec":{"selector":{"matchLabels":{"app":"c"}},"template":{"metadata":{"labels":{"app":"c"}}}}}"#;
    send(&curl, "PATCH", &format!("{deployments}/a"), MERGE, change).is_status(
        422,
        "Invalid",
        "field is immutable",
    );
}

#[test]
fn bad_patches_are_refused() {
    let namespace = namespace("patches");
    namespace.ok(&["create", "configmap", "a", "--from-literal=x=1"]);
    let curl = shared().curl();
    let object = format!("/api/v1/namespaces/{}/configmaps/a", namespace.name());
    let json_patch = "Content-Type: application/json-patch+json";
    let patch = |header: &str, body: &str| send(&curl, "PATCH", &object, header, body);
    patch(json_patch, "{}").is_status(400, "BadRequest", "");
    patch(json_patch, r#"[{"op":"test","path":"/data/x","value":"2"}]"#).is_status(422, "Invalid", "");
    patch(json_patch, r#"[{"op":"remove","path":"/data/none"}]"#).is_status(422, "Invalid", "");
    patch(MERGE, "{").is_status(400, "BadRequest", "");
    patch(MERGE, r#"{"metadata":{"name":"b"}}"#).is_status(400, "BadRequest", "the name of the object");
    patch("Content-Type: application/json", "{}").is_status(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json",
    );
    let missing = send(&curl, "PATCH", &format!("{object}-none"), MERGE, "{}");
    missing.is_status(404, "NotFound", "configmaps \"a-none\" not found");
}

#[test]
fn selectors_and_parameters_are_checked() {
    let curl = shared().curl();
    let get = |query: &str| curl.get(&format!("/api/v1/pods?{query}"));
    get("labelSelector=a%3Db%3Dc").is_status(400, "BadRequest", "unable to parse requirement");
    get("labelSelector=x+in+(").is_status(400, "BadRequest", "");
    get("fieldSelector=spec.colour%3Dred").is_status(
        400,
        "BadRequest",
        "field label not supported: spec.colour",
    );
    get("limit=many").is_status(400, "BadRequest", "");
    get("continue=nonsense").is_status(400, "BadRequest", "continue key is not valid");
    get("resourceVersionMatch=Exact").is_status(
        422,
        "Invalid",
        "resourceVersionMatch is forbidden unless resourceVersion is provided",
    );
    let delete =
        curl.json("DELETE", "/api/v1/namespaces/default/configmaps/a?propagationPolicy=Sideways", "");
    assert!(delete.code == 422 || delete.code == 400, "{delete:?}");
}

#[test]
fn kubectl_passes_the_servers_words_on() {
    let namespace = namespace("words");
    namespace.run(&["create", "configmap", "Bad"]).fails_with("metadata.name: Invalid value: \"Bad\"");
    let unknown = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, date: {x: y}}";
    namespace.run_with(&["create", "-f", "-"], unknown).fails_with("unknown field \"date\"");
    namespace.run(&["get", "things"]).fails_with("the server doesn't have a resource type \"things\"");
    namespace
        .run(&["get", "pod", "none"])
        .fails_with("Error from server (NotFound): pods \"none\" not found");
    namespace
        .run_with(
            &["create", "--validate=false", "-f", "-"],
            "{apiVersion: nope/v1, kind: Thing, metadata: {name: a}}",
        )
        .fails_with("no matches for kind \"Thing\" in version \"nope/v1\"");
}
