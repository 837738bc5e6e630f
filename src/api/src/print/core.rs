//! The core group, apart from pods, services and storage.

use std::collections::BTreeSet;

use serde_json::Value;

use super::duration::human;
use super::pod::containers;
use super::tree::{NONE, age, at, entries, flag, labels, list, name, number, or_none, seconds, text};
use super::{AGE, NAME, Printer, column, wide};
use crate::strategy::Cell;

/// `kubectl get namespaces`.
pub(crate) static NAMESPACE: Printer = Printer {
    columns: &[NAME, column("Status", "string"), AGE],
    row: |object, now| vec![name(object), Cell::from(text(object, "status.phase")), age(object, now)],
};

/// `kubectl get configmaps`.
pub(crate) static CONFIG_MAP: Printer = Printer {
    columns: &[NAME, column("Data", "integer"), AGE],
    row: |object, now| {
        let count = entries(object, "data").len() + entries(object, "binaryData").len();
        vec![name(object), Cell::from(count), age(object, now)]
    },
};

/// `kubectl get secrets`.
pub(crate) static SECRET: Printer = Printer {
    columns: &[NAME, column("Type", "string"), column("Data", "integer"), AGE],
    row: |object, now| {
        let count = entries(object, "data").len();
        vec![name(object), Cell::from(text(object, "type")), Cell::from(count), age(object, now)]
    },
};

/// `kubectl get serviceaccounts`.
pub(crate) static SERVICE_ACCOUNT: Printer = Printer {
    columns: &[NAME, column("Secrets", "integer"), AGE],
    row: |object, now| vec![name(object), Cell::from(list(object, "secrets").len()), age(object, now)],
};

/// `kubectl get replicationcontrollers`.
pub(crate) static REPLICATION_CONTROLLER: Printer = Printer {
    columns: &[
        NAME,
        column("Desired", "integer"),
        column("Current", "integer"),
        column("Ready", "integer"),
        AGE,
        wide("Containers", "string"),
        wide("Images", "string"),
        wide("Selector", "string"),
    ],
    row: |object, now| {
        let [containers, images] = containers(at(object, "spec.template"));
        vec![
            name(object),
            Cell::from(number(object, "spec.replicas")),
            Cell::from(number(object, "status.replicas")),
            Cell::from(number(object, "status.readyReplicas")),
            age(object, now),
            containers,
            images,
            labels(at(object, "spec.selector")),
        ]
    },
};

/// `kubectl get componentstatuses`.
pub(crate) static COMPONENT_STATUS: Printer = Printer {
    columns: &[NAME, column("Status", "string"), column("Message", "string"), column("Error", "string")],
    row: |object, _| {
        let healthy = list(object, "conditions").iter().find(|c| text(c, "type") == "Healthy");
        let condition = healthy.unwrap_or(&Value::Null);
        let status = match text(condition, "status") {
            "True" => "Healthy",
            "False" => "Unhealthy",
            _ => "Unknown",
        };
        vec![
            name(object),
            Cell::from(status),
            Cell::from(text(condition, "message")),
            Cell::from(text(condition, "error")),
        ]
    },
};

/// `kubectl get resourcequotas`.
pub(crate) static RESOURCE_QUOTA: Printer = Printer {
    columns: &[NAME, column("Request", "string"), column("Limit", "string"), AGE],
    row: |object, now| {
        let used = |limits: bool| {
            let lines: Vec<String> = entries(object, "status.hard")
                .into_iter()
                .filter(|(resource, _)| resource.starts_with("limits.") == limits)
                .map(|(resource, hard)| {
                    let used = at(object, "status.used").get(resource).and_then(Value::as_str);
                    format!("{resource}: {}/{}", used.unwrap_or("0"), hard.as_str().unwrap_or_default())
                })
                .collect();
            Cell::from(lines.join(", "))
        };
        vec![name(object), used(false), used(true), age(object, now)]
    },
};

/// `kubectl get nodes`.
pub(crate) static NODE: Printer = Printer {
    columns: &[
        NAME,
        column("Status", "string"),
        column("Roles", "string"),
        AGE,
        column("Version", "string"),
        wide("Internal-IP", "string"),
        wide("External-IP", "string"),
        wide("OS-Image", "string"),
        wide("Kernel-Version", "string"),
        wide("Container-Runtime", "string"),
    ],
    row: node,
};

