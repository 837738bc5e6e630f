//! The sandbox that clusters run in: what it keeps apart, and that it leaves nothing behind.

use copepod_test_support::{Running, Sandbox, images, until};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn control_groups(name: &str) -> Vec<PathBuf> {
    let mut parents = vec![PathBuf::from("/sys/fs/cgroup")];
    parents
        .extend(fs::read_dir("/sys/fs/cgroup").expect("control groups").flatten().map(|entry| entry.path()));
    parents.into_iter().map(|parent| parent.join(name)).filter(|path| path.exists()).collect()
}

#[test]
fn two_sandboxes_do_not_see_each_other() {
    let (one, two) = (Sandbox::new(), Sandbox::new());
    let mut listeners = Vec::new();
    for sandbox in [&one, &two] {
        let mut listener = sandbox.command("sh");
        listener.args(["-c", "echo up; exec busybox nc -l -p 6443"]);
        let mut listener = Running::start(&mut listener);
        listener.line(SOON, "up");
        listeners.push(listener);
        assert_eq!(sandbox.shell("hostname").ok().trim(), sandbox.name());
        sandbox.shell("touch /run/mine && test ! -e /run/theirs && touch /run/theirs").ok();
        sandbox.shell("ip -4 route show default").prints("via 192.168.77.1 dev uplink0");
    }
    let processes = one.shell("ls -d /proc/[0-9]* | wc -l").ok();
    assert!(processes.trim().parse::<u32>().expect("a number") < 20, "{processes}");
}

#[test]
fn containers_run_inside_and_end_with_it() {
    let sandbox = Sandbox::new();
    let config = "version = 2\nroot = \"/run/c/root\"\nstate = \"/run/c/state\"\n[grpc]\naddress = \"/run/c/c.sock\"\n";
    fs::write(sandbox.folder().join("c.toml"), config).expect("writable");
    let mut containerd = sandbox.command("containerd");
    containerd.args(["--config", "c.toml"]);
    let mut containerd = Running::start(&mut containerd);
    containerd.line(SOON, "containerd successfully booted");
    let archive = images::directory().join("server.tar");
    let name = images::SERVER;
    sandbox.shell(&format!("ctr -a /run/c/c.sock images import {}", archive.display())).ok();
    let run = format!(
        "ctr -a /run/c/c.sock run -d --cgroup /pods/a --memory-limit 50000000 {name} a /testserver serve"
    );
    sandbox.shell(&run).ok();
    sandbox.shell("ctr -a /run/c/c.sock task ls").prints("RUNNING");
    let limit =
        "cat /sys/fs/cgroup/pods/a/memory.max /sys/fs/cgroup/memory/pods/a/memory.limit_in_bytes 2>/dev/null";
    assert_eq!(sandbox.shell(limit).stdout.trim(), "49999872");

    let (name, folder) = (sandbox.name().to_owned(), sandbox.folder().to_owned());
    assert!(!control_groups(&name).is_empty());
    drop(containerd);
    drop(sandbox);
    until("nothing is left", SOON, || control_groups(&name).is_empty() && !folder.exists());
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(&name), "{mounts}");
    let shims = fs::read_dir("/proc").expect("processes").flatten().filter(|entry| {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains("/run/c/c.sock")
    });
    assert_eq!(shims.count(), 0);
}

#[test]
fn a_panic_leaves_nothing_either() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let sandbox = Sandbox::new();
        sender.send((sandbox.name().to_owned(), sandbox.folder().to_owned())).expect("the receiver waits");
        let _sleeper = Running::start(sandbox.command("sleep").arg("1000"));
        panic!("on purpose");
    })
    .join();
    assert!(panicked.is_err());
    let (name, folder) = receiver.recv().expect("sent before the panic");
    until("nothing is left", SOON, || control_groups(&name).is_empty() && !folder.exists());
}
