use super::*;
use crate::pods::state::{Record, RunState, Sandbox};
use crate::spec::{dns::NodeDns, labels, pod_spec, resources::NodeResources};
use copepod_net::cgroup::{Cgroups, Driver, Group};
use k8s_openapi::api::core::v1::ContainerStatus;
use serde_json::{Value, json};

fn node() -> NodeFacts {
    NodeFacts {
        name: "n1".into(),
        runtime_name: "containerd".into(),
        host_ips: vec!["192.0.2.1".into()],
        resources: NodeResources::default(),
        dns: NodeDns::default(),
        cgroups: Cgroups::detect(Driver::Cgroupfs).unwrap(),
        cgroup_root: Group::new(["t"]),
        pods_dir: "/p".into(),
        logs_dir: "/l".into(),
        seccomp_dir: "/s".into(),
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 3},
        "spec": spec}))
    .unwrap()
}

struct Case {
    pod: Pod,
    last: Option<PodStatus>,
    state: PodState,
    health: Health,
    waiting: BTreeMap<String, Reason>,
    failure: Option<Failure>,
    terminal: bool,
}

impl Case {
    fn new(pod: Pod) -> Self {
        let healthy = Health { started: true, ready: true };
        Self {
            pod,
            last: None,
            state: PodState::default(),
            health: healthy,
            waiting: BTreeMap::new(),
            failure: None,
            terminal: false,
        }
    }

    fn sandbox(mut self) -> Self {
        let ips = vec!["10.42.0.2".into()];
        self.state.put_sandbox(Sandbox { id: "s0".into(), attempt: 0, ready: true, created_ns: 0, ips });
        self
    }

    fn record(mut self, name: &str, attempt: u32, state: RunState, exit_code: i32) -> Self {
        let spec = pod_spec(&self.pod);
        let container = crate::spec::all_containers(spec).map(|(c, _)| c).find(|c| c.name == name).unwrap();
        let record = Record {
            id: format!("{name}-{attempt}"),
            name: name.into(),
            sandbox_id: "s0".into(),
            attempt,
            restart_count: attempt,
            hash: labels::container_hash(container),
            state,
            created_at: Timestamp::from_second(1_600_000_000 + i64::from(attempt)).unwrap(),
            started_at: now(),
            finished_at: now(),
            exit_code,
            reason: if state == RunState::Exited && exit_code == 137 {
                "OOMKilled".into()
            } else {
                String::new()
            },
            message: String::new(),
            image: "img:1".into(),
            image_ref: "img@sha256:00".into(),
            user: None,
            log_path: String::new(),
        };
        self.state.put(record);
        self
    }

    fn waits(mut self, name: &str, reason: &str) -> Self {
        self.waiting.insert(name.into(), Reason { reason: reason.into(), message: "why".into() });
        self
    }

    fn compute(&self) -> PodStatus {
        compute(&Inputs {
            pod: &self.pod,
            last: self.last.as_ref(),
            state: &self.state,
            node: &node(),
            health: &|_| self.health,
            waiting: &self.waiting,
            failure: self.failure.as_ref(),
            terminal: self.terminal,
            now: now(),
        })
    }
}

fn phase(case: Case) -> String {
    case.compute().phase.unwrap()
}

fn condition(status: &PodStatus, type_: &str) -> (String, String, String) {
    let found = list(&status.conditions).iter().find(|c| c.type_ == type_).unwrap();
    (
        found.status.clone(),
        found.reason.clone().unwrap_or_default(),
        found.message.clone().unwrap_or_default(),
    )
}

fn reason(status: &ContainerStatus) -> String {
    let state = status.state.clone().unwrap();
    let reason = state.waiting.and_then(|w| w.reason).or(state.terminated.and_then(|t| t.reason));
    reason.unwrap_or_else(|| "running".into())
}

fn one() -> Pod {
    pod(json!({"containers": [{"name": "a", "image": "img:1"}]}))
}

