//! The task that owns picture and queue.

use std::collections::HashMap;
use std::sync::Arc;

use copepod_base::{Shutdown, clock};
use copepod_client::events::Recorder;
use copepod_client::{Change, Client, Informers};
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::sync::mpsc;

use crate::bind::Binder;
use crate::cluster::{Cluster, Demand};
use crate::plan::{Plan, plan};
use crate::queue::Queue;

/// What the scheduler is called.
#[derive(Debug, Clone)]
pub struct Config {
    /// It takes the pods whose `spec.schedulerName` is this.
    pub name: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { name: "default-scheduler".into() }
    }
}

/// Schedules pods until the shutdown.
pub async fn run(
    config: Config,
    client: Client,
    informers: &Informers,
    recorder: Recorder,
    shutdown: &Shutdown,
) {
    let nodes = informers.get::<Node>();
    let pods = informers.get::<Pod>();
    // A decision before the picture is whole would put everything on the first node seen.
    if shutdown.guard(async { tokio::join!(nodes.synced(), pods.synced()) }).await.is_none() {
        return;
    }
    let (mut node_changes, mut pod_changes) = (nodes.subscribe(), pods.subscribe());
    let (done, mut outcomes) = mpsc::unbounded_channel();
    let mut scheduler = Scheduler {
        config,
        binder: Binder::new(client, recorder),
        cluster: Cluster::default(),
        queue: Queue::default(),
        waiting: HashMap::new(),
        shutdown: shutdown.clone(),
        done,
    };
    loop {
        // What is known already comes first: each decision sees the newest picture.
        while let Some(change) = node_changes.try_recv() {
            scheduler.node(&change);
        }
        while let Some(change) = pod_changes.try_recv() {
            scheduler.pod(&change);
        }
        while let Ok(outcome) = outcomes.try_recv() {
            scheduler.outcome(&outcome);
        }
        if shutdown.is_cancelled() {
            return;
        }
        if scheduler.decide_one() {
            tokio::task::yield_now().await;
            continue;
        }
        let due = scheduler.queue.next_due();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            Some(change) = node_changes.recv() => scheduler.node(&change),
            Some(change) = pod_changes.recv() => scheduler.pod(&change),
            Some(outcome) = outcomes.recv() => scheduler.outcome(&outcome),
            () = tokio::time::sleep_until(due.unwrap_or_else(clock::instant)), if due.is_some() => {}
        }
    }
}

/// How a binding ended.
struct Outcome {
    uid: String,
    bound: bool,
}

struct Scheduler {
    config: Config,
    binder: Binder,
    cluster: Cluster,
    queue: Queue,
    /// The pods in the queue, by uid, as last seen.
    waiting: HashMap<String, Arc<Pod>>,
    shutdown: Shutdown,
    done: mpsc::UnboundedSender<Outcome>,
}

impl Scheduler {
    fn node(&mut self, change: &Change<Node>) {
        match change {
            Change::Deleted(node) => {
                self.cluster.remove_node(node.metadata.name.as_deref().unwrap_or_default());
            }
            Change::Added(node) => {
                self.cluster.set_node(node);
                self.queue.wake_all(clock::instant());
            }
            Change::Updated { old, new } => {
                self.cluster.set_node(new);
                if may_help(old, new) {
                    self.queue.wake_all(clock::instant());
                }
            }
        }
    }

    fn pod(&mut self, change: &Change<Pod>) {
        let pod = change.object();
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let spec = pod.spec.as_ref();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let over = change.is_deleted() || matches!(phase, Some("Succeeded" | "Failed"));
        if over {
            self.drop_waiting(&uid);
            if self.cluster.remove_pod(&uid) {
                self.queue.wake_all(clock::instant());
            }
            return;
        }
        if let Some(node) = spec.and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty()) {
            self.drop_waiting(&uid);
            if self.cluster.set_pod(&uid, node, Demand::of(pod)) {
                self.queue.wake_all(clock::instant());
            }
            return;
        }
        if pod.metadata.deletion_timestamp.is_some() {
            // A finalizer may keep it for long, but it will never be bound.
            self.drop_waiting(&uid);
            return;
        }
        let ours = spec.and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(&self.config.name)
            == self.config.name;
        if !ours || self.cluster.is_placed(&uid) {
            return;
        }
        if spec.and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty()) {
            let (binder, pod) = (self.binder.clone(), pod.clone());
            self.shutdown.spawn_until_cancelled("scheduler-gated", async move { binder.gated(pod).await });
            return;
        }
        let same = self.waiting.get(&uid).is_some_and(|known| known.spec == pod.spec);
        self.waiting.insert(uid.clone(), pod.clone());
        if !same {
            let priority = spec.and_then(|spec| spec.priority).unwrap_or(0);
            self.queue.add(&uid, priority, clock::instant());
        }
    }

    fn drop_waiting(&mut self, uid: &str) {
        if self.waiting.remove(uid).is_some() {
            self.queue.remove(uid);
        }
    }

    /// Decides about the pod whose turn it is. False when no pod is due.
    fn decide_one(&mut self) -> bool {
        let now = clock::instant();
        let Some(uid) = self.queue.pop(now) else { return false };
        let Some(pod) = self.waiting.get(&uid).cloned() else {
            self.queue.remove(&uid);
            return true;
        };
        let demand = Demand::of(&pod);
        let binder = self.binder.clone();
        match plan(&pod, &demand, &self.cluster) {
            Plan::Bind(node) => {
                self.cluster.assume(&uid, &node, demand);
                let done = self.done.clone();
                self.shutdown.spawn_until_cancelled("scheduler-bind", async move {
                    let bound = binder.bind(&pod, &node).await;
                    // The receiver is gone only at shutdown.
                    let _ = done.send(Outcome { uid, bound });
                });
            }
            Plan::Unschedulable(message) => {
                self.queue.park(&uid, now);
                self.shutdown.spawn_until_cancelled("scheduler-unschedulable", async move {
                    binder.unschedulable(pod, message).await;
                });
            }
        }
        true
    }

    fn outcome(&mut self, outcome: &Outcome) {
        if outcome.bound {
            self.drop_waiting(&outcome.uid);
        } else if self.cluster.forget(&outcome.uid) {
            let now = clock::instant();
            self.queue.back_off(&outcome.uid, now);
            self.queue.wake_all(now);
        }
    }
}

/// Whether a changed node could take a pod that it could not take before. Heartbeats cannot.
fn may_help(old: &Node, new: &Node) -> bool {
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    old.spec != new.spec || old.metadata.labels != new.metadata.labels || allocatable(old) != allocatable(new)
}

#[cfg(test)]
mod tests;
