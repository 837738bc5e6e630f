//! Roles and their bindings.

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use serde_json::json;

use super::{all_invalid, one_of, plain, required, selector};
use crate::field::{Errors, Path};
use crate::names;
use crate::strategy::Part;
use crate::typed::encode::to_value;

fn rules(errors: &mut Errors, rules: Option<&Vec<PolicyRule>>, namespaced: bool) {
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        let path = Path::new("rules").index(index);
        let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        if rule.verbs.is_empty() {
            errors.required(&path.child("verbs"), "verbs must contain at least one value");
        }
        if given(&rule.non_resource_urls) {
            let shown = json!(rule.non_resource_urls);
            let path = path.child("nonResourceURLs");
            if namespaced {
                errors.invalid(&path, shown.clone(), "namespaced rules cannot apply to non-resource URLs");
            }
            if given(&rule.api_groups) || given(&rule.resources) || given(&rule.resource_names) {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.invalid(&path, shown, detail);
            }
            continue;
        }
        if !given(&rule.api_groups) {
            errors.required(&path.child("apiGroups"), "resource rules must supply at least one api group");
        }
        if !given(&rule.resources) {
            errors.required(&path.child("resources"), "resource rules must supply at least one resource");
        }
    }
}

/// A new role.
pub(crate) fn role(object: &Role) -> Errors {
    let mut errors = Errors::new();
    rules(&mut errors, object.rules.as_ref(), true);
    errors
}

/// A changed role.
pub(crate) fn role_update(new: &Role, _: &Role, _: Part<'_>) -> Errors {
    role(new)
}

/// A new cluster role.
pub(crate) fn cluster_role(object: &ClusterRole) -> Errors {
    let mut errors = Errors::new();
    rules(&mut errors, object.rules.as_ref(), false);
    let selectors = object.aggregation_rule.as_ref().and_then(|rule| rule.cluster_role_selectors.as_ref());
    if object.aggregation_rule.is_some() {
        let path = Path::new("aggregationRule").child("clusterRoleSelectors");
        if selectors.is_none_or(Vec::is_empty) {
            errors.required(&path, "at least one clusterRoleSelector required if aggregationRule is non-nil");
        }
        for (index, given) in selectors.into_iter().flatten().enumerate() {
            selector(&mut errors, &path.index(index), given);
        }
    }
    errors
}

/// A changed cluster role.
pub(crate) fn cluster_role_update(new: &ClusterRole, _: &ClusterRole, _: Part<'_>) -> Errors {
    cluster_role(new)
}

const RBAC: &str = "rbac.authorization.k8s.io";

fn binding(errors: &mut Errors, role: &RoleRef, subjects: Option<&Vec<Subject>>, namespaced: bool) {
    let path = Path::new("roleRef");
    one_of(errors, &path.child("apiGroup"), plain(role.api_group.as_ref()), &[RBAC]);
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&role.kind.as_str()) {
        errors.not_supported(&path.child("kind"), role.kind.as_str(), kinds);
    }
    if required(errors, &path.child("name"), &role.name).is_some() {
        all_invalid(errors, &path.child("name"), &role.name, names::path_segment(&role.name));
    }
    for (index, subject) in subjects.into_iter().flatten().enumerate() {
        let path = Path::new("subjects").index(index);
        required(errors, &path.child("name"), &subject.name);
        let group = plain(subject.api_group.as_ref());
        match subject.kind.as_str() {
            "ServiceAccount" => {
                if !subject.name.is_empty() {
                    all_invalid(
                        errors,
                        &path.child("name"),
                        &subject.name,
                        names::dns_subdomain(&subject.name),
                    );
                }
                if !group.is_empty() {
                    errors.not_supported(&path.child("apiGroup"), group, &[""]);
                }
                if !namespaced && plain(subject.namespace.as_ref()).is_empty() {
                    errors.required(&path.child("namespace"), "");
                }
            }
            "User" | "Group" => {
                if group != RBAC {
                    errors.not_supported(&path.child("apiGroup"), group, &[RBAC]);
                }
            }
            other => {
                errors.not_supported(&path.child("kind"), other, &["Group", "ServiceAccount", "User"]);
            }
        }
    }
}

fn same_role(errors: &mut Errors, new: &RoleRef, old: &RoleRef) {
    if new != old {
        errors.invalid(&Path::new("roleRef"), to_value(new), "cannot change roleRef");
    }
}

/// A new role binding.
pub(crate) fn role_binding(object: &RoleBinding) -> Errors {
    let mut errors = Errors::new();
    binding(&mut errors, &object.role_ref, object.subjects.as_ref(), true);
    errors
}

/// A binding keeps its role.
pub(crate) fn role_binding_update(new: &RoleBinding, old: &RoleBinding, _: Part<'_>) -> Errors {
    let mut errors = role_binding(new);
    same_role(&mut errors, &new.role_ref, &old.role_ref);
    errors
}

/// A new cluster role binding.
pub(crate) fn cluster_role_binding(object: &ClusterRoleBinding) -> Errors {
    let mut errors = Errors::new();
    binding(&mut errors, &object.role_ref, object.subjects.as_ref(), false);
    errors
}

/// A binding keeps its role.
pub(crate) fn cluster_role_binding_update(
    new: &ClusterRoleBinding,
    old: &ClusterRoleBinding,
    _: Part<'_>,
) -> Errors {
    let mut errors = cluster_role_binding(new);
    same_role(&mut errors, &new.role_ref, &old.role_ref);
    errors
}
