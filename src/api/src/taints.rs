//! Taints and tolerations (`core/v1`).

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Whether the toleration covers the taint. An empty effect stands for all effects, an empty key with the operator
/// `Exists` for all keys; `Lt` and `Gt` compare whole numbers (KEP-5471).
#[must_use]
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let effect = set(&toleration.effect).is_none_or(|effect| effect == taint.effect);
    let key = set(&toleration.key);
    let named = key.as_ref().is_none_or(|key| *key == taint.key);
    let wanted = toleration.value.as_deref().unwrap_or_default();
    let given = taint.value.as_deref().unwrap_or_default();
    let numbers = || Some((given.parse::<i64>().ok()?, wanted.parse::<i64>().ok()?));
    let value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        Some("Lt") => numbers().is_some_and(|(given, bound)| given < bound),
        Some("Gt") => numbers().is_some_and(|(given, bound)| given > bound),
        _ => key.is_some() && wanted == given,
    };
    effect && named && value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(key: &str, operator: &str, value: &str, effect: &str) -> Toleration {
        Toleration {
            key: Some(key.into()),
            operator: Some(operator.into()),
            value: Some(value.into()),
            effect: Some(effect.into()),
            toleration_seconds: None,
        }
    }

    #[test]
    fn key_value_and_effect_must_all_fit() {
        let taint =
            Taint { key: "k".into(), value: Some("5".into()), effect: "NoSchedule".into(), time_added: None };
        for (expected, toleration) in [
            (true, toleration("k", "Equal", "5", "NoSchedule")),
            (true, toleration("k", "", "5", "")),
            (true, toleration("", "Exists", "", "")),
            (true, toleration("k", "Gt", "4", "")),
            (false, toleration("k", "Lt", "4", "")),
            (false, toleration("k", "Equal", "6", "")),
            (false, toleration("k", "Exists", "", "NoExecute")),
            (false, toleration("", "Equal", "5", "")),
        ] {
            assert_eq!(tolerates(&toleration, &taint), expected, "{toleration:?}");
        }
    }
}
