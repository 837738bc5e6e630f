//! `resource.k8s.io`: dynamic resource allocation.

use k8s_openapi::api::resource::v1;

use super::{Builder, kind};

pub(super) fn kinds() -> Vec<Builder> {
    vec![
        kind::<v1::DeviceClass>().generation(),
        kind::<v1::ResourceClaim>().status(),
        kind::<v1::ResourceClaimTemplate>(),
        kind::<v1::ResourceSlice>().generation().field("spec.nodeName").field("spec.driver"),
    ]
}
