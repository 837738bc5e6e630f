//! Groups with few kinds: autoscaling, policy, rbac, admission, scheduling and more.

use serde_json::Value;

use super::duration::human;
use super::tree::{NONE, age, at, flag, list, name, number, text};
use super::{AGE, NAME, Printer, column, wide};
use crate::strategy::Cell;

const UNSET: &str = "<unset>";

/// A number or text as it is, or another text for nothing.
fn or(value: &Value, none: &str) -> Cell {
    match value {
        Value::Null => Cell::from(none),
        Value::String(text) => Cell::from(text.as_str()),
        other => Cell::from(other.to_string()),
    }
}

/// `kubectl get poddisruptionbudgets`.
pub(crate) static DISRUPTION_BUDGET: Printer = Printer {
    columns: &[
        NAME,
        column("Min Available", "string"),
        column("Max Unavailable", "string"),
        column("Allowed Disruptions", "integer"),
        AGE,
    ],
    row: |object, now| {
        vec![
            name(object),
            or(at(object, "spec.minAvailable"), "N/A"),
            or(at(object, "spec.maxUnavailable"), "N/A"),
            Cell::from(number(object, "status.disruptionsAllowed")),
            age(object, now),
        ]
    },
};

/// `kubectl get horizontalpodautoscalers`.
pub(crate) static AUTOSCALER: Printer = Printer {
    columns: &[
        NAME,
        column("Reference", "string"),
        column("Targets", "string"),
        column("MinPods", "string"),
        column("MaxPods", "integer"),
        column("Replicas", "integer"),
        AGE,
    ],
    row: |object, now| {
        let target = at(object, "spec.scaleTargetRef");
        vec![
            name(object),
            Cell::from(format!("{}/{}", text(target, "kind"), text(target, "name"))),
            Cell::from(targets(object)),
            or(at(object, "spec.minReplicas"), UNSET),
            Cell::from(number(object, "spec.maxReplicas")),
            Cell::from(number(object, "status.currentReplicas")),
            age(object, now),
        ]
    },
};

/// Metrics as `cpu: 10%/80%`, the first two of them.
fn targets(object: &Value) -> String {
    const SHOWN: usize = 2;
    let old = at(object, "spec.targetCPUUtilizationPercentage");
    if !old.is_null() {
        let current = at(object, "status.currentCPUUtilizationPercentage");
        let current = if current.is_null() { "<unknown>".to_owned() } else { format!("{current}%") };
        return format!("cpu: {current}/{old}%");
    }
    let metrics = list(object, "spec.metrics");
    let statuses = list(object, "status.currentMetrics");
    let all: Vec<String> = metrics
        .iter()
        .enumerate()
        .map(|(index, metric)| target(metric, statuses.get(index).unwrap_or(&Value::Null)))
        .collect();
    match all.len() {
        0 => NONE.to_owned(),
        count if count > SHOWN => format!("{} + {} more...", all[..SHOWN].join(", "), count - SHOWN),
        _ => all.join(", "),
    }
}

fn target(metric: &Value, status: &Value) -> String {
    let kind = text(metric, "type");
    let field = match kind {
        "ContainerResource" => "containerResource".to_owned(),
        other => other.to_lowercase(),
    };
    let (spec, current) = (at(metric, &field), at(status, &field));
    let wanted = at(spec, "target");
    let value = |tree: &Value, field: &str, suffix: &str| match at(tree, field) {
        Value::Null => None,
        Value::String(text) => Some(format!("{text}{suffix}")),
        other => Some(format!("{other}{suffix}")),
    };
    let pair = |field: &str, suffix: &str| {
        let now = value(at(current, "current"), field, suffix).unwrap_or_else(|| "<unknown>".to_owned());
        let wanted = value(wanted, field, suffix).unwrap_or_else(|| "<auto>".to_owned());
        format!("{now}/{wanted}")
    };
    let average = !at(wanted, "averageValue").is_null();
    match kind {
        "Pods" => pair("averageValue", ""),
        "External" | "Object" if average => format!("{} (avg)", pair("averageValue", "")),
        "External" | "Object" => pair("value", ""),
        "Resource" | "ContainerResource" => {
            let shown = if average { pair("averageValue", "") } else { pair("averageUtilization", "%") };
            format!("{}: {shown}", text(spec, "name"))
        }
        _ => "<unknown type>".to_owned(),
    }
}

