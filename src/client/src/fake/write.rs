//! How objects come, change and go.

use copepod_api::kind::Kind;
use copepod_api::metadata;
use copepod_api::patch::Patch;
use copepod_api::patch_schema;
use copepod_api::status::ApiError;
use copepod_api::strategy::{Object, Part};
use serde_json::{Value, json};

use super::{State, Target};
use crate::time;

const PROPAGATION: [(&str, &str); 2] = [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")];

impl State {
    pub(super) fn create(&mut self, target: &Target, body: Value) -> Result<Value, ApiError> {
        let kind = &target.kind;
        let mut object = kind.strategy.decode_value(body)?.object;
        let meta = object.metadata_mut();
        if let Some(base) = meta.generate_name.as_ref().filter(|_| meta.name.is_none()) {
            meta.name = Some(format!("{base}{:05x}", self.revision));
        }
        meta.namespace.clone_from(&target.namespace);
        meta.uid = Some(format!("uid-{}", self.revision));
        meta.creation_timestamp = Some(time::now());
        meta.deletion_timestamp = None;
        meta.generation = kind.generation.then_some(1);
        meta.resource_version = None;
        let name = meta.name.clone().unwrap_or_default();
        if let Some(namespace) = &target.namespace {
            self.refuse_if_terminating(kind, namespace, &name)?;
        }
        kind.strategy.default(object.as_mut());
        kind.strategy.prepare_create(object.as_mut());
        let mut errors = metadata::validate_create(object.metadata(), kind);
        errors.extend(kind.strategy.validate_create(object.as_ref()));
        if !errors.is_empty() {
            return Err(ApiError::invalid(kind, &name, &errors));
        }
        let key = kind.key(target.namespace.as_deref(), &name);
        if self.objects.contains_key(&key) {
            return Err(ApiError::already_exists(kind, &name));
        }
        Ok(self.commit(&key, "ADDED", object.to_value()))
    }

    /// As the admission of the API server does; tests rarely make the namespace first, so a missing one is fine.
    fn refuse_if_terminating(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), ApiError> {
        let key = format!("/registry/core/namespaces/{namespace}");
        if self.objects.get(&key).is_none_or(|known| known["metadata"]["deletionTimestamp"].is_null()) {
            return Ok(());
        }
        let mut error = ApiError::forbidden(kind, name, "because it is being terminated");
        let cause = json!({"reason": "NamespaceTerminating", "message": "being terminated"});
        let details = json!({"causes": [cause]});
        error.0.details = serde_json::from_value(details).ok();
        Err(error)
    }

    pub(super) fn bind(&mut self, target: &Target, binding: &Value) -> Result<Value, ApiError> {
        let mut pod = self.get(target)?;
        if pod["spec"]["nodeName"].is_string() {
            return Err(ApiError::conflict(&target.kind, &target.name, "is already assigned to a node"));
        }
        pod["spec"]["nodeName"] = binding["target"]["name"].clone();
        self.commit(&target.key(), "MODIFIED", pod);
        Ok(json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }

    pub(super) fn patch(
        &mut self,
        target: &Target,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, ApiError> {
        let gvk = &target.kind.gvk;
        let bytes = body.to_string();
        let patch = if content_type.contains("strategic") {
            Patch::strategic(bytes.as_bytes(), patch_schema::root(&gvk.group, &gvk.version, &gvk.kind))?
        } else {
            Patch::merge(bytes.as_bytes())?
        };
        let patched = patch.apply(self.get(target)?)?;
        self.update(target, patched)
    }

    pub(super) fn update(&mut self, target: &Target, wanted: Value) -> Result<Value, ApiError> {
        let (kind, name) = (&target.kind, &target.name);
        let current = self.get(target)?;
        let old = kind.strategy.decode_value(current.clone())?.object;
        let mut new = kind.strategy.decode_value(wanted)?.object;
        let differs = |field: Option<&str>, known: Option<&str>| field.is_some_and(|f| Some(f) != known);
        let (meta, known) = (new.metadata(), old.metadata());
        if differs(meta.resource_version.as_deref(), known.resource_version.as_deref())
            || differs(meta.uid.as_deref(), known.uid.as_deref())
        {
            return Err(ApiError::conflict(kind, name, "the object has been modified"));
        }
        metadata::carry_over(new.metadata_mut(), known);
        new.metadata_mut().generation = known.generation;
        kind.strategy.default(new.as_mut());
        let part = match target.subresource.as_str() {
            "" => Part::Main,
            "status" => Part::Status,
            other => Part::Other(other),
        };
        kind.strategy.prepare_update(new.as_mut(), old.as_ref(), part);
        let counts = kind.generation && part != Part::Status;
        if counts && kind.strategy.spec_differs(new.as_ref(), old.as_ref()) {
            let generation = known.generation.unwrap_or(0) + 1;
            new.metadata_mut().generation = Some(generation);
        }
        let mut errors = metadata::validate_update(new.metadata(), known, kind);
        errors.extend(kind.strategy.validate_update(new.as_ref(), old.as_ref(), part));
        if !errors.is_empty() {
            return Err(ApiError::invalid(kind, name, &errors));
        }
        new.metadata_mut().resource_version.clone_from(&known.resource_version);
        let value = new.to_value();
        if value == current {
            return Ok(current);
        }
        let event = if is_over(new.as_ref(), &value) { "DELETED" } else { "MODIFIED" };
        Ok(self.commit(&target.key(), event, value))
    }

    pub(super) fn delete_all(&mut self, target: &Target, options: &Value) -> Result<Value, ApiError> {
        let prefix = target.prefix();
        let names: Vec<String> =
            self.objects.keys().filter_map(|key| key.strip_prefix(&prefix)).map(ToOwned::to_owned).collect();
        for name in names {
            let one = Target {
                kind: target.kind.clone(),
                namespace: target.namespace.clone(),
                name,
                subresource: String::new(),
            };
            self.delete(&one, options)?;
        }
        Ok(json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }

    pub(super) fn delete(&mut self, target: &Target, options: &Value) -> Result<Value, ApiError> {
        let current = self.get(target)?;
        let differs = |field: &str| {
            let wanted = &options["preconditions"][field];
            !wanted.is_null() && *wanted != current["metadata"][field]
        };
        if differs("uid") || differs("resourceVersion") {
            return Err(ApiError::conflict(&target.kind, &target.name, "a precondition does not hold"));
        }
        let mut object = target.kind.strategy.decode_value(current.clone())?.object;
        let is_namespace = &*target.kind.gvk.kind == "Namespace";
        let ended = matches!(current["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let has_grace = target.kind.graceful && current["spec"]["nodeName"].is_string() && !ended;
        let meta = object.metadata_mut();
        if let Some(policy) = options["propagationPolicy"].as_str() {
            let finalizers = meta.finalizers.get_or_insert_default();
            finalizers.retain(|name| !PROPAGATION.iter().any(|(_, finalizer)| finalizer == name));
            finalizers
                .extend(PROPAGATION.iter().filter(|(name, _)| *name == policy).map(|(_, f)| (*f).to_owned()));
        }
        let grace = if has_grace { options["gracePeriodSeconds"].as_i64().unwrap_or(30) } else { 0 };
        meta.deletion_timestamp.get_or_insert_with(time::now);
        let running = meta.deletion_grace_period_seconds.unwrap_or(i64::MAX);
        meta.deletion_grace_period_seconds = (!is_namespace).then_some(grace.min(running));
        let mut value = object.to_value();
        if is_namespace {
            value["status"]["phase"] = json!("Terminating");
        }
        if value == current {
            return Ok(value);
        }
        let event = if is_over(object.as_ref(), &value) { "DELETED" } else { "MODIFIED" };
        Ok(self.commit(&target.key(), event, value))
    }
}

/// Whether nothing holds an object that is being deleted.
fn is_over(object: &dyn Object, value: &Value) -> bool {
    let meta = object.metadata();
    let held = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    meta.deletion_timestamp.is_some()
        && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
        && !held(&value["metadata"]["finalizers"])
        && !held(&value["spec"]["finalizers"])
}
