//! Deployments, replica sets, stateful sets and daemon sets.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec, StatefulSet,
    StatefulSetSpec,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::{
    at_most_all, count_or_percent, immutable, is_empty_selector, is_zero, not_negative, one_of, plain, pod,
    selector, value_of,
};
use crate::field::{Errors, Path};
use crate::selector::LabelSelector as Compiled;
use crate::strategy::Part;
use crate::typed::encode::to_value;

/// A workload's selector must select its own pods and not all pods.
fn pods(errors: &mut Errors, path: &Path, given: &LabelSelector, template: &PodTemplateSpec, owner: &str) {
    let selector_path = path.child("selector");
    if is_empty_selector(given) {
        errors.required(&selector_path, "");
        errors.invalid(&selector_path, to_value(given), &format!("empty selector is invalid for {owner}"));
    } else {
        selector(errors, &selector_path, given);
    }
    let labels: BTreeMap<String, String> =
        template.metadata.as_ref().and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    let path = path.child("template");
    if !is_empty_selector(given)
        && let Ok(compiled) = Compiled::from_object(Some(given))
        && !compiled.matches(&labels)
    {
        errors.invalid(
            &path.child("metadata").child("labels"),
            json!(labels),
            "`selector` does not match template `labels`",
        );
    }
    pod::template(errors, &path, template);
}

/// Pods of workloads start again for ever.
pub(super) fn always(errors: &mut Errors, path: &Path, template: &PodTemplateSpec, owner: &str) {
    let path = path.child("spec");
    let Some(spec) = &template.spec else { return };
    let policy = plain(spec.restart_policy.as_ref());
    if policy != "Always" && !policy.is_empty() {
        errors.not_supported(&path.child("restartPolicy"), policy, &["Always"]);
    }
    if spec.active_deadline_seconds.is_some() {
        let detail = format!("activeDeadlineSeconds in {owner} is not Supported");
        errors.forbidden(&path.child("activeDeadlineSeconds"), &detail);
    }
}

/// How many may be away and how many too many during a roll-out; not both none.
fn rolling(
    errors: &mut Errors,
    path: &Path,
    unavailable: Option<&IntOrString>,
    surge: Option<&IntOrString>,
    both: bool,
) {
    let (unavailable_path, surge_path) = (path.child("maxUnavailable"), path.child("maxSurge"));
    count_or_percent(errors, &unavailable_path, unavailable);
    count_or_percent(errors, &surge_path, surge);
    let shown = || unavailable.map_or(Value::Null, value_of);
    if is_zero(unavailable) && is_zero(surge) {
        errors.invalid(&unavailable_path, shown(), "may not be 0 when `maxSurge` is 0");
    }
    if both && !is_zero(unavailable) && !is_zero(surge) {
        let surge = surge.map_or(Value::Null, value_of);
        errors.invalid(&surge_path, surge, "may not be set when maxUnavailable is non-zero");
    }
    at_most_all(errors, &unavailable_path, unavailable);
}

/// A new deployment.
pub(crate) fn deployment(object: &Deployment) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let empty = DeploymentSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&empty);
    not_negative(&mut errors, &path.child("replicas"), spec.replicas);
    pods(&mut errors, &path, &spec.selector, &spec.template, "deployment");
    always(&mut errors, &path.child("template"), &spec.template, "ReplicaSet");
    if let Some(strategy) = &spec.strategy {
        let path = path.child("strategy");
        let type_ = plain(strategy.type_.as_ref());
        let rolling_path = path.child("rollingUpdate");
        match (type_, &strategy.rolling_update) {
            ("Recreate", Some(_)) => {
                errors.forbidden(&rolling_path, "may not be specified when strategy `type` is 'Recreate'")
            }
            ("RollingUpdate", None) => {
                errors.required(&rolling_path, "this should be defaulted and never be nil")
            }
            ("RollingUpdate", Some(given)) => rolling(
                &mut errors,
                &rolling_path,
                given.max_unavailable.as_ref(),
                given.max_surge.as_ref(),
                false,
            ),
            _ => one_of(&mut errors, &path.child("type"), type_, &["Recreate", "RollingUpdate"]),
        }
    }
    not_negative(&mut errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
    not_negative(&mut errors, &path.child("revisionHistoryLimit"), spec.revision_history_limit);
    let deadline_path = path.child("progressDeadlineSeconds");
    not_negative(&mut errors, &deadline_path, spec.progress_deadline_seconds);
    if let Some(deadline) = spec.progress_deadline_seconds
        && deadline <= spec.min_ready_seconds.unwrap_or_default()
    {
        errors.invalid(&deadline_path, deadline, "must be greater than minReadySeconds");
    }
    errors
}

/// A deployment keeps its selector.
pub(crate) fn deployment_update(new: &Deployment, old: &Deployment, part: Part<'_>) -> Errors {
    if part != Part::Main {
        return Errors::new();
    }
    let mut errors = deployment(new);
    if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
        immutable(&mut errors, &Path::new("spec").child("selector"), &new.selector, &old.selector);
    }
    errors
}

/// A new replica set.
pub(crate) fn replica_set(object: &ReplicaSet) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let empty = ReplicaSetSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&empty);
    not_negative(&mut errors, &path.child("replicas"), spec.replicas);
    not_negative(&mut errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
    let no_template = PodTemplateSpec::default();
    let template = spec.template.as_ref().unwrap_or(&no_template);
    pods(&mut errors, &path, &spec.selector, template, "deployment");
    always(&mut errors, &path.child("template"), template, "ReplicaSet");
    errors
}

