//! What the server sets on a new object, and what a change may not touch, for kinds where that is more than leaving
//! the status to `/status` and the rest to the object.

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub(crate) mod pod;
pub(crate) mod qos;
pub(crate) mod service;

#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::defaults::core::claim_sources;
use crate::strategy::Part;

/// Labels, annotations, owners and finalizers stay in a write of `/status` of the younger kinds.
pub(crate) fn status_keeps_metadata<T: Metadata<Ty = ObjectMeta>>(new: &mut T, old: &T, part: Part<'_>) {
    if part == Part::Status {
        keep_metadata(new.metadata_mut(), old.metadata());
    }
}

fn keep_metadata(new: &mut ObjectMeta, old: &ObjectMeta) {
    new.labels.clone_from(&old.labels);
    new.annotations.clone_from(&old.annotations);
    new.owner_references.clone_from(&old.owner_references);
    new.finalizers.clone_from(&old.finalizers);
    new.generation = old.generation;
}

/// Labels of a deployment stay in a write of its status.
pub(crate) fn deployment_update(new: &mut Deployment, old: &Deployment, part: Part<'_>) {
    if part == Part::Status {
        new.metadata.labels.clone_from(&old.metadata.labels);
    }
}

/// The finalizer that lets the namespace controller empty a namespace.
const KUBERNETES: &str = "kubernetes";

/// A new namespace is active and has its finalizer.
pub(crate) fn namespace_create(object: &mut Namespace) {
    object.status.get_or_insert_default().phase = Some("Active".to_owned());
    let finalizers = object.spec.get_or_insert_default().finalizers.get_or_insert_default();
    if !finalizers.iter().any(|name| name == KUBERNETES) {
        finalizers.push(KUBERNETES.to_owned());
    }
}

/// Finalizers in the spec belong to `/finalize`.
pub(crate) fn namespace_update(new: &mut Namespace, old: &Namespace, part: Part<'_>) {
    match part {
        Part::Main => {
            let old = old.spec.as_ref().and_then(|spec| spec.finalizers.clone());
            new.spec.get_or_insert_default().finalizers = old;
        }
        Part::Other(_) => new.status.clone_from(&old.status),
        Part::Status => {}
    }
}

/// A new claim is pending.
pub(crate) fn claim_create(object: &mut PersistentVolumeClaim) {
    object.status.get_or_insert_default().phase = Some("Pending".to_owned());
    claim_sources(object);
}

/// A new volume is pending.
pub(crate) fn volume_create(object: &mut PersistentVolume) {
    object.status.get_or_insert_default().phase = Some("Pending".to_owned());
}

/// A secret's type stays when an update does not say it.
pub(crate) fn secret_update(new: &mut Secret, old: &Secret, _: Part<'_>) {
    if new.type_.as_deref().unwrap_or_default().is_empty() {
        new.type_.clone_from(&old.type_);
    }
}

/// Labels that tie pods to a job, old and new names.
const JOB_LABELS: [(&str, bool); 4] = [
    ("batch.kubernetes.io/controller-uid", true),
    ("batch.kubernetes.io/job-name", false),
    ("controller-uid", true),
    ("job-name", false),
];

/// A job selects its pods by its uid, unless its selector is made by hand.
pub(crate) fn job_create(object: &mut Job) {
    let uid = object.metadata.uid.clone().unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    let spec = object.spec.get_or_insert_default();
    if spec.manual_selector == Some(true) {
        return;
    }
    let template = spec.template.metadata.get_or_insert_default();
    let labels = template.labels.get_or_insert_default();
    for (label, is_uid) in JOB_LABELS {
        labels.entry(label.to_owned()).or_insert_with(|| if is_uid { uid.clone() } else { name.clone() });
    }
    let selector = spec.selector.get_or_insert_default();
    selector
        .match_labels
        .get_or_insert_default()
        .entry(JOB_LABELS[0].0.to_owned())
        .or_insert_with(|| uid.clone());
}

/// A definition remembers every version that objects may be stored in.
pub(crate) fn definition_create(object: &mut CustomResourceDefinition) {
    for version in object.spec.versions.iter().filter(|version| version.storage) {
        let stored = object.status.get_or_insert_default().stored_versions.get_or_insert_default();
        if !stored.contains(&version.name) {
            stored.push(version.name.clone());
        }
    }
}

/// As at creation; metadata stays in a write of the status.
pub(crate) fn definition_update(
    new: &mut CustomResourceDefinition,
    old: &CustomResourceDefinition,
    part: Part<'_>,
) {
    status_keeps_metadata(new, old, part);
    if part == Part::Main {
        definition_create(new);
    }
}

/// Approvals go through `/approval`, certificates and failures through `/status`.
pub(crate) fn signing_request_update(
    new: &mut CertificateSigningRequest,
    old: &CertificateSigningRequest,
    part: Part<'_>,
) {
    let is_approval = |condition: &&CertificateSigningRequestCondition| {
        matches!(condition.type_.as_str(), "Approved" | "Denied")
    };
    let conditions = |object: &CertificateSigningRequest, approvals: bool| -> Vec<_> {
        let all = object.status.iter().flat_map(|status| status.conditions.iter().flatten());
        all.filter(|condition| is_approval(condition) == approvals).cloned().collect()
    };
    match part {
        Part::Main => new.spec.clone_from(&old.spec),
        Part::Status => {
            keep_metadata(&mut new.metadata, &old.metadata);
            let mut kept = conditions(old, true);
            kept.extend(conditions(new, false));
            new.status.get_or_insert_default().conditions = Some(kept);
        }
        Part::Other(_) => {
            let mut kept = conditions(old, false);
            kept.extend(conditions(new, true));
            let certificate = old.status.as_ref().and_then(|status| status.certificate.clone());
            new.spec.clone_from(&old.spec);
            new.status = Some(CertificateSigningRequestStatus { certificate, conditions: Some(kept) });
        }
    }
}