fn node(node: &Value, now: i64) -> Vec<Cell> {
    let ready = list(node, "status.conditions").iter().find(|c| text(c, "type") == "Ready");
    let mut status = match ready.map(|condition| text(condition, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if flag(node, "spec.unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    let address = |kind: &str| {
        let found = list(node, "status.addresses").iter().find(|address| text(address, "type") == kind);
        or_none(found.map(|address| text(address, "address")).unwrap_or_default())
    };
    let info = |field: &str| match text(at(node, "status.nodeInfo"), field) {
        "" => Cell::from("<unknown>"),
        value => Cell::from(value),
    };
    vec![
        name(node),
        Cell::from(status),
        roles(node),
        age(node, now),
        Cell::from(text(node, "status.nodeInfo.kubeletVersion")),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn roles(node: &Value) -> Cell {
    let roles: BTreeSet<&str> = entries(node, "metadata.labels")
        .into_iter()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    super::tree::joined(roles)
}

/// `kubectl get events`, of both groups.
pub(crate) static EVENT: Printer = Printer {
    columns: &[
        column("Last Seen", "string"),
        column("Type", "string"),
        column("Reason", "string"),
        column("Object", "string"),
        wide("Subobject", "string"),
        column("Message", "string"),
        wide("Source", "string"),
        wide("First Seen", "string"),
        wide("Count", "string"),
        super::Column { priority: 1, ..NAME },
    ],
    row: event,
};

/// The field under its name in the core group, or in `events.k8s.io`.
fn either<'a>(event: &'a Value, core: &str, new: &str) -> &'a Value {
    match at(event, core) {
        Value::Null => at(event, new),
        value => value,
    }
}

fn event(event: &Value, now: i64) -> Vec<Cell> {
    let time = |path: &str| seconds(event, path);
    let show = |then: Option<i64>| then.map_or_else(|| "<unknown>".to_owned(), |then| human(now - then));
    let first =
        time("firstTimestamp").or_else(|| time("deprecatedFirstTimestamp")).or_else(|| time("eventTime"));
    let mut last = time("lastTimestamp").or_else(|| time("deprecatedLastTimestamp")).or(first);
    let mut count = either(event, "count", "deprecatedCount").as_i64().unwrap_or(1).max(1);
    if !at(event, "series").is_null() {
        last = time("series.lastObservedTime");
        count = number(event, "series.count");
    }
    let object = either(event, "involvedObject", "regarding");
    let (kind, target) = (text(object, "kind").to_lowercase(), text(object, "name"));
    let object_cell = if target.is_empty() { kind } else { format!("{kind}/{target}") };
    let source = either(event, "source", "deprecatedSource");
    let or = |value: &'_ Value, field: &str, fallback: &str| match text(value, field) {
        "" => text(event, fallback).to_owned(),
        value => value.to_owned(),
    };
    let component = match or(source, "component", "reportingComponent") {
        none if none.is_empty() => text(event, "reportingController").to_owned(),
        component => component,
    };
    let instance = or(source, "host", "reportingInstance");
    let source_cell = if instance.is_empty() { component } else { format!("{component}, {instance}") };
    let message = either(event, "message", "note").as_str().unwrap_or_default();
    vec![
        Cell::from(show(last)),
        Cell::from(text(event, "type")),
        Cell::from(text(event, "reason")),
        Cell::from(object_cell),
        Cell::from(text(object, "fieldPath")),
        Cell::from(message.trim()),
        Cell::from(source_cell),
        Cell::from(show(first)),
        Cell::from(count.to_string()),
        name(event),
    ]
}

/// Kinds for which kube-apiserver has no printer: the time of creation as it is.
pub(crate) static CREATED_AT: Printer = Printer {
    columns: &[NAME, column("Created At", "date")],
    row: |object, _| {
        let created = text(object, "metadata.creationTimestamp");
        vec![name(object), Cell::from(if created.is_empty() { NONE } else { created })]
    },
};
