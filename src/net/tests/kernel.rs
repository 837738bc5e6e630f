//! The real kernel, each test in its own network namespace. Needs root.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::PathBuf;

use copepod_net::cgroup::{Cgroups, Driver, Group, Limits};
use copepod_net::iptables::{Chain, Error as IptablesError, Family, Iptables, Jump, Table};
use copepod_net::link::{Bridge, Veth};
use copepod_net::pod::{Attachment, attach, detach};
use copepod_net::route::Route;
use copepod_net::{Error, IpNet, NetNs, Netlink, mount, netns, node, sysctl};

/// Namespaces that end with the test.
struct Scene {
    folder: PathBuf,
    paths: Vec<PathBuf>,
}

impl Scene {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("copepod-net-{:016x}", fastrand::u64(..)));
        std::fs::create_dir(&folder).unwrap();
        Self { folder, paths: Vec::new() }
    }

    fn namespace(&mut self, name: &str) -> NetNs {
        let path = self.folder.join(name);
        self.paths.push(path.clone());
        NetNs::create(&path).unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for path in &self.paths {
            let _ = netns::delete(path);
        }
        let _ = mount::remove_tree(&self.folder);
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn bridge(addresses: &[&str]) -> Bridge {
    Bridge {
        name: "cni0".to_owned(),
        mtu: 1450,
        addresses: addresses.iter().map(|text| net(text)).collect(),
        promiscuous: true,
    }
}

fn attachment(number: u8) -> Attachment {
    Attachment {
        bridge: "cni0".to_owned(),
        host_link: format!("veth{number}"),
        pod_link: "eth0".to_owned(),
        mtu: 1450,
        hairpin: true,
        addresses: vec![net(&format!("10.42.0.{number}/24")), net(&format!("fd00:42::{number}/64"))],
        gateways: vec!["10.42.0.1".parse().unwrap(), "fd00:42::1".parse().unwrap()],
    }
}

#[test]
fn a_bridge_is_made_once_and_put_right_when_it_differs() {
    let mut scene = Scene::new();
    let mut netlink = Netlink::open_in(&scene.namespace("host")).unwrap();
    let wanted = bridge(&["10.42.0.1/24", "fd00:42::1/64"]);
    let first = netlink.ensure_bridge(&wanted).unwrap();
    assert!(first.up && first.promiscuous && first.kind == "bridge");
    assert_eq!((first.mtu, first.mac), (1450, Some([0x0a, 0x58, 10, 42, 0, 1])));
    netlink.set_mtu("cni0", 1400).unwrap();
    let second = netlink.ensure_bridge(&wanted).unwrap();
    assert_eq!((second.index, second.mtu), (first.index, 1450));
    let addresses = netlink.addresses(Some(&second)).unwrap();
    let global: Vec<IpNet> = addresses.iter().filter(|a| a.global).map(|a| a.net).collect();
    assert_eq!(global, wanted.addresses);
    assert!(
        addresses.iter().all(|address| !address.net.addr().is_ipv6() || !address.unusable || !address.global)
    );

    let error = netlink.ensure_bridge(&Bridge { name: "lo".to_owned(), ..wanted }).unwrap_err();
    assert!(error.to_string().contains("create bridge lo"), "{error}");
    assert!(matches!(netlink.link("none"), Err(Error::NoLink { name }) if name == "none"));
    assert!(netlink.delete_link("cni0").unwrap());
    assert!(!netlink.delete_link("cni0").unwrap());
}

#[test]
fn two_pods_on_a_bridge_reach_each_other_and_the_host_over_both_families() {
    let mut scene = Scene::new();
    let host = scene.namespace("host");
    let (one, two) = (scene.namespace("one"), scene.namespace("two"));
    host.run(|| {
        Netlink::open().unwrap().ensure_bridge(&bridge(&["10.42.0.1/24", "fd00:42::1/64"])).unwrap();
        let first = attach(&one, &attachment(2)).unwrap();
        assert_eq!(first.pod.name, "eth0");
        assert_eq!(first.pod.mac, Some([0x0a, 0x58, 10, 42, 0, 2]));
        assert!(first.host.master.is_some());
        attach(&two, &attachment(3)).unwrap();
        // Once more, as after a crash: the cable is replaced.
        attach(&two, &attachment(3)).unwrap();
    })
    .unwrap();
    let exchange = |from: &NetNs, to: &NetNs, address: &str| {
        let listener = to.run(|| std::net::TcpListener::bind((address, 0)).unwrap()).unwrap();
        let target = listener.local_addr().unwrap();
        from.run(|| std::net::TcpStream::connect(target).map(|_| ())).unwrap().unwrap();
    };
    exchange(&one, &two, "10.42.0.3");
    exchange(&two, &one, "fd00:42::2");
    exchange(&one, &host, "10.42.0.1");
    exchange(&host, &two, "fd00:42::3");
    exchange(&one, &one, "127.0.0.1");
    let mut inside = Netlink::open_in(&one).unwrap();
    let routes = inside.routes().unwrap();
    assert_eq!(routes.iter().filter(|route| route.is_default()).count(), 2);
    host.run(|| {
        assert!(detach("veth2").unwrap());
        assert!(!detach("veth2").unwrap());
    })
    .unwrap();
    assert!(inside.find_link("eth0").unwrap().is_none());
}

#[test]
fn a_failed_attachment_leaves_no_cable() {
    let mut scene = Scene::new();
    let (host, pod) = (scene.namespace("host"), scene.namespace("pod"));
    host.run(|| {
        let missing = attach(&pod, &attachment(2)).unwrap_err();
        assert!(matches!(missing, Error::NoLink { .. }));
        Netlink::open().unwrap().ensure_bridge(&bridge(&["10.42.0.1/24"])).unwrap();
        // IPv6 needs packets of 1,280 bytes: the kernel refuses the second address.
        let wrong = Attachment { mtu: 1000, ..attachment(2) };
        attach(&pod, &wrong).unwrap_err();
        assert!(Netlink::open().unwrap().find_link("veth2").unwrap().is_none());
    })
    .unwrap();
}

#[test]
fn routes_are_replaced_and_removed() {
    let mut scene = Scene::new();
    let (host, other) = (scene.namespace("host"), scene.namespace("other"));
    let mut netlink = Netlink::open_in(&host).unwrap();
    let veth = Veth { host: "a", peer: "b", namespace: &other, mac: None, mtu: 0, bridge: None };
    let link = netlink.create_veth(&veth).unwrap();
    Netlink::open_in(&other).unwrap().set_link_up("b").unwrap();
    netlink.ensure_address(&link, net("192.0.2.1/24")).unwrap();
    netlink.ensure_address(&link, net("192.0.2.1/24")).unwrap();
    let mut route = Route::default_via("192.0.2.254".parse().unwrap(), link.index);
    route.destination = net("198.51.100.0/24");
    netlink.ensure_route(&route).unwrap();
    route.gateway = Some("192.0.2.253".parse().unwrap());
    netlink.ensure_route(&route).unwrap();
    let found: Vec<Route> = netlink.routes().unwrap();
    let found: Vec<&Route> = found.iter().filter(|found| found.destination == route.destination).collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].gateway, route.gateway);
    assert!(netlink.remove_route(&route).unwrap());
    assert!(!netlink.remove_route(&route).unwrap());
    assert!(netlink.remove_address(&link, net("192.0.2.1/24")).unwrap());
    assert!(!netlink.remove_address(&link, net("192.0.2.1/24")).unwrap());
    route.gateway = Some("203.0.113.1".parse().unwrap());
    let error = netlink.ensure_route(&route).unwrap_err();
    assert!(error.to_string().contains("198.51.100.0/24"), "{error}");
}

