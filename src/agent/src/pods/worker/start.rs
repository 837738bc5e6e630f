//! Bringing a pod up: sandbox, volumes and images at the same time, then the containers in order.

use std::sync::Arc;
use std::time::Duration;

use copepod_client::events::EventType;
use copepod_cri::v1;
use k8s_openapi::api::core::v1::Container;
use tokio_util::task::AbortOnDropHandle;

use super::super::hook::{HookContext, HookError, Stage};
use super::super::image::{self, NoImage};
use super::super::lifecycle;
use super::super::plan::{Kill, Plan};
use super::super::state::{PodState, RunState, Sandbox, load_record, load_sandbox};
use super::super::status::Reason;
use super::{Worker, now};
use crate::spec::container::{Parts, config};
use crate::spec::env::{Inputs, environment};
use crate::spec::field::Addresses;
use crate::spec::{all_containers, host_network, list, namespace, pod_spec, sandbox, security};
use crate::volumes::mounts::{Made, container_mounts};

/// How it went.
pub(super) enum Outcome {
    /// Everything planned runs.
    Started,
    /// Something has to be tried again.
    Retry(Duration),
    /// The pod shall end.
    Interrupted,
}

/// A container was not started.
struct NotStarted {
    reason: Reason,
    retry: Option<Duration>,
}

type PulledImage = AbortOnDropHandle<Result<v1::Image, NoImage>>;

impl Worker {
    pub(super) async fn start(&mut self, plan: &Plan) -> Outcome {
        if !host_network(&self.pod) && plan.new_sandbox.is_some() && !*self.shared.network_ready.borrow() {
            self.publish();
            let message = "network is not ready: the node has no pod CIDR yet";
            self.shared.warning(&self.pod, "NetworkNotReady", message);
            let (mut ready, mut desired) = (self.shared.network_ready.clone(), self.desired.clone());
            tokio::select! {
                _ = ready.wait_for(|ready| *ready) => {}
                () = Self::interrupted(&mut desired) => return Outcome::Interrupted,
            }
        }
        let images: Vec<(Container, PulledImage)> = self.pull_images(&plan.start);
        let context = Arc::new(HookContext {
            shared: self.shared.clone(),
            pod: self.pod.clone(),
            outcome: parking_lot::Mutex::default(),
            before: self.context.as_ref().map(|c| c.outcome.lock().fetched.clone()),
        });
        // The status goes out while the runtime works.
        self.publish();
        let beside = self.shared.pipeline.prepare(Stage::BesideSandbox, &context);
        let (made, beside) = match plan.new_sandbox {
            Some(attempt) => {
                let sandbox = self.new_sandbox(attempt, &context);
                let (made, beside) = tokio::join!(sandbox, beside);
                (made.map(Some), beside)
            }
            None => (Ok(None), beside.await),
        };
        if beside.is_ok() {
            self.context = Some(context.clone());
        }
        match made {
            Ok(Some(sandbox)) => {
                // Nothing of an old sandbox can run.
                for old in &mut self.state.sandboxes {
                    old.ready = false;
                }
                self.state.put_sandbox(sandbox);
            }
            Ok(None) => {}
            Err(error) => return self.hook_failed(&error),
        }
        if let Err(error) = beside {
            return self.hook_failed(&error);
        }
        self.start_containers(images, &context).await
    }

    fn hook_failed(&mut self, error: &HookError) -> Outcome {
        self.shared.warning(&self.pod, error.event, error.message.clone());
        Outcome::Retry(self.retry.next_delay())
    }

    fn pull_images(&self, names: &[String]) -> Vec<(Container, PulledImage)> {
        let spec = pod_spec(&self.pod);
        let containers = names
            .iter()
            .filter_map(|name| all_containers(spec).map(|(c, _)| c).find(|c| c.name == *name).cloned());
        containers
            .map(|container| {
                let pull = image::ensure(
                    self.shared.clone(),
                    self.pod.clone(),
                    container.clone(),
                    self.pulls.clone(),
                );
                (container, AbortOnDropHandle::new(tokio::spawn(pull)))
            })
            .collect()
    }

