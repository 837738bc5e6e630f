//! `kubectl exec`, `cp`, `attach` and `port-forward`, by WebSocket (kubectl 1.36) and by SPDY (kubectl 1.20).

use crate::shared::{SOON, namespace};
use copepod_test_support::images::BUSYBOX;
use copepod_test_support::{Finished, Kubectl, Namespace, Version};
use std::process::Command;

const BOTH: [Version; 2] = [Version::Current, Version::Old];

#[test]
fn exec_keeps_the_streams_apart_and_returns_the_exit_code() {
    let namespace = namespace("exec");
    namespace.server("a", &["serve"]);
    for version in BOTH {
        let kubectl = namespace.with(version);
        let done = kubectl.run(&["exec", "a", "--", "sh", "-c", "echo out; echo err >&2; exit 42"]);
        assert_eq!(done.status.code(), Some(42), "{version:?}: {done}");
        assert_eq!(done.stdout, "out\n", "{version:?}: {done}");
        assert!(done.stderr.contains("err\n"), "{version:?}: {done}");
        kubectl.run(&["exec", "a", "--", "no-such-program"]).fails_with("no-such-program");
        kubectl
            .run(&["exec", "a", "-c", "nobody", "--", "true"])
            .fails_with("container nobody is not valid for pod a");
        kubectl.run(&["exec", "missing", "--", "true"]).fails_with("pods \"missing\" not found");
    }
}

#[test]
fn exec_passes_the_end_of_its_input_on() {
    let namespace = namespace("input");
    namespace.server("a", &["serve"]);
    let big: String = (0..400_000).map(|number| format!("{number:09}\n")).collect();
    for version in BOTH {
        let kubectl = namespace.with(version);
        // `cat` and `wc` end only when they see the end.
        assert_eq!(
            kubectl.run_with(&["exec", "-i", "a", "--", "cat"], "hello\n").ok(),
            "hello\n",
            "{version:?}"
        );
        assert_eq!(kubectl.run_with(&["exec", "-i", "a", "--", "cat"], "").ok(), "", "{version:?}");
        let count = kubectl.run_with(&["exec", "-i", "a", "--", "wc", "-c"], &big).ok();
        assert_eq!(count.trim(), big.len().to_string(), "{version:?}");
        let echoed = kubectl.run_with(&["exec", "-i", "a", "--", "cat"], &big).ok();
        assert!(echoed == big, "{version:?}: {} of {} bytes came back", echoed.len(), big.len());
    }
}

#[test]
fn exec_on_a_terminal_is_a_terminal() {
    let namespace = namespace("terminal");
    namespace.server("a", &["serve"]);
    for version in BOTH {
        let mut shell = namespace.with(version).start_on_terminal(&["exec", "-it", "a", "--", "sh"]);
        shell.write("tty; echo $((40 + 2))\n");
        shell.line(SOON, "/dev/");
        shell.line(SOON, "42");
        // A terminal's line discipline makes a signal of this.
        // Not the echo of what was typed, but what it prints: the shell no longer reads by then.
        shell.write("sh -c 'echo begun $((1 + 1)); exec sleep 1000'\n");
        shell.line(SOON, "begun 2");
        shell.write("\u{3}");
        shell.write("echo still $((1 + 1)) here\n");
        shell.line(SOON, "still 2 here");
        shell.write("exit 7\n");
        let (status, rest) = shell.finish(SOON);
        assert_eq!(status.code(), Some(7), "{version:?}: {rest:?}");
    }
}

#[test]
fn many_execs_at_once_do_not_mix() {
    let namespace = namespace("parallel");
    namespace.server("a", &["serve"]);
    let commands: Vec<_> = (0..12)
        .map(|number| {
            let mut command =
                namespace.command(&["exec", "a", "--", "sh", "-c", &format!("sleep 0.3; echo {number}")]);
            std::thread::spawn(move || (number, Finished::of(&mut command, b"")))
        })
        .collect();
    for command in commands {
        let (number, done) = command.join().expect("no panic");
        assert_eq!(done.ok().trim(), number.to_string());
    }
}

#[test]
fn a_running_exec_ends_with_its_pod() {
    let namespace = namespace("ends");
    namespace.server("a", &["serve"]);
    let mut exec = namespace.start(&["exec", "a", "--", "sh", "-c", "echo started; sleep 1000"]);
    exec.line(SOON, "started");
    namespace.ok(&["delete", "pod", "a", "--grace-period=1"]);
    let (status, _) = exec.finish(SOON);
    assert!(!status.success());
}

#[test]
fn files_are_copied_both_ways() {
    let namespace = namespace("copy");
    namespace.server("a", &["serve"]);
    let folder = namespace.cluster().sandbox().folder().join(namespace.name());
    std::fs::create_dir(&folder).expect("writable");
    let made = Command::new("sh")
        .args(["-c", "head -c 3000000 /dev/urandom >big; mkdir -p tree/sub; echo leaf >tree/sub/leaf; ln -s sub/leaf tree/link"])
        .current_dir(&folder)
        .status();
    assert!(made.is_ok_and(|status| status.success()));
    let local = |name: &str| format!("{}/{name}", namespace.name());
    for (number, version) in BOTH.into_iter().enumerate() {
        let kubectl = namespace.with(version);
        let back = local(&format!("back-{number}"));
        kubectl.ok(&["cp", &local("big"), "a:/tmp/big"]);
        kubectl.ok(&["cp", "a:/tmp/big", &back]);
        let same = std::fs::read(folder.join("big")).ok()
            == std::fs::read(folder.join(format!("back-{number}"))).ok();
        assert!(same, "{version:?}");
        kubectl.ok(&["cp", &local("tree"), &format!("a:/tmp/tree-{number}")]);
        let leaf = format!("/tmp/tree-{number}/sub/leaf");
        assert_eq!(kubectl.ok(&["exec", "a", "--", "cat", &leaf]), "leaf\n");
    }
}

