//! Workers for pods.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use copepod_base::Shutdown;
use copepod_client::{Change, Informer};
use copepod_cri::{EventKind, RuntimeEvent, v1};
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::sync::{mpsc, watch};

use super::admission::admit;
use super::shared::Shared;
use super::worker::{Desired, Worker};
use crate::spec::cgroup::class_group;
use crate::spec::resources::Qos;
use crate::spec::{NodeFacts, labels, uid};

/// Between attempts to list what the runtime has, at start.
const LIST_RETRY: Duration = Duration::from_secs(1);

struct Handle {
    desired: watch::Sender<Desired>,
    events: mpsc::UnboundedSender<RuntimeEvent>,
}

/// Runs until the shutdown; pods go on without it.
pub struct Manager {
    shared: Arc<Shared>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    runtime_events: mpsc::Receiver<RuntimeEvent>,
    shutdown: Shutdown,
    workers: HashMap<String, Handle>,
    /// Pods whose worker has ended.
    done: (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>),
    /// Pods the runtime had something of when the manager started.
    found: HashSet<String>,
}

impl Manager {
    /// A manager of the informers' pods; the informer of nodes holds this node alone.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        pods: Informer<Pod>,
        nodes: Informer<Node>,
        runtime_events: mpsc::Receiver<RuntimeEvent>,
        shutdown: &Shutdown,
    ) -> Self {
        Self {
            shared,
            pods,
            nodes,
            runtime_events,
            shutdown: shutdown.clone(),
            workers: HashMap::new(),
            done: mpsc::unbounded_channel(),
            found: HashSet::new(),
        }
    }

    /// Works until the shutdown.
    pub async fn run(mut self) {
        if !self.pods.synced().await || !self.nodes.synced().await || !self.shared.services.synced().await {
            return;
        }
        // The list comes after the pods: what it shows and the API does not know, is an orphan.
        let orphans = loop {
            match self.list_runtime().await {
                Ok(orphans) => break orphans,
                Err(error) => {
                    tracing::warn!(error = %copepod_base::Chain(&error), "cannot list what the runtime has");
                    tokio::time::sleep(LIST_RETRY).await;
                }
            }
        };
        self.remove_orphans(orphans);
        self.remove_orphan_folders();
        let mut changes = self.pods.subscribe();
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Some(change) => self.change(change),
                    None => return,
                },
                event = self.runtime_events.recv() => match event {
                    Some(event) => self.runtime_event(&event),
                    None => return,
                },
                Some(pod_uid) = self.done.1.recv() => {
                    self.workers.remove(&pod_uid);
                }
            }
        }
    }

    /// Notes what the runtime has; sandboxes and containers of pods that the API does not know.
    async fn list_runtime(&mut self) -> copepod_cri::Result<Vec<v1::PodSandbox>> {
        let known: HashSet<String> = self.pods.list().iter().map(|p| uid(p).to_owned()).collect();
        let mut orphans = Vec::new();
        for sandbox in self.shared.runtime.list_pod_sandbox(None).await? {
            // Without the label it is not a pod's: somebody else uses the same runtime.
            let Some(owner) = sandbox.labels.get(labels::POD_UID).cloned() else { continue };
            self.found.insert(owner.clone());
            if !known.contains(&owner) {
                orphans.push(sandbox);
            }
        }
        Ok(orphans)
    }

    fn remove_orphans(&self, orphans: Vec<v1::PodSandbox>) {
        let known: HashSet<String> = self.pods.list().iter().map(|p| uid(p).to_owned()).collect();
        let shared = self.shared.clone();
        self.shutdown.spawn_until_cancelled("orphans", async move {
            let ends = orphans.iter().map(|sandbox| {
                let metadata = sandbox.metadata.clone().unwrap_or_default();
                tracing::info!(
                    pod = %format!("{}/{}", metadata.namespace, metadata.name),
                    sandbox = sandbox.id,
                    "stopping a pod that the API does not know"
                );
                let runtime = shared.runtime.clone();
                async move {
                    if let Err(error) = end_sandbox(&*runtime, &sandbox.id).await {
                        tracing::warn!(sandbox = sandbox.id, error = %copepod_base::Chain(&error), "an orphan stays");
                    }
                }
            });
            futures::future::join_all(ends).await;
            let sweep = move || remove_orphan_cgroups(&shared.facts, &known);
            // A panic is logged by the runtime; groups that stay are tried again at the next start.
            let _ = tokio::task::spawn_blocking(sweep).await;
        });
    }

    /// Folders of pods that the API does not know are left from a pod whose end was cut off.
    fn remove_orphan_folders(&self) {
        let known: HashSet<String> = self.pods.list().iter().map(|p| uid(p).to_owned()).collect();
        let facts = self.shared.facts.clone();
        tokio::task::spawn_blocking(move || {
            for entry in std::fs::read_dir(&facts.pods_dir).into_iter().flatten().flatten() {
                if known.contains(&*entry.file_name().to_string_lossy()) {
                    continue;
                }
                if let Err(error) = crate::volumes::tear_down(&entry.path()) {
                    tracing::warn!(folder = %entry.path().display(), error = %copepod_base::Chain(&error), "a folder of a pod that is gone stays");
                }
            }
            for entry in std::fs::read_dir(&facts.logs_dir).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let owner = name.rsplit('_').next().unwrap_or_default();
                if !known.contains(owner) {
                    // Tried again at the next start.
                    let _ = std::fs::remove_dir_all(entry.path());
                }
            }
        });
    }

    fn change(&mut self, change: Change<Pod>) {
        let pod = change.object().clone();
        let pod_uid = uid(&pod).to_owned();
        if change.is_deleted() {
            if let Some(handle) = self.workers.get(&pod_uid) {
                handle.desired.send_modify(|desired| {
                    // The last state a watch tells may be older than the one known.
                    desired.gone = true;
                });
            }
            return;
        }
        if let Some(handle) = self.workers.get(&pod_uid) {
            handle.desired.send_modify(|desired| desired.pod = pod);
            return;
        }
        let rejected = if self.found.contains(&pod_uid) { None } else { self.admit(&pod) };
        let (desired, receiver) = watch::channel(Desired { pod, gone: false, rejected });
        let (events, inbox) = mpsc::unbounded_channel();
        let fresh = !self.found.contains(&pod_uid);
        let worker = Worker::new(self.shared.clone(), receiver, inbox, fresh);
        let done = self.done.0.clone();
        let id = pod_uid.clone();
        self.shutdown.spawn_until_cancelled("pod", async move {
            worker.run().await;
            // A closed channel means the manager has ended first.
            let _ = done.send(id);
        });
        self.workers.insert(pod_uid, Handle { desired, events });
    }

    /// Why this node refuses a new pod.
    fn admit(&self, pod: &Pod) -> Option<super::status::Failure> {
        let ended = |p: &Pod| {
            matches!(p.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"))
        };
        if ended(pod) || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let node = self.nodes.get(None, &self.shared.facts.name)?;
        let admitted: Vec<Arc<Pod>> = self
            .workers
            .values()
            .filter(|h| h.desired.borrow().rejected.is_none())
            .map(|h| h.desired.borrow().pod.clone())
            .filter(|p| !ended(p))
            .collect();
        let admitted: Vec<&Pod> = admitted.iter().map(|p| &**p).collect();
        admit(pod, &node, &admitted).err()
    }

    /// Passes an end on to the pod's worker. The rest workers did themselves.
    fn runtime_event(&self, event: &RuntimeEvent) {
        let owner = match (event.kind, event.sandbox_id.as_deref()) {
            (EventKind::Exited, Some(sandbox)) => self.shared.registry.owner(sandbox),
            (EventKind::Exited | EventKind::Lost, _) => None,
            _ => return,
        };
        match owner.and_then(|owner| self.workers.get(&owner)) {
            Some(handle) => {
                // A worker that has just ended needs no event.
                let _ = handle.events.send(event.clone());
            }
            // A sandbox that its worker has not shown yet: each knows its own.
            None => {
                for handle in self.workers.values() {
                    let _ = handle.events.send(event.clone());
                }
            }
        }
    }
}

