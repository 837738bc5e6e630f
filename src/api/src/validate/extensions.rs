//! Definitions of custom resources, and registrations of groups served elsewhere.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::json;

use super::{all_invalid, immutable, one_of, plain, required};
use crate::field::{Errors, Path};
use crate::names;
use crate::strategy::Part;

/// A new definition: named for what it defines, stored in one version.
pub(crate) fn definition(object: &CustomResourceDefinition) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let spec = &object.spec;
    let name = plain(object.metadata.name.as_ref());
    if name != format!("{}.{}", spec.names.plural, spec.group) {
        let path = Path::new("metadata").child("name");
        errors.invalid(&path, name, "must be spec.names.plural+\".\"+spec.group");
    }
    if required(&mut errors, &path.child("group"), &spec.group).is_some() {
        all_invalid(&mut errors, &path.child("group"), &spec.group, names::dns_subdomain(&spec.group));
        if spec.group.split('.').count() < 2 {
            errors.invalid(
                &path.child("group"),
                spec.group.as_str(),
                "should be a domain with at least one dot",
            );
        }
    }
    one_of(&mut errors, &path.child("scope"), &spec.scope, &["Cluster", "Namespaced"]);
    let names_path = path.child("names");
    if required(&mut errors, &names_path.child("plural"), &spec.names.plural).is_some() {
        let messages = names::dns1035_label(&spec.names.plural);
        all_invalid(&mut errors, &names_path.child("plural"), &spec.names.plural, messages);
    }
    if required(&mut errors, &names_path.child("kind"), &spec.names.kind).is_some() {
        let messages = names::dns1035_label(&spec.names.kind.to_lowercase());
        all_invalid(&mut errors, &names_path.child("kind"), &spec.names.kind, messages);
    }
    let versions = path.child("versions");
    if spec.versions.iter().filter(|version| version.storage).count() != 1 {
        let list: Vec<&str> = spec.versions.iter().map(|version| version.name.as_str()).collect();
        errors.invalid(&versions, json!(list), "must have exactly one version marked as storage version");
    }
    for (index, version) in spec.versions.iter().enumerate() {
        let path = versions.index(index);
        all_invalid(&mut errors, &path.child("name"), &version.name, names::dns1035_label(&version.name));
        if version.schema.as_ref().is_none_or(|schema| schema.open_api_v3_schema.is_none()) {
            errors.required(&path.child("schema").child("openAPIV3Schema"), "schemas are required");
        }
    }
    errors
}

/// A definition keeps its group, kind and scope.
pub(crate) fn definition_update(
    new: &CustomResourceDefinition,
    old: &CustomResourceDefinition,
    part: Part<'_>,
) -> Errors {
    if part != Part::Main {
        return Errors::new();
    }
    let mut errors = definition(new);
    let path = Path::new("spec");
    immutable(&mut errors, &path.child("group"), &new.spec.group, &old.spec.group);
    immutable(
        &mut errors,
        &path.child("names").child("plural"),
        &new.spec.names.plural,
        &old.spec.names.plural,
    );
    immutable(&mut errors, &path.child("names").child("kind"), &new.spec.names.kind, &old.spec.names.kind);
    immutable(&mut errors, &path.child("scope"), &new.spec.scope, &old.spec.scope);
    errors
}

/// A new registration of a group served elsewhere.
pub(crate) fn api_service(object: &APIService) -> Errors {
    let mut errors = Errors::new();
    let Some(spec) = &object.spec else { return errors };
    let wanted = format!("{}.{}", plain(spec.version.as_ref()), plain(spec.group.as_ref()));
    let name = plain(object.metadata.name.as_ref());
    if name.trim_end_matches('.') != wanted.trim_end_matches('.') {
        errors.invalid(
            &Path::new("metadata").child("name"),
            name,
            &format!("must be `spec.version+\".\"+spec.group`: {wanted:?}"),
        );
    }
    let path = Path::new("spec");
    if !(1..=20_000).contains(&spec.group_priority_minimum) {
        let detail = "must be positive and less than 20000";
        errors.invalid(&path.child("groupPriorityMinimum"), spec.group_priority_minimum, detail);
    }
    if !(1..=1000).contains(&spec.version_priority) {
        let detail = "must be positive and less than 1000";
        errors.invalid(&path.child("versionPriority"), spec.version_priority, detail);
    }
    errors
}

/// A changed registration.
pub(crate) fn api_service_update(new: &APIService, _: &APIService, part: Part<'_>) -> Errors {
    if part == Part::Main { api_service(new) } else { Errors::new() }
}
