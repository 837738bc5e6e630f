//! Rules for `metadata` that hold for all kinds (`apimachinery/pkg/api/validation`).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use crate::field::{Errors, Path};
use crate::kind::{Kind, Scope};
use crate::names;

/// All annotations together may have this many bytes.
pub const ANNOTATIONS_MAX: usize = 256 << 10;
/// Deleting waits until dependents are gone.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Deleting leaves dependents alone.
pub const ORPHAN: &str = "orphan";
const STANDARD_FINALIZERS: &[&str] = &["kubernetes", ORPHAN, FOREGROUND];

fn root() -> Path {
    Path::new("metadata")
}

/// All that is wrong with the metadata of a new object, whose name has been generated where one was asked for.
#[must_use]
pub fn validate_create(meta: &ObjectMeta, kind: &Kind) -> Errors {
    let mut errors = Errors::new();
    let root = root();
    let rule = kind.strategy.name_rule();
    if let Some(base) = meta.generate_name.as_deref().filter(|b| !b.is_empty()) {
        for message in names::check(rule, base, true) {
            errors.invalid(&root.child("generateName"), base, &message);
        }
    }
    match meta.name.as_deref().filter(|n| !n.is_empty()) {
        None => errors.required(&root.child("name"), "name or generateName is required"),
        Some(name) => {
            for message in names::check(rule, name, false) {
                errors.invalid(&root.child("name"), name, &message);
            }
        }
    }
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    match kind.scope {
        Scope::Namespaced if namespace.is_empty() => errors.required(&root.child("namespace"), ""),
        Scope::Namespaced => {
            for message in names::dns_label(namespace) {
                errors.invalid(&root.child("namespace"), namespace, &message);
            }
        }
        Scope::Cluster if !namespace.is_empty() => {
            errors.forbidden(&root.child("namespace"), "not allowed on this type");
        }
        Scope::Cluster => {}
    }
    validate_common(meta, kind, &mut errors);
    errors
}

/// All that is wrong with a change of metadata. Call [`carry_over`] first.
#[must_use]
pub fn validate_update(new: &ObjectMeta, old: &ObjectMeta, kind: &Kind) -> Errors {
    let mut errors = Errors::new();
    let root = root();
    if old.deletion_timestamp.is_some() {
        let known = old.finalizers.as_deref().unwrap_or_default();
        let added: Vec<&String> = new.finalizers.iter().flatten().filter(|f| !known.contains(f)).collect();
        if !added.is_empty() {
            errors.forbidden(
                &root.child("finalizers"),
                &format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    added.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>().join(", ")
                ),
            );
        }
    }
    if new.generation.unwrap_or(0) < old.generation.unwrap_or(0) {
        errors.invalid(&root.child("generation"), new.generation.unwrap_or(0), "must not be decremented");
    }
    let mut fixed = |name: &str, new: Value, old: Value| {
        if new != old {
            errors.invalid(&root.child(name), new, "field is immutable");
        }
    };
    let text = |value: &Option<String>| Value::from(value.as_deref().unwrap_or_default());
    fixed("name", text(&new.name), text(&old.name));
    fixed("namespace", text(&new.namespace), text(&old.namespace));
    fixed("uid", text(&new.uid), text(&old.uid));
    fixed("creationTimestamp", json!(new.creation_timestamp), json!(old.creation_timestamp));
    fixed("deletionTimestamp", json!(new.deletion_timestamp), json!(old.deletion_timestamp));
    fixed(
        "deletionGracePeriodSeconds",
        json!(new.deletion_grace_period_seconds),
        json!(old.deletion_grace_period_seconds),
    );
    validate_common(new, kind, &mut errors);
    errors
}

