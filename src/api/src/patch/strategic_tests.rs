use serde_json::json;

use super::*;
use crate::patch_schema;

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec})
}

fn patched(object: Value, patch: Value) -> Value {
    apply(object, patch, patch_schema::root("", "v1", "Pod")).unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect()
}

#[test]
fn containers_are_merged_by_name_and_their_environment_too() {
    let object = pod(json!({"containers": [
        {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "b:1"}]}));
    let patch = json!({"spec": {"containers": [
        {"name": "a", "image": "a:2", "env": [{"name": "Y", "value": "2"}]}, {"name": "c", "image": "c:1"}]}});
    let spec = &patched(object, patch)["spec"];
    assert_eq!(
        spec["containers"],
        json!([
            {"name": "a", "image": "a:2", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
            {"name": "c", "image": "c:1"},
            {"name": "b", "image": "b:1"}])
    );
}

#[test]
fn lists_without_a_strategy_are_replaced_and_null_deletes() {
    let object = pod(json!({"tolerations": [{"key": "a"}], "nodeName": "n", "nodeSelector": {"a": "b"}}));
    let patch =
        json!({"spec": {"tolerations": [{"key": "b"}], "nodeName": null, "nodeSelector": {"c": "d"}}});
    assert_eq!(
        patched(object, patch)["spec"],
        json!({"tolerations": [{"key": "b"}], "nodeSelector": {"a": "b", "c": "d"}})
    );
}

#[test]
fn an_element_is_deleted_by_directive() {
    let object = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let patch = json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}});
    assert_eq!(names(&patched(object, patch)["spec"]["containers"]), ["b"]);
}

#[test]
fn a_list_or_an_object_is_replaced_by_directive() {
    let object = pod(json!({"containers": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"a": "b"}}));
    let patch = json!({"spec": {"containers": [{"name": "c"}, {"$patch": "replace"}],
        "nodeSelector": {"$patch": "replace", "x": "y"}}});
    let spec = &patched(object, patch)["spec"];
    assert_eq!(names(&spec["containers"]), ["c"]);
    assert_eq!(spec["nodeSelector"], json!({"x": "y"}));
    let emptied = patched(spec.clone(), json!({"nodeSelector": {"$patch": "delete"}}));
    assert_eq!(emptied["nodeSelector"], json!({}));
}

#[test]
fn elements_come_in_the_order_that_the_patch_asks_for() {
    let object = pod(json!({"containers": [{"name": "a"}, {"name": "s"}, {"name": "b"}]}));
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "n"}, {"name": "b"}, {"name": "a"}],
        "containers": [{"name": "n", "image": "i"}]}});
    assert_eq!(names(&patched(object.clone(), patch)["spec"]["containers"]), ["n", "s", "b", "a"]);
    let stray =
        json!({"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "z"}]}});
    let error = apply(object, stray, patch_schema::root("", "v1", "Pod")).unwrap_err();
    assert!(matches!(error, StrategicError::Order { .. }));
}

#[test]
fn volumes_keep_only_the_source_that_the_patch_names() {
    let object = pod(json!({"volumes": [{"name": "v", "emptyDir": {}}]}));
    let patch = json!({"spec": {"volumes": [
        {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}});
    assert_eq!(
        patched(object.clone(), patch)["spec"]["volumes"],
        json!([{"name": "v", "hostPath": {"path": "/x"}}])
    );
    let wrong = json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {}}]}});
    let error: ApiError = apply(object, wrong, patch_schema::root("", "v1", "Pod")).unwrap_err().into();
    assert_eq!(error.code(), 400);
}

#[test]
fn finalizers_are_a_set_that_grows_and_shrinks() {
    let object = json!({"metadata": {"finalizers": ["a", "b"]}});
    let grown = patched(object, json!({"metadata": {"finalizers": ["c", "a"]}}));
    assert_eq!(grown["metadata"]["finalizers"], json!(["c", "a", "b"]));
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"],
        "$setElementOrder/finalizers": ["c", "b"]}});
    assert_eq!(patched(grown, patch)["metadata"]["finalizers"], json!(["c", "b"]));
}

#[test]
fn an_element_without_its_key_is_refused() {
    let object = pod(json!({"containers": [{"name": "a"}]}));
    let patch = json!({"spec": {"containers": [{"image": "x"}]}});
    let error = apply(object, patch, patch_schema::root("", "v1", "Pod")).unwrap_err();
    assert_eq!(error.to_string(), "map: {\"image\":\"x\"} does not contain declared merge key: name");
}

#[test]
fn directives_of_new_values_do_not_reach_the_object() {
    let patch = json!({"spec": {"containers": [{"name": "a", "$retainKeys": ["name"], "x": null},
        {"name": "b", "$patch": "delete"}], "$setElementOrder/containers": [{"name": "a"}]}});
    let object = patched(json!({"metadata": {}}), patch);
    assert_eq!(object["spec"], json!({"containers": [{"name": "a"}]}));
}

#[test]
fn conditions_of_a_node_are_merged_by_type_and_its_cidrs_are_a_set() {
    let schema = patch_schema::root("", "v1", "Node");
    let object = json!({"spec": {"podCIDRs": ["a"]}, "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "X"}]}});
    let patch = json!({"spec": {"podCIDRs": ["b"]}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let node = apply(object, patch, schema).unwrap();
    assert_eq!(node["status"]["conditions"], json!([{"type": "Ready", "status": "False"}, {"type": "X"}]));
    assert_eq!(node["spec"]["podCIDRs"], json!(["b", "a"]));
}
