//! Groups with few rules: policy, autoscaling, scheduling, leases, certificates.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{
    POSITIVE, all_invalid, at_most_all, count_or_percent, immutable, one_of, plain, required, selector,
};
use crate::field::{Errors, Path};
use crate::names;
use crate::strategy::Part;
use crate::typed::encode::to_value;

/// A new disruption budget.
pub(crate) fn budget(object: &PodDisruptionBudget) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let Some(spec) = &object.spec else { return errors };
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        errors.invalid(&path, to_value(spec), "minAvailable and maxUnavailable cannot be both set");
    }
    for (name, value) in [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)] {
        count_or_percent(&mut errors, &path.child(name), value.as_ref());
        at_most_all(&mut errors, &path.child(name), value.as_ref());
    }
    if let Some(given) = &spec.selector {
        selector(&mut errors, &path.child("selector"), given);
    }
    errors
}

/// A changed disruption budget.
pub(crate) fn budget_update(new: &PodDisruptionBudget, _: &PodDisruptionBudget, part: Part<'_>) -> Errors {
    if part == Part::Main { budget(new) } else { Errors::new() }
}

/// A new autoscaler.
pub(crate) fn autoscaler(object: &HorizontalPodAutoscaler) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let spec = &object.spec;
    if let Some(min) = spec.min_replicas {
        if min < 1 {
            errors.invalid(&path.child("minReplicas"), min, "must be greater than or equal to 1");
        }
        if spec.max_replicas < min {
            errors.invalid(
                &path.child("maxReplicas"),
                spec.max_replicas,
                "must be greater than or equal to `minReplicas`",
            );
        }
    }
    if spec.max_replicas < 1 {
        errors.invalid(&path.child("maxReplicas"), spec.max_replicas, POSITIVE);
    }
    required(&mut errors, &path.child("scaleTargetRef").child("kind"), &spec.scale_target_ref.kind);
    required(&mut errors, &path.child("scaleTargetRef").child("name"), &spec.scale_target_ref.name);
    errors
}

/// A changed autoscaler.
pub(crate) fn autoscaler_update(
    new: &HorizontalPodAutoscaler,
    _: &HorizontalPodAutoscaler,
    part: Part<'_>,
) -> Errors {
    if part == Part::Main { autoscaler(new) } else { Errors::new() }
}

/// A new priority class.
pub(crate) fn priority_class(object: &PriorityClass) -> Errors {
    let mut errors = Errors::new();
    let name = plain(object.metadata.name.as_ref());
    let value = object.value.unwrap_or_default();
    if name.starts_with("system-") {
        let known = matches!(
            (name, value),
            ("system-cluster-critical", 2_000_000_000) | ("system-node-critical", 2_000_001_000)
        );
        if !known {
            let path = Path::new("metadata").child("name");
            errors.forbidden(
                &path,
                "priority class names with 'system-' prefix are reserved for system use only. error: the name or \
                 value is not that of a system priority class",
            );
        }
    } else if value > 1_000_000_000 {
        let detail = "maximum allowed value of a user defined priority is 1000000000";
        errors.forbidden(&Path::new("value"), detail);
    }
    one_of(
        &mut errors,
        &Path::new("preemptionPolicy"),
        plain(object.preemption_policy.as_ref()),
        &["Never", "PreemptLowerPriority"],
    );
    errors
}

/// A priority keeps its value.
pub(crate) fn priority_class_update(new: &PriorityClass, old: &PriorityClass, _: Part<'_>) -> Errors {
    let mut errors = Errors::new();
    if new.value != old.value {
        errors.forbidden(&Path::new("value"), "may not be changed in an update.");
    }
    immutable(&mut errors, &Path::new("preemptionPolicy"), &new.preemption_policy, &old.preemption_policy);
    errors
}

/// A new runtime class.
pub(crate) fn runtime_class(object: &RuntimeClass) -> Errors {
    let mut errors = Errors::new();
    all_invalid(&mut errors, &Path::new("handler"), &object.handler, names::dns_label(&object.handler));
    errors
}

/// A runtime class keeps its handler.
pub(crate) fn runtime_class_update(new: &RuntimeClass, old: &RuntimeClass, _: Part<'_>) -> Errors {
    let mut errors = Errors::new();
    immutable(&mut errors, &Path::new("handler"), &new.handler, &old.handler);
    errors
}

/// A new lease.
pub(crate) fn lease(object: &Lease) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let Some(spec) = &object.spec else { return errors };
    if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
        errors.invalid(&path.child("leaseDurationSeconds"), seconds, POSITIVE);
    }
    super::not_negative(&mut errors, &path.child("leaseTransitions"), spec.lease_transitions);
    errors
}

/// A changed lease.
pub(crate) fn lease_update(new: &Lease, _: &Lease, _: Part<'_>) -> Errors {
    lease(new)
}

/// A new request for a certificate.
pub(crate) fn signing_request(object: &CertificateSigningRequest) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    if object.spec.request.0.is_empty() {
        errors.required(&path.child("request"), "");
    }
    if object.spec.usages.as_ref().is_none_or(Vec::is_empty) {
        errors.required(&path.child("usages"), "");
    }
    let signer = object.spec.signer_name.as_str();
    if required(&mut errors, &path.child("signerName"), signer).is_some() && !signer.contains('/') {
        errors.invalid(
            &path.child("signerName"),
            signer,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        );
    }
    if let Some(seconds) = object.spec.expiration_seconds.filter(|seconds| *seconds < 600) {
        errors.invalid(
            &path.child("expirationSeconds"),
            seconds,
            "may not specify a duration less than 600 seconds (10 minutes)",
        );
    }
    errors
}
