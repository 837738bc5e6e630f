//! `networking.k8s.io` and `discovery.k8s.io`.

use k8s_openapi::api::{discovery::v1 as discovery, networking::v1 as networking};

use super::{Builder, kind};

pub(super) fn kinds() -> Vec<Builder> {
    vec![
        kind::<networking::Ingress>().short(&["ing"]).status().generation(),
        kind::<networking::IngressClass>().generation(),
        kind::<networking::IPAddress>().short(&["ip"]),
        kind::<networking::NetworkPolicy>().short(&["netpol"]).generation(),
        kind::<networking::ServiceCIDR>().status(),
        kind::<discovery::EndpointSlice>().generation(),
    ]
}
