//! The pod's volumes and the objects its containers name.

use async_trait::async_trait;

use super::super::hook::{HookContext, HookError, PodHook, Stage};
use crate::volumes::{self, fetch::fetch};

pub(crate) struct Volumes;

fn failed(message: String) -> HookError {
    HookError { event: "FailedMount", message }
}

#[async_trait]
impl PodHook for Volumes {
    fn name(&self) -> &'static str {
        "volumes"
    }

    fn stage(&self) -> Stage {
        Stage::BesideSandbox
    }

    async fn prepare(&self, context: &HookContext) -> Result<(), HookError> {
        let fetched = fetch(&context.shared.client, &context.pod).await.map_err(|e| {
            failed(format!("cannot read what the pod refers to: {}", copepod_base::Chain(&e)))
        })?;
        let prepared = volumes::prepare(&context.pod, &context.shared.facts, &fetched)
            .map_err(|e| failed(e.to_string()))?;
        let paths = volumes::apply(prepared).await.map_err(|e| failed(e.to_string()))?;
        let mut outcome = context.outcome.lock();
        outcome.volumes = paths;
        outcome.fetched = fetched;
        Ok(())
    }

    /// The folders' own hook unmounts and deletes all of them at once.
    async fn clean_up(&self, _context: &HookContext) -> Result<(), HookError> {
        Ok(())
    }
}
