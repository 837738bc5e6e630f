//! All controllers against an API in memory. Time is paused: `settle` ends when every task waits.

mod deletion;
mod nodes;
mod workloads;

use std::fmt::Debug;
use std::time::Duration;

use copepod_base::Shutdown;
use copepod_client::events::Recorder;
use copepod_client::fake::FakeApi;
use copepod_client::{Client, Informers};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An object of a namespaced kind.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + serde::Serialize
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + serde::Serialize
{
}

/// The API, and the controllers on it.
pub(crate) struct Cluster {
    pub(crate) fake: FakeApi,
    pub(crate) client: Client,
    shutdown: Shutdown,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let cluster = Self::without_controllers();
        cluster.run_controllers();
        cluster.settle().await;
        cluster
    }

    pub(crate) fn without_controllers() -> Self {
        let fake = FakeApi::default();
        Self { client: fake.client(), fake, shutdown: Shutdown::new() }
    }

    pub(crate) fn run_controllers(&self) {
        let informers = Informers::new(self.client.clone(), &self.shutdown);
        let recorder = Recorder::new(self.client.clone(), "controller-manager", "");
        let config =
            crate::Config { root_ca: "CERTIFICATE".into(), cluster_cidr: "10.42.0.0/23".parse().unwrap() };
        crate::start(config, self.client.clone(), informers, recorder, &self.shutdown);
    }

    /// Lets everything happen that happens at once.
    pub(crate) async fn settle(&self) {
        self.pass(Duration::from_millis(900)).await;
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    pub(crate) fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), "ns")
    }

    pub(crate) async fn create<K: Kind>(&self, object: Value) -> K {
        let object = serde_json::from_value(object).unwrap();
        let made = self.api::<K>().create(&PostParams::default(), &object).await.unwrap();
        self.settle().await;
        made
    }

    pub(crate) async fn get<K: Kind>(&self, name: &str) -> K {
        self.api::<K>().get(name).await.unwrap()
    }

    pub(crate) async fn list<K: Kind>(&self) -> Vec<K> {
        self.api::<K>().list(&ListParams::default()).await.unwrap().items
    }

    pub(crate) async fn names<K: Kind>(&self) -> Vec<String> {
        self.list::<K>().await.iter().map(ResourceExt::name_any).collect()
    }

    pub(crate) async fn patch<K: Kind>(&self, name: &str, patch: Value) {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
        self.settle().await;
    }

    pub(crate) async fn delete<K: Kind>(&self, name: &str, params: DeleteParams) {
        self.api::<K>().delete(name, &params).await.unwrap();
        self.settle().await;
    }

    /// Does an agent's work: pods that are there run and are ready, those that are being deleted end.
    pub(crate) async fn run_pods(&self) {
        use k8s_openapi::api::core::v1::Pod;
        for _ in 0..20 {
            let mut changed = false;
            for pod in self.list::<Pod>().await {
                let name = pod.name_any();
                if pod.metadata.deletion_timestamp.is_some() {
                    let gone =
                        self.api::<Pod>().delete(&name, &DeleteParams::default().grace_period(0)).await;
                    changed |= gone.is_ok() && pod.finalizers().is_empty();
                } else if !crate::pods::is_ready(&pod) {
                    let status = json!({"status": {"phase": "Running", "conditions": [
                        {"type": "Ready", "status": "True", "lastTransitionTime": copepod_client::time::now()}]}});
                    let params = PatchParams::default();
                    // It may have gone meanwhile.
                    let _ = self.api::<Pod>().patch_status(&name, &params, &Patch::Strategic(status)).await;
                    changed = true;
                }
            }
            if !changed {
                return;
            }
            self.settle().await;
        }
        panic!("pods come and go without end");
    }

    /// The writes of the time to come, but events: there should be none when nothing changes.
    pub(crate) async fn writes_in(&self, time: Duration) -> Vec<String> {
        let _ = self.fake.take_writes();
        self.pass(time).await;
        self.fake.take_writes().into_iter().filter(|write| !write.contains("/events")).collect()
    }
}

pub(crate) fn pod_template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

pub(crate) fn deployment(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": pod_template("a:1")}})
}
