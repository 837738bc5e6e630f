use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;

use serde_json::{Value, json};

use super::table::{Type, message_of, schema};
use super::*;

/// Upstream's golden objects, or those of the folder in `COPEPOD_GOLDEN`: protobuf, and the same as JSON.
fn golden() -> Vec<(String, Vec<u8>, Value)> {
    let folder = match std::env::var_os("COPEPOD_GOLDEN") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1.36.0"),
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        // Watch events are in no envelope of their own.
        if path.extension().is_some_and(|e| e == "pb") && !path.ends_with("core.v1.WatchEvent.pb") {
            let json = serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.push((name, std::fs::read(path).unwrap(), json));
        }
    }
    found
}

/// Drops what Go's decoder does not tell from its absence.
fn settle(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(settle);
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        _ => {}
    }
}

/// The first path at which two trees differ, and what they have there.
fn difference(path: &str, want: &Value, got: &Value) -> Option<String> {
    match (want, got) {
        (want, got) if want == got => None,
        (Value::Object(want), Value::Object(got)) => {
            want.keys().chain(got.keys().filter(|key| !want.contains_key(*key))).find_map(|key| {
                let [want, got] = [want, got].map(|map| map.get(key).unwrap_or(&Value::Null));
                difference(&format!("{path}.{key}"), want, got)
            })
        }
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => want
            .iter()
            .zip(got)
            .enumerate()
            .find_map(|(index, (want, got))| difference(&format!("{path}[{index}]"), want, got)),
        (want, got) => Some(format!("{path}: want {want}, got {got}")),
    }
}

#[test]
fn upstream_s_golden_files_mean_the_same_in_protobuf_and_json() {
    let mut wrong = Vec::new();
    for (name, body, mut json) in golden() {
        settle(&mut json);
        let mut value = decode(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
        settle(&mut value);
        wrong.extend(difference(&name, &json, &value));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn upstream_s_golden_files_are_written_byte_for_byte() {
    let mut wrong = Vec::new();
    for (name, body, json) in golden() {
        let written = encode(&json).unwrap_or_else(|error| panic!("{name}: {error}"));
        if written == body {
            continue;
        }
        let meaning = difference("", &decode(&body).unwrap(), &decode(&written).unwrap());
        let at = written.iter().zip(&body).rposition(|(a, b)| a != b).unwrap_or_default();
        wrong.push(format!("{name}: {} bytes of {}, last at {at}; {meaning:?}", written.len(), body.len()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A ConfigMap as kubectl sends it.
const MAP: &[u8] = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x1b\n\x11\n\x01a\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x06\n\x01x\x12\x011\x1a\x00\"\x00";

#[test]
fn an_object_is_read_without_go_s_zeros() {
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}});
    assert_eq!(decode(MAP).unwrap(), object);
    // Zeros that are fields without a pointer in Go are written.
    assert_eq!(encode(&object).unwrap(), MAP);
}

fn round_trip(object: &Value) -> Value {
    decode(&encode(object).unwrap()).unwrap()
}

#[test]
fn values_that_are_no_plain_fields_survive_a_round_trip() {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "l", "creationTimestamp": "1969-12-31T23:59:59Z", "deletionTimestamp": "1970-01-01T00:00:00Z"},
        "spec": {"holderIdentity": "", "leaseTransitions": -1, "renewTime": "1960-02-29T01:02:03.000004Z"},
    });
    assert_eq!(round_trip(&lease), lease);
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {},
        "spec": {"group": "", "scope": "", "names": {"plural": "", "kind": ""}, "versions": [{
            "name": "v1", "served": true, "storage": false,
            "schema": {"openAPIV3Schema": {
                "$ref": "", "maximum": 0, "minimum": -1.5, "default": {"a": [null]}, "enum": ["x", 1],
                "items": [{"type": "string"}], "additionalProperties": false,
                "dependencies": {"a": ["b"], "c": {"x-kubernetes-preserve-unknown-fields": true}},
                "properties": {"p": {"items": {"not": {}}, "additionalProperties": {"multipleOf": 1.5}}},
            }},
        }]},
        "status": {"acceptedNames": {"plural": "", "kind": ""}},
    });
    assert_eq!(round_trip(&crd), crd);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {},
        "spec": {"ports": [{"port": 80, "targetPort": 0}, {"port": 81, "targetPort": "http"}]},
        "status": {"loadBalancer": {}},
    });
    assert_eq!(round_trip(&service), service);
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": {"extra": {"scopes": ["a", "b"], "none": []}},
        "status": {"allowed": false},
    });
    assert_eq!(round_trip(&review), review);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": {"empty": "", "x": "AAEC"},
    });
    assert_eq!(round_trip(&secret), secret);
}

