//! Which ReplicaSet is a Deployment's newest, and what it is called.

use std::collections::BTreeMap;
use std::sync::Arc;

use copepod_client::controller_ref;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::api::ObjectMeta;

pub(super) const HASH_LABEL: &str = "pod-template-hash";
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations that mean something else on a ReplicaSet, or must not be copied.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// Most characters of a set's revision history (kube-controller-manager's number).
const HISTORY_AT_MOST: usize = 2000;

/// The number in an annotation, if there is one.
pub(super) fn number(metadata: &ObjectMeta, annotation: &str) -> Option<i64> {
    metadata.annotations.as_ref()?.get(annotation)?.parse().ok()
}

/// Replicas that a ReplicaSet is asked for.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Replicas that the Deployment is asked for.
pub(super) fn desired(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// The ReplicaSet whose template is the Deployment's; the oldest, if there are several.
pub(super) fn newest(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Option<Arc<ReplicaSet>> {
    let wanted = &deployment.spec.as_ref()?.template;
    sets.iter()
        .filter(|set| {
            set.spec.as_ref().and_then(|spec| spec.template.as_ref()).is_some_and(|t| same(t, wanted))
        })
        .min_by_key(|set| {
            (set.metadata.creation_timestamp.as_ref().map(|time| time.0), set.metadata.name.clone())
        })
        .cloned()
}

/// Equal apart from the label that tells ReplicaSets of one Deployment apart.
fn same(of_set: &PodTemplateSpec, wanted: &PodTemplateSpec) -> bool {
    let bare = |template: &PodTemplateSpec| {
        let mut metadata = template.metadata.clone().unwrap_or_default();
        if let Some(labels) = metadata.labels.as_mut() {
            labels.remove(HASH_LABEL);
        }
        metadata.labels = metadata.labels.filter(|labels| !labels.is_empty());
        metadata.annotations = metadata.annotations.filter(|annotations| !annotations.is_empty());
        metadata.creation_timestamp = None;
        metadata
    };
    of_set.spec == wanted.spec && bare(of_set) == bare(wanted)
}

/// A ReplicaSet for the present template.
pub(super) fn new_set(deployment: &Deployment, replicas: i32, revision: i64, most: i32) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = copepod_api::hash::pod_template(&spec.template, collisions);
    let mut template = spec.template;
    let metadata = template.metadata.get_or_insert_default();
    metadata.labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.clone());
    let labels = metadata.labels.clone();
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.clone());
    let mut annotations = copied(deployment);
    annotations.insert(REVISION.into(), revision.to_string());
    annotations.insert(DESIRED.into(), desired(deployment).to_string());
    annotations.insert(MAX.into(), most.to_string());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.metadata.name.as_deref().unwrap_or_default())),
            namespace: deployment.metadata.namespace.clone(),
            labels,
            annotations: Some(annotations),
            owner_references: controller_ref(deployment).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

/// The annotations that a ReplicaSet takes over from its Deployment.
pub(super) fn copied(deployment: &Deployment) -> BTreeMap<String, String> {
    let mut annotations = deployment.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    annotations
}

/// The newest set's annotations at this revision, or `None` when they are right already. A set that was newest
/// before, as after a rollback, remembers the revisions it had.
pub(super) fn annotations(
    deployment: &Deployment,
    set: &ReplicaSet,
    revision: i64,
) -> Option<BTreeMap<String, String>> {
    let old = set.metadata.annotations.clone().unwrap_or_default();
    let mut new = old.clone();
    new.extend(copied(deployment));
    let had = number(&set.metadata, REVISION);
    if had.is_none_or(|had| had < revision) {
        if let Some(had) = had.filter(|had| *had > 0) {
            let history = new.entry(REVISION_HISTORY.into()).or_default();
            *history = remembered(history, had);
        }
        new.insert(REVISION.into(), revision.to_string());
    }
    (new != old).then_some(new)
}

/// A history with one more revision; the oldest are forgotten when it gets too long.
fn remembered(history: &str, revision: i64) -> String {
    let revision = revision.to_string();
    let mut kept: Vec<&str> = history.split(',').filter(|one| !one.is_empty()).chain([&*revision]).collect();
    while kept.len() > 1 && kept.iter().map(|one| one.len() + 1).sum::<usize>() > HISTORY_AT_MOST + 1 {
        kept.remove(0);
    }
    kept.join(",")
}

/// Highest revision of these sets; 0 without any.
pub(super) fn last_revision(sets: &[Arc<ReplicaSet>]) -> i64 {
    sets.iter().filter_map(|set| number(&set.metadata, REVISION)).max().unwrap_or(0)
}

/// Old sets beyond `revisionHistoryLimit` that can go: without pods, lowest revisions first.
pub(super) fn obsolete(deployment: &Deployment, old: &[Arc<ReplicaSet>]) -> Vec<Arc<ReplicaSet>> {
    let limit = deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(10);
    let mut alive: Vec<_> =
        old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).cloned().collect();
    let surplus = alive.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    alive.sort_by_key(|set| {
        (number(&set.metadata, REVISION), set.metadata.creation_timestamp.as_ref().map(|t| t.0))
    });
    alive.truncate(surplus);
    alive.retain(|set| {
        let status = set.status.clone().unwrap_or_default();
        status.replicas == 0 && replicas(set) == 0 && status.observed_generation >= set.metadata.generation
    });
    alive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_that_is_full_forgets_its_oldest_revisions() {
        assert_eq!(remembered("", 1), "1");
        assert_eq!(remembered("1,2", 5), "1,2,5");
        let long = (1000..1400).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let history = remembered(&long, 1400);
        assert!(
            history.len() <= HISTORY_AT_MOST && history.starts_with("1001,") && history.ends_with(",1400")
        );
    }
}
