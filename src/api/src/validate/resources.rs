//! Requests and limits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::{NOT_NEGATIVE, all_invalid};
use crate::field::{Errors, Path};
use crate::names;
use crate::quantity::Quantity;

type List = BTreeMap<String, Text>;

/// Resources that containers may name without a domain.
fn is_standard(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

/// Resources of which no more can be promised than there is.
fn is_exact(name: &str) -> bool {
    name.starts_with("hugepages-") || (name.contains('/') && !name.contains("kubernetes.io/"))
}

/// A quantity that the decoder has checked.
pub(super) fn parse(text: &Text) -> Option<Quantity> {
    Quantity::parse(&text.0).ok()
}

fn list(errors: &mut Errors, path: &Path, list: Option<&List>) {
    for (name, quantity) in list.into_iter().flatten() {
        let path = path.key(name);
        let messages = names::qualified_name(name);
        if messages.is_empty() && !name.contains('/') && !is_standard(name) {
            errors.invalid(&path, name.as_str(), "must be a standard resource type or fully qualified");
            errors.invalid(&path, name.as_str(), "must be a standard resource for containers");
        }
        all_invalid(errors, &path, name, messages);
        let Some(amount) = parse(quantity) else { continue };
        if amount.is_negative() {
            errors.invalid(&path, quantity.0.as_str(), NOT_NEGATIVE);
        } else if name.contains('/') && amount.milli_value() % 1000 != 0 {
            errors.invalid(&path, quantity.0.as_str(), "must be an integer");
        }
    }
}

/// Requests may not be over limits.
pub(super) fn requirements(errors: &mut Errors, path: &Path, resources: &ResourceRequirements) {
    let (requests_path, limits_path) = (path.child("requests"), path.child("limits"));
    list(errors, &limits_path, resources.limits.as_ref());
    list(errors, &requests_path, resources.requests.as_ref());
    for (name, request) in resources.requests.iter().flatten() {
        let limit = resources.limits.as_ref().and_then(|limits| limits.get(name));
        let Some(limit) = limit else {
            if is_exact(name) {
                errors.required(&limits_path, "Limit must be set for non overcommitable resources");
            }
            continue;
        };
        let (Some(wanted), Some(most)) = (parse(request), parse(limit)) else { continue };
        if is_exact(name) && wanted != most {
            let detail = format!("must be equal to {name} limit of {}", limit.0);
            errors.invalid(&requests_path, request.0.as_str(), &detail);
        } else if wanted > most {
            let detail = format!("must be less than or equal to {name} limit of {}", limit.0);
            errors.invalid(&requests_path, request.0.as_str(), &detail);
        }
    }
}
