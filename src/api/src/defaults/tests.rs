//! Defaults, seen from outside: JSON in, JSON out.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{LimitRange, Pod, ReplicationController, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use serde_json::{Value, json};

use crate::typed::{TypedKind, strategy};

fn defaulted<T: TypedKind>(value: Value) -> Value {
    let strategy = strategy::<T>();
    let mut object = strategy.decode_value(value).unwrap().object;
    strategy.default(object.as_mut());
    object.to_value()
}

#[test]
fn a_pod_gets_all_that_it_does_not_say() {
    let pod = defaulted::<Pod>(json!({"metadata": {"name": "a"}, "spec": {
        "serviceAccount": "robot",
        "containers": [{
            "name": "c", "image": "nginx:1", "ports": [{"containerPort": 80}],
            "readinessProbe": {"httpGet": {"port": 80}}, "livenessProbe": {"grpc": {"port": 1}, "periodSeconds": 3},
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}
        }],
        "volumes": [
            {"name": "a"}, {"name": "b", "secret": {"secretName": "s"}}, {"name": "c", "hostPath": {"path": "/x"}},
            {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
        ]
    }}));
    assert_eq!(
        pod["spec"],
        json!({
            "serviceAccount": "robot", "serviceAccountName": "robot",
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {}, "enableServiceLinks": true,
            "containers": [{
                "name": "c", "image": "nginx:1", "imagePullPolicy": "IfNotPresent",
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                    "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                "livenessProbe": {"grpc": {"port": 1, "service": ""}, "timeoutSeconds": 1, "periodSeconds": 3,
                    "successThreshold": 1, "failureThreshold": 3},
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}
            }],
            "volumes": [
                {"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "s", "defaultMode": 420}},
                {"name": "c", "hostPath": {"path": "/x", "type": ""}},
                {"name": "d", "projected": {"defaultMode": 420,
                    "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}}
            ]
        })
    );
}

#[test]
fn ports_of_a_pod_on_the_network_of_the_node_are_the_nodes() {
    let spec = json!({"hostNetwork": true, "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]});
    assert_eq!(defaulted::<Pod>(json!({"spec": spec}))["spec"]["containers"][0]["ports"][0]["hostPort"], 80);
    let template = defaulted::<Deployment>(json!({"spec": {"selector": {}, "template": {"spec": spec}}}));
    assert_eq!(template["spec"]["template"]["spec"]["containers"][0]["ports"][0]["hostPort"], Value::Null);
    assert_eq!(template["spec"]["template"]["spec"]["enableServiceLinks"], Value::Null);
}

#[test]
fn workloads_roll_out_carefully() {
    let template = json!({"selector": {}, "template": {}});
    let deployment = defaulted::<Deployment>(json!({"spec": template}));
    assert_eq!(
        deployment["spec"],
        json!({"selector": {}, "template": {}, "replicas": 1, "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600, "strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}})
    );
    let recreate = json!({"selector": {}, "template": {}, "strategy": {"type": "Recreate"}, "replicas": 0});
    let deployment = defaulted::<Deployment>(json!({"spec": recreate}));
    assert_eq!(deployment["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(deployment["spec"]["replicas"], 0);
    let set = defaulted::<StatefulSet>(json!({"spec": template}));
    assert_eq!(
        set["spec"],
        json!({"selector": {}, "template": {}, "replicas": 1, "revisionHistoryLimit": 10,
            "podManagementPolicy": "OrderedReady", "updateStrategy": {"type": "RollingUpdate",
            "rollingUpdate": {"partition": 0}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"}})
    );
    let set = defaulted::<DaemonSet>(json!({"spec": template}));
    assert_eq!(
        set["spec"],
        json!({"selector": {}, "template": {}, "revisionHistoryLimit": 10, "updateStrategy":
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}})
    );
}

#[test]
fn jobs_run_once() {
    let job = defaulted::<Job>(json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}));
    assert_eq!(job["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(
        job["spec"],
        json!({"template": {"metadata": {"labels": {"a": "b"}}}, "completions": 1, "parallelism": 1,
            "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false, "manualSelector": false,
            "podReplacementPolicy": "TerminatingOrFailed"})
    );
    assert_eq!(
        defaulted::<Job>(json!({"spec": {"parallelism": 3, "template": {}}}))["spec"]["completions"],
        Value::Null
    );
    let cron = defaulted::<CronJob>(json!({"spec": {"schedule": "* * * * *", "jobTemplate": {}}}));
    assert_eq!(
        cron["spec"],
        json!({"schedule": "* * * * *", "jobTemplate": {}, "concurrencyPolicy": "Allow", "suspend": false,
            "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1})
    );
}

#[test]
fn services_aim_at_the_port_of_the_same_number() {
    let service =
        defaulted::<Service>(json!({"spec": {"ports": [{"port": 80}, {"port": 81, "targetPort": "web"}]}}));
    assert_eq!(
        service["spec"],
        json!({"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80},
                {"port": 81, "protocol": "TCP", "targetPort": "web"}]})
    );
    let service =
        defaulted::<Service>(json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}}));
    assert_eq!(
        service["spec"],
        json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP", "internalTrafficPolicy": "Cluster",
            "externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": true,
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}})
    );
}

#[test]
fn plain_texts_of_a_secret_become_data() {
    let secret = defaulted::<Secret>(json!({"data": {"a": "eA==", "b": "eA=="}, "stringData": {"b": "y"}}));
    assert_eq!(secret["data"], json!({"a": "eA==", "b": "eQ=="}));
    assert_eq!(secret["stringData"], Value::Null);
    assert_eq!(secret["type"], "Opaque");
}

#[test]
fn a_replication_controller_takes_labels_and_selector_from_its_template() {
    let template = json!({"metadata": {"labels": {"a": "b"}}});
    let object = defaulted::<ReplicationController>(json!({"spec": {"template": template}}));
    assert_eq!(object["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(object["spec"]["selector"], json!({"a": "b"}));
    assert_eq!(object["spec"]["replicas"], 1);
}

#[test]
fn other_kinds_have_their_defaults() {
    let policy = defaulted::<NetworkPolicy>(json!({"spec": {"egress": [{"ports": [{"port": 53}]}]}}));
    assert_eq!(
        policy["spec"],
        json!({"podSelector": {}, "egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}],
            "policyTypes": ["Ingress", "Egress"]})
    );
    let binding = defaulted::<RoleBinding>(json!({"roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]}));
    assert_eq!(binding["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(binding["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(binding["subjects"][1]["apiGroup"], Value::Null);
    let range =
        defaulted::<LimitRange>(json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"},
        "min": {"memory": "1Mi"}}]}}));
    assert_eq!(range["spec"]["limits"][0]["default"], json!({"cpu": "2"}));
    assert_eq!(range["spec"]["limits"][0]["defaultRequest"], json!({"cpu": "2", "memory": "1Mi"}));
}