/// Keeps in a changed object what a client may leave out or may not change: uid, creation and deletion time.
/// The generation is the pipeline's.
pub fn carry_over(new: &mut ObjectMeta, old: &ObjectMeta) {
    if new.uid.as_deref().unwrap_or_default().is_empty() {
        new.uid.clone_from(&old.uid);
    }
    if new.name.as_deref().unwrap_or_default().is_empty() {
        new.name.clone_from(&old.name);
    }
    if old.creation_timestamp.is_some() {
        new.creation_timestamp.clone_from(&old.creation_timestamp);
    }
    if old.deletion_timestamp.is_some() {
        new.deletion_timestamp.clone_from(&old.deletion_timestamp);
    }
    if old.deletion_grace_period_seconds.is_some() && new.deletion_grace_period_seconds.is_none() {
        new.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    }
    new.self_link = None;
}

fn validate_common(meta: &ObjectMeta, kind: &Kind, errors: &mut Errors) {
    let root = root();
    if let Some(generation) = meta.generation.filter(|g| *g < 0) {
        errors.invalid(&root.child("generation"), generation, "must be greater than or equal to 0");
    }
    if let Some(labels) = &meta.labels {
        validate_labels(labels, &root.child("labels"), errors);
    }
    if let Some(annotations) = &meta.annotations {
        validate_annotations(annotations, &root.child("annotations"), errors);
    }
    validate_owners(meta.owner_references.as_deref().unwrap_or_default(), errors);
    validate_finalizers(meta.finalizers.as_deref().unwrap_or_default(), kind, errors);
}

/// Checks keys and values of labels.
pub fn validate_labels(labels: &BTreeMap<String, String>, path: &Path, errors: &mut Errors) {
    for (key, value) in labels {
        for message in names::qualified_name(key) {
            errors.invalid(path, key.as_str(), &message);
        }
        for message in names::label_value(value) {
            errors.invalid(path, value.as_str(), &message);
        }
    }
}

/// Checks keys and the size of annotations.
pub fn validate_annotations(annotations: &BTreeMap<String, String>, path: &Path, errors: &mut Errors) {
    for key in annotations.keys() {
        for message in names::qualified_name(&key.to_ascii_lowercase()) {
            errors.invalid(path, key.as_str(), &message);
        }
    }
    let size: usize = annotations.iter().map(|(k, v)| k.len() + v.len()).sum();
    if size > ANNOTATIONS_MAX {
        errors.too_long(path, ANNOTATIONS_MAX);
    }
}

fn validate_owners(owners: &[OwnerReference], errors: &mut Errors) {
    let path = root().child("ownerReferences");
    let mut controller: Option<String> = None;
    for owner in owners {
        if owner.api_version.rsplit('/').next().unwrap_or_default().is_empty() {
            errors.invalid(
                &path.child("apiVersion"),
                owner.api_version.as_str(),
                "version must not be empty",
            );
        }
        for (name, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
            if value.is_empty() {
                errors.invalid(&path.child(name), "", "must not be empty");
            }
        }
        if (owner.api_version.as_str(), owner.kind.as_str()) == ("v1", "Event") {
            errors.invalid(&path, json!(owner), "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.controller == Some(true) {
            let this = format!("{}/{}", owner.kind, owner.name);
            match &controller {
                None => controller = Some(this),
                Some(first) => errors.invalid(
                    &path,
                    json!(owners),
                    &format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} \
                         and {this}"
                    ),
                ),
            }
        }
    }
}

