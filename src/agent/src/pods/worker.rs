//! The one task that touches a pod's sandbox and containers.
//!
//! Each round computes what to do from the wanted pod and what runs, does it, reports the status, and waits for the next
//! reason to look: a change of the pod, an event of the runtime, a probe, a timer.
//!
//! | state | leaves it by |
//! |---|---|
//! | active | deletion, failure as a whole, or all containers ended for good |
//! | ended (nothing runs, sandbox stopped, volumes gone) | the pod being gone from the API |
//! | gone | runtime objects and logs are removed, the task ends |

mod start;
mod stop;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use copepod_base::backoff::{Backoff, Policy};
use copepod_client::events::EventType;
use copepod_cri::{EventKind, RuntimeEvent};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::backoff::{Backoffs, go_duration};
use super::hook::HookContext;
use super::image::Pulls;
use super::plan::{self, Plan};
use super::registry::View;
use super::shared::Shared;
use super::state::{PodState, RunState, load, load_record, load_sandbox};
use super::status::{self, Failure, Health, Reason};
use crate::probes::{Kind, Probes, Subject, Update};
use crate::spec::{all_containers, list, name, namespace, pod_spec, uid};

/// Between attempts after the runtime or a hook has failed: 1 s doubling to 30 s.
const RETRY: Policy =
    Policy { initial: Duration::from_secs(1), max: Duration::from_secs(30), factor: 2.0, jitter: 0.1 };

/// What the worker shall bring about.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The newest version of the pod.
    pub pod: Arc<Pod>,
    /// The API does not have it any more.
    pub gone: bool,
    /// The node refuses it.
    pub rejected: Option<Failure>,
}

impl Desired {
    fn ends(&self) -> bool {
        self.gone || self.rejected.is_some() || self.pod.metadata.deletion_timestamp.is_some()
    }
}

/// When to look again.
enum Next {
    /// At the next change.
    Wait,
    /// At the next change, or after this time.
    After(Duration),
    /// At once.
    Now,
    /// Never: the pod is gone.
    Done,
}

/// A pod's worker.
pub struct Worker {
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    desired: watch::Receiver<Desired>,
    events: mpsc::UnboundedReceiver<RuntimeEvent>,
    probe_sender: mpsc::UnboundedSender<Update>,
    probe_updates: mpsc::UnboundedReceiver<Update>,
    state: PodState,
    loaded: bool,
    /// Nothing runs any more and everything was cleaned up.
    ended: bool,
    failure: Option<Failure>,
    waiting: BTreeMap<String, Reason>,
    failed_probes: Vec<(String, &'static str)>,
    probes: Probes,
    backoffs: Backoffs,
    pulls: Arc<Mutex<Pulls>>,
    retry: Backoff,
    context: Option<Arc<HookContext>>,
    last: Option<PodStatus>,
    /// Whether everything in the status was computed once with the runtime's state known.
    published: bool,
}

impl Worker {
    /// A worker that adopts what the runtime has for the pod.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        desired: watch::Receiver<Desired>,
        events: mpsc::UnboundedReceiver<RuntimeEvent>,
        fresh: bool,
    ) -> Self {
        let pod = desired.borrow().pod.clone();
        let (probe_sender, probe_updates) = mpsc::unbounded_channel();
        Self {
            shared,
            pod,
            desired,
            events,
            probe_sender,
            probe_updates,
            state: PodState::default(),
            // The runtime was listed by the manager and had nothing of this pod.
            loaded: fresh,
            ended: false,
            failure: None,
            waiting: BTreeMap::new(),
            failed_probes: Vec::new(),
            probes: Probes::default(),
            backoffs: Backoffs::default(),
            pulls: Arc::default(),
            retry: Backoff::new(RETRY),
            context: None,
            last: None,
            published: false,
        }
    }

    /// Works until the pod is gone.
    pub async fn run(mut self) {
        loop {
            let next = self.sync().await;
            let wake = match next {
                Next::Done => return,
                Next::Now => continue,
                Next::After(delay) => Some(delay),
                Next::Wait => None,
            };
            if !self.wait(wake).await {
                return;
            }
        }
    }