    /// Ends what is left of the old sandbox, then makes a new one.
    async fn new_sandbox(&self, attempt: u32, context: &HookContext) -> Result<Sandbox, HookError> {
        let failed = |error: copepod_cri::Error| HookError {
            event: "FailedCreatePodSandBox",
            message: format!("Failed to create pod sandbox: {}", error.message()),
        };
        let shared = &self.shared;
        if !self.state.sandboxes.is_empty() {
            shared.normal(
                &self.pod,
                "SandboxChanged",
                "Pod sandbox changed, it will be killed and re-created.",
            );
            stop_old(shared, &self.state).await.map_err(failed)?;
        }
        shared.pipeline.prepare(Stage::BeforeSandbox, context).await?;
        let handler = String::new();
        let id = shared
            .runtime
            .run_pod_sandbox(sandbox::config(&self.pod, &shared.facts, attempt), &handler)
            .await
            .map_err(failed)?;
        load_sandbox(&*shared.runtime, &id).await.map_err(failed)
    }

    async fn start_containers(
        &mut self,
        images: Vec<(Container, PulledImage)>,
        context: &Arc<HookContext>,
    ) -> Outcome {
        let mut retry: Option<Duration> = None;
        let mut earlier = |delay: Duration| retry = Some(retry.map_or(delay, |r| r.min(delay)));
        for (container, mut image) in images {
            if self.desired.borrow().ends() {
                return Outcome::Interrupted;
            }
            let mut desired = self.desired.clone();
            if !image.is_finished() {
                // A pull may take long: show what is there.
                self.publish();
            }
            let image = tokio::select! {
                pulled = &mut image => pulled,
                () = Self::interrupted(&mut desired) => return Outcome::Interrupted,
            };
            let result = match image {
                Ok(Ok(image)) => self.start_container(&container, image, context).await,
                Ok(Err(NoImage { reason, retry })) => Err(NotStarted { reason, retry }),
                Err(error) => Err(NotStarted {
                    reason: Reason { reason: "ErrImagePull".to_owned(), message: error.to_string() },
                    retry: Some(Duration::from_secs(1)),
                }),
            };
            match result {
                Ok(id) => {
                    self.waiting.remove(&container.name);
                    if !self.post_start(&container, &id).await {
                        earlier(Duration::ZERO);
                    }
                    self.collect_garbage(&container.name);
                }
                Err(NotStarted { reason, retry }) => {
                    self.waiting.insert(container.name.clone(), reason);
                    let delay = retry.unwrap_or_else(|| self.retry.next_delay());
                    earlier(delay);
                }
            }
        }
        match retry {
            Some(delay) => Outcome::Retry(delay),
            None => Outcome::Started,
        }
    }

    /// Creates and starts one container; its id.
    async fn start_container(
        &mut self,
        container: &Container,
        image: v1::Image,
        context: &HookContext,
    ) -> Result<String, NotStarted> {
        let Some(sandbox) = self.state.ready_sandbox().cloned() else {
            return Err(not_started("CreateContainerError", "the pod's sandbox is not ready".to_owned()));
        };
        let (attempt, restart_count) = self.next_attempt(container).await?;
        if let Some(ended) = self.state.latest(&container.name).filter(|r| r.state == RunState::Exited) {
            self.backoffs.next(&container.name, ended.finished_at, now());
        }
        let (request_config, request) =
            match self.configure(container, &image, context, &sandbox, attempt, restart_count) {
                Ok(request) => request,
                Err(message) => {
                    self.failed_event(container, &message);
                    return Err(not_started("CreateContainerConfigError", message));
                }
            };
        let runtime = self.shared.runtime.clone();
        let created = runtime
            .create_container(v1::CreateContainerRequest {
                pod_sandbox_id: sandbox.id.clone(),
                config: Some(request),
                sandbox_config: Some(request_config),
            })
            .await;
        let id = match created {
            Ok(id) => id,
            Err(error) => {
                let message = error.message();
                self.failed_event(container, &message);
                return Err(not_started("CreateContainerError", message));
            }
        };
        self.shared.container_event(
            &self.pod,
            &container.name,
            EventType::Normal,
            "Created",
            "Container created",
        );
        let started = runtime.start_container(&id).await;
        let record = load_record(&*runtime, &id, &sandbox.id).await;
        match record {
            Ok(record) => self.state.put(record),
            Err(_) => self.loaded = false,
        }
        if let Err(error) = started {
            let message = error.message();
            self.failed_event(container, &message);
            return Err(not_started("RunContainerError", message));
        }
        self.shared.container_event(
            &self.pod,
            &container.name,
            EventType::Normal,
            "Started",
            "Container started",
        );
        self.start_probes(&id, &container.name, false);
        Ok(id)
    }