#[test]
fn attach_joins_the_running_process() {
    let namespace = namespace("attach");
    for (number, version) in BOTH.into_iter().enumerate() {
        let name = format!("a{number}");
        namespace.create(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{restartPolicy: Never, \
             terminationGracePeriodSeconds: 1, containers: [{{name: main, image: {BUSYBOX}, stdin: true, stdinOnce: true, \
             command: [sh, -c, 'while read line; do echo got $line; done; echo end of input']}}]}}}}"
        ));
        namespace.wait(&format!("pod/{name}"), "condition=Ready");
        let mut attached = namespace.with(version).start(&["attach", "-i", &name]);
        attached.write("one\n");
        attached.line(SOON, "got one");
        attached.write("two\n");
        attached.line(SOON, "got two");
        let (status, rest) = attached.finish(SOON);
        assert!(status.success(), "{version:?}: {rest:?}");
        namespace.wait(&format!("pod/{name}"), "jsonpath={.status.phase}=Succeeded");
        let log = namespace.text(&["logs", &name]);
        assert_eq!(log, "got one\ngot two\nend of input", "{version:?}");
    }
}

#[test]
fn a_pod_can_be_run_like_a_command() {
    let namespace = namespace("run");
    let done = namespace.run_with(
        &[
            "run",
            "once",
            "-i",
            "--rm",
            "--quiet",
            "--restart=Never",
            "--image",
            BUSYBOX,
            "--",
            "sh",
            "-c",
            "cat; exit 3",
        ],
        "typed\n",
    );
    assert_eq!(done.status.code(), Some(3), "{done}");
    assert!(done.stdout.contains("typed"), "{done}");
    namespace.run(&["get", "pod", "once"]).fails_with("not found");
}

/// Starts a forward to `target` of the pod `a` and returns it with the local port.
#[track_caller]
fn forward(kubectl: &Kubectl<'_>, target: u16) -> (copepod_test_support::Running, String) {
    let mut forward = kubectl.start(&["port-forward", "--address=127.0.0.1", "pod/a", &format!(":{target}")]);
    let line = forward.line(SOON, "Forwarding from 127.0.0.1:");
    let port = line
        .trim_start_matches("Forwarding from 127.0.0.1:")
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned();
    (forward, port)
}

#[track_caller]
fn on_host(namespace: &Namespace<'_>, script: &str) -> Finished {
    Finished::of(namespace.cluster().sandbox().network_command("sh").args(["-c", script]), b"")
}

#[test]
fn ports_are_forwarded() {
    let namespace = namespace("forward");
    namespace.server("a", &["serve"]);
    for version in BOTH {
        let kubectl = namespace.with(version);
        let (_web, port) = forward(&kubectl, 8080);
        for _ in 0..3 {
            on_host(&namespace, &format!("curl -s -m 10 http://127.0.0.1:{port}/hostname")).prints("a");
        }
        let bytes =
            on_host(&namespace, &format!("curl -s -m 30 'http://127.0.0.1:{port}/bytes?n=5000000' | wc -c"))
                .ok();
        assert_eq!(bytes.trim(), "5000000", "{version:?}");
        let upload = format!(
            "head -c 2000000 /dev/zero | curl -s -m 30 --data-binary @- http://127.0.0.1:{port}/echo | wc -c"
        );
        assert_eq!(on_host(&namespace, &upload).ok().trim(), "2000000", "{version:?}");
        // Several connections through one tunnel, one of them slow.
        let both = format!(
            "curl -s -m 20 'http://127.0.0.1:{port}/sleep?ms=1500' & \
             curl -s -m 10 http://127.0.0.1:{port}/hostname; echo; wait"
        );
        let said = on_host(&namespace, &both).ok();
        assert!(said.starts_with('a') && said.contains("slept"), "{version:?}: {said}");
    }
}

#[test]
fn a_forwarded_connection_closes_one_side_at_a_time() {
    let namespace = namespace("halves");
    namespace.server("a", &["serve"]);
    for version in BOTH {
        let kubectl = namespace.with(version);
        let (_echo, port) = forward(&kubectl, 8081);
        // The echo comes back although the sender has finished sending.
        let script = format!("printf 'half closed' | busybox nc -w 10 127.0.0.1 {port}");
        assert_eq!(on_host(&namespace, &script).ok(), "half closed", "{version:?}");
    }
}

#[test]
fn a_forward_to_a_closed_port_says_so() {
    let namespace = namespace("closed");
    namespace.server("a", &["serve"]);
    for version in BOTH {
        let kubectl = namespace.with(version);
        let (mut forward, port) = forward(&kubectl, 9);
        let _ = on_host(&namespace, &format!("curl -s -m 5 http://127.0.0.1:{port}/"));
        forward.line(SOON, "an error occurred forwarding");
    }
}
