//! Taking a pod down.

use std::sync::Arc;
use std::time::Duration;

use copepod_client::events::EventType;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::super::hook::HookContext;
use super::super::lifecycle;
use super::super::plan::Kill;
use super::super::shared::Shared;
use super::super::state::RunState;
use super::{Desired, Next, Worker};
use crate::spec::{all_containers, is_sidecar, list, name, namespace, pod_spec, uid};

/// Grace of pods that say nothing.
const DEFAULT_GRACE: i64 = 30;

impl Worker {
    /// Seconds the containers get. A deletion may shorten it, also while it goes on.
    fn grace(&self) -> Duration {
        let deletion = self.pod.metadata.deletion_grace_period_seconds;
        let own = pod_spec(&self.pod).termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE);
        let seconds = match deletion {
            Some(seconds) if self.pod.metadata.deletion_timestamp.is_some() => seconds,
            _ => own,
        };
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// Stops everything, cleans up, reports; the pod's object may still be there.
    pub(super) async fn end(&mut self) -> Next {
        // Waiting containers will not be started any more.
        self.waiting.clear();
        self.publish();
        if let Err(error) = self.stop_all().await {
            return self.try_later("a container could not be stopped", &error);
        }
        for id in self.state.sandboxes.iter().map(|s| s.id.clone()).collect::<Vec<_>>() {
            if let Err(error) = self.shared.runtime.stop_pod_sandbox(&id).await
                && !error.is_not_found()
            {
                return self.try_later("a sandbox could not be stopped", &error);
            }
        }
        for sandbox in &mut self.state.sandboxes {
            sandbox.ready = false;
        }
        let context = self.context.take().unwrap_or_else(|| {
            Arc::new(HookContext {
                shared: self.shared.clone(),
                pod: self.pod.clone(),
                outcome: parking_lot::Mutex::default(),
                before: None,
            })
        });
        if self.shared.pipeline.clean_up(&context).await.is_err() {
            let delay = self.retry.next_delay();
            return Next::After(delay);
        }
        self.ended = true;
        self.publish();
        // A deletion may have come while this went on.
        if self.desired.has_changed().unwrap_or(false) { Next::Now } else { Next::Wait }
    }

    /// Stops main containers, then sidecars from the last to the first, all within the grace period.
    async fn stop_all(&mut self) -> copepod_cri::Result<()> {
        let begun = copepod_base::clock::instant();
        let mut told = Vec::new();
        loop {
            let alive: Vec<(String, String)> =
                self.state.alive().map(|r| (r.id.clone(), r.name.clone())).collect();
            if alive.is_empty() {
                return Ok(());
            }
            for (id, container) in &alive {
                if !told.contains(id) {
                    let message = format!("Stopping container {container}");
                    self.shared.container_event(&self.pod, container, EventType::Normal, "Killing", message);
                    told.push(id.clone());
                }
            }
            let grace = self.grace();
            let ip = self.pod_ip();
            let stopping = stop_ordered(&self.shared, &self.pod, &alive, &ip, begun + grace);
            let mut desired = self.desired.clone();
            let shorter = async {
                let by_force = |d: &Desired| d.gone && grace > Duration::ZERO;
                let shortened = |d: &Desired| {
                    let seconds = d.pod.metadata.deletion_grace_period_seconds;
                    d.pod.metadata.deletion_timestamp.is_some()
                        && seconds.is_some_and(|s| Duration::from_secs(u64::try_from(s).unwrap_or(0)) < grace)
                };
                let changed = desired.wait_for(|d| by_force(d) || shortened(d)).await.map(|d| d.clone());
                match changed {
                    Ok(desired) => desired,
                    // The agent stops: this task is dropped.
                    Err(_) => std::future::pending().await,
                }
            };
            let shorter = tokio::select! {
                result = stopping => {
                    result?;
                    None
                }
                desired = shorter => Some(desired),
            };
            match shorter {
                Some(desired) => {
                    let mut pod = (*desired.pod).clone();
                    if desired.gone {
                        // Nobody waits for a pod that was deleted by force.
                        pod.metadata.deletion_grace_period_seconds = Some(0);
                        pod.metadata.deletion_timestamp.get_or_insert_with(|| {
                            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(super::now())
                        });
                    }
                    self.pod = Arc::new(pod);
                }
                None => {
                    for (id, _) in alive {
                        self.refresh(&id).await;
                        // Told to stop and obeyed: what the runtime says late changes nothing.
                        if !self.loaded {
                            self.load().await?;
                        }
                    }
                    if self.state.alive().next().is_some() {
                        let ids: Vec<String> = self.state.alive().map(|r| r.id.clone()).collect();
                        for id in ids {
                            self.shared.runtime.stop_container(&id, Duration::ZERO).await?;
                            self.refresh(&id).await;
                        }
                    }
                    self.state.records.retain(|r| r.state != RunState::Created);
                    return Ok(());
                }
            }
        }
    }

