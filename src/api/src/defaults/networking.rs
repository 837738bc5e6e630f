//! Network policies, ingress classes and endpoint slices.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{IngressClass, NetworkPolicy};

use super::{absent, each, is_empty};

/// A network policy.
pub(crate) fn network_policy(object: &mut NetworkPolicy) {
    let spec = object.spec.get_or_insert_default();
    absent(&mut spec.pod_selector, Default::default());
    for port in each(&mut spec.ingress)
        .flat_map(|rule| each(&mut rule.ports))
        .chain(each(&mut spec.egress).flat_map(|rule| each(&mut rule.ports)))
    {
        absent(&mut port.protocol, "TCP".to_owned());
    }
    if is_empty(spec.policy_types.as_ref(), Vec::is_empty) {
        let mut types = vec!["Ingress".to_owned()];
        if !is_empty(spec.egress.as_ref(), Vec::is_empty) {
            types.push("Egress".to_owned());
        }
        spec.policy_types = Some(types);
    }
}

/// An ingress class.
pub(crate) fn ingress_class(object: &mut IngressClass) {
    if let Some(parameters) = object.spec.as_mut().and_then(|spec| spec.parameters.as_mut()) {
        absent(&mut parameters.scope, "Cluster".to_owned());
    }
}

/// An endpoint slice.
pub(crate) fn endpoint_slice(object: &mut EndpointSlice) {
    for port in each(&mut object.ports) {
        absent(&mut port.name, String::new());
        absent(&mut port.protocol, "TCP".to_owned());
    }
}