/// `kubectl get leases`.
pub(crate) static LEASE: Printer = Printer {
    columns: &[NAME, column("Holder", "string"), AGE],
    row: |object, now| vec![name(object), Cell::from(text(object, "spec.holderIdentity")), age(object, now)],
};

/// `kubectl get rolebindings` and `clusterrolebindings`.
pub(crate) static BINDING: Printer = Printer {
    columns: &[
        NAME,
        column("Role", "string"),
        AGE,
        wide("Users", "string"),
        wide("Groups", "string"),
        wide("ServiceAccounts", "string"),
    ],
    row: |object, now| {
        let subjects = |kind: &str| {
            let of_kind = list(object, "subjects").iter().filter(|subject| text(subject, "kind") == kind);
            let names = of_kind.map(|subject| match (kind, text(subject, "namespace")) {
                ("ServiceAccount", namespace) if !namespace.is_empty() => {
                    format!("{namespace}/{}", text(subject, "name"))
                }
                _ => text(subject, "name").to_owned(),
            });
            Cell::from(names.collect::<Vec<_>>().join(", "))
        };
        vec![
            name(object),
            Cell::from(format!("{}/{}", text(object, "roleRef.kind"), text(object, "roleRef.name"))),
            age(object, now),
            subjects("User"),
            subjects("Group"),
            subjects("ServiceAccount"),
        ]
    },
};

/// `kubectl get certificatesigningrequests`.
pub(crate) static SIGNING_REQUEST: Printer = Printer {
    columns: &[
        NAME,
        AGE,
        column("SignerName", "string"),
        column("Requestor", "string"),
        column("RequestedDuration", "string"),
        column("Condition", "string"),
    ],
    row: |object, now| {
        let is = |type_: &str| list(object, "status.conditions").iter().any(|c| text(c, "type") == type_);
        let mut condition = if is("Denied") {
            "Denied"
        } else if is("Approved") {
            "Approved"
        } else {
            "Pending"
        }
        .to_owned();
        if is("Failed") {
            condition.push_str(",Failed");
        }
        if !text(object, "status.certificate").is_empty() {
            condition.push_str(",Issued");
        }
        let duration = at(object, "spec.expirationSeconds").as_i64();
        vec![
            name(object),
            age(object, now),
            Cell::from(text(object, "spec.signerName")),
            Cell::from(text(object, "spec.username")),
            Cell::from(duration.map_or_else(|| NONE.to_owned(), human)),
            Cell::from(condition),
        ]
    },
};

/// `kubectl get priorityclasses`.
pub(crate) static PRIORITY_CLASS: Printer = Printer {
    columns: &[
        NAME,
        column("Value", "integer"),
        column("Global-Default", "boolean"),
        AGE,
        column("PreemptionPolicy", "string"),
    ],
    row: |object, now| {
        vec![
            name(object),
            Cell::from(number(object, "value")),
            Cell::from(flag(object, "globalDefault")),
            age(object, now),
            or(at(object, "preemptionPolicy"), "PreemptLowerPriority"),
        ]
    },
};

/// `kubectl get runtimeclasses`.
pub(crate) static RUNTIME_CLASS: Printer = Printer {
    columns: &[NAME, column("Handler", "string"), AGE],
    row: |object, now| vec![name(object), Cell::from(text(object, "handler")), age(object, now)],
};

/// `kubectl get apiservices`.
pub(crate) static API_SERVICE: Printer = Printer {
    columns: &[NAME, column("Service", "string"), column("Available", "string"), AGE],
    row: |object, now| {
        let service = at(object, "spec.service");
        let service = if service.is_null() {
            "Local".to_owned()
        } else {
            format!("{}/{}", text(service, "namespace"), text(service, "name"))
        };
        let condition = list(object, "status.conditions").iter().find(|c| text(c, "type") == "Available");
        let available = condition.map_or_else(
            || "Unknown".to_owned(),
            |condition| match text(condition, "status") {
                "True" => "True".to_owned(),
                status => format!("{status} ({})", text(condition, "reason")),
            },
        );
        vec![name(object), Cell::from(service), Cell::from(available), age(object, now)]
    },
};