/// A replica set keeps its selector.
pub(crate) fn replica_set_update(new: &ReplicaSet, old: &ReplicaSet, part: Part<'_>) -> Errors {
    if part != Part::Main {
        return Errors::new();
    }
    let mut errors = replica_set(new);
    if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
        immutable(&mut errors, &Path::new("spec").child("selector"), &new.selector, &old.selector);
    }
    errors
}

/// A new daemon set.
pub(crate) fn daemon_set(object: &DaemonSet) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let empty = DaemonSetSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&empty);
    pods(&mut errors, &path, &spec.selector, &spec.template, "daemonset");
    always(&mut errors, &path.child("template"), &spec.template, "DaemonSet");
    not_negative(&mut errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
    not_negative(&mut errors, &path.child("revisionHistoryLimit"), spec.revision_history_limit);
    if let Some(strategy) = &spec.update_strategy {
        let path = path.child("updateStrategy");
        match (plain(strategy.type_.as_ref()), &strategy.rolling_update) {
            ("RollingUpdate", Some(given)) => rolling(
                &mut errors,
                &path.child("rollingUpdate"),
                given.max_unavailable.as_ref(),
                given.max_surge.as_ref(),
                true,
            ),
            ("RollingUpdate", None) => errors.required(&path.child("rollingUpdate"), ""),
            (type_, _) => one_of(&mut errors, &path.child("type"), type_, &["OnDelete", "RollingUpdate"]),
        }
    }
    errors
}

/// A daemon set keeps its selector.
pub(crate) fn daemon_set_update(new: &DaemonSet, old: &DaemonSet, part: Part<'_>) -> Errors {
    if part != Part::Main {
        return Errors::new();
    }
    let mut errors = daemon_set(new);
    if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
        immutable(&mut errors, &Path::new("spec").child("selector"), &new.selector, &old.selector);
    }
    errors
}

/// A new stateful set.
pub(crate) fn stateful_set(object: &StatefulSet) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let empty = StatefulSetSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&empty);
    one_of(
        &mut errors,
        &path.child("podManagementPolicy"),
        plain(spec.pod_management_policy.as_ref()),
        &["OrderedReady", "Parallel"],
    );
    if let Some(strategy) = &spec.update_strategy {
        let path = path.child("updateStrategy");
        let type_ = plain(strategy.type_.as_ref());
        one_of(&mut errors, &path.child("type"), type_, &["OnDelete", "RollingUpdate"]);
        if let Some(given) = &strategy.rolling_update {
            let path = path.child("rollingUpdate");
            if type_ == "OnDelete" {
                errors.invalid(&path, to_value(given), "only allowed for updateStrategy 'RollingUpdate'");
            }
            not_negative(&mut errors, &path.child("partition"), given.partition);
            count_or_percent(&mut errors, &path.child("maxUnavailable"), given.max_unavailable.as_ref());
        }
    }
    if let Some(policy) = &spec.persistent_volume_claim_retention_policy {
        let path = path.child("persistentVolumeClaimRetentionPolicy");
        for (field, value) in [("whenDeleted", &policy.when_deleted), ("whenScaled", &policy.when_scaled)] {
            one_of(&mut errors, &path.child(field), plain(value.as_ref()), &["Retain", "Delete"]);
        }
    }
    not_negative(&mut errors, &path.child("replicas"), spec.replicas);
    not_negative(&mut errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
    let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start);
    not_negative(&mut errors, &path.child("ordinals").child("start"), start);
    pods(&mut errors, &path, &spec.selector, &with_claims(spec), "statefulset");
    always(&mut errors, &path.child("template"), &spec.template, "StatefulSet");
    errors
}

/// The template as pods will have it: claims are mounted as volumes of the same name.
fn with_claims(spec: &StatefulSetSpec) -> PodTemplateSpec {
    use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume};
    let mut template = spec.template.clone();
    let Some(pod) = &mut template.spec else { return template };
    for claim in spec.volume_claim_templates.iter().flatten() {
        let name = plain(claim.metadata.name.as_ref());
        let volumes = pod.volumes.get_or_insert_default();
        if !volumes.iter().any(|volume| volume.name == name) {
            let empty_dir = Some(EmptyDirVolumeSource::default());
            volumes.push(Volume { name: name.to_owned(), empty_dir, ..Volume::default() });
        }
    }
    template
}

/// Only a few fields of a stateful set may change.
pub(crate) fn stateful_set_update(new: &StatefulSet, old: &StatefulSet, part: Part<'_>) -> Errors {
    if part != Part::Main {
        return Errors::new();
    }
    let mut errors = stateful_set(new);
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return errors };
    let mut kept = new.clone();
    kept.replicas = old.replicas;
    kept.template = old.template.clone();
    kept.update_strategy.clone_from(&old.update_strategy);
    kept.min_ready_seconds = old.min_ready_seconds;
    kept.ordinals.clone_from(&old.ordinals);
    kept.revision_history_limit = old.revision_history_limit;
    kept.persistent_volume_claim_retention_policy.clone_from(&old.persistent_volume_claim_retention_policy);
    if to_value(&kept) != to_value(old) {
        errors.forbidden(
            &Path::new("spec"),
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
             'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' \
             are forbidden",
        );
    }
    errors
}
