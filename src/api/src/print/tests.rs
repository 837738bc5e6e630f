//! Rows as people see them.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use crate::typed::{TypedKind, strategy};

/// 2026-01-02T03:04:05Z.
const NOW: i64 = 1_767_323_045;

fn row<T: TypedKind>(value: &Value) -> Vec<String> {
    let strategy = strategy::<T>();
    let cells = strategy.row(value, NOW);
    assert_eq!(cells.len(), strategy.columns().len(), "one cell for each column");
    cells.iter().map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned)).collect()
}

fn heading<T: TypedKind>() -> String {
    let names: Vec<String> =
        strategy::<T>().columns().iter().map(|column| column.name.to_uppercase()).collect();
    names.join(" ")
}

#[test]
fn every_kind_has_as_many_cells_as_columns() {
    for (api_version, kind, strategy) in crate::typed::all() {
        let cells = strategy.row(&json!({"metadata": {"name": "a"}}), NOW);
        assert_eq!(cells.len(), strategy.columns().len(), "{api_version} {kind}");
        assert!(strategy.columns().iter().any(|column| column.format == "name"), "{api_version} {kind}");
    }
}

fn pod(spec: Value, status: Value) -> Value {
    json!({"metadata": {"name": "p", "creationTimestamp": "2026-01-02T03:00:05Z"}, "spec": spec, "status": status})
}

#[test]
fn the_status_of_a_pod_says_what_matters_most() {
    let one = json!({"containers": [{"name": "c"}]});
    let two = json!({"containers": [{"name": "c"}, {"name": "d"}]});
    let init = json!({"containers": [{"name": "c"}], "initContainers": [{"name": "a"}, {"name": "b"}]});
    let sidecar =
        json!({"containers": [{"name": "c"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]});
    let running = json!({"name": "c", "ready": true, "restartCount": 0, "state": {"running": {}}});
    let ended = |exit: i64, reason: &str, signal: i64| json!({"restartCount": 2, "state": {"terminated": {"exitCode": exit, "reason": reason, "signal": signal}}});
    let waiting = |reason: &str| json!({"restartCount": 3, "state": {"waiting": {"reason": reason}}});
    for (spec, status, ready, shown, restarts) in [
        (&one, json!({"phase": "Pending"}), "0/1", "Pending", "0"),
        (&one, json!({"phase": "Failed", "reason": "Evicted"}), "0/1", "Evicted", "0"),
        (&one, json!({"phase": "Running", "containerStatuses": [running]}), "1/1", "Running", "0"),
        (
            &one,
            json!({"phase": "Pending", "containerStatuses": [waiting("ImagePullBackOff")]}),
            "0/1",
            "ImagePullBackOff",
            "3",
        ),
        (
            &one,
            json!({"phase": "Succeeded", "containerStatuses": [ended(0, "Completed", 0)]}),
            "0/1",
            "Completed",
            "2",
        ),
        (&one, json!({"phase": "Failed", "containerStatuses": [ended(1, "", 0)]}), "0/1", "ExitCode:1", "2"),
        (&one, json!({"phase": "Failed", "containerStatuses": [ended(137, "", 9)]}), "0/1", "Signal:9", "2"),
        (
            &two,
            json!({"phase": "Running", "containerStatuses": [ended(0, "Completed", 0), running]}),
            "1/2",
            "NotReady",
            "2",
        ),
        (
            &two,
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [ended(0, "Completed", 0), running]}),
            "1/2",
            "Running",
            "2",
        ),
        (
            &init,
            json!({"phase": "Pending", "initContainerStatuses": [ended(0, "Completed", 0), waiting("PodInitializing")]}),
            "0/1",
            "Init:1/2",
            "5",
        ),
        (
            &init,
            json!({"phase": "Pending", "initContainerStatuses": [waiting("CrashLoopBackOff")]}),
            "0/1",
            "Init:CrashLoopBackOff",
            "3",
        ),
        (
            &init,
            json!({"phase": "Pending", "initContainerStatuses": [ended(2, "Error", 0)]}),
            "0/1",
            "Init:Error",
            "2",
        ),
        (
            &init,
            json!({"phase": "Pending", "initContainerStatuses": [ended(2, "", 9)]}),
            "0/1",
            "Init:Signal:9",
            "2",
        ),
        (
            &sidecar,
            json!({"phase": "Running", "containerStatuses": [running], "initContainerStatuses":
            [{"name": "s", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}}]}),
            "2/2",
            "Running",
            "1",
        ),
        (
            &one,
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
            "0/1",
            "SchedulingGated",
            "0",
        ),
    ] {
        let cells = row::<Pod>(&pod(spec.clone(), status.clone()));
        assert_eq!([&cells[1], &cells[2], &cells[3]], [ready, shown, restarts], "{status}");
        assert_eq!(cells[4], "4m");
    }
}

#[test]
fn a_deleted_pod_is_terminating_until_it_has_ended() {
    for (phase, shown) in [("Running", "Terminating"), ("Succeeded", "Succeeded")] {
        let mut pod = pod(json!({"containers": []}), json!({"phase": phase}));
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:00Z");
        assert_eq!(row::<Pod>(&pod)[2], shown);
    }
}

