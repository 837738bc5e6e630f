use std::path::Path;

use super::*;

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

#[test]
#[ignore = "needs a folder with upstream's golden files in COPEPOD_GOLDEN"]
fn upstream_s_golden_files_mean_the_same_in_protobuf_and_json() {
    let folder = std::env::var("COPEPOD_GOLDEN").unwrap();
    let mut count = 0;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(Path::new(&folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "pb") {
            continue;
        }
        count += 1;
        let mut json: Value =
            serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
        settle(&mut json);
        match decode(&std::fs::read(&path).unwrap()) {
            Ok(mut value) => {
                settle(&mut value);
                if value != json {
                    wrong.push(format!("{}:\n{value}\n{json}", path.display()));
                }
            }
            // What servers answer and clients never send is not in the table.
            Err(Error::Kind { .. }) => {}
            Err(error) => wrong.push(format!("{}: {error}", path.display())),
        }
    }
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 0);
}

/// A ConfigMap as kubectl sends it.
const MAP: &[u8] = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x1b\n\x0f\n\x01a\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x06\n\x01x\x12\x011\x1a\x00\"\x00";

#[test]
fn an_object_is_read_without_go_s_zeros() {
    let value = decode(MAP).unwrap();
    assert_eq!(
        value,
        serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}})
    );
}

#[test]
fn whatever_is_cut_or_changed_is_refused_and_never_a_panic() {
    for length in 0..MAP.len() {
        let _ = decode(&MAP[..length]);
        for bit in 0..8 {
            let mut changed = MAP.to_vec();
            changed[length] ^= 1 << bit;
            let _ = decode(&changed);
        }
    }
    assert_eq!(decode(b"{}"), Err(Error::Magic));
    let foreign = b"k8s\0\n\x08\n\x02v1\x12\x02No";
    assert!(matches!(decode(foreign), Err(Error::Kind { .. })));
}

#[test]
fn every_built_in_kind_is_in_the_table() {
    let registry = crate::registry::Registry::builtin();
    for kind in registry.kinds() {
        let found = message_of(&kind.gvk.api_version(), &kind.gvk.kind);
        assert!(found.is_some(), "{kind:?}");
    }
    for fields in schema().values() {
        for field in fields {
            if let Type::Message(name) = field.of {
                assert!(schema().contains_key(name), "{name}");
            }
        }
    }
}