/// `kubectl get validatingwebhookconfigurations` and mutating ones.
pub(crate) static WEBHOOKS: Printer = Printer {
    columns: &[NAME, column("Webhooks", "integer"), AGE],
    row: |object, now| vec![name(object), Cell::from(list(object, "webhooks").len()), age(object, now)],
};

fn parameters(object: &Value) -> Cell {
    let kind = at(object, "spec.paramKind");
    Cell::from(if kind.is_null() {
        UNSET.to_owned()
    } else {
        format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind"))
    })
}

/// `kubectl get validatingadmissionpolicies`.
pub(crate) static VALIDATING_POLICY: Printer = Printer {
    columns: &[NAME, column("Validations", "integer"), column("ParamKind", "string"), AGE],
    row: |object, now| {
        vec![
            name(object),
            Cell::from(list(object, "spec.validations").len()),
            parameters(object),
            age(object, now),
        ]
    },
};

/// `kubectl get mutatingadmissionpolicies`.
pub(crate) static MUTATING_POLICY: Printer = Printer {
    columns: &[NAME, column("Mutations", "integer"), column("ParamKind", "string"), AGE],
    row: |object, now| {
        vec![
            name(object),
            Cell::from(list(object, "spec.mutations").len()),
            parameters(object),
            age(object, now),
        ]
    },
};

/// `kubectl get validatingadmissionpolicybindings` and mutating ones.
pub(crate) static POLICY_BINDING: Printer = Printer {
    columns: &[NAME, column("PolicyName", "string"), column("ParamRef", "string"), AGE],
    row: |object, now| {
        let reference = at(object, "spec.paramRef");
        let shown = match (text(reference, "namespace"), text(reference, "name")) {
            _ if reference.is_null() => UNSET.to_owned(),
            ("", "") => "*".to_owned(),
            ("", name) => name.to_owned(),
            (namespace, "") => format!("{namespace}/*"),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        vec![name(object), Cell::from(text(object, "spec.policyName")), Cell::from(shown), age(object, now)]
    },
};

/// `kubectl get flowschemas`.
pub(crate) static FLOW_SCHEMA: Printer = Printer {
    columns: &[
        NAME,
        column("PriorityLevel", "string"),
        column("MatchingPrecedence", "integer"),
        column("DistinguisherMethod", "string"),
        AGE,
        column("MissingPL", "string"),
    ],
    row: |object, now| {
        let dangling = list(object, "status.conditions").iter().find(|c| text(c, "type") == "Dangling");
        vec![
            name(object),
            Cell::from(text(object, "spec.priorityLevelConfiguration.name")),
            Cell::from(number(object, "spec.matchingPrecedence")),
            or(at(object, "spec.distinguisherMethod.type"), NONE),
            age(object, now),
            Cell::from(dangling.map_or("?", |condition| text(condition, "status"))),
        ]
    },
};

/// `kubectl get prioritylevelconfigurations`.
pub(crate) static PRIORITY_LEVEL: Printer = Printer {
    columns: &[
        NAME,
        column("Type", "string"),
        column("NominalConcurrencyShares", "integer"),
        column("Queues", "integer"),
        column("HandSize", "integer"),
        column("QueueLengthLimit", "integer"),
        AGE,
    ],
    row: |object, now| {
        let limited = at(object, "spec.limited");
        let shares = match at(limited, "nominalConcurrencyShares") {
            Value::Null => at(object, "spec.exempt.nominalConcurrencyShares"),
            shares => shares,
        };
        let queuing = at(limited, "limitResponse.queuing");
        let cell = |value: &Value| if value.is_null() { Cell::from(NONE) } else { value.clone() };
        vec![
            name(object),
            Cell::from(text(object, "spec.type")),
            cell(shares),
            cell(at(queuing, "queues")),
            cell(at(queuing, "handSize")),
            cell(at(queuing, "queueLengthLimit")),
            age(object, now),
        ]
    },
};