    fn failed_event(&self, container: &Container, message: &str) {
        let text = format!("Error: {message}");
        self.shared.container_event(&self.pod, &container.name, EventType::Warning, "Failed", text);
    }

    /// Number of the next attempt, and restarts before it. The count never falls, even when the runtime has forgotten.
    async fn next_attempt(&mut self, container: &Container) -> Result<(u32, u32), NotStarted> {
        let status = self.last.as_ref().or(self.pod.status.as_ref());
        let reported = status.and_then(|s| {
            list(&s.container_statuses)
                .iter()
                .chain(list(&s.init_container_statuses))
                .find(|c| c.name == container.name)
        });
        let known = reported.map_or(0, |s| u32::try_from(s.restart_count).unwrap_or(0));
        match self.state.latest(&container.name).cloned() {
            None => {
                let ran = reported.is_some_and(|s| {
                    s.container_id.is_some() || s.last_state.as_ref().is_some_and(|l| l.terminated.is_some())
                });
                let count = if ran { known + 1 } else { known };
                Ok((count, count))
            }
            Some(cut_off) if cut_off.state == RunState::Created => {
                // It was created and the agent stopped before starting it: its settings may be stale.
                let removed = self.shared.runtime.remove_container(&cut_off.id).await;
                removed.map_err(|e| not_started("CreateContainerError", e.message()))?;
                self.state.records.retain(|r| r.id != cut_off.id);
                Ok((cut_off.attempt, cut_off.restart_count.max(known)))
            }
            Some(before) => Ok((before.attempt + 1, (before.restart_count + 1).max(known))),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn configure(
        &self,
        container: &Container,
        image: &v1::Image,
        context: &HookContext,
        sandbox: &Sandbox,
        attempt: u32,
        restart_count: u32,
    ) -> Result<(v1::PodSandboxConfig, v1::ContainerConfig), String> {
        let facts = &self.shared.facts;
        let (pod, outcome) = (&self.pod, context.outcome.lock());
        security::check_non_root(pod, container, image).map_err(|e| e.to_string())?;
        let pod_ips = if host_network(pod) { facts.host_ips.clone() } else { sandbox.ips.clone() };
        let addresses = Addresses { host_ips: facts.host_ips.clone(), pod_ips };
        let mut services = self.shared.services.list_namespace(namespace(pod));
        if namespace(pod) != "default" {
            services.extend(self.shared.services.get(Some("default"), "kubernetes"));
        }
        let inputs = Inputs {
            pod,
            sources: &outcome.fetched.sources,
            services: &services,
            addresses: &addresses,
            node: &facts.resources,
        };
        let env = environment(container, &inputs).map_err(|e| e.to_string())?;
        let made = Made { env: &env, pod_ips: &addresses.pod_ips, attempt };
        let mounts =
            container_mounts(pod, container, facts, &outcome.volumes, &made).map_err(|e| e.to_string())?;
        let logs = facts.pod_logs(pod).join(&container.name);
        std::fs::create_dir_all(&logs)
            .map_err(|e| format!("create container log directory {}: {e}", logs.display()))?;
        let parts =
            Parts { attempt, restart_count, image_ref: image.id.clone(), env, mounts, devices: Vec::new() };
        Ok((sandbox::config(pod, facts, sandbox.attempt), config(pod, container, facts, parts)))
    }

    /// Runs the postStart hook; false when it failed and the container was stopped for it.
    async fn post_start(&mut self, container: &Container, id: &str) -> bool {
        let Some(handler) = container.lifecycle.as_ref().and_then(|l| l.post_start.clone()) else {
            return true;
        };
        let ip = self.pod_ip();
        let mut desired = self.desired.clone();
        let result = tokio::select! {
            result = lifecycle::run(&self.shared, &self.pod, container, id, &handler, &ip) => result,
            () = Self::interrupted(&mut desired) => return true,
        };
        let Err(error) = result else { return true };
        tracing::debug!(pod = %self.full_name(), container = container.name, error, "postStart hook failed");
        self.shared.container_event(
            &self.pod,
            &container.name,
            EventType::Warning,
            "FailedPostStartHook",
            "PostStartHook failed",
        );
        let kill = Kill {
            id: id.to_owned(),
            name: container.name.clone(),
            message: "FailedPostStartHook".to_owned(),
            probe: false,
        };
        if let Err(error) = self.kill(&[kill]).await {
            tracing::warn!(pod = %self.full_name(), error = %copepod_base::Chain(&error), "a container whose postStart hook failed cannot be stopped");
        }
        false
    }

    /// Removes attempts before the last but one, with their logs. Nothing waits for it.
    fn collect_garbage(&mut self, container: &str) {
        let old: Vec<_> = self
            .state
            .records
            .iter()
            .filter(|r| r.name == container && r.state == RunState::Exited)
            .skip(1)
            .cloned()
            .collect();
        self.state.records.retain(|r| !old.iter().any(|o| o.id == r.id));
        let unused: Vec<String> = self
            .state
            .sandboxes
            .iter()
            .skip(1)
            .filter(|s| !s.ready && !self.state.records.iter().any(|r| r.sandbox_id == s.id))
            .map(|s| s.id.clone())
            .collect();
        self.state.sandboxes.retain(|s| !unused.contains(&s.id));
        if old.is_empty() && unused.is_empty() {
            return;
        }
        let runtime = self.shared.runtime.clone();
        copepod_base::spawn("container-garbage", async move {
            for record in old {
                if let Err(error) = runtime.remove_container(&record.id).await {
                    tracing::debug!(container = record.id, error = %error, "an old container stays for now");
                    continue;
                }
                remove_logs(&record.log_path).await;
            }
            for id in unused {
                if let Err(error) = runtime.remove_pod_sandbox(&id).await {
                    tracing::debug!(sandbox = id, error = %error, "an old sandbox stays for now");
                }
            }
        });
    }
}

fn not_started(reason: &str, message: String) -> NotStarted {
    NotStarted { reason: Reason { reason: reason.to_owned(), message }, retry: None }
}

/// Stops the containers and sandboxes of before.
async fn stop_old(shared: &super::Shared, state: &PodState) -> copepod_cri::Result<()> {
    for record in state.alive() {
        shared.runtime.stop_container(&record.id, Duration::ZERO).await?;
    }
    for sandbox in &state.sandboxes {
        shared.runtime.stop_pod_sandbox(&sandbox.id).await?;
    }
    Ok(())
}

/// Deletes a log file and what rotation made of it.
async fn remove_logs(path: &str) {
    let path = std::path::Path::new(path);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return;
    };
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let own = entry
            .file_name()
            .to_str()
            .is_some_and(|n| n == name || n.strip_prefix(name).is_some_and(|r| r.starts_with('.')));
        if own {
            // The pod's folder is removed as a whole in the end.
            let _ = tokio::fs::remove_file(entry.path()).await;
        }
    }
}