#[test]
fn options_are_read_in_every_group() {
    for api_version in ["v1", "apps/v1", "policy/v1", "meta.k8s.io/v1", "example.com/v1beta3"] {
        let options = json!({"apiVersion": api_version, "kind": "DeleteOptions", "gracePeriodSeconds": 0});
        assert_eq!(round_trip(&options), options);
    }
}

#[test]
fn an_envelope_may_hold_json() {
    let body = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x0f{\"data\":{\"a\":1}\x22\x10application/json";
    let mut body = body.to_vec();
    assert!(matches!(decode(&body), Err(Error::Object { .. })));
    let at = body.windows(2).position(|w| w == b"\x12\x0f").unwrap();
    body[at + 1] = 0x10;
    body.insert(at + 17, b'}');
    assert_eq!(decode(&body).unwrap(), json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": 1}}));
}

#[test]
fn packed_numbers_are_read_as_well() {
    // SecurityContext's supplementalGroups: [1, 300], packed.
    let context = b"\x22\x03\x01\xac\x02";
    let mut body = b"k8s\0\n\t\n\x02v1\x12\x03Pod\x12".to_vec();
    let spec = [&[0x72, context.len() as u8][..], context].concat();
    let pod = [&[0x12, spec.len() as u8][..], &spec].concat();
    body.push(pod.len() as u8);
    body.extend(pod);
    let value = decode(&body).unwrap();
    assert_eq!(value["spec"]["securityContext"]["supplementalGroups"], json!([1, 300]));
}

#[test]
fn what_is_no_object_is_refused() {
    assert_eq!(decode(b""), Err(Error::Empty));
    assert_eq!(decode(b"k8s\0"), Err(Error::EmptyBody));
    assert_eq!(decode(b"{}"), Err(Error::Magic));
    let foreign = decode(b"k8s\0\n\x08\n\x02v1\x12\x02No").unwrap_err();
    assert_eq!(foreign.of_kind(), Some(("v1", "No")));
    let cut = decode(b"k8s\0\n\t\n\x02v1\x12\x03Pod\x12\x01\x0a").unwrap_err();
    assert_eq!(cut.to_string(), "unexpected EOF");
    assert_eq!(cut.of_kind(), Some(("v1", "Pod")));
}

#[test]
fn nesting_is_bounded() {
    // JSONSchemaProps in its own field `not`, number 28.
    let mut schema = Vec::new();
    for _ in 0..5000 {
        let mut outer = vec![0xe2, 0x01];
        let mut length = schema.len();
        while length > 0x7f {
            outer.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.extend(&schema);
        schema = outer;
    }
    assert_eq!(decode::message("apiextensions.v1.JSONSchemaProps", &schema, 1), Err(Error::Depth));
}

/// Random numbers of Marsaglia's xorshift; the seed is in the output when the test fails.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = match std::env::var("COPEPOD_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => RandomState::new().build_hasher().finish() | 1,
        };
        eprintln!("again with COPEPOD_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit.max(1)
    }
}

#[test]
fn whatever_is_cut_or_changed_never_panics() {
    for length in 0..MAP.len() {
        let _ = decode(&MAP[..length]);
    }
    let mut random = Random::new();
    let mut bodies: Vec<Vec<u8>> = golden().into_iter().map(|(_, body, _)| body).collect();
    bodies.push(MAP.to_vec());
    let (mut read, mut refused) = (0, 0);
    for body in &bodies {
        for _ in 0..200 {
            let mut changed = body.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(changed.len());
                match random.below(4) {
                    0 => changed.truncate(at.max(1)),
                    1 => changed[at] = 0xff,
                    2 => changed[at] ^= 1 << random.below(8),
                    _ => {
                        let from = random.below(body.len());
                        let piece = &body[from..(from + random.below(40)).min(body.len())];
                        changed.splice(at..at, piece.iter().copied());
                    }
                }
            }
            match decode(&changed) {
                // What was read can be written.
                Ok(value) => {
                    read += 1;
                    let _ = encode(&value);
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}

#[test]
fn every_built_in_kind_and_its_list_is_in_the_table() {
    let registry = crate::registry::Registry::builtin();
    for kind in registry.kinds() {
        let found = message_of(&kind.gvk.api_version(), &kind.gvk.kind);
        assert!(found.is_some(), "{kind:?}");
    }
    for (api_version, kind) in [
        ("autoscaling/v1", "Scale"),
        ("policy/v1", "Eviction"),
        ("authentication.k8s.io/v1", "TokenRequest"),
        ("v1", "Binding"),
        ("v1", "PodList"),
        ("v1", "WatchEvent"),
        ("v1", "Status"),
        ("apiregistration.k8s.io/v1", "APIService"),
    ] {
        assert!(message_of(api_version, kind).is_some(), "{api_version} {kind}");
    }
    for field in schema().values().flatten() {
        if let Type::Message(name) = field.of {
            assert!(schema().contains_key(name), "{name}");
        }
    }
}