#[test]
fn a_new_pod_is_pending_and_its_containers_are_being_created() {
    let status = Case::new(one()).compute();
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(reason(&list(&status.container_statuses)[0]), "ContainerCreating");
    assert_eq!(condition(&status, "PodReadyToStartContainers").0, "False");
    assert_eq!(condition(&status, "Initialized").0, "True");
    assert_eq!(
        condition(&status, "Ready"),
        ("False".into(), "ContainersNotReady".into(), "containers with unready status: [a]".into())
    );
    assert_eq!((status.host_ip.as_deref(), status.pod_ip), (Some("192.0.2.1"), None));
    assert_eq!((status.observed_generation, status.qos_class.as_deref()), (Some(3), Some("BestEffort")));
}

#[test]
fn a_running_pod_has_ids_addresses_and_true_conditions() {
    let status = Case::new(one()).sandbox().record("a", 0, RunState::Running, 0).compute();
    let container = &list(&status.container_statuses)[0];
    assert_eq!(container.container_id.as_deref(), Some("containerd://a-0"));
    assert_eq!((container.image.as_str(), container.image_id.as_str()), ("img:1", "img@sha256:00"));
    assert!(container.ready && container.started == Some(true));
    assert_eq!(status.pod_ip.as_deref(), Some("10.42.0.2"));
    for type_ in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
        assert_eq!(condition(&status, type_).0, "True", "{type_}");
    }
}

#[test]
fn phases_follow_policy_and_exit_codes() {
    let with =
        |policy: &str| pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]}));
    let ended = |policy: &str, a: i32, b: i32| {
        let case = Case::new(with(policy)).sandbox();
        phase(case.record("a", 0, RunState::Exited, a).record("b", 0, RunState::Exited, b))
    };
    assert_eq!(ended("Never", 0, 0), "Succeeded");
    assert_eq!(ended("Never", 0, 1), "Failed");
    assert_eq!(ended("OnFailure", 0, 0), "Succeeded");
    assert_eq!(ended("OnFailure", 0, 1), "Running");
    assert_eq!(ended("Always", 0, 0), "Running");
    let half = Case::new(with("Never")).sandbox();
    assert_eq!(
        phase(half.record("a", 0, RunState::Exited, 0).record("b", 0, RunState::Running, 0)),
        "Running"
    );
    let pulling = Case::new(with("Never")).sandbox();
    assert_eq!(phase(pulling.record("a", 0, RunState::Running, 0)), "Pending");
}

#[test]
fn a_crash_loop_shows_the_wait_and_the_last_end() {
    let case =
        Case::new(one()).sandbox().record("a", 0, RunState::Exited, 1).record("a", 1, RunState::Exited, 137);
    let plain = case.compute();
    let container = &list(&plain.container_statuses)[0];
    assert_eq!((reason(container).as_str(), container.restart_count), ("OOMKilled", 1));
    assert_eq!(container.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 1);
    let status = case.waits("a", "CrashLoopBackOff").compute();
    let container = &list(&status.container_statuses)[0];
    assert_eq!(reason(container), "CrashLoopBackOff");
    assert_eq!(container.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 137);
    assert_eq!(status.phase.as_deref(), Some("Running"));
}

#[test]
fn a_missing_image_keeps_the_pod_pending() {
    let status = Case::new(one()).sandbox().waits("a", "ImagePullBackOff").compute();
    assert_eq!(reason(&list(&status.container_statuses)[0]), "ImagePullBackOff");
    assert_eq!(status.phase.as_deref(), Some("Pending"));
}

