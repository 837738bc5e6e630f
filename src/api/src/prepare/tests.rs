use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use serde_json::{Value, json};

use crate::strategy::Part;
use crate::typed::{TypedKind, strategy};

fn created<T: TypedKind>(value: Value) -> Value {
    let strategy = strategy::<T>();
    let mut object = strategy.decode_value(value).unwrap().object;
    strategy.default(object.as_mut());
    strategy.prepare_create(object.as_mut());
    object.to_value()
}

fn updated<T: TypedKind>(new: Value, old: Value, part: Part<'_>) -> Value {
    let strategy = strategy::<T>();
    let old = strategy.decode_value(old).unwrap().object;
    let mut new = strategy.decode_value(new).unwrap().object;
    strategy.prepare_update(new.as_mut(), old.as_ref(), part);
    new.to_value()
}

#[test]
fn a_new_pod_is_pending_with_its_quality_of_service() {
    let resources = |requests: Value, limits: Value| json!({"requests": requests, "limits": limits});
    for (resources, class) in [
        (json!({}), "BestEffort"),
        (resources(json!({"cpu": "1"}), json!({})), "Burstable"),
        (resources(json!({}), json!({"cpu": "1", "memory": "1Gi"})), "Guaranteed"),
        (resources(json!({"cpu": "500m"}), json!({"cpu": "1", "memory": "1Gi"})), "Burstable"),
        (resources(json!({"cpu": "0"}), json!({})), "BestEffort"),
    ] {
        let pod = created::<Pod>(json!({"spec": {"containers": [{"name": "c", "resources": resources}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1"}}));
        assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": class}), "{resources}");
    }
}

#[test]
fn a_namespace_has_its_finalizer_and_only_finalize_removes_it() {
    let namespace = created::<Namespace>(json!({"metadata": {"name": "a"}}));
    assert_eq!(namespace["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(namespace["status"], json!({"phase": "Active"}));
    assert_eq!(namespace["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "a"}));

    let empty = json!({"metadata": {"name": "a"}, "spec": {"finalizers": []}});
    let main = updated::<Namespace>(empty.clone(), namespace.clone(), Part::Main);
    assert_eq!(main["spec"], json!({"finalizers": ["kubernetes"]}));
    let finalized = updated::<Namespace>(empty, namespace, Part::Other("finalize"));
    assert_eq!(finalized["spec"], json!({}));
    assert_eq!(finalized["status"], json!({"phase": "Active"}));
}

#[test]
fn a_job_selects_its_pods_by_uid() {
    let job = created::<Job>(json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"metadata":
        {"labels": {"a": "b"}}}}}));
    assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
    assert_eq!(
        job["spec"]["template"]["metadata"]["labels"],
        json!({"a": "b", "batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "j",
            "controller-uid": "u", "job-name": "j"})
    );
    let manual = json!({"metadata": {"uid": "u"}, "spec": {"manualSelector": true, "selector": {"matchLabels": {"a": "b"}},
        "template": {}}});
    assert_eq!(created::<Job>(manual)["spec"]["selector"], json!({"matchLabels": {"a": "b"}}));
}

#[test]
fn a_service_keeps_its_address_and_node_ports() {
    let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.43.0.5", "clusterIPs": ["10.43.0.5"],
        "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]}});
    let ports = json!([{"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}]);
    let new =
        updated::<Service>(json!({"spec": {"type": "NodePort", "ports": ports}}), old.clone(), Part::Main);
    assert_eq!(new["spec"]["clusterIP"], "10.43.0.5");
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30080);
    assert_eq!(new["spec"]["ports"][1]["nodePort"], Value::Null);

    let mut external = old.clone();
    external["spec"]["type"] = json!("ExternalName");
    let new = updated::<Service>(external, old, Part::Main);
    assert_eq!(new["spec"]["clusterIP"], Value::Null);
    assert_eq!(new["spec"]["ports"][0]["nodePort"], Value::Null);
}

#[test]
fn ephemeral_containers_are_added_through_their_own_part_only() {
    let old = json!({"spec": {"nodeName": "n", "containers": [{"name": "c", "image": "a"}]}});
    let new = json!({"spec": {"nodeName": "m", "containers": [{"name": "c", "image": "b"}],
        "ephemeralContainers": [{"name": "debug", "image": "busybox"}]}});
    let pod = updated::<Pod>(new, old, Part::Other("ephemeralcontainers"));
    assert_eq!(
        pod["spec"],
        json!({"nodeName": "n", "containers": [{"name": "c", "image": "a"}],
            "ephemeralContainers": [{"name": "debug", "image": "busybox"}]})
    );
}