#[test]
fn a_node_without_any_route_has_no_address_and_no_error() {
    let mut scene = Scene::new();
    let (host, other) = (scene.namespace("host"), scene.namespace("other"));
    host.run(|| assert_eq!(node::addresses().unwrap().ipv4, None)).unwrap();
    let mut netlink = Netlink::open_in(&host).unwrap();
    let veth = Veth { host: "up0", peer: "b", namespace: &other, mac: None, mtu: 0, bridge: None };
    let link = netlink.create_veth(&veth).unwrap();
    Netlink::open_in(&other).unwrap().set_link_up("b").unwrap();
    netlink.ensure_address(&link, net("192.0.2.7/24")).unwrap();
    netlink.ensure_route(&Route::default_via("192.0.2.1".parse().unwrap(), link.index)).unwrap();
    let found = host.run(node::addresses).unwrap().unwrap();
    assert_eq!(found.ipv4, Some("192.0.2.7".parse().unwrap()));
    assert_eq!(found.link.unwrap().name, "up0");
}

#[test]
fn a_namespace_can_be_made_twice_and_deleted_twice() {
    let mut scene = Scene::new();
    let first = scene.namespace("a");
    let again = NetNs::create(first.path()).unwrap();
    first.run(|| sysctl::write("net.ipv4.ip_forward", "1").unwrap()).unwrap();
    assert_eq!(again.run(|| sysctl::read("net.ipv4.ip_forward").unwrap()).unwrap(), "1");
    let path = first.path().to_owned();
    netns::delete(&path).unwrap();
    netns::delete(&path).unwrap();
    assert!(!path.exists());
    assert!(NetNs::open(&path).unwrap_err().to_string().contains(path.to_str().unwrap()));
}

