//! `kubectl logs` with every flag.

use crate::shared::{SOON, namespace, script_pod};
use copepod_test_support::Version;
use copepod_test_support::images::{BUSYBOX, SERVER};
use std::time::Duration;

#[test]
fn a_finished_log_is_read_whole_or_in_part() {
    let namespace = namespace("logs");
    namespace.create(&script_pod("a", "for i in $(seq 20); do echo line $i; done; printf 'no end of line'"));
    namespace.wait("pod/a", "jsonpath={.status.phase}=Succeeded");
    for version in [Version::Current, Version::Old] {
        let kubectl = namespace.with(version);
        let all = kubectl.ok(&["logs", "a"]);
        assert_eq!(all.lines().count(), 21, "{all}");
        assert!(all.starts_with("line 1\nline 2\n") && all.ends_with("line 20\nno end of line"), "{all}");
        assert_eq!(kubectl.ok(&["logs", "a", "--tail=2"]), "line 20\nno end of line");
        assert_eq!(kubectl.ok(&["logs", "a", "--tail=0"]), "");
        assert_eq!(kubectl.ok(&["logs", "a", "--limit-bytes=10"]), "line 1\nlin");
        let stamped = kubectl.ok(&["logs", "a", "--timestamps", "--tail=1"]);
        let (time, text) = stamped.split_once(' ').expect("a time before the text");
        assert!(time.starts_with("20") && time.contains('T') && text == "no end of line", "{stamped}");
        assert_eq!(kubectl.ok(&["logs", "a", "--since=1h"]), all);
        assert_eq!(kubectl.ok(&["logs", "a", "--since-time=2100-01-01T00:00:00Z"]), "");
        assert_eq!(kubectl.ok(&["logs", "-f", "a"]), all);
    }
}

#[test]
fn since_leaves_out_what_is_older() {
    let namespace = namespace("since");
    namespace.create(&script_pod("a", "echo old; sleep 4; echo new; sleep 1000"));
    let mut log = namespace.start(&["logs", "-f", "--pod-running-timeout=60s", "a"]);
    namespace.wait("pod/a", "condition=Ready");
    if log.line_where(SOON, |_| true) != "old" {
        log = namespace.start(&["logs", "-f", "a"]);
    }
    log.line(SOON, "new");
    assert_eq!(namespace.text(&["logs", "a", "--since=2s"]), "new");
    let stamped = namespace.ok(&["logs", "a", "--timestamps", "--tail=1"]);
    let since = format!("--since-time={}", stamped.split(' ').next().unwrap_or_default());
    assert_eq!(namespace.text(&["logs", "a", &since]), "new");
}

#[test]
fn following_shows_lines_as_they_come_and_ends_with_the_container() {
    let namespace = namespace("follow");
    namespace.server("endless", &["log", "0", "100"]);
    for version in [Version::Current, Version::Old] {
        let mut log = namespace.with(version).start(&["logs", "--follow", "--tail=1", "endless"]);
        let first = log.line_where(SOON, |line| line.starts_with("line "));
        let number: u32 = first.trim_start_matches("line ").parse().expect("a number");
        for next in number + 1..number + 20 {
            assert_eq!(log.line_where(SOON, |_| true), format!("line {next}"));
        }
    }
    namespace.ok(&["run", "ending", "--image", SERVER, "--restart=Never", "--", "log", "30", "100"]);
    namespace.wait("pod/ending", "condition=Ready");
    let mut log = namespace.start(&["logs", "-f", "ending"]);
    log.line(SOON, "line 30");
    let (status, rest) = log.finish(SOON);
    assert!(status.success() && rest.is_empty(), "{status} {rest:?}");
}

#[test]
fn a_log_that_is_rotated_away_is_followed_on() {
    let namespace = namespace("volume");
    // 12 MiB: past the size at which a log file is rotated.
    namespace.create(&script_pod(
        "a",
        "i=0; while [ $i -lt 12288 ]; do i=$((i+1)); printf '%08d%01015d\\n' $i 0; done; echo last",
    ));
    namespace.wait("pod/a", "condition=PodReadyToStartContainers");
    let log = namespace.run(&["logs", "-f", "--pod-running-timeout=60s", "a"]);
    namespace.wait("pod/a", "jsonpath={.status.phase}=Succeeded");
    let all = if log.status.success() && log.stdout.ends_with("last\n") {
        log.stdout
    } else {
        panic!("{}", log.stderr)
    };
    let numbers: Vec<u32> = all.lines().filter_map(|line| line.get(..8)?.parse().ok()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "lines are missing in between");
    assert_eq!(numbers.last(), Some(&12288));
}

