//! Decoding and encoding, also of upstream's own sample objects.

use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use serde_json::{Value, json};

use super::all;
use super::strategy;
use crate::strategy::{Part, Strategy};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1.36.0")
}

/// What a round trip may change: the resource version goes, and the plain texts of a secret are kept as they are.
fn comparable(mut value: Value) -> Value {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    value
}

fn differences(path: &str, want: &Value, got: &Value, out: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => {
            for key in want.keys().chain(got.keys().filter(|key| !want.contains_key(*key))) {
                let null = Value::Null;
                let (want, got) = (want.get(key).unwrap_or(&null), got.get(key).unwrap_or(&null));
                differences(&format!("{path}.{key}"), want, got, out);
            }
        }
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            for (index, (want, got)) in want.iter().zip(got).enumerate() {
                differences(&format!("{path}[{index}]"), want, got, out);
            }
        }
        (want, got) if want == got => {}
        (want, got) => out.push(format!("{path}: want {want}, got {got}")),
    }
}

#[test]
fn upstream_samples_survive_a_round_trip_without_unknown_fields() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for (api_version, kind, strategy) in all() {
        let group = match api_version.split_once('/') {
            Some((group, version)) => format!("{group}.{version}"),
            None => format!("core.{api_version}"),
        };
        let Ok(json) = std::fs::read(samples().join(format!("{group}.{kind}.json"))) else { continue };
        seen += 1;
        let decoded = strategy.decode(&json).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(decoded.unknown, Vec::<String>::new(), "{api_version} {kind}");
        assert_eq!(decoded.duplicates, Vec::<String>::new(), "{api_version} {kind}");
        let want = comparable(serde_json::from_slice(&json).unwrap());
        let got: Value = serde_json::from_slice(&decoded.object.encode()).unwrap();
        differences(&format!("{api_version} {kind}"), &want, &got, &mut wrong);
    }
    assert!(seen >= 34, "only {seen} samples in {}", samples().display());
    // Zero values that Go leaves out are in no sample but where Go writes them.
    assert_eq!(wrong, Vec::<String>::new());
}

fn decode<T: super::TypedKind>(value: Value) -> crate::strategy::Decoded {
    strategy::<T>().decode(value.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_go_leaves_out_is_left_out() {
    let object = decode::<Pod>(json!({
        "metadata": {"name": "a", "labels": {}, "annotations": null, "creationTimestamp": null, "generation": 0},
        "spec": {
            "hostNetwork": false, "enableServiceLinks": false, "nodeName": "", "securityContext": {},
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "c", "image": "i", "env": [{"name": "E", "value": ""}], "args": [], "tty": false,
                "ports": [{"containerPort": 80, "hostPort": 0}]}]
        },
        "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0}]}
    }));
    assert_eq!(
        object.object.to_value(),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a"},
            "spec": {
                "enableServiceLinks": false, "securityContext": {},
                "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{"name": "c", "image": "i", "env": [{"name": "E"}], "ports": [{"containerPort": 80}]}]
            },
            "status": {
                "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0}]
            }
        })
    );
}

#[test]
fn canonical_json_has_type_and_metadata_first_and_no_resource_version() {
    let object = decode::<ConfigMap>(json!({
        "data": {"b": "2", "a": ""}, "metadata": {"resourceVersion": "7", "name": "m"}, "binaryData": {"x": "AA=="}
    }));
    assert_eq!(
        std::str::from_utf8(&object.object.encode()).unwrap(),
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"binaryData":{"x":"AA=="},"data":{"a":"","b":"2"}}"#
    );
}

#[test]
fn unknown_and_repeated_fields_are_named() {
    let json =
        br#"{"metadata":{"nam":"x"},"spec":{"replicas":1,"replicas":2,"template":{"spec":{"containers":
        [{"name":"c","foo":1}],"volumes":[{"name":"v","emptyDir":{"a":{}}}]}}}}"#;
    let decoded = strategy::<Deployment>().decode(json).unwrap();
    assert_eq!(
        decoded.unknown,
        ["metadata.nam", "spec.template.spec.containers[0].foo", "spec.template.spec.volumes[0].emptyDir.a"]
    );
    assert_eq!(decoded.duplicates, ["spec.replicas"]);
    assert_eq!(decoded.object.to_value()["spec"]["replicas"], 2);
}

