//! A namespace of a shared cluster: one test's share of it.

use crate::cluster::Cluster;
use crate::kubectl::{Kubectl, Version};
use std::ops::Deref;
use std::thread;

/// A namespace that goes when the test ends. Dereferences to kubectl working in it.
pub struct Namespace<'a> {
    cluster: &'a Cluster,
    name: String,
    kubectl: Kubectl<'a>,
}

impl<'a> Namespace<'a> {
    pub(crate) fn new(cluster: &'a Cluster, topic: &str) -> Self {
        let name = cluster.unique(topic);
        let kubectl = Kubectl { namespace: Some(name.clone()), ..cluster.kubectl() };
        kubectl.ok(&["create", "namespace", &name]);
        // Pods are refused until the account they run as exists.
        kubectl.wait("serviceaccount/default", "create");
        Self { cluster, name, kubectl }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster it is in.
    #[must_use]
    pub fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    /// kubectl of another version, working in this namespace.
    #[must_use]
    pub fn with(&self, version: Version) -> Kubectl<'a> {
        Kubectl { namespace: Some(self.name.clone()), version, ..self.cluster.kubectl() }
    }

    /// Creates a pod of the test server with these arguments and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    #[track_caller]
    pub fn server(&self, name: &str, args: &[&str]) {
        let args = serde_json::to_string(args).expect("strings");
        self.create(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {name}}}}}, spec: {{\
             terminationGracePeriodSeconds: 5, containers: [{{name: main, image: {}, args: {args}}}]}}}}",
            crate::images::SERVER
        ));
        self.wait(&format!("pod/{name}"), "condition=Ready");
    }
}

impl<'a> Deref for Namespace<'a> {
    type Target = Kubectl<'a>;

    fn deref(&self) -> &Self::Target {
        &self.kubectl
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            for args in [["get", "all", "-o", "wide"], ["get", "events", "--sort-by=.lastTimestamp", ""]] {
                let args: Vec<&str> = args.into_iter().filter(|arg| !arg.is_empty()).collect();
                eprintln!("{}", self.kubectl.run(&args));
            }
            self.cluster.keep_logs();
        }
        // Waiting for the deletion would only slow the next test down.
        let _ = self.kubectl.run(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}
