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
        let fetched = match (fetch(&context.shared.client, &context.pod).await, &context.before) {
            (Ok(fetched), _) => fetched,
            // The API does not answer; a container that was there may come back without it.
            (Err(error), Some(before)) if copepod_client::error::api_status(&error).is_none() => {
                before.clone()
            }
            (Err(error), _) => {
                let error = copepod_base::Chain(&error);
                return Err(failed(format!("cannot read what the pod refers to: {error}")));
            }
        };
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