    async fn wait(&mut self, wake: Option<Duration>) -> bool {
        let timer = async {
            match wake {
                Some(delay) => tokio::time::sleep(delay).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.desired.changed() => return changed.is_ok(),
            event = self.events.recv() => match event {
                Some(event) => self.take_event(&event).await,
                None => return false,
            },
            Some(update) = self.probe_updates.recv() => self.take_probe(&update),
            () = timer => {}
        }
        // Whatever came meanwhile is part of the same round.
        while let Ok(event) = self.events.try_recv() {
            self.take_event(&event).await;
        }
        while let Ok(update) = self.probe_updates.try_recv() {
            self.take_probe(&update);
        }
        true
    }

    async fn take_event(&mut self, event: &RuntimeEvent) {
        match event.kind {
            EventKind::Lost => self.loaded = false,
            EventKind::Exited => {
                let id = event.container_id.as_str();
                if self.state.sandboxes.iter().any(|s| s.id == id) {
                    match load_sandbox(&*self.shared.runtime, id).await {
                        Ok(sandbox) => self.state.put_sandbox(sandbox),
                        Err(_) => self.loaded = false,
                    }
                } else if self.state.records.iter().any(|r| r.id == id && r.state != RunState::Exited) {
                    self.refresh(id).await;
                }
            }
            // The worker's own doing.
            EventKind::Created | EventKind::Started | EventKind::Deleted | EventKind::OutOfMemory => {}
        }
    }

    /// Reads the state of a container anew.
    async fn refresh(&mut self, id: &str) {
        let Some(sandbox) = self.state.records.iter().find(|r| r.id == id).map(|r| r.sandbox_id.clone())
        else {
            return;
        };
        match load_record(&*self.shared.runtime, id, &sandbox).await {
            Ok(record) => self.state.put(record),
            Err(_) => self.loaded = false,
        }
    }

    fn take_probe(&mut self, update: &Update) {
        if self.probes.update(update) && !update.ok && update.kind != Kind::Readiness {
            self.failed_probes.push((update.container_id.clone(), update.kind.as_str()));
        }
    }

    async fn sync(&mut self) -> Next {
        let desired = self.desired.borrow_and_update().clone();
        self.pod = desired.pod.clone();
        if !self.loaded
            && let Err(error) = self.load().await
        {
            return self.try_later("the runtime's state is unknown", &error);
        }
        if desired.gone {
            return self.leave().await;
        }
        if self.ended {
            self.publish();
            return Next::Wait;
        }
        self.find_failure(&desired);
        if desired.ends() || self.failure.is_some() || self.has_ended_before() {
            return self.end().await;
        }
        let plan = self.plan();
        if plan.finished {
            return self.end().await;
        }
        self.execute(plan).await
    }

    async fn load(&mut self) -> copepod_cri::Result<()> {
        self.state = load(&*self.shared.runtime, uid(&self.pod)).await?;
        self.loaded = true;
        let running: Vec<(String, String)> =
            self.state.alive().map(|r| (r.id.clone(), r.name.clone())).collect();
        self.probes.retain(|id| running.iter().any(|(known, _)| known == id));
        for (id, container) in running {
            self.start_probes(&id, &container, true);
        }
        Ok(())
    }

    /// A pod that had ended when the agent was stopped is not started again.
    fn has_ended_before(&self) -> bool {
        let phase = self.pod.status.as_ref().and_then(|s| s.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed")) && !self.published
    }

    fn find_failure(&mut self, desired: &Desired) {
        if self.failure.is_some() {
            return;
        }
        if let Some(rejected) = &desired.rejected {
            // What runs already was admitted once.
            if self.state.sandboxes.is_empty() && self.state.records.is_empty() {
                self.shared.warning(&self.pod, &rejected.reason, rejected.message.clone());
                self.failure = Some(rejected.clone());
            }
            return;
        }
        if self.deadline().is_some_and(|left| left.is_zero()) {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            self.shared.normal(&self.pod, "DeadlineExceeded", message.clone());
            self.failure = Some(Failure { reason: "DeadlineExceeded".to_owned(), message });
        }
    }

    /// What is left of `activeDeadlineSeconds`.
    fn deadline(&self) -> Option<Duration> {
        let limit = pod_spec(&self.pod).active_deadline_seconds?;
        let status = self.last.as_ref().or(self.pod.status.as_ref())?;
        let end = status.start_time.as_ref()?.0.checked_add(SignedDuration::from_secs(limit)).ok()?;
        Some(Duration::try_from(end.duration_since(now())).unwrap_or(Duration::ZERO))
    }

    fn plan(&self) -> Plan {
        plan::plan(&plan::Inputs {
            pod: &self.pod,
            state: &self.state,
            backoffs: &self.backoffs,
            failed_probes: &self.failed_probes,
            started: &|id| self.probes.health(id).started,
            now: now(),
        })
    }

    async fn execute(&mut self, plan: Plan) -> Next {
        for waiting in &plan.waiting {
            let delay = go_duration(waiting.wait.delay);
            let reason = Reason {
                reason: "CrashLoopBackOff".to_owned(),
                message: format!(
                    "back-off {delay} restarting failed container={} pod={}",
                    waiting.name,
                    self.full_name()
                ),
            };
            if self.waiting.insert(waiting.name.clone(), reason.clone()) != Some(reason) {
                self.shared.container_event(
                    &self.pod,
                    &waiting.name,
                    EventType::Warning,
                    "BackOff",
                    format!(
                        "Back-off restarting failed container {} in pod {}",
                        waiting.name,
                        self.full_name()
                    ),
                );
            }
        }
        if !plan.kill.is_empty() {
            self.publish();
            return match self.kill(&plan.kill).await {
                Ok(()) => Next::Now,
                Err(error) => self.try_later("a container could not be stopped", &error),
            };
        }
        let mut next = plan.wake();
        if plan.new_sandbox.is_some() || !plan.start.is_empty() {
            match self.start(&plan).await {
                start::Outcome::Started => self.retry.reset(),
                start::Outcome::Retry(delay) => {
                    next = Some(next.map_or(delay, |n| n.min(delay)));
                }
                start::Outcome::Interrupted => return Next::Now,
            }
        }
        self.publish();
        let soonest = [next, self.deadline()].into_iter().flatten().min();
        soonest.map_or(Next::Wait, Next::After)
    }

    fn try_later(&mut self, what: &str, error: &copepod_cri::Error) -> Next {
        let delay = self.retry.next_delay();
        tracing::warn!(pod = %self.full_name(), ?delay, error = %copepod_base::Chain(error), "{what}");
        Next::After(delay)
    }

    /// Ends when the pod must not go on being started.
    async fn interrupted(desired: &mut watch::Receiver<Desired>) {
        // A closed channel means the agent stops; then this task is dropped anyway.
        if desired.wait_for(Desired::ends).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn start_probes(&mut self, id: &str, container: &str, adopted: bool) {
        if self.probes.knows(id) {
            return;
        }
        let found = all_containers(pod_spec(&self.pod)).map(|(c, _)| c).find(|c| c.name == container);
        let Some(container) = found.cloned() else { return };
        let record = self.state.records.iter().find(|r| r.id == id);
        let running_for = record
            .and_then(|r| Duration::try_from(now().duration_since(r.started_at)).ok())
            .unwrap_or_default();
        let known = adopted.then(|| self.known_health(&container.name, id)).flatten();
        let subject = Subject {
            shared: self.shared.clone(),
            pod: self.pod.clone(),
            pod_ip: self.pod_ip(),
            container,
            container_id: id.to_owned(),
            running_for,
        };
        self.probes.start(&subject, known, &self.probe_sender);
    }

    /// What the API says of a container that ran before the agent was started.
    fn known_health(&self, container: &str, id: &str) -> Option<Health> {
        let status = self.pod.status.as_ref()?;
        let mut all = list(&status.container_statuses).iter().chain(list(&status.init_container_statuses));
        let found =
            all.find(|s| s.name == container && s.container_id.as_deref().is_some_and(|c| c.ends_with(id)))?;
        Some(Health { started: found.started == Some(true), ready: found.ready })
    }

    fn pod_ip(&self) -> String {
        let own = self.state.ips().first().cloned();
        own.or_else(|| self.shared.facts.host_ips.first().cloned()).unwrap_or_default()
    }

    /// `name_namespace(uid)`, as messages name a pod.
    fn full_name(&self) -> String {
        format!("{}_{}({})", name(&self.pod), namespace(&self.pod), uid(&self.pod))
    }

    /// Computes the status and hands it over.
    fn publish(&mut self) {
        let keep: Vec<String> = self.state.alive().map(|r| r.id.clone()).collect();
        self.probes.retain(|id| keep.iter().any(|k| k == id));
        self.failed_probes.retain(|(id, _)| keep.contains(id));
        let health = |id: &str| self.probes.health(id);
        let status = status::compute(&status::Inputs {
            pod: &self.pod,
            last: self.last.as_ref(),
            state: &self.state,
            node: &self.shared.facts,
            health: &health,
            waiting: &self.waiting,
            failure: self.failure.as_ref(),
            terminal: self.ended,
            now: now(),
        });
        let delete = self.ended && self.pod.metadata.deletion_timestamp.is_some();
        self.shared.statuses.set(&self.pod, &status, delete);
        self.shared.registry.put(View {
            pod: self.pod.clone(),
            status: status.clone(),
            state: self.state.clone(),
        });
        self.last = Some(status);
        self.published = true;
    }
}

/// The current date.
pub(super) fn now() -> Timestamp {
    Timestamp::try_from(copepod_base::clock::now()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