    /// Stops single containers of a pod that goes on.
    pub(super) async fn kill(&mut self, kills: &[Kill]) -> copepod_cri::Result<()> {
        for kill in kills {
            self.shared.container_event(
                &self.pod,
                &kill.name,
                EventType::Normal,
                "Killing",
                kill.message.clone(),
            );
        }
        let ip = self.pod_ip();
        let begun = copepod_base::clock::instant();
        let stopping = kills.iter().map(|kill| {
            let grace = self.kill_grace(kill);
            let container = container(&self.pod, &kill.name);
            stop(&self.shared, &self.pod, container, &kill.id, &ip, begun + grace)
        });
        for result in join_all(stopping).await {
            result?;
        }
        for kill in kills {
            self.refresh(&kill.id).await;
        }
        Ok(())
    }

    /// A probe may have a grace period of its own.
    fn kill_grace(&self, kill: &Kill) -> Duration {
        let own = container(&self.pod, &kill.name).filter(|_| kill.probe).and_then(|c| {
            let kind = self.failed_probes.iter().find(|(id, _)| *id == kill.id).map(|(_, kind)| *kind);
            let probe =
                if kind == Some("startup") { c.startup_probe.as_ref() } else { c.liveness_probe.as_ref() };
            probe.and_then(|p| p.termination_grace_period_seconds)
        });
        own.map_or_else(|| self.grace(), |s| Duration::from_secs(u64::try_from(s).unwrap_or(0)))
    }

    /// The pod's object is gone: so must be everything else.
    pub(super) async fn leave(&mut self) -> Next {
        if !self.ended {
            let pod_gone = self.pod.clone();
            match self.end().await {
                Next::Wait | Next::Now if self.ended => {}
                other => return other,
            }
            self.pod = pod_gone;
        }
        let runtime = &self.shared.runtime;
        let removals: Vec<_> =
            self.state.sandboxes.iter().map(|s| runtime.remove_pod_sandbox(&s.id)).collect();
        for result in join_all(removals).await {
            if let Err(error) = result
                && !error.is_not_found()
            {
                return self.try_later("a sandbox could not be removed", &error);
            }
        }
        let logs = self.shared.facts.pod_logs(&self.pod);
        if let Err(error) = tokio::fs::remove_dir_all(&logs).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %logs.display(), %error, "logs of a deleted pod stay");
        }
        self.shared.statuses.forget(uid(&self.pod));
        self.shared.registry.remove(namespace(&self.pod), name(&self.pod), uid(&self.pod));
        Next::Done
    }
}

fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    all_containers(pod_spec(pod)).map(|(c, _)| c).find(|c| c.name == name)
}

/// Runs the preStop hook within the time left, then stops the container in what remains.
async fn stop(
    shared: &Shared,
    pod: &Pod,
    container: Option<&Container>,
    id: &str,
    ip: &str,
    deadline: tokio::time::Instant,
) -> copepod_cri::Result<()> {
    let handler = container.and_then(|c| c.lifecycle.as_ref()).and_then(|l| l.pre_stop.as_ref());
    if let (Some(container), Some(handler)) = (container, handler)
        && deadline > copepod_base::clock::instant()
    {
        let hook = lifecycle::run(shared, pod, container, id, handler, ip);
        let failed = match tokio::time::timeout_at(deadline, hook).await {
            Ok(result) => result.err(),
            Err(_) => Some("it did not end within the grace period".to_owned()),
        };
        if let Some(error) = failed {
            tracing::debug!(container = container.name, error, "preStop hook failed");
            shared.container_event(
                pod,
                &container.name,
                EventType::Warning,
                "FailedPreStopHook",
                "PreStopHook failed",
            );
        }
    }
    let left = deadline.saturating_duration_since(copepod_base::clock::instant());
    // Whole seconds, and always a moment to end by itself after a hook has used up the time.
    let grace = if handler.is_some() { left.max(Duration::from_secs(2)) } else { left };
    let grace = Duration::from_secs(grace.as_secs() + u64::from(grace.subsec_nanos() > 0));
    match shared.runtime.stop_container(id, grace).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

/// Main containers at once, then sidecars one by one backwards.
async fn stop_ordered(
    shared: &Shared,
    pod: &Pod,
    alive: &[(String, String)],
    ip: &str,
    deadline: tokio::time::Instant,
) -> copepod_cri::Result<()> {
    let sidecars: Vec<&str> = list(&pod_spec(pod).init_containers)
        .iter()
        .filter(|c| is_sidecar(c))
        .map(|c| c.name.as_str())
        .collect();
    let (later, first): (Vec<_>, Vec<_>) =
        alive.iter().partition(|(_, name)| sidecars.contains(&name.as_str()));
    let mut stopping: FuturesUnordered<_> = first
        .into_iter()
        .map(|(id, name)| stop(shared, pod, container(pod, name), id, ip, deadline))
        .collect();
    while let Some(result) = stopping.next().await {
        result?;
    }
    for sidecar in sidecars.iter().rev() {
        if let Some((id, name)) = later.iter().find(|(_, name)| name == sidecar) {
            stop(shared, pod, container(pod, name), id, ip, deadline).await?;
        }
    }
    Ok(())
}
