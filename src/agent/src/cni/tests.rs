//! The role as the runtime sees it, with real namespaces, links and addresses. Needs root.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use copepod_net::{NetNs, netns};
use serde_json::{Value, json};

use super::conf::Parameters;
use super::{CniError, answer};

/// Namespaces of a host and its pods, gone when dropped.
struct Machine {
    folder: tempfile::TempDir,
    host: NetNs,
    pods: Vec<PathBuf>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        for pod in &self.pods {
            let _ = netns::delete(pod);
        }
        let _ = netns::delete(self.host.path());
    }
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = NetNs::create(&folder.path().join("host")).unwrap();
        Self { folder, host, pods: Vec::new() }
    }

    fn pod(&mut self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        NetNs::create(&path).unwrap();
        self.pods.push(path.clone());
        path
    }

    fn conf(&self) -> Value {
        json!({"cniVersion": "1.0.0", "name": "copepod", "type": "copepod", "bridge": "cni0", "mtu": 1400,
            "subnets": ["10.42.7.0/24"], "dataDir": self.folder.path().join("ipam")})
    }

    fn call(&self, command: &str, id: &str, netns: &Path, conf: &Value) -> Result<Option<Value>, CniError> {
        let parameters = Parameters {
            command: command.to_owned(),
            container_id: id.to_owned(),
            netns: netns.to_string_lossy().into_owned(),
            interface: "eth0".to_owned(),
        };
        let input = conf.to_string();
        self.host.run(move || answer(&parameters, input.as_bytes())).unwrap()
    }
}

fn address(result: &Value) -> String {
    result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned()
}

#[test]
fn two_pods_get_addresses_and_reach_each_other_and_the_host() {
    let mut machine = Machine::new();
    let (a, b) = (machine.pod("a"), machine.pod("b"));
    let conf = machine.conf();
    let first = machine.call("ADD", "a", &a, &conf).unwrap().unwrap();
    let second = machine.call("ADD", "b", &b, &conf).unwrap().unwrap();
    assert_eq!(first["ips"][0], json!({"interface": 2, "address": "10.42.7.2/24", "gateway": "10.42.7.1"}));
    assert_eq!(first["routes"][0], json!({"dst": "0.0.0.0/0", "gw": "10.42.7.1"}));
    assert_eq!(first["interfaces"][2]["sandbox"], json!(a));
    assert_ne!(address(&first), address(&second));

    let listener = NetNs::open(&a).unwrap().run(|| TcpListener::bind("0.0.0.0:8080").unwrap()).unwrap();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(b"hello").unwrap();
        }
    });
    let target = format!("{}:8080", address(&first)).parse().unwrap();
    for from in [&b, &machine.host.path().to_owned()] {
        let read = NetNs::open(from)
            .unwrap()
            .run(|| {
                let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(5)).unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                text
            })
            .unwrap();
        assert_eq!(read, "hello");
    }
    server.join().unwrap();
}

#[test]
fn an_attachment_can_be_checked_and_taken_away_twice() {
    let mut machine = Machine::new();
    let pod = machine.pod("a");
    let conf = machine.conf();
    let result = machine.call("ADD", "a", &pod, &conf).unwrap().unwrap();
    let mut with_result = conf.clone();
    with_result["prevResult"] = result;
    machine.call("CHECK", "a", &pod, &with_result).unwrap();
    machine.call("STATUS", "", Path::new(""), &conf).unwrap();
    machine.call("DEL", "a", &pod, &conf).unwrap();
    assert!(machine.call("CHECK", "a", &pod, &with_result).is_err());
    machine.call("DEL", "a", Path::new("/nowhere"), &conf).unwrap();
    let held = std::fs::read_dir(machine.folder.path().join("ipam")).unwrap().flatten();
    assert!(!held.map(|e| e.file_name()).any(|n| n == "10.42.7.2"));
}

#[test]
fn garbage_of_containers_that_are_gone_is_collected() {
    let mut machine = Machine::new();
    let (a, b) = (machine.pod("a"), machine.pod("b"));
    let conf = machine.conf();
    machine.call("ADD", "a", &a, &conf).unwrap();
    machine.call("ADD", "b", &b, &conf).unwrap();
    let mut gc = conf.clone();
    gc["cni.dev/valid-attachments"] = json!([{"containerID": "b", "ifname": "eth0"}]);
    machine.call("GC", "", Path::new(""), &gc).unwrap();
    let held = |ip: &str| machine.folder.path().join("ipam").join(ip).exists();
    assert!(!held("10.42.7.2") && held("10.42.7.3"));
}

#[test]
fn bad_calls_get_the_codes_of_the_specification() {
    let machine = Machine::new();
    let code = |command: &str, id: &str, conf: Value| {
        machine.call(command, id, Path::new("/nowhere"), &conf).unwrap_err().code
    };
    let conf = machine.conf();
    assert_eq!(code("ADD", "", conf.clone()), 4);
    assert_eq!(code("NONSENSE", "a", conf.clone()), 4);
    assert_eq!(code("ADD", "a", json!({"cniVersion": "1.0.0"})), 7);
    let mut old = conf.clone();
    old["cniVersion"] = json!("0.1.0");
    assert_eq!(code("ADD", "a", old), 1);
    assert_eq!(code("ADD", "a", conf), 999);
    let version =
        machine.call("VERSION", "", Path::new(""), &json!({"cniVersion": "1.0.0"})).unwrap().unwrap();
    assert_eq!(version["supportedVersions"], json!(["0.4.0", "1.0.0", "1.1.0"]));
}
