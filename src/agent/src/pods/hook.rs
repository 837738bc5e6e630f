//! Steps that bring a pod up and take it down, in order.
//!
//! A hook has one job. Hooks of one stage run at the same time; a stage starts when the one before has succeeded.
//! Cleaning up runs in reverse order, must be repeatable, and must work for a hook that was never run: after a restart
//! of the agent nothing is known but what lies on the disk. Preparing is repeatable too: it is run again until it
//! succeeds, and for each new sandbox.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{join_all, try_join_all};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use super::shared::Shared;
use crate::volumes::{Paths, fetch::Fetched};

/// A step failed; it is tried again later.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct HookError {
    /// Reason of the event.
    pub event: &'static str,
    /// Message of the event.
    pub message: String,
}

/// What hooks leave for the containers.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Where the volumes are.
    pub volumes: Paths,
    /// Objects for environments.
    pub fetched: Fetched,
}

/// What hooks work on.
pub struct HookContext {
    /// What all pods share.
    pub shared: Arc<Shared>,
    /// The pod.
    pub pod: Arc<Pod>,
    /// Filled by the hooks.
    pub outcome: Mutex<Outcome>,
    /// What was fetched for the pod before: better than nothing while the API is away.
    pub before: Option<Fetched>,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the sandbox: it needs what these make.
    BeforeSandbox,
    /// While the sandbox starts: only containers need it.
    BesideSandbox,
}

/// One step.
#[async_trait]
pub trait PodHook: Send + Sync {
    /// For logs.
    fn name(&self) -> &'static str;

    /// When it runs.
    fn stage(&self) -> Stage;

    /// Does the job.
    async fn prepare(&self, context: &HookContext) -> Result<(), HookError>;

    /// Undoes it.
    async fn clean_up(&self, context: &HookContext) -> Result<(), HookError>;
}

/// All hooks, in order of their stages.
pub struct Pipeline(Vec<Arc<dyn PodHook>>);

impl Pipeline {
    /// The hooks of this agent.
    #[must_use]
    pub fn new() -> Self {
        Self(vec![
            Arc::new(super::hooks::Folders),
            Arc::new(super::hooks::Cgroup),
            Arc::new(super::hooks::Volumes),
        ])
    }

    /// Runs one stage.
    ///
    /// # Errors
    /// The first that failed.
    pub async fn prepare(&self, stage: Stage, context: &HookContext) -> Result<(), HookError> {
        try_join_all(self.0.iter().filter(|h| h.stage() == stage).map(|h| h.prepare(context))).await?;
        Ok(())
    }

    /// Undoes everything; goes on after failures.
    ///
    /// # Errors
    /// The first failure, after all were tried.
    pub async fn clean_up(&self, context: &HookContext) -> Result<(), HookError> {
        let mut first = Ok(());
        for stage in [Stage::BesideSandbox, Stage::BeforeSandbox] {
            let hooks = self.0.iter().rev().filter(|h| h.stage() == stage);
            for result in join_all(hooks.map(|h| async move { (h.name(), h.clean_up(context).await) })).await
            {
                if let (name, Err(error)) = result {
                    tracing::warn!(hook = name, error = %error, "cleaning up after a pod failed");
                    first = first.and(Err(error));
                }
            }
        }
        first
    }
}

impl Default for Pipeline {
    fn default() -> Self {
        Self::new()
    }
}
