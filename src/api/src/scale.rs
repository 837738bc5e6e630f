//! The scale subresource: an `autoscaling/v1` Scale over any object with replicas.

use serde_json::{Map, Value, json};

use crate::field::{Errors, Path};
use crate::kind::Access;
use crate::selector::LabelSelector;
use crate::status::ApiError;

fn segments(path: &str) -> Vec<&str> {
    path.split('.').filter(|s| !s.is_empty()).collect()
}

fn get<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    segments(path).into_iter().try_fold(object, |value, name| value.get(name)).filter(|v| !v.is_null())
}

fn set(object: &mut Value, path: &str, value: Value) {
    let mut target = object;
    for name in segments(path) {
        if !target.is_object() {
            *target = Value::Object(Map::new());
        }
        target = &mut target[name];
    }
    *target = value;
}

/// A selector object or a map of labels as the text of `status.selector`.
fn selector_text(selector: Option<&Value>) -> Option<String> {
    let selector = selector?;
    if let Some(text) = selector.as_str() {
        return Some(text.to_owned());
    }
    let is_object = ["matchLabels", "matchExpressions"].iter().any(|f| selector.get(f).is_some());
    let selector = if is_object {
        LabelSelector::from_object(Some(&serde_json::from_value(selector.clone()).ok()?)).ok()?
    } else {
        LabelSelector::from_labels(&serde_json::from_value(selector.clone()).ok()?)
    };
    Some(selector.to_string())
}

/// The Scale of an object, `None` when `access` is not [`Access::Scale`].
#[must_use]
pub fn read(object: &Value, access: &Access) -> Option<Value> {
    let Access::Scale { spec_replicas, status_replicas, selector } = access else { return None };
    let mut metadata = Map::new();
    for name in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.get("metadata").and_then(|m| m.get(name)) {
            metadata.insert(name.to_owned(), value.clone());
        }
    }
    let number = |path: &str| get(object, path).and_then(Value::as_i64).unwrap_or(0);
    let mut spec = Map::new();
    if number(spec_replicas) != 0 {
        spec.insert("replicas".to_owned(), number(spec_replicas).into());
    }
    let mut status = json!({"replicas": number(status_replicas)});
    if let Some(text) = selector_text(get(object, selector)).filter(|t| !t.is_empty()) {
        status["selector"] = text.into();
    }
    Some(json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": spec, "status": status}))
}

/// Writes the replicas of a Scale, decoded from a client, into the object.
///
/// # Errors
/// 422 when the number is negative or no number, or `access` is not [`Access::Scale`].
pub fn write(object: &mut Value, scale: &Value, access: &Access) -> Result<(), ApiError> {
    let name = get(object, "metadata.name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut errors = Errors::new();
    let path = Path::new("spec").child("replicas");
    let replicas = get(scale, "spec.replicas").cloned().unwrap_or_else(|| 0.into());
    match (access, replicas.as_i64()) {
        (Access::Scale { spec_replicas, .. }, Some(0..=0x7fff_ffff)) => {
            set(object, spec_replicas, replicas);
            return Ok(());
        }
        (Access::Scale { .. }, Some(_)) => {
            errors.invalid(&path, replicas, "must be greater than or equal to 0");
        }
        (Access::Scale { .. }, None) => errors.invalid(&path, replicas, "must be a number"),
        _ => errors.forbidden(&path, "the resource has no scale"),
    }
    Err(ApiError::invalid_named("autoscaling", "Scale", &name, &errors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn access(group: &str, plural: &str) -> Access {
        let registry = Registry::builtin();
        registry.resource(group, "v1", plural).unwrap().subresource("scale").unwrap().access.clone()
    }

    #[test]
    fn a_scale_shows_replicas_and_selector_of_the_object() {
        let object = json!({"metadata": {"name": "d", "namespace": "n", "resourceVersion": "5", "labels": {"a": "b"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"},
                "matchExpressions": [{"key": "t", "operator": "In", "values": ["x", "y"]}]}},
            "status": {"replicas": 2}});
        assert_eq!(
            read(&object, &access("apps", "deployments")).unwrap(),
            json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
                "metadata": {"name": "d", "namespace": "n", "resourceVersion": "5"},
                "spec": {"replicas": 3}, "status": {"replicas": 2, "selector": "app=web,t in (x,y)"}})
        );
        let controller = json!({"metadata": {}, "spec": {"replicas": 1, "selector": {"a": "b"}}});
        let scale = read(&controller, &access("", "replicationcontrollers")).unwrap();
        assert_eq!(scale["status"], json!({"replicas": 0, "selector": "a=b"}));
        assert_eq!(read(&object, &Access::Status), None);
    }

    #[test]
    fn only_the_replicas_are_written() {
        let access = access("apps", "deployments");
        let mut object = json!({"metadata": {"name": "d"}, "spec": {"paused": true}});
        write(&mut object, &json!({"spec": {"replicas": 4}}), &access).unwrap();
        assert_eq!(object["spec"], json!({"paused": true, "replicas": 4}));
        write(&mut object, &json!({"spec": {}}), &access).unwrap();
        assert_eq!(object["spec"]["replicas"], 0);
        let error = write(&mut object, &json!({"spec": {"replicas": -1}}), &access).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Scale.autoscaling \"d\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        );
    }
}