fn validate_finalizers(finalizers: &[String], kind: &Kind, errors: &mut Errors) {
    let path = root().child("finalizers");
    // Groups of custom resources have a dot and are not Kubernetes' own; they may name finalizers freely.
    let group = &kind.gvk.group;
    let own = !group.contains('.') || group.ends_with(".k8s.io");
    for (index, finalizer) in finalizers.iter().enumerate() {
        let messages = names::qualified_name(finalizer);
        for message in &messages {
            errors.invalid(&path, finalizer.as_str(), message);
        }
        let standard = STANDARD_FINALIZERS.contains(&finalizer.as_str());
        if own && messages.is_empty() && !finalizer.contains('/') && !standard {
            errors.invalid(
                &path.index(index),
                finalizer.as_str(),
                "name is neither a standard finalizer name nor is it fully qualified",
            );
        }
    }
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    if has(ORPHAN) && has(FOREGROUND) {
        errors.invalid(
            &path,
            json!(finalizers),
            "finalizer orphan and foregroundDeletion cannot be both set",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn meta(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    fn messages(errors: &Errors) -> Vec<String> {
        errors.0.iter().map(ToString::to_string).collect()
    }

    fn created(value: Value) -> Vec<String> {
        let registry = Registry::builtin();
        messages(&validate_create(&meta(value), registry.resource("", "v1", "configmaps").unwrap()))
    }

    #[test]
    fn a_name_is_required_and_must_follow_the_kind_s_rule() {
        assert!(created(json!({"name": "a", "namespace": "n"})).is_empty());
        assert_eq!(
            created(json!({"namespace": "n"})),
            ["metadata.name: Required value: name or generateName is required"]
        );
        let wrong = created(json!({"name": "A_b", "namespace": "n"}));
        assert!(
            wrong[0].starts_with("metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain")
        );
        assert_eq!(created(json!({"name": "a"})), ["metadata.namespace: Required value"]);
        let registry = Registry::builtin();
        let node = registry.resource("", "v1", "nodes").unwrap();
        let errors = validate_create(&meta(json!({"name": "a", "namespace": "n"})), node);
        assert_eq!(messages(&errors), ["metadata.namespace: Forbidden: not allowed on this type"]);
    }

    #[test]
    fn labels_annotations_owners_and_finalizers_are_checked() {
        let all = created(json!({"name": "a", "namespace": "n",
            "labels": {"a b": "c", "x": "-"},
            "annotations": {"Big": "x".repeat(ANNOTATIONS_MAX)},
            "finalizers": ["short", "a.b/c", "orphan", "foregroundDeletion"],
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1", "controller": true},
                {"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": "", "controller": true}]}));
        let starts = [
            "metadata.labels: Invalid value: \"a b\": name part must consist",
            "metadata.labels: Invalid value: \"-\": a valid label must be",
            "metadata.annotations: Too long: may not be more than 262144 bytes",
            "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
            "metadata.ownerReferences: Invalid value: ",
            "metadata.finalizers[0]: Invalid value: \"short\": name is neither a standard",
            "metadata.finalizers: Invalid value: [\"short\",",
        ];
        assert_eq!(all.len(), starts.len(), "{all:#?}");
        for (message, start) in all.iter().zip(starts) {
            assert!(message.starts_with(start), "{message}");
        }
        assert!(all[4].ends_with("Found \"true\" in references for Pod/p and Pod/q"));
    }

    #[test]
    fn identity_cannot_change_and_what_is_left_out_is_kept() {
        let registry = Registry::builtin();
        let kind = registry.resource("", "v1", "configmaps").unwrap();
        let old = meta(
            json!({"name": "a", "namespace": "n", "uid": "u", "creationTimestamp": "2020-01-01T00:00:00Z",
            "deletionTimestamp": "2020-01-02T00:00:00Z", "finalizers": ["a/b"]}),
        );
        let mut new = meta(json!({"name": "a", "namespace": "n", "finalizers": ["a/b"]}));
        carry_over(&mut new, &old);
        assert!(validate_update(&new, &old, kind).is_empty());
        let mut other = meta(json!({"name": "b", "namespace": "n", "uid": "v", "finalizers": ["c/d"]}));
        carry_over(&mut other, &old);
        assert_eq!(
            messages(&validate_update(&other, &old, kind)),
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found \
                 new finalizers []string{\"c/d\"}",
                "metadata.name: Invalid value: \"b\": field is immutable",
                "metadata.uid: Invalid value: \"v\": field is immutable",
            ]
        );
    }
}
