//! Webhooks and policies of admission.

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration,
    NamedRuleWithOperations, ParamRef, RuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};

use super::{absent, each};

macro_rules! webhook {
    ($webhook:expr) => {
        absent(&mut $webhook.failure_policy, "Fail".to_owned());
        absent(&mut $webhook.match_policy, "Equivalent".to_owned());
        absent(&mut $webhook.namespace_selector, Default::default());
        absent(&mut $webhook.object_selector, Default::default());
        absent(&mut $webhook.timeout_seconds, 10);
        if let Some(service) = &mut $webhook.client_config.service {
            absent(&mut service.port, 443);
        }
        each(&mut $webhook.rules).for_each(rule);
    };
}

fn rule(rule: &mut RuleWithOperations) {
    absent(&mut rule.scope, "*".to_owned());
}

fn named_rule(rule: &mut NamedRuleWithOperations) {
    absent(&mut rule.scope, "*".to_owned());
}

/// Mutating webhooks.
pub(crate) fn mutating(object: &mut MutatingWebhookConfiguration) {
    for webhook in each(&mut object.webhooks) {
        webhook!(webhook);
        absent(&mut webhook.reinvocation_policy, "Never".to_owned());
    }
}

/// Validating webhooks.
pub(crate) fn validating(object: &mut ValidatingWebhookConfiguration) {
    for webhook in each(&mut object.webhooks) {
        webhook!(webhook);
    }
}

fn resources(resources: &mut MatchResources) {
    absent(&mut resources.match_policy, "Equivalent".to_owned());
    absent(&mut resources.namespace_selector, Default::default());
    absent(&mut resources.object_selector, Default::default());
    each(&mut resources.resource_rules)
        .chain(each(&mut resources.exclude_resource_rules))
        .for_each(named_rule);
}

fn parameters(reference: &mut ParamRef) {
    absent(&mut reference.parameter_not_found_action, "Deny".to_owned());
}

/// A validating policy.
pub(crate) fn validating_policy(object: &mut ValidatingAdmissionPolicy) {
    let Some(spec) = &mut object.spec else { return };
    absent(&mut spec.failure_policy, "Fail".to_owned());
    spec.match_constraints.iter_mut().for_each(resources);
}

/// Where a validating policy holds.
pub(crate) fn validating_binding(object: &mut ValidatingAdmissionPolicyBinding) {
    let spec = &mut object.spec;
    spec.match_resources.iter_mut().for_each(resources);
    spec.param_ref.iter_mut().for_each(parameters);
}

/// A mutating policy.
pub(crate) fn mutating_policy(object: &mut MutatingAdmissionPolicy) {
    let Some(spec) = &mut object.spec else { return };
    absent(&mut spec.failure_policy, "Fail".to_owned());
    absent(&mut spec.reinvocation_policy, "Never".to_owned());
    spec.match_constraints.iter_mut().for_each(resources);
}

/// Where a mutating policy holds.
pub(crate) fn mutating_binding(object: &mut MutatingAdmissionPolicyBinding) {
    let Some(spec) = &mut object.spec else { return };
    spec.match_resources.iter_mut().for_each(resources);
    spec.param_ref.iter_mut().for_each(parameters);
}
