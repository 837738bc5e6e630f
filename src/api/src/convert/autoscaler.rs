//! `autoscaling/v1` over stored `autoscaling/v2` HorizontalPodAutoscalers.
//!
//! Version 1 knows only a CPU target; everything else travels in annotations, as in Kubernetes.

use serde_json::{Map, Value, json};

use super::{get, set};
use crate::kind::Conversion;

/// Translates `autoscaling/v1` autoscalers.
pub struct AutoscalerV1;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// A field in the annotation's form of a metric and its path in version 2.
type Field = (&'static str, &'static [&'static str]);

/// Metric sources by name, and their fields in `spec.metrics`.
const SPEC: &[(&str, &[Field])] = &[
    (
        "resource",
        &[
            ("name", &["name"]),
            ("targetAverageUtilization", &["target", "averageUtilization"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
    ),
    (
        "containerResource",
        &[
            ("name", &["name"]),
            ("container", &["container"]),
            ("targetAverageUtilization", &["target", "averageUtilization"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
    ),
    (
        "object",
        &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("targetValue", &["target", "value"]),
            ("averageValue", &["target", "averageValue"]),
        ],
    ),
    (
        "external",
        &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("targetValue", &["target", "value"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
    ),
];

/// Metric sources by name, and their fields in `status.currentMetrics`.
const STATUS: &[(&str, &[Field])] = &[
    (
        "resource",
        &[
            ("name", &["name"]),
            ("currentAverageUtilization", &["current", "averageUtilization"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    ),
    (
        "containerResource",
        &[
            ("name", &["name"]),
            ("container", &["container"]),
            ("currentAverageUtilization", &["current", "averageUtilization"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    ),
    (
        "object",
        &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("currentValue", &["current", "value"]),
            ("averageValue", &["current", "averageValue"]),
        ],
    ),
    (
        "external",
        &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("currentValue", &["current", "value"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    ),
];

fn metric_to_v1(metric: &Value, table: &[(&str, &[Field])]) -> Value {
    let mut out = Map::new();
    if let Some(kind) = metric.get("type") {
        out.insert("type".to_owned(), kind.clone());
    }
    for (source, fields) in table {
        let Some(from) = get(metric, &[source]) else { continue };
        let mut to = Map::new();
        for (name, path) in *fields {
            if let Some(value) = get(from, path) {
                to.insert((*name).to_owned(), value.clone());
            }
        }
        out.insert((*source).to_owned(), Value::Object(to));
    }
    Value::Object(out)
}

fn metric_to_v2(metric: &Value, table: &[(&str, &[Field])]) -> Value {
    let mut out = Map::new();
    if let Some(kind) = metric.get("type") {
        out.insert("type".to_owned(), kind.clone());
    }
    for (source, fields) in table {
        let Some(from) = get(metric, &[source]) else { continue };
        let mut to = Map::new();
        for (name, path) in *fields {
            if let Some(value) = get(from, &[name]) {
                set(&mut to, path, value.clone());
            }
        }
        if let Some(Value::Object(target)) = to.get_mut("target") {
            let kinds =
                [("averageUtilization", "Utilization"), ("averageValue", "AverageValue"), ("value", "Value")];
            if let Some((_, kind)) = kinds.iter().find(|(field, _)| target.contains_key(*field)) {
                target.insert("type".to_owned(), (*kind).into());
            }
        }
        out.insert((*source).to_owned(), Value::Object(to));
    }
    Value::Object(out)
}

/// Takes the CPU utilization out of a list of metrics, as version 1 has it in a field.
fn split_cpu(metrics: &Value, value: &[&str]) -> (Option<Value>, Vec<Value>) {
    let mut cpu = None;
    let mut rest = Vec::new();
    for metric in metrics.as_array().into_iter().flatten() {
        let is_cpu = get(metric, &["resource", "name"]).is_some_and(|n| n == "cpu");
        let path: Vec<&str> = [&["resource"], value].concat();
        match get(metric, &path) {
            Some(found) if is_cpu && cpu.is_none() => cpu = Some(found.clone()),
            _ => rest.push(metric.clone()),
        }
    }
    (cpu, rest)
}

fn fields(object: &mut Value, name: &str) -> Map<String, Value> {
    match object.get_mut(name).map(Value::take) {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

impl Conversion for AutoscalerV1 {
    fn to_served(&self, mut object: Value) -> Value {
        let mut annotations = Vec::new();
        let mut spec = fields(&mut object, "spec");
        let (cpu, rest) =
            split_cpu(&spec.remove("metrics").unwrap_or_default(), &["target", "averageUtilization"]);
        if let Some(cpu) = cpu {
            spec.insert("targetCPUUtilizationPercentage".to_owned(), cpu);
        }
        if !rest.is_empty() {
            let rest: Value = rest.iter().map(|m| metric_to_v1(m, SPEC)).collect();
            annotations.push((METRICS, rest.to_string()));
        }
        if let Some(behavior) = spec.remove("behavior").filter(|b| !b.is_null()) {
            annotations.push((BEHAVIOR, behavior.to_string()));
        }
        let mut status = fields(&mut object, "status");
        let (cpu, rest) = split_cpu(
            &status.remove("currentMetrics").unwrap_or_default(),
            &["current", "averageUtilization"],
        );
        if let Some(cpu) = cpu {
            status.insert("currentCPUUtilizationPercentage".to_owned(), cpu);
        }
        if !rest.is_empty() {
            let rest: Value = rest.iter().map(|m| metric_to_v1(m, STATUS)).collect();
            annotations.push((CURRENT, rest.to_string()));
        }
        let conditions = status.remove("conditions").unwrap_or_default();
        if conditions.as_array().is_some_and(|c| !c.is_empty()) {
            annotations.push((CONDITIONS, conditions.to_string()));
        }
        if let Value::Object(object) = &mut object {
            object.insert("apiVersion".to_owned(), "autoscaling/v1".into());
            object.insert("spec".to_owned(), Value::Object(spec));
            object.insert("status".to_owned(), Value::Object(status));
            for (key, value) in annotations {
                set(object, &["metadata", "annotations", key], value.into());
            }
        }
        object
    }

    fn to_storage(&self, mut object: Value) -> Value {
        let mut carried = |key: &str| -> Option<Value> {
            let annotations = object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
            let text = annotations.remove(key)?;
            serde_json::from_str(text.as_str()?).ok()
        };
        let (metrics, current) = (carried(METRICS), carried(CURRENT));
        let (conditions, behavior) = (carried(CONDITIONS), carried(BEHAVIOR));
        let to_v2 = |list: Option<Value>, table| -> Vec<Value> {
            let list = list.and_then(|l| l.as_array().cloned()).unwrap_or_default();
            list.iter().map(|m| metric_to_v2(m, table)).collect()
        };

        let mut spec = fields(&mut object, "spec");
        let mut metrics = to_v2(metrics, SPEC);
        if let Some(cpu) = spec.remove("targetCPUUtilizationPercentage").filter(|v| !v.is_null()) {
            let target = json!({"type": "Utilization", "averageUtilization": cpu});
            metrics.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
        }
        if !metrics.is_empty() {
            spec.insert("metrics".to_owned(), metrics.into());
        }
        if let Some(behavior) = behavior {
            spec.insert("behavior".to_owned(), behavior);
        }
        let mut status = fields(&mut object, "status");
        let mut current = to_v2(current, STATUS);
        if let Some(cpu) = status.remove("currentCPUUtilizationPercentage").filter(|v| !v.is_null()) {
            let value = json!({"averageUtilization": cpu});
            current.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "current": value}}));
        }
        if !current.is_empty() {
            status.insert("currentMetrics".to_owned(), current.into());
        }
        if let Some(conditions) = conditions {
            status.insert("conditions".to_owned(), conditions);
        }
        if let Value::Object(object) = &mut object {
            if let Some(Value::Object(metadata)) = object.get_mut("metadata")
                && metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty)
            {
                metadata.remove("annotations");
            }
            object.insert("apiVersion".to_owned(), "autoscaling/v2".into());
            object.insert("spec".to_owned(), Value::Object(spec));
            object.insert("status".to_owned(), Value::Object(status));
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_version_1_has_no_field_for_survives_in_annotations() {
        let stored = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {
                "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "d"},
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}},
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 70}}},
                    {"type": "Pods", "pods": {"metric": {"name": "qps"},
                        "target": {"type": "AverageValue", "averageValue": "10"}}},
                    {"type": "Object", "object": {"metric": {"name": "x"}, "describedObject": {"name": "o"},
                        "target": {"type": "Value", "value": "1k"}}}]},
            "status": {"desiredReplicas": 2, "conditions": [{"type": "AbleToScale"}],
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "current": {"averageUtilization": 3}}}]}});
        let served = AutoscalerV1.to_served(stored.clone());
        assert_eq!(served["spec"]["targetCPUUtilizationPercentage"], 70);
        assert_eq!(served["status"]["currentCPUUtilizationPercentage"], 3);
        assert_eq!(
            served["metadata"]["annotations"][METRICS],
            r#"[{"type":"Pods","pods":{"metricName":"qps","targetAverageValue":"10"}},{"type":"Object","object":{"target":{"name":"o"},"metricName":"x","targetValue":"1k"}}]"#
                .parse::<Value>()
                .unwrap()
                .to_string()
        );
        assert_eq!(AutoscalerV1.to_storage(served), stored);
    }
}
