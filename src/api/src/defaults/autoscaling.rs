//! Horizontal pod autoscalers.

use k8s_openapi::api::autoscaling::{v1, v2};

use super::{absent, is_empty};

/// The first version has no metrics but the processor's.
pub(crate) fn old(object: &mut v1::HorizontalPodAutoscaler) {
    absent(&mut object.spec.min_replicas, 1);
}

/// An autoscaler.
pub(crate) fn autoscaler(object: &mut v2::HorizontalPodAutoscaler) {
    let spec = &mut object.spec;
    absent(&mut spec.min_replicas, 1);
    if is_empty(spec.metrics.as_ref(), Vec::is_empty) {
        spec.metrics = Some(vec![v2::MetricSpec {
            type_: "Resource".to_owned(),
            resource: Some(v2::ResourceMetricSource {
                name: "cpu".to_owned(),
                target: v2::MetricTarget {
                    type_: "Utilization".to_owned(),
                    average_utilization: Some(80),
                    ..Default::default()
                },
            }),
            ..Default::default()
        }]);
    }
    if let Some(behavior) = &mut spec.behavior {
        let up = behavior.scale_up.get_or_insert_default();
        absent(&mut up.stabilization_window_seconds, 0);
        rules(up, &[("Pods", 4), ("Percent", 100)]);
        rules(behavior.scale_down.get_or_insert_default(), &[("Percent", 100)]);
    }
}

fn rules(rules: &mut v2::HPAScalingRules, policies: &[(&str, i32)]) {
    absent(&mut rules.select_policy, "Max".to_owned());
    if rules.policies.is_none() {
        rules.policies = Some(
            policies
                .iter()
                .map(|(kind, value)| v2::HPAScalingPolicy {
                    type_: (*kind).to_owned(),
                    value: *value,
                    period_seconds: 15,
                })
                .collect(),
        );
    }
}