#[test]
fn restarts_say_when_the_last_one_was() {
    let status = json!({"restartCount": 4, "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-02T02:59:05Z"}}});
    let pod = pod(
        json!({"containers": [{"name": "c"}]}),
        json!({"phase": "Running", "containerStatuses": [status]}),
    );
    assert_eq!(row::<Pod>(&pod)[3], "4 (5m ago)");
}

#[test]
fn wide_output_of_pods_has_addresses_and_gates() {
    let pod = pod(
        json!({"containers": [], "nodeName": "n", "readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]}),
        json!({"podIP": "10.0.0.1", "conditions": [{"type": "a", "status": "True"}]}),
    );
    assert_eq!(row::<Pod>(&pod)[5..], ["10.0.0.1", "n", "<none>", "1/2"]);
    assert_eq!(heading::<Pod>(), "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES");
}

#[test]
fn a_node_shows_conditions_roles_and_versions() {
    let node = json!({
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": "true",
            "kubernetes.io/role": "edge", "a": "b"}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "kernelVersion": "6.1"}}
    });
    assert_eq!(
        row::<Node>(&node),
        [
            "n",
            "Ready,SchedulingDisabled",
            "control-plane,edge",
            "<unknown>",
            "v1.36.0",
            "10.0.0.2",
            "<none>",
            "<unknown>",
            "6.1",
            "<unknown>"
        ]
    );
    assert_eq!(row::<Node>(&json!({"metadata": {"name": "n"}}))[1..3], ["Unknown", "<none>"]);
}

#[test]
fn workloads_count_their_pods() {
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"replicas": 3,
        "selector": {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["y", "x"]}]},
        "template": {"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "j"}]}}},
        "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}});
    assert_eq!(
        row::<Deployment>(&deployment),
        ["d", "2/3", "3", "1", "<unknown>", "c,d", "i,j", "a=1,b=2,c in (x,y)"]
    );
    let job = json!({"metadata": {"name": "j"}, "spec": {"completions": 3, "template": {}},
        "status": {"succeeded": 3, "startTime": "2026-01-02T03:00:00Z", "completionTime": "2026-01-02T03:00:42Z",
            "conditions": [{"type": "Complete", "status": "True"}]}});
    assert_eq!(row::<Job>(&job)[1..4], ["Complete", "3/3", "42s"]);
}

#[test]
fn services_show_addresses_and_ports() {
    let spec = json!({"type": "NodePort", "clusterIP": "10.43.0.9", "ports":
        [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}], "selector": {"a": "b"}});
    let service = json!({"metadata": {"name": "s"}, "spec": spec});
    assert_eq!(row::<Service>(&service)[1..5], ["NodePort", "10.43.0.9", "<none>", "80:30080/TCP,53/UDP"]);
    let pending = json!({"metadata": {}, "spec": {"type": "LoadBalancer"}});
    assert_eq!(row::<Service>(&pending)[3], "<pending>");
    let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "ports": [{"port": 80}, {"name": "x"}],
        "endpoints": [{"addresses": ["1"]}, {"addresses": ["2"]}, {"addresses": ["3"]}, {"addresses": ["4"]}]});
    assert_eq!(row::<EndpointSlice>(&slice)[1..4], ["IPv4", "80,x", "1,2,3 + 1 more..."]);
}

#[test]
fn events_of_both_ways_of_counting_are_shown() {
    let old = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "f"},
        "reason": "Started", "message": " hello\n", "type": "Normal", "source": {"component": "kubelet", "host": "n"},
        "firstTimestamp": "2026-01-02T02:00:00Z", "lastTimestamp": "2026-01-02T03:04:00Z", "count": 4});
    assert_eq!(
        row::<Event>(&old),
        ["5s", "Normal", "Started", "pod/p", "f", "hello", "kubelet, n", "64m", "4", "e"]
    );
    let new = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p"}, "note": "x",
        "reportingController": "c", "eventTime": "2026-01-02T03:04:00.000000Z",
        "series": {"count": 7, "lastObservedTime": "2026-01-02T03:04:04.000000Z"}});
    let cells = row::<k8s_openapi::api::events::v1::Event>(&new);
    assert_eq!([&cells[0], &cells[3], &cells[5], &cells[6], &cells[8]], ["1s", "pod/p", "x", "c", "7"]);
}

#[test]
fn claims_and_autoscalers_are_readable() {
    let claim = json!({"metadata": {"name": "c"}, "spec": {"volumeName": "v", "storageClassName": "fast", "volumeMode": "Filesystem"},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"]}});
    assert_eq!(
        row::<PersistentVolumeClaim>(&claim),
        ["c", "Bound", "v", "1Gi", "RWO,RWX", "fast", "<unset>", "<unknown>", "Filesystem"]
    );
    let scaler = json!({"metadata": {"name": "h"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"},
        "minReplicas": 1, "maxReplicas": 5, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
            {"type": "Pods", "pods": {"target": {"averageValue": "10"}}}]},
        "status": {"currentReplicas": 2, "currentMetrics": [{"type": "Resource", "resource":
            {"name": "cpu", "current": {"averageUtilization": 12}}}]}});
    assert_eq!(
        row::<HorizontalPodAutoscaler>(&scaler)[1..6],
        ["Deployment/d", "cpu: 12%/80%, <unknown>/10", "1", "5", "2"]
    );
}
