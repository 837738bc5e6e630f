use super::*;
use crate::pods::state::{Record, Sandbox};
use serde_json::json;

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec}))
        .unwrap()
}

fn sandbox(ready: bool, attempt: u32) -> Sandbox {
    Sandbox { id: format!("s{attempt}"), attempt, ready, created_ns: 0, ips: vec!["10.42.0.2".into()] }
}

fn record(pod: &Pod, name: &str, state: RunState, exit_code: i32) -> Record {
    let spec = pod_spec(pod);
    let container = crate::spec::all_containers(spec).map(|(c, _)| c).find(|c| c.name == name).unwrap();
    Record {
        id: format!("id-{name}"),
        name: name.to_owned(),
        sandbox_id: "s0".to_owned(),
        attempt: 0,
        restart_count: 0,
        hash: labels::container_hash(container),
        state,
        created_at: now(),
        started_at: now(),
        finished_at: now(),
        exit_code,
        reason: String::new(),
        message: String::new(),
        image: String::new(),
        image_ref: String::new(),
        user: None,
        log_path: String::new(),
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn run(pod: &Pod, sandboxes: Vec<Sandbox>, records: Vec<Record>) -> Plan {
    run_with(pod, sandboxes, records, &Backoffs::default(), &[], true)
}

fn run_with(
    pod: &Pod,
    sandboxes: Vec<Sandbox>,
    records: Vec<Record>,
    backoffs: &Backoffs,
    failed_probes: &[(String, &'static str)],
    started: bool,
) -> Plan {
    let state = PodState { sandboxes, records };
    plan(&Inputs { pod, state: &state, backoffs, failed_probes, started: &|_| started, now: now() })
}

#[test]
fn a_new_pod_gets_a_sandbox_and_all_main_containers() {
    let pod = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let got = run(&pod, vec![], vec![]);
    assert_eq!((got.new_sandbox, got.start), (Some(0), vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn init_containers_run_one_after_the_other_before_the_main_ones() {
    let pod = pod(json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]}));
    assert_eq!(run(&pod, vec![], vec![]).start, ["i"]);
    let of = |records| run(&pod, vec![sandbox(true, 0)], records).start;
    assert!(of(vec![record(&pod, "i", RunState::Running, 0)]).is_empty());
    assert_eq!(of(vec![record(&pod, "i", RunState::Exited, 0)]), ["j"]);
    assert_eq!(of(vec![record(&pod, "i", RunState::Exited, 1)]), ["i"]);
    let both = || vec![record(&pod, "i", RunState::Exited, 0), record(&pod, "j", RunState::Exited, 0)];
    assert_eq!(of(both()), ["a"]);
    let mut crashed = both();
    crashed.push(record(&pod, "a", RunState::Exited, 1));
    assert_eq!(of(crashed), ["a"]);
}

#[test]
fn a_failed_init_container_of_a_never_pod_ends_it() {
    let pod = pod(
        json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}),
    );
    let got = run(&pod, vec![sandbox(true, 0)], vec![record(&pod, "i", RunState::Exited, 1)]);
    assert!(got.finished && got.start.is_empty());
}

#[test]
fn a_sidecar_starts_first_stays_and_is_stopped_when_the_main_containers_are_done() {
    let pod = pod(json!({"restartPolicy": "Never",
        "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}], "containers": [{"name": "a"}]}));
    let side = || record(&pod, "s", RunState::Running, 0);
    let up = || vec![sandbox(true, 0)];
    assert_eq!(run(&pod, vec![], vec![]).start, ["s"]);
    assert!(run_with(&pod, up(), vec![side()], &Backoffs::default(), &[], false).start.is_empty());
    assert_eq!(run(&pod, up(), vec![side()]).start, ["i"]);
    let init = || record(&pod, "i", RunState::Exited, 0);
    assert_eq!(run(&pod, up(), vec![side(), init()]).start, ["a"]);
    let crashed = record(&pod, "s", RunState::Exited, 1);
    assert_eq!(run(&pod, up(), vec![crashed, init(), record(&pod, "a", RunState::Running, 0)]).start, ["s"]);
    let got = run(&pod, up(), vec![side(), init(), record(&pod, "a", RunState::Exited, 0)]);
    assert_eq!((got.finished, got.kill.len()), (false, 1));
}

#[test]
fn restart_policies_decide_after_an_exit() {
    for (policy, code, again) in [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 0, false),
        ("Never", 1, false),
    ] {
        let pod = pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
        let got = run(&pod, vec![sandbox(true, 0)], vec![record(&pod, "a", RunState::Exited, code)]);
        assert_eq!((got.start.len() == 1, got.finished), (again, !again), "{policy} {code}");
    }
}

#[test]
fn a_crashing_container_waits_for_its_back_off() {
    let pod = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let mut backoffs = Backoffs::default();
    backoffs.next("a", now(), now());
    let records = vec![record(&pod, "a", RunState::Exited, 1), record(&pod, "b", RunState::Running, 0)];
    let got = run_with(&pod, vec![sandbox(true, 0)], records, &backoffs, &[], true);
    assert!(got.start.is_empty());
    assert_eq!(got.wake(), Some(Duration::from_secs(10)));
}

#[test]
fn a_dead_sandbox_is_replaced_with_everything_in_it() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let got = run(&pod, vec![sandbox(false, 3)], vec![record(&pod, "a", RunState::Exited, 137)]);
    assert_eq!((got.new_sandbox, got.start), (Some(4), vec!["a".to_owned()]));
}

#[test]
fn a_finished_pod_gets_no_new_sandbox() {
    let pod = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}));
    let got = run(&pod, vec![sandbox(false, 0)], vec![record(&pod, "a", RunState::Exited, 0)]);
    assert_eq!(got, Plan { finished: true, ..Plan::default() });
}

#[test]
fn failed_probes_and_changed_images_stop_a_container() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "x:1"}]}));
    let running = record(&pod, "a", RunState::Running, 0);
    let failed = [("id-a".to_owned(), "liveness")];
    let got =
        run_with(&pod, vec![sandbox(true, 0)], vec![running.clone()], &Backoffs::default(), &failed, true);
    assert_eq!(got.kill[0].message, "Container a failed liveness probe, will be restarted");
    let other = Record { hash: "other".into(), ..running };
    let got = run(&pod, vec![sandbox(true, 0)], vec![other]);
    assert_eq!(got.kill[0].message, "Container a definition changed, will be restarted");
}
