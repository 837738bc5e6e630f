//! Volumes, claims, classes and drivers.

use serde_json::Value;

use super::tree::{age, at, flag, list, name, text};
use super::{AGE, Column, NAME, Printer, column, wide};
use crate::strategy::Cell;

/// What is shown for a pointer that is not set.
const UNSET: &str = "<unset>";

fn or_unset(value: &Value) -> Cell {
    Cell::from(value.as_str().unwrap_or(UNSET))
}

/// `RWO,ROX` for access modes.
fn modes(object: &Value, path: &str) -> Cell {
    let given: Vec<&str> = list(object, path).iter().filter_map(Value::as_str).collect();
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let shown: Vec<&str> = short.iter().filter(|(mode, _)| given.contains(mode)).map(|(_, s)| *s).collect();
    Cell::from(shown.join(","))
}

fn phase(object: &Value) -> Cell {
    let deleted = !at(object, "metadata.deletionTimestamp").is_null();
    Cell::from(if deleted { "Terminating" } else { text(object, "status.phase") })
}

/// The class in the old annotation, or in the spec.
fn class(object: &Value) -> Cell {
    let annotations = at(object, "metadata.annotations");
    let old = annotations.get("volume.beta.kubernetes.io/storage-class").and_then(Value::as_str);
    Cell::from(old.unwrap_or_else(|| text(object, "spec.storageClassName")))
}

/// `kubectl get persistentvolumes`.
pub(crate) static VOLUME: Printer = Printer {
    columns: &[
        NAME,
        column("Capacity", "string"),
        column("Access Modes", "string"),
        column("Reclaim Policy", "string"),
        column("Status", "string"),
        column("Claim", "string"),
        column("StorageClass", "string"),
        column("VolumeAttributesClass", "string"),
        column("Reason", "string"),
        AGE,
        wide("VolumeMode", "string"),
    ],
    row: |object, now| {
        let claim = at(object, "spec.claimRef");
        let claim = if claim.is_null() {
            String::new()
        } else {
            format!("{}/{}", text(claim, "namespace"), text(claim, "name"))
        };
        vec![
            name(object),
            Cell::from(text(object, "spec.capacity.storage")),
            modes(object, "spec.accessModes"),
            Cell::from(text(object, "spec.persistentVolumeReclaimPolicy")),
            phase(object),
            Cell::from(claim),
            class(object),
            or_unset(at(object, "spec.volumeAttributesClassName")),
            Cell::from(text(object, "status.reason")),
            age(object, now),
            or_unset(at(object, "spec.volumeMode")),
        ]
    },
};

/// `kubectl get persistentvolumeclaims`.
pub(crate) static CLAIM: Printer = Printer {
    columns: &[
        NAME,
        column("Status", "string"),
        column("Volume", "string"),
        column("Capacity", "string"),
        column("Access Modes", "string"),
        column("StorageClass", "string"),
        column("VolumeAttributesClass", "string"),
        AGE,
        wide("VolumeMode", "string"),
    ],
    row: |object, now| {
        let volume = text(object, "spec.volumeName");
        let bound = !volume.is_empty();
        vec![
            name(object),
            phase(object),
            Cell::from(volume),
            Cell::from(if bound { text(object, "status.capacity.storage") } else { "" }),
            if bound { modes(object, "status.accessModes") } else { Cell::from("") },
            class(object),
            or_unset(at(object, "spec.volumeAttributesClassName")),
            age(object, now),
            or_unset(at(object, "spec.volumeMode")),
        ]
    },
};

/// `kubectl get storageclasses`.
pub(crate) static CLASS: Printer = Printer {
    columns: &[
        NAME,
        column("Provisioner", "string"),
        column("ReclaimPolicy", "string"),
        column("VolumeBindingMode", "string"),
        column("AllowVolumeExpansion", "string"),
        AGE,
    ],
    row: |object, now| {
        let annotations = at(object, "metadata.annotations");
        let default = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ]
        .iter()
        .any(|key| annotations.get(key).and_then(Value::as_str) == Some("true"));
        let shown = text(object, "metadata.name");
        vec![
            Cell::from(if default { format!("{shown} (default)") } else { shown.to_owned() }),
            Cell::from(text(object, "provisioner")),
            Cell::from(at(object, "reclaimPolicy").as_str().unwrap_or("Delete")),
            Cell::from(at(object, "volumeBindingMode").as_str().unwrap_or("Immediate")),
            Cell::from(flag(object, "allowVolumeExpansion")),
            age(object, now),
        ]
    },
};

