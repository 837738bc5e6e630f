//! containerd's life and ours.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use copepod_base::Shutdown;
use copepod_cri::containerd::{Error, Supervisor};
use copepod_cri::{EventKind, events, v1};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{PATIENCE, Sandbox, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn containerd_is_restarted_when_it_dies_and_its_containers_never_notice() {
    let sandbox = Sandbox::new();
    let (supervisor, runtime, _) = sandbox.ready().await;
    let mut stream = events::watch(&supervisor.endpoint(), runtime.clone(), &sandbox.shutdown).unwrap();
    assert_eq!(stream.recv().await.unwrap().kind, EventKind::Lost);
    let (_, id) = sandbox.run(runtime.as_ref(), "a", "while :; do sleep 1; done").await;
    let before = runtime.container_status(&id).await.unwrap();

    let old = supervisor.pid().unwrap();
    let mut pids = supervisor.watch_pid();
    kill_process(Pid::from_raw(old).unwrap(), Signal::KILL).unwrap();
    let new = pids.wait_for(|pid| pid.is_some_and(|pid| pid != old));
    tokio::time::timeout(PATIENCE, new).await.unwrap().unwrap();
    assert_eq!(supervisor.restarts(), 1);
    // The stream comes back by itself and says that something may have been missed.
    let lost = async { while stream.recv().await.unwrap().kind != EventKind::Lost {} };
    tokio::time::timeout(PATIENCE, lost).await.unwrap();
    let after = runtime.container_status(&id).await.unwrap();
    assert_eq!(after.state(), v1::ContainerState::ContainerRunning);
    assert_eq!(after.started_at, before.started_at);
    runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    wait_for(&mut stream, EventKind::Exited, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_supervisor_adopts_the_containerd_that_an_earlier_one_left_running() {
    let sandbox = Sandbox::new();
    let first = Shutdown::new();
    let supervisor = Supervisor::start(sandbox.config.clone(), &first).await.unwrap();
    assert!(!supervisor.adopted());
    let pid = supervisor.pid();
    first.cancel();
    first.finished().await;
    drop(supervisor);

    let supervisor = sandbox.start().await;
    assert!(supervisor.adopted());
    assert_eq!(supervisor.pid(), pid);

    // Also without its pid file, which a crash can cost: then it is restarted, for its settings are unknown.
    std::fs::remove_file(&sandbox.config.pid_file).unwrap();
    drop(supervisor);
    let third = Supervisor::start(sandbox.config.clone(), &Shutdown::new()).await.unwrap();
    assert!(!third.adopted());
    assert_ne!(third.pid(), pid);
    third.stop().await;
    assert!(tokio::net::UnixStream::connect(&sandbox.config.socket).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_containerd_is_restarted_too_when_it_dies() {
    let sandbox = Sandbox::new();
    let first = Shutdown::new();
    drop(Supervisor::start(sandbox.config.clone(), &first).await.unwrap());
    first.cancel();
    first.finished().await;
    let supervisor = sandbox.start().await;
    assert!(supervisor.adopted());
    let old = supervisor.pid().unwrap();
    let mut pids = supervisor.watch_pid();
    kill_process(Pid::from_raw(old).unwrap(), Signal::KILL).unwrap();
    let new = pids.wait_for(|pid| pid.is_some_and(|pid| pid != old));
    tokio::time::timeout(PATIENCE, new).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_restarts_containerd_and_keeps_its_containers() {
    let mut sandbox = Sandbox::new();
    let first = Shutdown::new();
    let supervisor = Supervisor::start(sandbox.config.clone(), &first).await.unwrap();
    let pid = supervisor.pid();
    first.cancel();
    first.finished().await;
    sandbox.config.max_concurrent_downloads += 1;
    let supervisor = sandbox.start().await;
    assert!(!supervisor.adopted());
    assert_ne!(supervisor.pid(), pid);
}

#[tokio::test]
async fn a_missing_or_old_containerd_is_named_with_the_package_to_install() {
    let mut sandbox = Sandbox::new();
    sandbox.config.binary = PathBuf::from("/nonexistent/containerd");
    let error = Supervisor::start(sandbox.config.clone(), &sandbox.shutdown).await.err().unwrap();
    assert!(matches!(error, Error::NotInstalled { .. }));
    assert!(error.to_string().contains("install the package containerd"));

    let old = sandbox.folder.join("old");
    std::fs::write(&old, "#!/bin/sh\necho containerd github.com/containerd/containerd 1.5.9 abc\n").unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.config.binary = old;
    let error = Supervisor::start(sandbox.config.clone(), &sandbox.shutdown).await.err().unwrap();
    assert!(error.to_string().contains("older than 1.6"), "{error}");
}

#[tokio::test]
async fn a_containerd_that_cannot_start_is_quoted() {
    let mut sandbox = Sandbox::new();
    // A file where the folder must be.
    std::fs::create_dir_all(sandbox.config.root.join("io.containerd.metadata.v1.bolt")).unwrap();
    std::fs::create_dir_all(sandbox.config.root.join("io.containerd.metadata.v1.bolt/meta.db")).unwrap();
    sandbox.config.oom_score = 0;
    let error = Supervisor::start(sandbox.config.clone(), &sandbox.shutdown).await.err().unwrap();
    assert!(matches!(error, Error::Ended { .. }), "{error:?}");
    assert!(matches!(error, Error::Ended { .. }), "{error:?}");
    assert!(error.to_string().contains("meta.db"), "{error}");
}
