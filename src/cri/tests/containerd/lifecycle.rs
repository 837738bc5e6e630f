//! Sandboxes and containers.

use std::time::Duration;

use copepod_cri::{Error, EventKind, events, v1};

use crate::support::{BUSYBOX, Sandbox, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_executes_commands_exits_and_is_removed() {
    let sandbox = Sandbox::new();
    let (supervisor, runtime, images) = sandbox.ready().await;
    let version = runtime.version().await.unwrap();
    assert_eq!(version.runtime_name, "containerd");
    assert!(version.runtime_version.contains(&supervisor.version().to_string()));
    assert!(images.status(BUSYBOX).await.unwrap().is_some());
    assert!(images.status("copepod.test/none:1").await.unwrap().is_none());

    let mut stream = events::watch(&supervisor.endpoint(), runtime.clone(), &sandbox.shutdown).unwrap();
    assert_eq!(stream.recv().await.unwrap().kind, EventKind::Lost);

    let script = "echo out; echo err >&2; while ! [ -e /tmp/end ]; do sleep 0.05; done; exit 7";
    let (pod, id) = sandbox.run(runtime.as_ref(), "a", script).await;
    wait_for(&mut stream, EventKind::Started, &id).await;
    let status = runtime.container_status(&id).await.unwrap();
    assert_eq!(status.state(), v1::ContainerState::ContainerRunning);
    assert_eq!(runtime.pod_sandbox_status(&pod).await.unwrap().state(), v1::PodSandboxState::SandboxReady);

    let cmd = |text: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()];
    let answer = runtime.exec_sync(&id, cmd("echo hello; exit 3"), Duration::from_secs(20)).await.unwrap();
    assert_eq!((answer.stdout.as_slice(), answer.exit_code), (b"hello\n".as_slice(), 3));
    let slow = runtime.exec_sync(&id, cmd("sleep 1000"), Duration::from_secs(1)).await;
    assert!(matches!(slow, Err(Error::DeadlineExceeded { .. })), "{slow:?}");
    let url = runtime.exec(v1::ExecRequest {
        container_id: id.clone(),
        cmd: cmd("true"),
        stdout: true,
        ..Default::default()
    });
    assert!(url.await.unwrap().starts_with("http://127.0.0.1:"));
    assert!(runtime.container_stats(&id).await.unwrap().memory.is_some());

    runtime.exec_sync(&id, cmd("echo > /tmp/end"), Duration::from_secs(20)).await.unwrap();
    let exit = wait_for(&mut stream, EventKind::Exited, &id).await;
    assert_eq!(exit.exit_code, Some(7));
    assert_eq!(exit.sandbox_id.as_deref(), Some(pod.as_str()));
    // The event promises that the status agrees.
    let status = runtime.container_status(&id).await.unwrap();
    assert_eq!((status.state(), status.exit_code), (v1::ContainerState::ContainerExited, 7));
    let log = std::fs::read_to_string(sandbox.folder.join("logs/a.log")).unwrap();
    assert!(log.contains("stdout F out") && log.contains("stderr F err"), "{log}");

    runtime.remove_container(&id).await.unwrap();
    wait_for(&mut stream, EventKind::Deleted, &id).await;
    assert!(runtime.container_status(&id).await.unwrap_err().is_not_found());
    runtime.stop_pod_sandbox(&pod).await.unwrap();
    wait_for(&mut stream, EventKind::Exited, &pod).await;
    runtime.remove_pod_sandbox(&pod).await.unwrap();
    runtime.remove_pod_sandbox(&pod).await.unwrap();
    assert!(runtime.list_pod_sandbox(None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ignores_the_stop_signal_is_killed_after_its_time() {
    let sandbox = Sandbox::new();
    let (_supervisor, runtime, _) = sandbox.ready().await;
    let (pod, id) = sandbox.run(runtime.as_ref(), "deaf", "trap '' TERM; while :; do sleep 1; done").await;
    runtime.stop_container(&id, Duration::from_secs(1)).await.unwrap();
    assert_eq!(runtime.container_status(&id).await.unwrap().exit_code, 137);
    runtime.stop_container(&id, Duration::from_secs(1)).await.unwrap();
    runtime.stop_pod_sandbox(&pod).await.unwrap();
    runtime.remove_pod_sandbox(&pod).await.unwrap();
    assert!(runtime.list_containers(None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_over_its_memory_limit_is_reported_as_out_of_memory() {
    let sandbox = Sandbox::new();
    let (supervisor, runtime, _) = sandbox.ready().await;
    let mut stream = events::watch(&supervisor.endpoint(), runtime.clone(), &sandbox.shutdown).unwrap();
    assert_eq!(stream.recv().await.unwrap().kind, EventKind::Lost);
    // The shell waits until the watch on its group stands, then eats.
    let script = "sleep 0.5; head -c 200000000 /dev/zero | tail -n 1 > /dev/null; exit 1";
    let (pod, id) = sandbox.run_limited(runtime.as_ref(), "fat", script, 32 * 1024 * 1024).await;
    let event = wait_for(&mut stream, EventKind::OutOfMemory, &id).await;
    assert_eq!(event.sandbox_id, Some(pod));
    wait_for(&mut stream, EventKind::Exited, &id).await;
    assert_eq!(runtime.container_status(&id).await.unwrap().reason, "OOMKilled");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_is_wrong_by_their_kind() {
    let sandbox = Sandbox::new();
    let (supervisor, runtime, _) = sandbox.ready().await;
    assert!(runtime.pod_sandbox_status("none").await.unwrap_err().is_not_found());
    assert!(matches!(runtime.runtime_config().await, Ok(_) | Err(Error::Unimplemented { .. })));
    let nobody = format!("unix://{}/nobody.sock", sandbox.folder.display());
    let (dead, _) = copepod_cri::connect(&nobody).unwrap();
    let error = dead.version().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(matches!(copepod_cri::connect("tcp://127.0.0.1:1"), Err(Error::Endpoint { .. })));
    drop(supervisor);
}
