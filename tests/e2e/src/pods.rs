//! What a pod asks for is what its containers get, and what happens to them is what its status says.

use crate::shared::{SOON, namespace, run_script, script_pod};
use copepod_test_support::images::{BUSYBOX, SERVER};
use copepod_test_support::until;

#[test]
fn command_arguments_environment_and_directory_are_as_asked() {
    let namespace = namespace("command");
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: a, labels: {{colour: red}}}}, spec: {{restartPolicy: Never, \
         hostname: own-name, containers: [{{name: main, image: {SERVER}, workingDir: /tmp, \
         args: [print, $(GREETING) $(NAME), $$(NAME), $(UNKNOWN)], \
         resources: {{limits: {{cpu: 250m, memory: 48Mi}}}}, env: [\
         {{name: NAME, value: world}}, {{name: GREETING, value: 'hello $(NAME)'}}, \
         {{name: POD, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}, \
         {{name: COLOUR, valueFrom: {{fieldRef: {{fieldPath: \"metadata.labels['colour']\"}}}}}}, \
         {{name: NODE, valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}}}, \
         {{name: ADDRESS, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}, \
         {{name: MEMORY, valueFrom: {{resourceFieldRef: {{resource: limits.memory, divisor: 1Mi}}}}}}, \
         {{name: CPU, valueFrom: {{resourceFieldRef: {{resource: limits.cpu, divisor: 1m}}}}}}]}}]}}}}"
    ));
    namespace.wait("pod/a", "jsonpath={.status.phase}=Succeeded");
    let log = namespace.ok(&["logs", "a"]);
    let address = namespace.field("pod/a", "{.status.podIP}");
    let node = namespace.cluster().node();
    for line in [
        "arg hello world world",
        "arg $(NAME)",
        "arg $(UNKNOWN)",
        "cwd /tmp",
        "user 0:0",
        "hostname own-name",
        "env FROM_IMAGE=yes",
        "env POD=a",
        "env COLOUR=red",
        &format!("env NODE={node}"),
        &format!("env ADDRESS={address}"),
        "env MEMORY=48",
        "env CPU=250",
        "env HOSTNAME=own-name",
    ] {
        assert!(log.lines().any(|found| found == line), "{line:?} is missing in\n{log}");
    }
}

#[test]
fn the_images_own_command_is_used_unless_replaced() {
    let namespace = namespace("entrypoint");
    namespace.server("plain", &["serve"]);
    namespace.create(&script_pod("replaced", "echo replaced $0"));
    namespace.wait("pod/replaced", "jsonpath={.status.phase}=Succeeded");
    assert_eq!(namespace.text(&["logs", "replaced"]), "replaced sh");
}

#[test]
fn config_maps_and_secrets_become_environment() {
    let namespace = namespace("environment");
    namespace.ok(&["create", "configmap", "settings", "--from-literal=A=1", "--from-literal=B=2"]);
    namespace.ok(&["create", "secret", "generic", "hidden", "--from-literal=password=s3cret"]);
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{restartPolicy: Never, containers: [{{name: main, \
         image: {SERVER}, args: [print], envFrom: [{{prefix: S_, configMapRef: {{name: settings}}}}], env: [\
         {{name: PASSWORD, valueFrom: {{secretKeyRef: {{name: hidden, key: password}}}}}}, \
         {{name: MAYBE, valueFrom: {{configMapKeyRef: {{name: nowhere, key: x, optional: true}}}}}}]}}]}}}}"
    ));
    namespace.wait("pod/a", "jsonpath={.status.phase}=Succeeded");
    let log = namespace.ok(&["logs", "a"]);
    assert!(
        log.contains("env S_A=1\n") && log.contains("env S_B=2\n") && log.contains("env PASSWORD=s3cret\n"),
        "{log}"
    );
    assert!(!log.contains("MAYBE"), "{log}");

    // One that is missing holds the container back until it is there.
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: late}}, spec: {{containers: [{{name: main, image: {SERVER}, \
         envFrom: [{{configMapRef: {{name: late}}}}]}}]}}}}"
    ));
    let reason = "{.status.containerStatuses[0].state.waiting.reason}";
    namespace.wait("pod/late", &format!("jsonpath={reason}=CreateContainerConfigError"));
    namespace.ok(&["create", "configmap", "late", "--from-literal=C=3"]);
    namespace.wait("pod/late", "condition=Ready");
}

