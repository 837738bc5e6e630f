//! `storage.k8s.io`.

use k8s_openapi::api::storage::v1;

use super::{Builder, kind};

pub(super) fn kinds() -> Vec<Builder> {
    vec![
        kind::<v1::CSIDriver>().conditional_update(),
        kind::<v1::CSINode>().conditional_update(),
        kind::<v1::CSIStorageCapacity>().conditional_update(),
        kind::<v1::StorageClass>().short(&["sc"]),
        kind::<v1::VolumeAttachment>().status().conditional_update(),
        kind::<v1::VolumeAttributesClass>().short(&["vac"]),
    ]
}
