//! The pod's control group.

use async_trait::async_trait;

use super::super::hook::{HookContext, HookError, PodHook, Stage};
use super::blocking;
use crate::spec::cgroup::{pod_group, pod_limits};

pub(crate) struct Cgroup;

#[async_trait]
impl PodHook for Cgroup {
    fn name(&self) -> &'static str {
        "cgroup"
    }

    fn stage(&self) -> Stage {
        Stage::BeforeSandbox
    }

    async fn prepare(&self, context: &HookContext) -> Result<(), HookError> {
        let facts = &context.shared.facts;
        let (cgroups, group) = (facts.cgroups.clone(), pod_group(&facts.cgroup_root, &context.pod));
        let limits = pod_limits(&context.pod);
        blocking("FailedToCreatePodContainer", move || {
            cgroups
                .create(&group)
                .and_then(|()| cgroups.set(&group, &limits))
                .map_err(|e| format!("unable to ensure pod container exists: {}", copepod_base::Chain(&e)))
        })
        .await
    }

    async fn clean_up(&self, context: &HookContext) -> Result<(), HookError> {
        let facts = &context.shared.facts;
        let (cgroups, group) = (facts.cgroups.clone(), pod_group(&facts.cgroup_root, &context.pod));
        blocking("FailedToRemovePodContainer", move || {
            if !cgroups.exists(&group) {
                return Ok(());
            }
            cgroups.delete(&group).map_err(|e| copepod_base::Chain(&e).to_string())
        })
        .await
    }
}