#[test]
fn a_failing_container_is_restarted_with_growing_pauses() {
    let namespace = namespace("backoff");
    namespace.ok(&["run", "crash", "--image", SERVER, "--", "exit", "3"]);
    let status = "{.status.containerStatuses[0]";
    namespace.wait("pod/crash", &format!("jsonpath={status}.state.waiting.reason}}=CrashLoopBackOff"));
    assert_eq!(namespace.field("pod/crash", &format!("{status}.lastState.terminated.exitCode}}")), "3");
    assert_eq!(namespace.field("pod/crash", &format!("{status}.lastState.terminated.reason}}")), "Error");
    assert_eq!(namespace.field("pod/crash", "{.status.phase}"), "Running");
    // The first restart is immediate, the second waits ten seconds.
    let restarts = namespace.field("pod/crash", &format!("{status}.restartCount}}"));
    assert!(restarts == "1" || restarts == "2", "{restarts}");
    let table = namespace.ok(&["get", "pod", "crash"]);
    assert!(table.contains("CrashLoopBackOff"), "{table}");
    namespace
        .run(&["get", "events", "--field-selector=reason=BackOff"])
        .prints("Back-off restarting failed container");
}

#[test]
fn restart_policies_differ_in_what_they_restart() {
    let namespace = namespace("restart");
    let pod = |name: &str, policy: &str, code: u32| {
        namespace.ok(&[
            "run",
            name,
            "--image",
            SERVER,
            &format!("--restart={policy}"),
            "--",
            "exit",
            &code.to_string(),
        ]);
    };
    pod("never-bad", "Never", 7);
    pod("never-good", "Never", 0);
    pod("on-failure-good", "OnFailure", 0);
    pod("on-failure-bad", "OnFailure", 1);
    let status = "{.status.containerStatuses[0]";
    namespace.wait("pod/never-bad", "jsonpath={.status.phase}=Failed");
    assert_eq!(namespace.field("pod/never-bad", &format!("{status}.state.terminated.exitCode}}")), "7");
    for good in ["pod/never-good", "pod/on-failure-good"] {
        namespace.wait(good, "jsonpath={.status.phase}=Succeeded");
        assert_eq!(namespace.field(good, &format!("{status}.restartCount}}")), "0");
        assert_eq!(namespace.field(good, &format!("{status}.state.terminated.reason}}")), "Completed");
    }
    until("a failure is restarted", SOON, || {
        namespace.field("pod/on-failure-bad", &format!("{status}.restartCount}}")) != "0"
    });
}

#[test]
fn limits_reach_the_control_group() {
    let namespace = namespace("limits");
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{terminationGracePeriodSeconds: 1, containers: [{{\
         name: main, image: {BUSYBOX}, command: [sleep, '1000'], resources: {{requests: {{cpu: 50m, memory: 16Mi}}, \
         limits: {{cpu: 200m, memory: 32Mi}}}}}}]}}}}"
    ));
    namespace.wait("pod/a", "condition=Ready");
    let read = |v2: &str, v1: &str| {
        let script = format!("cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{v1}");
        namespace.text(&["exec", "a", "--", "sh", "-c", &script])
    };
    assert_eq!(read("memory.max", "memory/memory.limit_in_bytes"), (32 << 20).to_string());
    let quota = read("cpu.max", "cpu/cpu.cfs_quota_us");
    assert!(quota == "20000 100000" || quota == "20000", "{quota}");
    assert_eq!(namespace.field("pod/a", "{.status.qosClass}"), "Burstable");

    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: greedy}}, spec: {{restartPolicy: Never, containers: [{{\
         name: main, image: {SERVER}, args: [alloc, '200'], resources: {{limits: {{memory: 32Mi}}}}}}]}}}}"
    ));
    namespace.wait("pod/greedy", "jsonpath={.status.phase}=Failed");
    let ended = "{.status.containerStatuses[0].state.terminated.reason} {.status.containerStatuses[0].state.terminated.exitCode}";
    assert_eq!(namespace.field("pod/greedy", ended), "OOMKilled 137");
}

