//! What pods ask for and nodes have, as plain numbers.
//!
//! The effective request of a pod follows the API's definition (`core/v1` PodSpec.containers, .initContainers and
//! .overhead; KEP-753 for sidecars): containers and sidecars run together, an ordinary init container runs beside the
//! sidecars started before it, and the pod needs the largest of these sums.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::quantity::Quantity;

/// Amounts by resource name: `cpu` in thousandths of a core, everything else in its own unit, rounded up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Amounts(pub BTreeMap<String, i64>);

impl Amounts {
    /// Reads a resource list of the API. Quantities that cannot be read, which validation refuses, count as zero.
    #[must_use]
    pub fn parse(list: Option<&BTreeMap<String, Text>>) -> Self {
        Self(list.into_iter().flatten().map(|(name, text)| (name.clone(), amount(name, text))).collect())
    }

    /// The amount of one resource, zero when it is not named.
    #[must_use]
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Adds every amount of `other`.
    pub fn add(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            let sum = self.get(name).saturating_add(*amount);
            self.0.insert(name.clone(), sum);
        }
    }

    /// Takes every amount of `other` away.
    pub fn subtract(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            let rest = self.get(name).saturating_sub(*amount);
            self.0.insert(name.clone(), rest);
        }
    }

    /// Raises every amount to at least that of `other`.
    pub fn raise(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            let most = self.get(name).max(*amount);
            self.0.insert(name.clone(), most);
        }
    }
}

fn amount(name: &str, text: &Text) -> i64 {
    let Ok(quantity) = Quantity::parse(&text.0) else { return 0 };
    if name == "cpu" { quantity.milli_value() } else { quantity.value() }
}

/// Whether an init container is a sidecar: it keeps running beside the containers (KEP-753).
#[must_use]
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// What the pod needs of a node, as the scheduler and the node's admission count it.
#[must_use]
pub fn pod_requests(spec: &PodSpec) -> Amounts {
    effective(spec, |resources| resources.requests.as_ref(), |resources| resources.requests.as_ref())
}

/// The most that the pod may use; a resource without a limit in any container is missing.
#[must_use]
pub fn pod_limits(spec: &PodSpec) -> Amounts {
    effective(spec, |resources| resources.limits.as_ref(), |resources| resources.limits.as_ref())
}

type Pick = fn(&ResourceRequirements) -> Option<&BTreeMap<String, Text>>;

fn effective(spec: &PodSpec, of_container: Pick, of_pod: Pick) -> Amounts {
    let amounts = |container: &Container| Amounts::parse(container.resources.as_ref().and_then(of_container));
    let mut total = Amounts::default();
    for container in &spec.containers {
        total.add(&amounts(container));
    }
    let mut sidecars = Amounts::default();
    let mut most_of_init = Amounts::default();
    for container in spec.init_containers.iter().flatten() {
        let own = amounts(container);
        if is_sidecar(container) {
            total.add(&own);
            sidecars.add(&own);
            most_of_init.raise(&sidecars);
        } else {
            let mut beside = sidecars.clone();
            beside.add(&own);
            most_of_init.raise(&beside);
        }
    }
    total.raise(&most_of_init);
    // Resources of the whole pod replace what its containers add up to (KEP-2837).
    let whole = Amounts::parse(spec.resources.as_ref().and_then(of_pod));
    total.0.extend(whole.0);
    total.add(&Amounts::parse(spec.overhead.as_ref()));
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> PodSpec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn containers_add_up_and_an_init_container_counts_only_when_it_needs_more() {
        let spec = spec(serde_json::json!({
            "containers": [
                {"name": "a", "resources": {"requests": {"cpu": "100m", "memory": "1Mi"}}},
                {"name": "b", "resources": {"requests": {"cpu": "200m"}}}],
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "250m", "memory": "2Mi"}}}]}));
        let requests = pod_requests(&spec);
        assert_eq!(requests.get("cpu"), 300);
        assert_eq!(requests.get("memory"), 2 << 20);
    }

    #[test]
    fn a_sidecar_counts_with_the_containers_and_with_later_init_containers() {
        let spec = spec(serde_json::json!({
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "100m"}}}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
                {"name": "i", "resources": {"requests": {"cpu": "400m"}}}],
            "overhead": {"cpu": "10m"}}));
        assert_eq!(pod_requests(&spec).get("cpu"), 460);
    }
}