#[test]
fn init_containers_hold_the_others_back() {
    let with = |policy: &str| {
        pod(
            json!({"restartPolicy": policy, "initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]}),
        )
    };
    let status = Case::new(with("Always")).sandbox().record("i", 0, RunState::Exited, 0).compute();
    assert_eq!(
        condition(&status, "Initialized"),
        ("False".into(), "ContainersNotInitialized".into(), "containers with incomplete status: [j]".into())
    );
    assert_eq!(reason(&list(&status.container_statuses)[0]), "PodInitializing");
    let init = list(&status.init_container_statuses);
    assert!(init[0].ready && reason(&init[0]) == "Completed" && !init[1].ready);
    assert_eq!(phase(Case::new(with("Never")).sandbox().record("i", 0, RunState::Exited, 2)), "Failed");
    assert_eq!(phase(Case::new(with("Always")).sandbox().record("i", 0, RunState::Exited, 2)), "Pending");
}

#[test]
fn readiness_counts_probes_and_gates() {
    let mut case = Case::new(one()).sandbox().record("a", 0, RunState::Running, 0);
    case.health = Health { started: true, ready: false };
    let status = case.compute();
    assert!(!list(&status.container_statuses)[0].ready);
    assert_eq!(condition(&status, "ContainersReady").1, "ContainersNotReady");
    case.health.ready = true;
    case.pod.spec.as_mut().unwrap().readiness_gates =
        serde_json::from_value(json!([{"conditionType": "x/y"}])).unwrap();
    assert_eq!(
        condition(&case.compute(), "Ready"),
        (
            "False".into(),
            "ReadinessGatesNotReady".into(),
            "corresponding condition of pod readiness gate \"x/y\" does not exist.".into()
        )
    );
    case.pod.status =
        Some(serde_json::from_value(json!({"conditions": [{"type": "x/y", "status": "True"}]})).unwrap());
    let status = case.compute();
    assert_eq!(condition(&status, "Ready").0, "True");
    // Conditions of others are kept.
    assert_eq!(condition(&status, "x/y").0, "True");
}

#[test]
fn times_of_conditions_change_only_with_their_status() {
    let mut case = Case::new(one());
    let mut first = case.compute();
    let long_ago = Some(Time(Timestamp::from_second(1_000_000_000).unwrap()));
    for condition in first.conditions.as_mut().unwrap() {
        condition.last_transition_time.clone_from(&long_ago);
    }
    case.last = Some(first);
    let status = case.sandbox().compute();
    let time = |type_: &str| {
        list(&status.conditions).iter().find(|c| c.type_ == type_).unwrap().last_transition_time.clone()
    };
    assert_eq!(time("Ready"), long_ago);
    assert_eq!(time("PodReadyToStartContainers"), Some(Time(now())));
}

#[test]
fn a_deleted_pod_ends_as_failed_or_succeeded_by_its_exit_codes() {
    let ended = |code: i32| {
        let mut case = Case::new(one()).record("a", 0, RunState::Exited, code);
        case.terminal = true;
        phase(case)
    };
    assert_eq!((ended(0).as_str(), ended(143).as_str()), ("Succeeded", "Failed"));
}

#[test]
fn a_rejected_pod_fails_with_the_reason() {
    let mut case = Case::new(one());
    case.failure = Some(Failure { reason: "OutOfcpu".into(), message: "m".into() });
    let status = case.compute();
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("OutOfcpu")));
    assert_eq!(condition(&status, "Ready").1, "PodFailed");
}

#[test]
fn an_end_is_final_even_when_the_runtime_has_forgotten_it() {
    let mut case =
        Case::new(pod(json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "img:1"}]})));
    let mut done = Case::new(case.pod.clone()).sandbox().record("a", 0, RunState::Exited, 0);
    done.terminal = true;
    case.last = Some(done.compute());
    case.terminal = true;
    let status = case.compute();
    assert_eq!(status.phase.as_deref(), Some("Succeeded"));
    assert_eq!(reason(&list(&status.container_statuses)[0]), "Completed");
}

#[test]
fn the_restart_count_never_falls() {
    let mut case = Case::new(one());
    case.last = Some(Case::new(one()).sandbox().record("a", 4, RunState::Running, 0).compute());
    let status = case.sandbox().record("a", 0, RunState::Running, 0).compute();
    assert_eq!(list(&status.container_statuses)[0].restart_count, 4);
}