fn tables(accept: &str, chain: &str) -> Vec<Table> {
    let jump = |from: &str, to: &str| Jump {
        from: from.to_owned(),
        to: to.to_owned(),
        conditions: words("-m comment --comment copepod"),
        first: true,
    };
    let mut commented = words("-m comment --comment x -j ACCEPT");
    commented[3] = "it's a \"pod\"".to_owned();
    vec![
        Table {
            name: "filter".to_owned(),
            chains: vec![Chain {
                name: chain.to_owned(),
                rules: vec![words(&format!("-s {accept} -j ACCEPT")), commented],
            }],
            jumps: vec![jump("FORWARD", chain)],
        },
        Table {
            name: "nat".to_owned(),
            chains: vec![Chain {
                name: "COPEPOD-POD-MASQ".to_owned(),
                rules: vec![words(&format!("-s {accept} ! -d {accept} -j MASQUERADE"))],
            }],
            jumps: vec![jump("POSTROUTING", "COPEPOD-POD-MASQ")],
        },
    ]
}

async fn rules(iptables: &Iptables) -> String {
    let text = iptables.saved("filter").await.unwrap() + &iptables.saved("nat").await.unwrap();
    text.lines().filter(|line| line.contains("COPEPOD")).map(|line| format!("{line}\n")).collect()
}