#[test]
fn wrong_types_are_reported_in_the_words_of_go() {
    for (value, message) in [
        (
            json!({"spec": {"containers": "x"}}),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            json!({"spec": {"containers": [{"image": 5}]}}),
            "json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string",
        ),
        (
            json!({"spec": {"terminationGracePeriodSeconds": "a"}}),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type \
             int64",
        ),
        (
            json!({"spec": {"priority": 1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32",
        ),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            json!({"spec": {"nodeSelector": []}}),
            "json: cannot unmarshal array into Go struct field PodSpec.spec.nodeSelector of type map[string]string",
        ),
        (
            json!({"spec": {"securityContext": 1}}),
            "json: cannot unmarshal number into Go struct field PodSpec.spec.securityContext of type \
             v1.PodSecurityContext",
        ),
    ] {
        let error = strategy::<Pod>().decode_value(value).err().unwrap();
        assert_eq!(error.code(), 400);
        assert_eq!(error.to_string(), format!("Pod in version \"v1\" cannot be handled as a Pod: {message}"));
    }
}

#[test]
fn another_kind_or_version_is_refused() {
    for (value, message) in [
        (
            json!({"apiVersion": "v2", "kind": "Pod"}),
            "the API version in the data (v2) does not match the expected API version (v1)",
        ),
        (
            json!({"kind": "Node"}),
            "Node in version \"v1\" cannot be handled as a Pod: converting (v1.Node) to (v1.Pod): unknown conversion",
        ),
    ] {
        assert_eq!(strategy::<Pod>().decode_value(value).err().unwrap().to_string(), message);
    }
}

#[test]
fn quantities_become_canonical_and_may_be_numbers() {
    let object = decode::<Pod>(json!({"spec": {"containers": [{"name": "c", "resources":
        {"limits": {"cpu": 1, "memory": "1024Mi"}, "requests": {"cpu": "0.5"}}}]}}));
    assert_eq!(
        object.object.to_value()["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})
    );
}

#[test]
fn times_have_the_precision_of_their_type() {
    let value = json!({
        "metadata": {"name": "e", "creationTimestamp": "2026-01-02T03:04:05.678+01:00"},
        "eventTime": "2026-01-02T03:04:05Z", "involvedObject": {}
    });
    let event = decode::<k8s_openapi::api::core::v1::Event>(value).object.to_value();
    assert_eq!(event["metadata"]["creationTimestamp"], "2026-01-02T02:04:05Z");
    assert_eq!(event["eventTime"], "2026-01-02T03:04:05.000000Z");
}

fn updated(strategy: &dyn Strategy, new: Value, old: Value, part: Part<'_>) -> Value {
    let old = strategy.decode_value(old).unwrap().object;
    let mut new = strategy.decode_value(new).unwrap().object;
    strategy.prepare_update(new.as_mut(), old.as_ref(), part);
    let value = new.to_value();
    json!([value["metadata"], value["spec"], value["status"]])
}

#[test]
fn status_and_the_rest_are_written_apart() {
    let strategy = strategy::<Deployment>();
    let object = |labels: &str, replicas: i32, ready: i32| {
        json!({"metadata": {"name": "d", "labels": {"a": labels}, "annotations": {"n": labels}},
            "spec": {"replicas": replicas, "selector": {}, "template": {}}, "status": {"readyReplicas": ready}})
    };
    let spec = |replicas: i32| json!({"replicas": replicas, "selector": {}, "template": {}});
    assert_eq!(
        updated(strategy.as_ref(), object("new", 2, 9), object("old", 1, 1), Part::Main),
        json!([{"name": "d", "labels": {"a": "new"}, "annotations": {"n": "new"}}, spec(2), {"readyReplicas": 1}])
    );
    assert_eq!(
        updated(strategy.as_ref(), object("new", 2, 9), object("old", 1, 1), Part::Status),
        json!([{"name": "d", "labels": {"a": "old"}, "annotations": {"n": "new"}}, spec(1), {"readyReplicas": 9}])
    );
}

#[test]
fn the_generation_moves_with_the_spec_and_not_with_metadata_or_status() {
    let strategy = strategy::<Pod>();
    let pod = |label: &str, node: &str, phase: &str| {
        let value = json!({"metadata": {"labels": {"a": label}}, "spec": {"nodeName": node}, "status": {"phase": phase}});
        strategy.decode_value(value).unwrap().object
    };
    let old = pod("a", "n", "Pending");
    assert!(!strategy.spec_differs(pod("b", "n", "Running").as_ref(), old.as_ref()));
    assert!(strategy.spec_differs(pod("a", "m", "Pending").as_ref(), old.as_ref()));
}
