//! Refusals in the words of kube-apiserver, seen from outside.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::{Value, json};

use crate::field::Errors;
use crate::strategy::Part;
use crate::typed::{TypedKind, strategy};

fn texts(errors: &Errors) -> Vec<String> {
    errors.0.iter().map(ToString::to_string).collect()
}

/// Errors of a defaulted new object.
fn created<T: TypedKind>(value: Value) -> Vec<String> {
    let strategy = strategy::<T>();
    let mut object = strategy.decode_value(value).unwrap().object;
    strategy.default(object.as_mut());
    strategy.prepare_create(object.as_mut());
    texts(&strategy.validate_create(object.as_ref()))
}

/// Errors of a change of a defaulted object.
fn updated<T: TypedKind>(new: Value, old: Value) -> Vec<String> {
    let strategy = strategy::<T>();
    let decode = |value| {
        let mut object = strategy.decode_value(value).unwrap().object;
        strategy.default(object.as_mut());
        object
    };
    let (mut new, old) = (decode(new), decode(old));
    strategy.prepare_update(new.as_mut(), old.as_ref(), Part::Main);
    texts(&strategy.validate_update(new.as_ref(), old.as_ref(), Part::Main))
}

/// A tree with the value at a path of keys replaced.
fn with(mut tree: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    tree.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
    tree
}

fn pod() -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[test]
fn good_objects_are_accepted() {
    assert_eq!(created::<Pod>(pod()), [""; 0]);
    assert_eq!(created::<Deployment>(deployment()), [""; 0]);
    assert_eq!(created::<Service>(json!({"spec": {"ports": [{"port": 80}]}})), [""; 0]);
    assert_eq!(created::<Service>(json!({"spec": {"clusterIP": "None"}})), [""; 0]);
    assert_eq!(created::<Namespace>(json!({"metadata": {"name": "n"}})), [""; 0]);
    assert_eq!(created::<Node>(json!({"metadata": {"name": "n"}})), [""; 0]);
    assert_eq!(created::<ConfigMap>(json!({"data": {"a.b-c_D": ""}})), [""; 0]);
    assert_eq!(created::<Secret>(json!({"stringData": {"a": "b"}})), [""; 0]);
}