#[test]
fn the_previous_container_keeps_its_log() {
    let namespace = namespace("previous");
    namespace.create(&script_pod("a", "").replace("restartPolicy: Never", "restartPolicy: Always").replace(
        "\"\"",
        "'if [ -e /mark/x ]; then echo second; exec sleep 1000; else touch /mark/x; echo first; exit 1; fi'",
    ).replace("command:", "volumeMounts: [{name: mark, mountPath: /mark}], command:").replace(
        "containers:",
        "volumes: [{name: mark, emptyDir: {}}], containers:",
    ));
    namespace.wait("pod/a", "jsonpath={.status.containerStatuses[0].restartCount}=1");
    namespace.wait("pod/a", "condition=Ready");
    assert_eq!(namespace.text(&["logs", "a"]), "second");
    for version in [Version::Current, Version::Old] {
        assert_eq!(namespace.with(version).text(&["logs", "--previous", "a"]), "first");
    }
    namespace.server("b", &["serve"]);
    namespace
        .run(&["logs", "-p", "b"])
        .fails_with("previous terminated container \"main\" in pod \"b\" not found");
}

#[test]
fn containers_are_chosen_by_name_or_taken_together() {
    let namespace = namespace("containers");
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: a, labels: {{app: a}}}}, spec: {{restartPolicy: Never, \
         initContainers: [{{name: zero, image: {BUSYBOX}, command: [echo, from zero]}}], containers: [\
         {{name: one, image: {BUSYBOX}, command: [echo, from one]}}, \
         {{name: two, image: {BUSYBOX}, command: [sh, -c, 'echo from two; echo errors too >&2']}}]}}}}"
    ));
    namespace.wait("pod/a", "jsonpath={.status.phase}=Succeeded");
    // kubectl takes the first and says so on standard error.
    assert_eq!(namespace.text(&["logs", "a"]), "from one");
    let two = namespace.text(&["logs", "a", "-c", "two"]);
    assert!(two.contains("from two") && two.contains("errors too"), "{two}");
    assert_eq!(namespace.text(&["logs", "a", "-c", "zero"]), "from zero");
    let all = namespace.text(&["logs", "-l", "app=a", "--all-containers", "--prefix"]);
    for line in ["[pod/a/zero] from zero", "[pod/a/one] from one", "[pod/a/two] from two"] {
        assert!(all.contains(line), "{line} is missing in {all}");
    }
    namespace.run(&["logs", "a", "-c", "three"]).fails_with("container three is not valid for pod a");
    namespace.run(&["logs", "nowhere"]).fails_with("pods \"nowhere\" not found");
    let raw = format!("/api/v1/namespaces/{}/pods/a/log", namespace.name());
    namespace
        .run(&["get", "--raw", &raw])
        .fails_with("a container name must be specified for pod a, choose one of: [one two]");
}

#[test]
fn a_container_that_has_not_started_says_so() {
    let namespace = namespace("waiting");
    namespace.ok(&["run", "a", "--image=copepod.io/test/absent:1", "--image-pull-policy=Never"]);
    namespace.wait("pod/a", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImageNeverPull");
    let failure = namespace.run(&["logs", "a"]).fails();
    assert!(failure.contains("container \"a\" in pod \"a\" is waiting to start"), "{failure}");
}

#[test]
fn following_ends_when_the_reader_leaves() {
    let namespace = namespace("leave");
    namespace.server("a", &["log", "0", "100"]);
    let open = || {
        let pid = namespace.cluster().pid();
        std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
    };
    let before = open();
    for _ in 0..5 {
        let mut log = namespace.start(&["logs", "-f", "a"]);
        log.line(SOON, "line");
    }
    // Other tests come and go in the same server, so only a lasting growth counts.
    copepod_test_support::until("the descriptors are closed again", Duration::from_secs(60), || {
        open() <= before + 10
    });
}