#[test]
fn deletion_gives_containers_their_grace_and_no_more() {
    let namespace = namespace("grace");
    namespace.server("polite", &["--term-delay-ms", "700", "serve"]);
    namespace.server("stubborn", &["--ignore-term", "serve"]);
    let mut log = namespace.start(&["logs", "--follow", "polite"]);
    log.line(SOON, "serving");
    namespace.ok(&["delete", "pod", "polite", "--wait=false"]);
    log.line(SOON, "got SIGTERM");
    namespace.run(&["get", "pod", "polite"]).prints("Terminating");
    log.line(SOON, "bye");
    namespace.wait("pod/polite", "delete");

    // Two seconds instead of the pod's five; the rest is for a busy machine.
    let start = std::time::Instant::now();
    namespace.ok(&["delete", "pod", "stubborn", "--grace-period=2"]);
    let took = start.elapsed().as_secs_f64();
    assert!((2.0..12.0).contains(&took), "deletion took {took} s");
    namespace.server("forced", &["--ignore-term", "serve"]);
    namespace.ok(&["delete", "pod", "forced", "--grace-period=0", "--force"]);
}

#[test]
fn init_containers_run_one_after_the_other_before_the_rest() {
    let namespace = namespace("init");
    let step = |name: &str, script: &str| {
        format!(
            "{{name: {name}, image: {BUSYBOX}, command: [sh, -c, '{script}'], volumeMounts: [{{name: shared, mountPath: \
             /shared}}]}}"
        )
    };
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{restartPolicy: Never, volumes: [{{name: shared, \
         emptyDir: {{}}}}], initContainers: [{}, {}], containers: [{}, {}]}}}}",
        step("first", "echo first >>/shared/order"),
        step("second", "echo second >>/shared/order"),
        step("main", "cat /shared/order"),
        step("beside", "true"),
    ));
    namespace.wait("pod/a", "jsonpath={.status.phase}=Succeeded");
    assert_eq!(namespace.text(&["logs", "a", "-c", "main"]), "first\nsecond");
    let states = "{.status.initContainerStatuses[*].state.terminated.reason}";
    assert_eq!(namespace.field("pod/a", states), "Completed Completed");
    let failing = script_pod("broken", "echo never").replace(
        "containers:",
        &format!(
            "initContainers: [{}], containers:",
            step("bad", "exit 4").replace(", volumeMounts: [{name: shared, mountPath: /shared}]", "")
        ),
    );
    namespace.create(&failing);
    namespace.wait("pod/broken", "jsonpath={.status.phase}=Failed");
    assert!(namespace.ok(&["get", "pod", "broken"]).contains("Init:Error"));
}

#[test]
fn status_tells_what_kubernetes_tells() {
    let namespace = namespace("status");
    namespace.server("a", &["serve"]);
    let pod = namespace.json(&["pod", "a"]);
    let conditions = pod["status"]["conditions"].as_array().expect("conditions");
    for kind in ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"] {
        assert!(
            conditions.iter().any(|found| found["type"] == kind && found["status"] == "True"),
            "{kind}: {conditions:?}"
        );
    }
    let status = &pod["status"];
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["qosClass"], "BestEffort");
    assert_eq!(status["hostIP"], status["hostIPs"][0]["ip"]);
    assert_eq!(status["podIP"], status["podIPs"][0]["ip"]);
    assert!(status["podIP"].as_str().is_some_and(|ip| ip.starts_with("10.42.")), "{status}");
    let container = &status["containerStatuses"][0];
    assert_eq!((&container["ready"], &container["started"]), (&true.into(), &true.into()));
    assert!(
        container["containerID"].as_str().is_some_and(|id| id.starts_with("containerd://")),
        "{container}"
    );
    assert!(container["imageID"].as_str().is_some_and(|id| id.contains("sha256:")), "{container}");
    let wide = namespace.ok(&["get", "pod", "a", "-o", "wide"]);
    assert!(wide.contains("1/1") && wide.contains(namespace.cluster().node()), "{wide}");
    for reason in ["Scheduled", "Created", "Started"] {
        namespace.run(&["events", "--for", "pod/a"]).prints(reason);
    }
}