/// `kubectl get volumeattributesclasses`.
pub(crate) static ATTRIBUTES_CLASS: Printer = Printer {
    columns: &[NAME, column("DriverName", "string"), AGE],
    row: |object, now| vec![name(object), Cell::from(text(object, "driverName")), age(object, now)],
};

/// `kubectl get volumeattachments`.
pub(crate) static ATTACHMENT: Printer = Printer {
    columns: &[
        NAME,
        column("Attacher", "string"),
        column("PV", "string"),
        column("Node", "string"),
        column("Attached", "boolean"),
        AGE,
    ],
    row: |object, now| {
        vec![
            name(object),
            Cell::from(text(object, "spec.attacher")),
            Cell::from(text(object, "spec.source.persistentVolumeName")),
            Cell::from(text(object, "spec.nodeName")),
            Cell::from(flag(object, "status.attached")),
            age(object, now),
        ]
    },
};

const fn flag_column(name: &'static str) -> Column {
    column(name, "boolean")
}

/// `kubectl get csidrivers`.
pub(crate) static DRIVER: Printer = Printer {
    columns: &[
        NAME,
        flag_column("AttachRequired"),
        flag_column("PodInfoOnMount"),
        flag_column("StorageCapacity"),
        column("TokenRequests", "string"),
        flag_column("RequiresRepublish"),
        column("Modes", "string"),
        AGE,
    ],
    row: |object, now| {
        let tokens: Vec<&str> =
            list(object, "spec.tokenRequests").iter().map(|t| text(t, "audience")).collect();
        let modes: Vec<&str> =
            list(object, "spec.volumeLifecycleModes").iter().filter_map(Value::as_str).collect();
        let or = |list: Vec<&str>, none: &str| {
            Cell::from(if list.is_empty() { none.to_owned() } else { list.join(",") })
        };
        vec![
            name(object),
            Cell::from(at(object, "spec.attachRequired").as_bool().unwrap_or(true)),
            Cell::from(flag(object, "spec.podInfoOnMount")),
            Cell::from(flag(object, "spec.storageCapacity")),
            or(tokens, UNSET),
            Cell::from(flag(object, "spec.requiresRepublish")),
            or(modes, "<none>"),
            age(object, now),
        ]
    },
};

/// `kubectl get csinodes`.
pub(crate) static NODE: Printer = Printer {
    columns: &[NAME, column("Drivers", "integer"), AGE],
    row: |object, now| vec![name(object), Cell::from(list(object, "spec.drivers").len()), age(object, now)],
};

/// `kubectl get csistoragecapacities`.
pub(crate) static CAPACITY: Printer = Printer {
    columns: &[NAME, column("StorageClassName", "string"), column("Capacity", "string")],
    row: |object, _| {
        let capacity = match at(object, "capacity") {
            Value::Null => UNSET,
            value => value.as_str().unwrap_or_default(),
        };
        vec![name(object), Cell::from(text(object, "storageClassName")), Cell::from(capacity)]
    },
};

/// `kubectl get resourceclaims`.
pub(crate) static RESOURCE_CLAIM: Printer = Printer {
    columns: &[NAME, column("State", "string"), AGE],
    row: |object, now| {
        let mut states = Vec::new();
        let deleted = !at(object, "metadata.deletionTimestamp").is_null();
        if deleted {
            states.push("deleted");
        }
        if at(object, "status.allocation").is_null() {
            if !deleted {
                states.push("pending");
            }
        } else {
            states.push("allocated");
            if !list(object, "status.reservedFor").is_empty() {
                states.push("reserved");
            }
        }
        vec![name(object), Cell::from(states.join(",")), age(object, now)]
    },
};

/// `kubectl get resourceslices`.
pub(crate) static RESOURCE_SLICE: Printer = Printer {
    columns: &[NAME, column("Node", "string"), column("Driver", "string"), column("Pool", "string"), AGE],
    row: |object, now| {
        let node = match text(object, "spec.nodeName") {
            "" if flag(object, "spec.allNodes") => "<all nodes>",
            "" => "<some nodes>",
            node => node,
        };
        vec![
            name(object),
            Cell::from(node),
            Cell::from(text(object, "spec.driver")),
            Cell::from(text(object, "spec.pool.name")),
            age(object, now),
        ]
    },
};
