//! The quality of service that a pod is promised.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::quantity::Quantity;

const COUNTED: [&str; 2] = ["cpu", "memory"];

type Amounts = BTreeMap<&'static str, Quantity>;

/// Adds what is more than nothing of the counted resources; gives whether all of them were there.
fn add(total: &mut Amounts, list: Option<&BTreeMap<String, Text>>) -> bool {
    let mut found = 0;
    for name in COUNTED {
        let amount = list.and_then(|list| list.get(name)).and_then(|text| Quantity::parse(&text.0).ok());
        let Some(amount) = amount.filter(|amount| !amount.is_zero() && !amount.is_negative()) else {
            continue;
        };
        found += 1;
        let sum = match total.get(name) {
            Some(before) => before.plus(amount),
            None => amount,
        };
        total.insert(name, sum);
    }
    found == COUNTED.len()
}

/// `Guaranteed` when processor and memory are limited to what is requested everywhere, `BestEffort` when nothing is
/// requested or limited, else `Burstable`.
#[must_use]
pub(crate) fn class(spec: &PodSpec) -> &'static str {
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    let mut limited = true;
    let mut count = |resources: Option<&ResourceRequirements>| {
        add(&mut requests, resources.and_then(|r| r.requests.as_ref()));
        limited &= add(&mut limits, resources.and_then(|r| r.limits.as_ref()));
    };
    if let Some(pod) = spec.resources.as_ref().filter(|r| r.requests.is_some() || r.limits.is_some()) {
        count(Some(pod));
    } else {
        for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
            count(container.resources.as_ref());
        }
    }
    if requests.is_empty() && limits.is_empty() {
        "BestEffort"
    } else if limited && requests == limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}
