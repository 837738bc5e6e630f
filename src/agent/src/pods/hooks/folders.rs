//! The pod's folders: its own and that of its logs.

use async_trait::async_trait;

use super::super::hook::{HookContext, HookError, PodHook, Stage};
use super::blocking;
use crate::spec::uid;

pub(crate) struct Folders;

#[async_trait]
impl PodHook for Folders {
    fn name(&self) -> &'static str {
        "folders"
    }

    fn stage(&self) -> Stage {
        Stage::BeforeSandbox
    }

    async fn prepare(&self, context: &HookContext) -> Result<(), HookError> {
        let facts = &context.shared.facts;
        let (own, logs) = (facts.pod_dir(uid(&context.pod)), facts.pod_logs(&context.pod));
        blocking("FailedToMakePodDataDirectories", move || {
            for (folder, mode) in [(own, 0o750), (logs, 0o755)] {
                copepod_base::file::create_dir(&folder, mode)
                    .map_err(|e| format!("error making pod data directories: {}: {e}", folder.display()))?;
            }
            Ok(())
        })
        .await
    }

    /// The log folder stays until the pod is gone from the API: `kubectl logs` works on ended pods.
    async fn clean_up(&self, context: &HookContext) -> Result<(), HookError> {
        let own = context.shared.facts.pod_dir(uid(&context.pod));
        blocking("FailedToRemovePodDataDirectories", move || {
            crate::volumes::tear_down(&own).map_err(|e| copepod_base::Chain(&e).to_string())
        })
        .await
    }
}