async fn exercise_iptables(family: Family, subnet: &'static str, other: &'static str) {
    let mut scene = Scene::new();
    let host = scene.namespace("host");
    host.run_async(move || async move {
        let iptables = Iptables::detect(family).await.unwrap();
        assert!(!iptables.remove("COPEPOD-POD").await.unwrap());
        iptables.apply("COPEPOD-POD", &tables(subnet, "COPEPOD-POD-FWD")).await.unwrap();
        let first = rules(&iptables).await;
        assert!(first.contains(&format!("-A COPEPOD-POD-FWD -s {subnet} -j ACCEPT")), "{first}");
        assert!(
            first.contains(&format!("-A COPEPOD-POD-MASQ -s {subnet} ! -d {subnet} -j MASQUERADE")),
            "{first}"
        );
        iptables.apply("COPEPOD-POD", &tables(subnet, "COPEPOD-POD-FWD")).await.unwrap();
        assert_eq!(rules(&iptables).await, first);

        // A chain that is not wanted any more goes, with the jump to it.
        iptables.apply("COPEPOD-POD", &tables(other, "COPEPOD-POD-NEW")).await.unwrap();
        let second = rules(&iptables).await;
        assert!(!second.contains("COPEPOD-POD-FWD") && second.contains(other), "{second}");
        assert_eq!(second.lines().filter(|line| line.starts_with("-A FORWARD")).count(), 1);

        // All or nothing.
        let mut broken = tables(subnet, "COPEPOD-POD-NEW");
        broken[1].chains[0].rules.push(words("-j NO_SUCH_TARGET"));
        let error = iptables.apply("COPEPOD-POD", &broken).await.unwrap_err();
        assert!(matches!(error, IptablesError::Failed { .. }), "{error}");

        // Other owners are left alone.
        let foreign = vec![Table {
            name: "filter".to_owned(),
            chains: vec![Chain { name: "COPEPOD-SVC".to_owned(), rules: Vec::new() }],
            jumps: Vec::new(),
        }];
        iptables.apply("COPEPOD-SVC", &foreign).await.unwrap();
        assert!(iptables.remove("COPEPOD-POD").await.unwrap());
        assert_eq!(rules(&iptables).await.lines().count(), 1);
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn iptables_rules_are_replaced_as_a_whole_and_removed_without_a_trace() {
    exercise_iptables(Family::V4, "10.42.0.0/16", "10.44.0.0/16").await;
}

#[tokio::test]
async fn ip6tables_rules_are_replaced_as_a_whole_and_removed_without_a_trace() {
    exercise_iptables(Family::V6, "fd00:42::/56", "fd00:44::/56").await;
}

#[test]
fn mounts_are_found_and_removed_innermost_first_and_volumes_are_never_deleted() {
    let scene = Scene::new();
    let pod = scene.folder.join("pod");
    let volume = scene.folder.join("volume");
    let target = pod.join("volumes/data");
    std::fs::create_dir_all(&target).unwrap();
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("precious"), "1").unwrap();
    mount::bind(&volume, &target, mount::Bind { read_only: true, recursive: false }).unwrap();
    assert!(std::fs::write(target.join("x"), "").is_err());
    std::fs::create_dir(pod.join("mem")).unwrap();
    mount::tmpfs(&pod.join("mem"), Some(1 << 20), 0o700).unwrap();
    assert!(std::fs::write(pod.join("mem/large"), vec![0u8; 2 << 20]).is_err());
    assert_eq!(mount::list_under(&pod).unwrap().len(), 2);
    assert!(mount::is_mount_point(&target).unwrap());
    mount::remove_tree(&pod).unwrap();
    mount::remove_tree(&pod).unwrap();
    assert!(!pod.exists());
    assert!(volume.join("precious").exists());
    assert!(!mount::unmount(&volume).unwrap());
}

/// A group that is gone with the test.
struct TestGroup(Cgroups, Group);

impl Drop for TestGroup {
    fn drop(&mut self) {
        let _ = self.0.kill(&self.1);
        let _ = self.0.delete(&self.1);
    }
}

#[test]
fn a_control_group_limits_counts_and_goes() {
    let cgroups = Cgroups::detect(Driver::Cgroupfs).unwrap();
    assert!(cgroups.controllers().unwrap().iter().any(|name| name == "memory"));
    let top = Group::new([format!("copepod-net-{:08x}", fastrand::u32(..))]);
    let group = top.child("burstable").child("pod1");
    let guard = TestGroup(cgroups.clone(), top.clone());
    cgroups.create(&group).unwrap();
    cgroups.create(&group).unwrap();
    let limits = Limits {
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_bytes: Some(64 << 20),
        pids: Some(20),
    };
    cgroups.set(&group, &limits).unwrap();
    assert_eq!(cgroups.children(&top).unwrap(), ["burstable"]);
    let usage = cgroups.usage(&group).unwrap();
    assert_eq!(usage.pids, 0);
    assert!(cgroups.processes(&group).unwrap().is_empty());
    let parent = cgroups.parent_name(&group);
    assert!(parent.starts_with('/') && parent.ends_with("/burstable/pod1"));
    cgroups.delete(&top).unwrap();
    cgroups.delete(&top).unwrap();
    assert!(!cgroups.exists(&group));
    assert!(cgroups.set(&group, &limits).is_err());
    drop(guard);
}

#[test]
fn attaching_a_pod_takes_a_few_milliseconds() {
    let mut scene = Scene::new();
    let host = scene.namespace("host");
    let pods: Vec<NetNs> = (2..22).map(|number| scene.namespace(&number.to_string())).collect();
    let mut times: Vec<u128> = host
        .run(|| {
            Netlink::open().unwrap().ensure_bridge(&bridge(&["10.42.0.1/24", "fd00:42::1/64"])).unwrap();
            let numbered = pods.iter().zip(2u8..);
            let one = |(pod, number): (&NetNs, u8)| {
                let start = copepod_base::clock::instant();
                attach(pod, &attachment(number)).unwrap();
                start.elapsed().as_micros()
            };
            numbered.map(one).collect()
        })
        .unwrap();
    times.sort_unstable();
    // Far above what is usual (about a millisecond): only a lost round trip or a wait would reach it.
    assert!(times[times.len() / 2] < 50_000, "{times:?}");
    let (median, last) = (times[times.len() / 2], times[times.len() - 1]);
    eprintln!("attach: median {median} us, slowest {last} us");
}
