//! Startup, liveness and readiness probes of running containers.
//!
//! One task per probe. A task reports only when what it has to say changes; the pod's worker decides what follows.

mod check;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use copepod_client::events::EventType;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::pods::shared::Shared;
use crate::pods::status::Health;

/// Which probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Holds back the others until the container has started.
    Startup,
    /// Restarts the container.
    Liveness,
    /// Takes the container out of service.
    Readiness,
}

impl Kind {
    /// As in event texts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Startup => "startup",
            Kind::Liveness => "liveness",
            Kind::Readiness => "readiness",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Liveness => "Liveness",
            Kind::Readiness => "Readiness",
        }
    }
}

/// A probe's answer has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Container, by id.
    pub container_id: String,
    /// Which probe.
    pub kind: Kind,
    /// Past its threshold of successes; else of failures.
    pub ok: bool,
}

/// What a probe needs to know.
#[derive(Clone)]
pub struct Subject {
    /// What all pods share.
    pub shared: Arc<Shared>,
    /// The pod.
    pub pod: Arc<Pod>,
    /// The container.
    pub container: Container,
    /// Its id.
    pub container_id: String,
    /// Address for probes over the network.
    pub pod_ip: String,
    /// Time since its start, when the probing begins.
    pub running_for: Duration,
}

struct Probed {
    health: Health,
    started: watch::Sender<bool>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// The probes of one pod.
#[derive(Default)]
pub struct Probes(HashMap<String, Probed>);

impl Probes {
    /// Begins to probe a container; `known` is its health from before a restart of the agent.
    pub fn start(&mut self, subject: &Subject, known: Option<Health>, out: &mpsc::UnboundedSender<Update>) {
        let container = &subject.container;
        let health = Health {
            started: container.startup_probe.is_none() || known.is_some_and(|k| k.started),
            ready: container.readiness_probe.is_none() || known.is_some_and(|k| k.ready),
        };
        let started = watch::Sender::new(health.started);
        let probes = [
            (Kind::Startup, container.startup_probe.as_ref().filter(|_| !health.started)),
            (Kind::Liveness, container.liveness_probe.as_ref()),
            (Kind::Readiness, container.readiness_probe.as_ref()),
        ];
        let tasks = probes
            .into_iter()
            .filter_map(|(kind, probe)| Some((kind, probe?.clone())))
            .map(|(kind, probe)| {
                let ok = kind == Kind::Readiness && health.ready;
                let run = Runner {
                    subject: subject.clone(),
                    kind,
                    probe,
                    ok: Some(ok).filter(|_| kind == Kind::Readiness),
                    out: out.clone(),
                };
                AbortOnDropHandle::new(tokio::spawn(run.run(started.subscribe())))
            })
            .collect();
        self.0.insert(subject.container_id.clone(), Probed { health, started, _tasks: tasks });
    }

    /// Whether the container is probed.
    #[must_use]
    pub fn knows(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Ends the probes of all containers but these.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|id, _| keep(id));
    }

    /// Takes an update in; false when it was about a container no longer probed.
    pub fn update(&mut self, update: &Update) -> bool {
        let Some(probed) = self.0.get_mut(&update.container_id) else { return false };
        match update.kind {
            Kind::Startup if update.ok => {
                probed.health.started = true;
                probed.started.send_replace(true);
            }
            Kind::Readiness => probed.health.ready = update.ok,
            Kind::Startup | Kind::Liveness => {}
        }
        true
    }

    /// Health of a container; one that is not probed yet is not healthy yet.
    #[must_use]
    pub fn health(&self, id: &str) -> Health {
        self.0.get(id).map(|p| p.health).unwrap_or_default()
    }
}

struct Runner {
    subject: Subject,
    kind: Kind,
    probe: Probe,
    /// What was reported last.
    ok: Option<bool>,
    out: mpsc::UnboundedSender<Update>,
}

/// A number of the probe's spec; 0 and less mean the default.
fn number(value: Option<i32>, default: u32) -> u32 {
    value.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default)
}

impl Runner {
    async fn run(mut self, mut started: watch::Receiver<bool>) {
        let period = Duration::from_secs(number(self.probe.period_seconds, 10).into());
        if self.kind != Kind::Startup && started.wait_for(|s| *s).await.is_err() {
            return;
        }
        let delay = u64::try_from(self.probe.initial_delay_seconds.unwrap_or(0)).unwrap_or(0);
        let delay = Duration::from_secs(delay).saturating_sub(self.subject.running_for);
        tokio::time::sleep(delay).await;
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut last, mut in_row) = (None, 0_u32);
        loop {
            ticks.tick().await;
            let ok = self.check().await;
            in_row = if last == Some(ok) { in_row.saturating_add(1) } else { 1 };
            last = Some(ok);
            let threshold = if ok {
                number(self.probe.success_threshold, 1)
            } else {
                number(self.probe.failure_threshold, 3)
            };
            if in_row < threshold || self.ok == Some(ok) {
                continue;
            }
            self.ok = Some(ok);
            let update = Update { container_id: self.subject.container_id.clone(), kind: self.kind, ok };
            if self.out.send(update).is_err() || (self.kind == Kind::Startup && ok) {
                return;
            }
            if !ok && self.kind != Kind::Readiness {
                // The container is about to be stopped; its successor gets probes of its own.
                return;
            }
        }
    }

    async fn check(&self) -> bool {
        let timeout = Duration::from_secs(number(self.probe.timeout_seconds, 1).into());
        let (reason, message) = match check::check(&self.subject, &self.probe, timeout).await {
            Ok(()) => return true,
            Err(check::Failed::Unhealthy(output)) => {
                ("Unhealthy", format!("{} probe failed: {output}", self.kind.title()))
            }
            Err(check::Failed::Errored(error)) => (
                "Unhealthy",
                format!("{} probe errored and resulted in unknown state: {error}", self.kind.title()),
            ),
        };
        let subject = &self.subject;
        subject.shared.container_event(
            &subject.pod,
            &subject.container.name,
            EventType::Warning,
            reason,
            message,
        );
        false
    }
}
