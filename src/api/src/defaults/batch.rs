//! Jobs and cron jobs.

use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec};

use super::{absent, each, is_empty, pod, text};

/// A job.
pub(crate) fn job(object: &mut Job) {
    let spec = object.spec.get_or_insert_default();
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    absent(&mut spec.parallelism, 1);
    absent(&mut spec.backoff_limit, if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 });
    absent(&mut spec.completion_mode, "NonIndexed".to_owned());
    absent(&mut spec.suspend, false);
    absent(&mut spec.manual_selector, false);
    let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    absent(&mut spec.pod_replacement_policy, replacement.to_owned());
    let labels = spec.template.metadata.as_ref().and_then(|m| m.labels.as_ref());
    if is_empty(object.metadata.labels.as_ref(), |map| map.is_empty()) {
        object.metadata.labels = labels.filter(|labels| !labels.is_empty()).cloned();
    }
    template(spec);
}

fn template(spec: &mut JobSpec) {
    for rule in spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules) {
        for pattern in each(&mut rule.on_pod_conditions) {
            text(&mut pattern.status, "True");
        }
    }
    pod::template(&mut spec.template);
}

/// A cron job.
pub(crate) fn cron_job(object: &mut CronJob) {
    let spec = &mut object.spec;
    text(&mut spec.concurrency_policy, "Allow");
    absent(&mut spec.suspend, false);
    absent(&mut spec.successful_jobs_history_limit, 3);
    absent(&mut spec.failed_jobs_history_limit, 1);
    spec.job_template.spec.iter_mut().for_each(template);
}