#[test]
fn an_image_that_cannot_be_had_is_reported_and_retried() {
    let namespace = namespace("pull");
    namespace.ok(&["run", "never", "--image=copepod.io/test/absent:1", "--image-pull-policy=Never"]);
    namespace.ok(&["run", "absent", "--image=127.0.0.1:1/absent:1"]);
    let reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}";
    namespace.wait("pod/never", &format!("{reason}=ErrImageNeverPull"));
    namespace.wait("pod/absent", &format!("{reason}=ImagePullBackOff"));
    assert_eq!(namespace.field("pod/absent", "{.status.phase}"), "Pending");
    namespace
        .run(&["get", "events", "--field-selector=involvedObject.name=absent"])
        .prints("Failed to pull image");
    namespace.create(&script_pod("bad", "true").replace(BUSYBOX, "'NOT/a:valid:name'"));
    namespace.wait("pod/bad", &format!("{reason}=InvalidImageName"));
}

#[test]
fn what_fits_nowhere_waits_and_says_why() {
    let namespace = namespace("pending");
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: big}}, spec: {{containers: [{{name: main, image: {BUSYBOX}, \
         resources: {{requests: {{cpu: '1000'}}}}}}]}}}}"
    ));
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: picky}}, spec: {{nodeSelector: {{planet: mars}}, \
         terminationGracePeriodSeconds: 1, containers: [{{name: main, image: {BUSYBOX}, command: [sleep, '1000']}}]}}}}"
    ));
    for (pod, text) in [
        ("pod/big", "0/1 nodes are available: 1 Insufficient cpu."),
        ("pod/picky", "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."),
    ] {
        namespace.wait(pod, "condition=PodScheduled=False");
        let message = namespace.field(pod, "{.status.conditions[?(@.type=='PodScheduled')].message}");
        assert!(message.starts_with(text), "{message}");
        namespace.run(&["events", "--for", pod]).prints("FailedScheduling");
    }
    let node = namespace.cluster().node();
    namespace.ok(&["label", "node", node, "planet=mars"]);
    namespace.wait("pod/picky", "condition=Ready");
    namespace.ok(&["label", "node", node, "planet-"]);
}

#[test]
fn security_settings_reach_the_process() {
    let namespace = namespace("security");
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{restartPolicy: Never, securityContext: {{runAsUser: \
         1000, runAsGroup: 2000, fsGroup: 3000}}, containers: [{{name: main, image: {BUSYBOX}, command: [sh, -c, \
         'id; touch /x || echo read-only; grep NoNewPrivs /proc/self/status'], securityContext: {{\
         readOnlyRootFilesystem: true, allowPrivilegeEscalation: false}}}}]}}}}"
    ));
    namespace.wait("pod/a", "jsonpath={.status.phase}=Succeeded");
    let log = namespace.ok(&["logs", "a"]);
    assert!(log.contains("uid=1000 gid=2000") && log.contains("3000"), "{log}");
    assert!(log.contains("read-only") && log.contains("NoNewPrivs:\t1"), "{log}");
}

#[test]
fn hosts_and_resolver_files_are_the_pods_own() {
    let namespace = namespace("files");
    let log = run_script(&namespace, "a", "cat /etc/hosts /etc/resolv.conf; hostname");
    let address = namespace.field("pod/a", "{.status.podIP}");
    assert!(log.contains(&format!("{address}\ta")), "{log}");
    assert!(log.contains("nameserver 10.43.0.10") && log.contains("svc.cluster.local"), "{log}");
    assert!(log.ends_with("\na"), "{log}");
}
