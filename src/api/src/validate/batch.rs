//! Jobs and cron jobs.

use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec};

use super::{immutable, not_negative, one_of, optional_one_of, plain, pod, required};
use crate::field::{Errors, Path};
use crate::strategy::Part;

/// A new job.
pub(crate) fn job(object: &Job) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let empty = JobSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&empty);
    if let Some(selector) = &spec.selector {
        super::selector(&mut errors, &path.child("selector"), selector);
        let labels = spec.template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
        if let Ok(compiled) = crate::selector::LabelSelector::from_object(Some(selector))
            && !compiled.matches(&labels)
        {
            errors.invalid(
                &path.child("template").child("metadata").child("labels"),
                serde_json::json!(labels),
                "`selector` does not match template `labels`",
            );
        }
    } else {
        errors.required(&path.child("selector"), "");
    }
    job_spec(&mut errors, &path, spec);
    errors
}

fn job_spec(errors: &mut Errors, path: &Path, spec: &JobSpec) {
    for (name, value) in [
        ("parallelism", spec.parallelism),
        ("completions", spec.completions),
        ("backoffLimit", spec.backoff_limit),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index),
        ("maxFailedIndexes", spec.max_failed_indexes),
    ] {
        not_negative(errors, &path.child(name), value);
    }
    not_negative(errors, &path.child("activeDeadlineSeconds"), spec.active_deadline_seconds);
    let mode = spec.completion_mode.as_deref();
    optional_one_of(errors, &path.child("completionMode"), mode, &["Indexed", "NonIndexed"]);
    if mode == Some("Indexed") {
        if spec.completions.is_none() {
            errors.required(&path.child("completions"), "when completion mode is Indexed");
        }
        if spec.parallelism.unwrap_or_default() > 100_000 {
            let parallelism = spec.parallelism.unwrap_or_default();
            let detail = "must be less than or equal to 100000 when completion mode is Indexed";
            errors.invalid(&path.child("parallelism"), parallelism, detail);
        }
    } else if let Some(limit) = spec.backoff_limit_per_index {
        let detail = "requires indexed completion mode";
        errors.invalid(&path.child("backoffLimitPerIndex"), limit, detail);
    }
    optional_one_of(
        errors,
        &path.child("podReplacementPolicy"),
        spec.pod_replacement_policy.as_deref(),
        &["Failed", "TerminatingOrFailed"],
    );
    let template = path.child("template");
    pod::template(errors, &template, &spec.template);
    let policy = spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    match policy.unwrap_or_default() {
        "OnFailure" | "Never" => {}
        "" | "Always" => errors.required(
            &template.child("spec").child("restartPolicy"),
            "valid values: \"OnFailure\", \"Never\"",
        ),
        other => {
            errors.not_supported(
                &template.child("spec").child("restartPolicy"),
                other,
                &["OnFailure", "Never"],
            );
        }
    }
}

/// A job keeps what it counts and what it runs, unless it has not begun.
pub(crate) fn job_update(new: &Job, old: &Job, part: Part<'_>) -> Errors {
    if part != Part::Main {
        return Errors::new();
    }
    let mut errors = job(new);
    let path = Path::new("spec");
    let waiting = old.spec.as_ref().and_then(|spec| spec.suspend) == Some(true)
        && old.status.as_ref().is_none_or(|status| status.start_time.is_none());
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return errors };
    let elastic = new.completion_mode.as_deref() == Some("Indexed") && new.completions == new.parallelism;
    if !elastic {
        immutable(&mut errors, &path.child("completions"), &new.completions, &old.completions);
    }
    immutable(&mut errors, &path.child("selector"), &new.selector, &old.selector);
    let mut template = new.template.clone();
    if waiting && let (Some(new), Some(old)) = (&mut template.spec, &old.template.spec) {
        new.node_selector.clone_from(&old.node_selector);
        new.affinity.clone_from(&old.affinity);
        new.tolerations.clone_from(&old.tolerations);
        new.scheduling_gates.clone_from(&old.scheduling_gates);
    }
    if waiting {
        template.metadata.clone_from(&old.template.metadata);
    }
    immutable(&mut errors, &path.child("template"), &template, &old.template);
    immutable(&mut errors, &path.child("completionMode"), &new.completion_mode, &old.completion_mode);
    immutable(&mut errors, &path.child("podFailurePolicy"), &new.pod_failure_policy, &old.pod_failure_policy);
    immutable(
        &mut errors,
        &path.child("backoffLimitPerIndex"),
        &new.backoff_limit_per_index,
        &old.backoff_limit_per_index,
    );
    immutable(&mut errors, &path.child("managedBy"), &new.managed_by, &old.managed_by);
    immutable(&mut errors, &path.child("successPolicy"), &new.success_policy, &old.success_policy);
    errors
}

/// A new cron job.
pub(crate) fn cron_job(object: &CronJob) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let spec = &object.spec;
    if required(&mut errors, &path.child("schedule"), &spec.schedule).is_some() {
        schedule(&mut errors, &path.child("schedule"), &spec.schedule);
    }
    if let Some(seconds) = spec.starting_deadline_seconds {
        not_negative(&mut errors, &path.child("startingDeadlineSeconds"), Some(seconds));
    }
    if let Some("") = spec.time_zone.as_deref() {
        errors.invalid(&path.child("timeZone"), "", "timeZone must be nil or non-empty string");
    }
    one_of(
        &mut errors,
        &path.child("concurrencyPolicy"),
        plain(spec.concurrency_policy.as_ref()),
        &["Allow", "Forbid", "Replace"],
    );
    for (name, value) in [
        ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit),
        ("failedJobsHistoryLimit", spec.failed_jobs_history_limit),
    ] {
        not_negative(&mut errors, &path.child(name), value);
    }
    let empty = JobSpec::default();
    let template = path.child("jobTemplate").child("spec");
    job_spec(&mut errors, &template, spec.job_template.spec.as_ref().unwrap_or(&empty));
    // A job's name is the cron job's with a dash and ten digits.
    let name = plain(object.metadata.name.as_ref());
    if name.len() > 52 {
        errors.invalid(&Path::new("metadata").child("name"), name, "must be no more than 52 characters");
    }
    errors
}

/// Five fields, or the name of a common schedule.
fn schedule(errors: &mut Errors, path: &Path, schedule: &str) {
    if schedule.starts_with('@') {
        let known = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
        if !known.contains(&schedule) && !schedule.starts_with("@every ") {
            errors.invalid(path, schedule, &format!("unrecognized descriptor: {schedule}"));
        }
        return;
    }
    let fields: Vec<&str> = schedule.split_whitespace().filter(|field| !field.contains("TZ=")).collect();
    if fields.len() != 5 {
        let detail = format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" "));
        errors.invalid(path, schedule, &detail);
    }
}

/// A changed cron job.
pub(crate) fn cron_job_update(new: &CronJob, _: &CronJob, part: Part<'_>) -> Errors {
    if part == Part::Main { cron_job(new) } else { Errors::new() }
}
