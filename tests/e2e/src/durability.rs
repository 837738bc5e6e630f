//! Kills at any moment: nothing acknowledged is lost, no container is restarted.

use copepod_test_support::images::SERVER;
use copepod_test_support::{Cluster, Running};
use std::collections::HashSet;
use std::fs;
use std::thread;
use std::time::Duration;

const KILLS: u64 = 50;

/// Creates config maps as fast as one client can, and notes those that were acknowledged.
const WRITER: &str = r#"
i=0
while :; do
    i=$((i + 1))
    code=$(curl -s -m 5 -o /dev/null -w '%{http_code}' --cacert ca.pem --cert admin.pem --key admin.key \
        -H 'Content-Type: application/json' \
        -d '{"metadata":{"name":"w-'$i'"},"data":{"number":"'$i'"}}' \
        https://127.0.0.1:6443/api/v1/namespaces/default/configmaps) || true
    case $code in
    201) echo "w-$i" >>acknowledged ;;
    esac
done
"#;

#[test]
fn fifty_kills_lose_no_acknowledged_write_and_restart_no_container() {
    let mut cluster = Cluster::builder().start();
    let kubectl = cluster.kubectl();
    kubectl.ok(&["run", "steady", "--image", SERVER]);
    kubectl.wait("pod/steady", "condition=Ready");
    let id = kubectl.field("pod/steady", "{.status.containerStatuses[0].containerID}");
    let _ = cluster.curl();
    let folder = cluster.sandbox().folder().to_owned();
    let writer =
        Running::start(cluster.sandbox().network_command("sh").arg("-c").arg(WRITER).current_dir(&folder));

    for round in 0..KILLS {
        // Not a wait for something: the kill shall come at a different moment of the server's life each time.
        thread::sleep(Duration::from_millis(round * 37 % 400));
        cluster.kill9();
        cluster.launch();
    }
    drop(writer);

    let kubectl = cluster.kubectl();
    let listed = kubectl.ok(&[
        "get",
        "configmaps",
        "-o",
        "jsonpath={range .items[*]}{.metadata.name}={.data.number}{\"\\n\"}{end}",
    ]);
    let stored: HashSet<&str> = listed.lines().collect();
    let acknowledged = fs::read_to_string(folder.join("acknowledged")).expect("the writer wrote");
    let acknowledged: Vec<&str> = acknowledged.lines().collect();
    assert!(acknowledged.len() > 200, "the writer got only {} writes through", acknowledged.len());
    let lost: Vec<&&str> = acknowledged
        .iter()
        .filter(|name| !stored.contains(format!("{name}={}", name.trim_start_matches("w-")).as_str()))
        .collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
    kubectl.wait("pod/steady", "condition=Ready");
    let after = kubectl.field(
        "pod/steady",
        "{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}",
    );
    assert_eq!(after, format!("{id} 0"));
}

#[test]
fn a_resource_version_survives_the_server() {
    let mut cluster = Cluster::builder().without_agent().start();
    cluster.kubectl().ok(&["create", "configmap", "a"]);
    let version = |cluster: &Cluster| {
        cluster
            .kubectl()
            .field("configmap/a", "{.metadata.resourceVersion}")
            .parse::<u64>()
            .expect("a number")
    };
    let first = version(&cluster);
    cluster.kill9();
    cluster.launch();
    assert_eq!(version(&cluster), first);
    cluster.kubectl().ok(&["label", "configmap", "a", "x=y"]);
    assert!(version(&cluster) > first);
}