#[test]
fn containers_need_names_and_images() {
    for (containers, wanted) in [
        (json!([]), vec!["spec.containers: Required value"]),
        (
            json!([{}]),
            vec!["spec.containers[0].name: Required value", "spec.containers[0].image: Required value"],
        ),
        (
            json!([{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]),
            vec!["spec.containers[1].name: Duplicate value: \"c\""],
        ),
        (
            json!([{"name": "c", "image": " i"}]),
            vec![
                "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace",
            ],
        ),
    ] {
        assert_eq!(created::<Pod>(with(pod(), "/spec/containers", containers)), wanted);
    }
    let errors = created::<Pod>(with(pod(), "/spec/containers/0/name", json!("C_")));
    assert!(
        errors[0].starts_with("spec.containers[0].name: Invalid value: \"C_\": a lowercase RFC 1123 label"),
        "{errors:?}"
    );
}

#[test]
fn fields_of_containers_are_checked() {
    let container = "spec.containers[0]";
    for (field, value, wanted) in [
        (
            "imagePullPolicy",
            json!("Often"),
            ".imagePullPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ),
        (
            "ports",
            json!([{"containerPort": 70000}]),
            ".ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        ("ports", json!([{}]), ".ports[0].containerPort: Required value"),
        (
            "ports",
            json!([{"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2}]),
            ".ports[1].name: Duplicate value: \"a\"",
        ),
        (
            "ports",
            json!([{"containerPort": 1, "protocol": "tcp"}]),
            ".ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
        ("env", json!([{"value": "x"}]), ".env[0].name: Required value"),
        (
            "env",
            json!([{"name": "a", "valueFrom": {"secretKeyRef": {"name": "s"}}}]),
            ".env[0].valueFrom.secretKeyRef.key: Required value",
        ),
        (
            "volumeMounts",
            json!([{"name": "gone", "mountPath": "/x"}]),
            ".volumeMounts[0].name: Not found: \"gone\"",
        ),
        ("livenessProbe", json!({}), ".livenessProbe: Required value: must specify a handler type"),
        (
            "livenessProbe",
            json!({"exec": {"command": ["a"]}, "successThreshold": 2}),
            ".livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            "readinessProbe",
            json!({"tcpSocket": {"port": 80}, "periodSeconds": -1}),
            ".readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "resources",
            json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
            ".resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            "resources",
            json!({"limits": {"memory": "-1"}, "requests": {"memory": "-1"}}),
            ".resources.limits[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
    ] {
        let errors = created::<Pod>(with(pod(), &format!("/spec/containers/0/{field}"), value.clone()));
        assert_eq!(
            errors.first().map(String::as_str),
            Some(&*format!("{container}{wanted}")),
            "{value}: {errors:?}"
        );
    }
}

#[test]
fn fields_of_pods_are_checked() {
    for (field, value, wanted) in [
        (
            "restartPolicy",
            json!("Sometimes"),
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            "dnsPolicy",
            json!("None"),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            "activeDeadlineSeconds",
            json!(0),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            "tolerations",
            json!([{"operator": "Equal"}]),
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which \
             means \"match all values and all keys\"",
        ),
        (
            "tolerations",
            json!([{"key": "a", "operator": "Exists", "tolerationSeconds": 5}]),
            "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
        ),
        (
            "volumes",
            json!([{"name": "v", "secret": {}}]),
            "spec.volumes[0].secret.secretName: Required value",
        ),
        (
            "volumes",
            json!([{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]),
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        ("volumes", json!([{"name": "v"}, {"name": "v"}]), "spec.volumes[1].name: Duplicate value: \"v\""),
        (
            "ephemeralContainers",
            json!([{"name": "d", "image": "i"}]),
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
        (
            "initContainers",
            json!([{"name": "a", "image": "i", "livenessProbe": {"tcpSocket": {"port": 1}}}]),
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        (
            "topologySpreadConstraints",
            json!([{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]),
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than 0",
        ),
        (
            "securityContext",
            json!({"runAsUser": -1}),
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
    ] {
        let errors = created::<Pod>(with(pod(), &format!("/spec/{field}"), value.clone()));
        assert_eq!(errors.first().map(String::as_str), Some(wanted), "{value}: {errors:?}");
    }
    let ports = json!([{"containerPort": 80, "hostPort": 81}]);
    let host = with(with(pod(), "/spec/hostNetwork", json!(true)), "/spec/containers/0/ports", ports);
    assert_eq!(
        created::<Pod>(host),
        [
            "spec.containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true"
        ]
    );
}

#[test]
fn almost_nothing_of_a_pod_may_change() {
    let allowed = with(
        with(pod(), "/spec/containers/0/image", json!("other")),
        "/spec/tolerations",
        json!([{"key": "a", "operator": "Exists"}]),
    );
    assert_eq!(updated::<Pod>(with(allowed, "/metadata/labels", json!({"a": "b"})), pod()), [""; 0]);

    let errors = updated::<Pod>(with(pod(), "/spec/containers/0/command", json!(["x"])), pod());
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with(
            "spec: Forbidden: pod updates may not change fields other than \
             `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
             `spec.tolerations` (only additions to existing tolerations),\
             `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
        ),
        "{errors:?}"
    );
    assert!(errors[0].contains("+ \tcontainers[0].command: [\"x\"]"), "{errors:?}");

    let more =
        with(pod(), "/spec/containers", json!([{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]));
    assert_eq!(
        updated::<Pod>(more, pod()),
        ["spec.containers: Forbidden: pod updates may not add or remove containers"]
    );
    let longer = |seconds: i64| with(pod(), "/spec/activeDeadlineSeconds", json!(seconds));
    assert_eq!(updated::<Pod>(longer(5), longer(9)), [""; 0]);
    assert_eq!(
        updated::<Pod>(longer(9), longer(5)),
        ["spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value"]
    );
    let tolerations = json!([{"key": "a", "operator": "Exists"}]);
    assert_eq!(
        updated::<Pod>(pod(), with(pod(), "/spec/tolerations", tolerations)),
        ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]
    );
}

fn deployment() -> Value {
    json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[test]
fn workloads_select_their_own_pods() {
    let other = with(deployment(), "/spec/selector", json!({"matchLabels": {"a": "c"}}));
    assert_eq!(
        created::<Deployment>(other.clone()),
        [
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"
        ]
    );
    assert_eq!(
        created::<DaemonSet>(other),
        [
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"
        ]
    );
    let empty = with(deployment(), "/spec/selector", json!({}));
    assert_eq!(
        created::<Deployment>(empty),
        [
            "spec.selector: Required value",
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment"
        ]
    );
    let relabelled = with(
        with(deployment(), "/spec/selector/matchLabels", json!({"x": "y"})),
        "/spec/template/metadata/labels",
        json!({"x": "y"}),
    );
    assert_eq!(
        updated::<Deployment>(relabelled, deployment()),
        ["spec.selector: Invalid value: {\"matchLabels\":{\"x\":\"y\"}}: field is immutable"]
    );
}

#[test]
fn numbers_of_workloads_make_sense() {
    for (pointer, value, wanted) in [
        ("/spec/replicas", json!(-1), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            "/spec/strategy",
            json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        (
            "/spec/strategy",
            json!({"type": "Recreate", "rollingUpdate": {}}),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            "/spec/progressDeadlineSeconds",
            json!(0),
            "spec.progressDeadlineSeconds: Invalid value: 0: must be greater than minReadySeconds",
        ),
        (
            "/spec/template/spec/restartPolicy",
            json!("Never"),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ),
    ] {
        assert_eq!(created::<Deployment>(with(deployment(), pointer, value)), [wanted]);
    }
    assert_eq!(
        updated::<StatefulSet>(with(deployment(), "/spec/serviceName", json!("s")), deployment()),
        [
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
          'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are \
          forbidden"
        ]
    );
}

#[test]
fn a_stateful_set_may_mount_its_claims() {
    let claims = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
    let set = with(
        with(deployment(), "/spec/volumeClaimTemplates", claims),
        "/spec/template/spec/containers/0/volumeMounts",
        json!([{"name": "data", "mountPath": "/data"}]),
    );
    assert_eq!(created::<StatefulSet>(set), [""; 0]);
}

#[test]
fn jobs_end() {
    let job = |policy: &str| {
        json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {"restartPolicy": policy,
            "containers": [{"name": "c", "image": "i"}]}}}})
    };
    assert_eq!(created::<Job>(job("Never")), [""; 0]);
    assert_eq!(
        created::<Job>(job("Always")),
        ["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""]
    );
    let cron = |schedule: &str| {
        json!({"metadata": {"name": "c"}, "spec": {"schedule": schedule,
            "jobTemplate": {"spec": {"template": job("Never")["spec"]["template"]}}}})
    };
    assert_eq!(created::<CronJob>(cron("*/5 * * * *")), [""; 0]);
    assert_eq!(
        created::<CronJob>(cron("* * *")),
        ["spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]"]
    );
}

#[test]
fn services_need_ports_and_keep_their_address() {
    assert_eq!(created::<Service>(json!({"spec": {}})), ["spec.ports: Required value"]);
    assert_eq!(
        created::<Service>(json!({"spec": {"ports": [{"port": 80}, {"port": 81}]}})),
        ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"]
    );
    assert_eq!(
        created::<Service>(json!({"spec": {"ports": [{"port": 80, "nodePort": 30000}]}})),
        ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]
    );
    assert_eq!(
        created::<Service>(json!({"spec": {"type": "ExternalName"}})),
        ["spec.externalName: Required value"]
    );
    let at = |ip: &str| json!({"spec": {"clusterIP": ip, "ports": [{"port": 80}]}});
    assert_eq!(
        updated::<Service>(at("10.43.0.2"), at("10.43.0.1")),
        ["spec.clusterIPs[0]: Invalid value: \"10.43.0.2\": may not change once set"]
    );
}

#[test]
fn config_maps_and_secrets_have_good_keys_and_may_be_frozen() {
    let errors = created::<ConfigMap>(json!({"data": {"a b": ""}}));
    assert!(
        errors[0].starts_with("data[a b]: Invalid value: \"a b\": a valid config key must consist of"),
        "{errors:?}"
    );
    let frozen = |value: &str| json!({"immutable": true, "data": {"a": value}});
    assert_eq!(
        updated::<ConfigMap>(frozen("y"), frozen("x")),
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
    let big = "x".repeat(1024 * 1024 + 1);
    assert_eq!(
        created::<ConfigMap>(json!({"data": {"a": big}})),
        [": Too long: may not be more than 1048576 bytes"]
    );
    assert_eq!(
        created::<Secret>(json!({"type": "kubernetes.io/tls"})),
        ["data[tls.crt]: Required value", "data[tls.key]: Required value"]
    );
    assert_eq!(
        updated::<Secret>(json!({"type": "other"}), json!({"type": "Opaque"})),
        ["type: Invalid value: \"other\": field is immutable"]
    );
}

#[test]
fn nodes_keep_their_addresses_of_pods() {
    let node = |cidr: &str| json!({"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}});
    assert_eq!(updated::<Node>(node("10.42.0.0/24"), json!({})), [""; 0]);
    assert_eq!(
        updated::<Node>(node("10.42.1.0/24"), node("10.42.0.0/24")),
        ["spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"]
    );
    assert_eq!(
        created::<Node>(json!({"spec": {"taints": [{"key": "a", "effect": "Never"}]}})),
        [
            "spec.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""
        ]
    );
}

#[test]
fn claims_may_only_grow() {
    let claim = |class: &str, size: &str, phase: &str| {
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": size}}}, "status": {"phase": phase, "capacity": {"storage": "1Gi"}}})
    };
    assert_eq!(
        updated::<PersistentVolumeClaim>(claim("a", "2Gi", "Bound"), claim("a", "1Gi", "Bound")),
        [""; 0]
    );
    assert_eq!(
        updated::<PersistentVolumeClaim>(claim("a", "1Mi", "Bound"), claim("a", "1Gi", "Bound")),
        ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
    );
    let errors = updated::<PersistentVolumeClaim>(claim("b", "1Gi", "Bound"), claim("a", "1Gi", "Bound"));
    assert!(errors[0].starts_with("spec: Forbidden: spec is immutable after creation except"), "{errors:?}");
}

#[test]
fn other_kinds_have_their_rules() {
    assert_eq!(
        created::<Role>(json!({"rules": [{"resources": ["pods"], "apiGroups": [""]}]})),
        ["rules[0].verbs: Required value: verbs must contain at least one value"]
    );
    let binding = |role: &str| json!({"roleRef": {"kind": "Role", "name": role}});
    assert_eq!(
        updated::<RoleBinding>(binding("b"), binding("a")),
        [
            "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"b\"}: cannot change roleRef"
        ]
    );
    assert_eq!(
        created::<PodDisruptionBudget>(json!({"spec": {"minAvailable": 1, "maxUnavailable": 1}})),
        [
            "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set"
        ]
    );
    assert_eq!(
        updated::<PriorityClass>(json!({"value": 2}), json!({"value": 1})),
        ["value: Forbidden: may not be changed in an update."]
    );
    assert_eq!(
        created::<Ingress>(json!({"spec": {"rules": [{"http": {"paths": [{"path": "x", "backend": {}}]}}]}})),
        [
            "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
            "spec.rules[0].http.paths[0].backend: Required value: resource or service backend is required"
        ]
    );
}