async fn end_sandbox(runtime: &dyn copepod_cri::Runtime, id: &str) -> copepod_cri::Result<()> {
    let filter = v1::ContainerFilter { pod_sandbox_id: id.to_owned(), ..Default::default() };
    for container in runtime.list_containers(Some(filter)).await? {
        let grace = container
            .annotations
            .get(labels::GRACE_PERIOD)
            .and_then(|g| g.parse().ok())
            .map_or(Duration::from_secs(30), Duration::from_secs);
        runtime.stop_container(&container.id, grace).await?;
    }
    runtime.stop_pod_sandbox(id).await?;
    runtime.remove_pod_sandbox(id).await
}

/// Control groups of pods that the API does not know, empty once their sandboxes are gone.
fn remove_orphan_cgroups(facts: &NodeFacts, known: &HashSet<String>) {
    for class in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
        let parent = class_group(&facts.cgroup_root, class);
        for name in facts.cgroups.children(&parent).unwrap_or_default() {
            if name.strip_prefix("pod").is_some_and(|owner| owner.contains('-') && !known.contains(owner))
                && let Err(error) = facts.cgroups.delete(&parent.child(&name))
            {
                tracing::warn!(name, error = %copepod_base::Chain(&error), "a control group of a pod that is gone stays");
            }
        }
    }
}
