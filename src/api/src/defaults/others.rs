//! Groups with one or two kinds that have defaults.

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject};
use k8s_openapi::api::resource::v1::{DeviceClaim, DeviceToleration, ResourceClaim, ResourceClaimTemplate};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;

use super::{absent, each, text};

const RBAC: &str = "rbac.authorization.k8s.io";

fn binding(role: &mut RoleRef, subjects: &mut Option<Vec<Subject>>) {
    text(&mut role.api_group, RBAC);
    for subject in each(subjects) {
        if matches!(subject.kind.as_str(), "User" | "Group") {
            text(&mut subject.api_group, RBAC);
        }
    }
}

/// A role binding.
pub(crate) fn role_binding(object: &mut RoleBinding) {
    binding(&mut object.role_ref, &mut object.subjects);
}

/// A cluster role binding.
pub(crate) fn cluster_role_binding(object: &mut ClusterRoleBinding) {
    binding(&mut object.role_ref, &mut object.subjects);
}

/// A request for a token.
pub(crate) fn token_request(object: &mut TokenRequest) {
    absent(&mut object.spec.get_or_insert_default().expiration_seconds, 3600);
}

/// A flow of requests.
pub(crate) fn flow_schema(object: &mut FlowSchema) {
    let spec = object.spec.get_or_insert_default();
    if spec.matching_precedence.unwrap_or_default() == 0 {
        spec.matching_precedence = Some(1000);
    }
}

/// A level of priority of requests.
pub(crate) fn priority_level(object: &mut PriorityLevelConfiguration) {
    let Some(spec) = &mut object.spec else { return };
    if let Some(exempt) = &mut spec.exempt {
        absent(&mut exempt.nominal_concurrency_shares, 0);
        absent(&mut exempt.lendable_percent, 0);
    }
    let Some(limited) = &mut spec.limited else { return };
    absent(&mut limited.nominal_concurrency_shares, 30);
    absent(&mut limited.lendable_percent, 0);
    if let Some(queuing) = limited.limit_response.as_mut().and_then(|response| response.queuing.as_mut()) {
        super::zero(&mut queuing.hand_size, 8);
        super::zero(&mut queuing.queues, 64);
        super::zero(&mut queuing.queue_length_limit, 50);
    }
}

/// A priority of pods.
pub(crate) fn priority_class(object: &mut PriorityClass) {
    absent(&mut object.preemption_policy, "PreemptLowerPriority".to_owned());
}

fn devices(claim: &mut Option<DeviceClaim>) {
    for request in claim.iter_mut().flat_map(|claim| each(&mut claim.requests)) {
        if let Some(exactly) = &mut request.exactly {
            amount(&mut exactly.allocation_mode, &mut exactly.count);
            each(&mut exactly.tolerations).for_each(toleration);
        }
        for alternative in each(&mut request.first_available) {
            amount(&mut alternative.allocation_mode, &mut alternative.count);
            each(&mut alternative.tolerations).for_each(toleration);
        }
    }
}

fn amount(mode: &mut Option<String>, count: &mut Option<i64>) {
    text(mode, "ExactCount");
    if mode.as_deref() == Some("ExactCount") && count.unwrap_or_default() == 0 {
        *count = Some(1);
    }
}

fn toleration(toleration: &mut DeviceToleration) {
    text(&mut toleration.operator, "Equal");
}

/// A claim of devices.
pub(crate) fn resource_claim(object: &mut ResourceClaim) {
    devices(&mut object.spec.devices);
}

/// A template of claims of devices.
pub(crate) fn resource_claim_template(object: &mut ResourceClaimTemplate) {
    devices(&mut object.spec.spec.devices);
}

/// The definition of a custom resource.
pub(crate) fn custom_resource_definition(object: &mut CustomResourceDefinition) {
    let spec = &mut object.spec;
    if spec.scope.is_empty() {
        "Namespaced".clone_into(&mut spec.scope);
    }
    let (singular, list) = (spec.names.kind.to_lowercase(), format!("{}List", spec.names.kind));
    text(&mut spec.names.singular, &singular);
    text(&mut spec.names.list_kind, &list);
    let conversion = spec.conversion.get_or_insert_default();
    if conversion.strategy.is_empty() {
        "None".clone_into(&mut conversion.strategy);
    }
    let client = conversion.webhook.as_mut().and_then(|webhook| webhook.client_config.as_mut());
    if let Some(service) = client.and_then(|client| client.service.as_mut()) {
        absent(&mut service.port, 443);
    }
}

/// The registration of a group served elsewhere.
pub(crate) fn api_service(object: &mut APIService) {
    if let Some(service) = object.spec.as_mut().and_then(|spec| spec.service.as_mut()) {
        absent(&mut service.port, 443);
    }
}
