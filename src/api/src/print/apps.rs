//! Workloads: deployments, sets, jobs.

use serde_json::Value;

use super::duration::human;
use super::pod::containers;
use super::tree::{NONE, age, at, labels, list, name, number, or_none, seconds, selector, since, text};
use super::{AGE, NAME, Printer, column, wide};
use crate::strategy::Cell;

/// `kubectl get deployments`.
pub(crate) static DEPLOYMENT: Printer = Printer {
    columns: &[
        NAME,
        column("Ready", "string"),
        column("Up-to-date", "integer"),
        column("Available", "integer"),
        AGE,
        wide("Containers", "string"),
        wide("Images", "string"),
        wide("Selector", "string"),
    ],
    row: |object, now| {
        let [containers, images] = containers(at(object, "spec.template"));
        vec![
            name(object),
            ready(object),
            Cell::from(number(object, "status.updatedReplicas")),
            Cell::from(number(object, "status.availableReplicas")),
            age(object, now),
            containers,
            images,
            selector(at(object, "spec.selector")),
        ]
    },
};

fn ready(object: &Value) -> Cell {
    Cell::from(format!("{}/{}", number(object, "status.readyReplicas"), number(object, "spec.replicas")))
}

/// `kubectl get replicasets`.
pub(crate) static REPLICA_SET: Printer = Printer {
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
            selector(at(object, "spec.selector")),
        ]
    },
};

/// `kubectl get statefulsets`.
pub(crate) static STATEFUL_SET: Printer = Printer {
    columns: &[NAME, column("Ready", "string"), AGE, wide("Containers", "string"), wide("Images", "string")],
    row: |object, now| {
        let [containers, images] = containers(at(object, "spec.template"));
        vec![name(object), ready(object), age(object, now), containers, images]
    },
};

/// `kubectl get daemonsets`.
pub(crate) static DAEMON_SET: Printer = Printer {
    columns: &[
        NAME,
        column("Desired", "integer"),
        column("Current", "integer"),
        column("Ready", "integer"),
        column("Up-to-date", "integer"),
        column("Available", "integer"),
        column("Node Selector", "string"),
        AGE,
        wide("Containers", "string"),
        wide("Images", "string"),
        wide("Selector", "string"),
    ],
    row: |object, now| {
        let [containers, images] = containers(at(object, "spec.template"));
        vec![
            name(object),
            Cell::from(number(object, "status.desiredNumberScheduled")),
            Cell::from(number(object, "status.currentNumberScheduled")),
            Cell::from(number(object, "status.numberReady")),
            Cell::from(number(object, "status.updatedNumberScheduled")),
            Cell::from(number(object, "status.numberAvailable")),
            labels(at(object, "spec.template.spec.nodeSelector")),
            age(object, now),
            containers,
            images,
            selector(at(object, "spec.selector")),
        ]
    },
};

/// `kubectl get controllerrevisions`.
pub(crate) static CONTROLLER_REVISION: Printer = Printer {
    columns: &[NAME, column("Controller", "string"), column("Revision", "string"), AGE],
    row: |object, now| {
        let owners = list(object, "metadata.ownerReferences");
        let owner = owners.iter().find(|owner| at(owner, "controller") == true);
        let controller = owner.map_or_else(
            || NONE.to_owned(),
            |owner| {
                let kind = text(owner, "kind").to_lowercase();
                match text(owner, "apiVersion").split_once('/') {
                    Some((group, _)) => format!("{kind}.{group}/{}", text(owner, "name")),
                    None => format!("{kind}/{}", text(owner, "name")),
                }
            },
        );
        let revision = number(object, "revision").to_string();
        vec![name(object), Cell::from(controller), Cell::from(revision), age(object, now)]
    },
};

/// `kubectl get jobs`.
pub(crate) static JOB: Printer = Printer {
    columns: &[
        NAME,
        column("Status", "string"),
        column("Completions", "string"),
        column("Duration", "string"),
        AGE,
        wide("Containers", "string"),
        wide("Images", "string"),
        wide("Selector", "string"),
    ],
    row: |object, now| {
        let [containers, images] = containers(at(object, "spec.template"));
        let start = seconds(object, "status.startTime");
        let end = seconds(object, "status.completionTime").unwrap_or(now);
        vec![
            name(object),
            Cell::from(job_status(object)),
            Cell::from(completions(object)),
            Cell::from(start.map(|start| human(end - start)).unwrap_or_default()),
            age(object, now),
            containers,
            images,
            selector(at(object, "spec.selector")),
        ]
    },
};

fn job_status(job: &Value) -> &'static str {
    let is = |wanted: &str| {
        let conditions = list(job, "status.conditions");
        conditions.iter().any(|c| text(c, "type") == wanted && text(c, "status") == "True")
    };
    if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if !at(job, "metadata.deletionTimestamp").is_null() {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else if is("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(job: &Value) -> String {
    let succeeded = number(job, "status.succeeded");
    match (at(job, "spec.completions").as_i64(), number(job, "spec.parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

/// `kubectl get cronjobs`.
pub(crate) static CRON_JOB: Printer = Printer {
    columns: &[
        NAME,
        column("Schedule", "string"),
        column("Timezone", "string"),
        column("Suspend", "boolean"),
        column("Active", "integer"),
        column("Last Schedule", "string"),
        AGE,
        wide("Containers", "string"),
        wide("Images", "string"),
        wide("Selector", "string"),
    ],
    row: |object, now| {
        let template = at(object, "spec.jobTemplate.spec");
        let [containers, images] = containers(at(template, "template"));
        let suspend = match at(object, "spec.suspend").as_bool() {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        };
        let last = match at(object, "status.lastScheduleTime") {
            Value::Null => NONE.to_owned(),
            _ => since(object, "status.lastScheduleTime", now),
        };
        vec![
            name(object),
            Cell::from(text(object, "spec.schedule")),
            or_none(text(object, "spec.timeZone")),
            Cell::from(suspend),
            Cell::from(list(object, "status.active").len()),
            Cell::from(last),
            age(object, now),
            containers,
            images,
            selector(at(template, "selector")),
        ]
    },
};
