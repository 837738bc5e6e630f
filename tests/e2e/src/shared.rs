//! The cluster that most tests share.

use copepod_test_support::{Cluster, Namespace};
use std::sync::LazyLock;
use std::time::Duration;

/// How long something that should happen at once may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::builder().start());

/// The shared cluster; started by the first test that asks, gone with the process.
pub(crate) fn shared() -> &'static Cluster {
    &CLUSTER
}

/// A namespace of the shared cluster.
#[track_caller]
pub(crate) fn namespace(topic: &str) -> Namespace<'static> {
    shared().namespace(topic)
}

/// Manifest of a pod with one busybox container named `main` that runs a shell script and is not restarted.
pub(crate) fn script_pod(name: &str, script: &str) -> String {
    let script = serde_json::Value::from(script);
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{restartPolicy: Never, \
         terminationGracePeriodSeconds: 1, containers: [{{name: main, image: {}, command: [sh, -c, {script}]}}]}}}}",
        copepod_test_support::images::BUSYBOX
    )
}

/// Runs a pod of [`script_pod`] to its end and returns what it logged.
#[track_caller]
pub(crate) fn run_script(namespace: &Namespace<'_>, name: &str, script: &str) -> String {
    namespace.create(&script_pod(name, script));
    namespace.wait(&format!("pod/{name}"), "jsonpath={.status.phase}=Succeeded");
    namespace.text(&["logs", name])
}
