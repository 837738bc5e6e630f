//! Storage classes and drivers.

use k8s_openapi::api::storage::v1::{CSIDriver, StorageClass};

use super::{absent, is_empty};

/// A storage class.
pub(crate) fn storage_class(object: &mut StorageClass) {
    absent(&mut object.reclaim_policy, "Delete".to_owned());
    absent(&mut object.volume_binding_mode, "Immediate".to_owned());
}

/// A driver.
pub(crate) fn driver(object: &mut CSIDriver) {
    let spec = &mut object.spec;
    absent(&mut spec.attach_required, true);
    absent(&mut spec.pod_info_on_mount, false);
    absent(&mut spec.storage_capacity, false);
    absent(&mut spec.fs_group_policy, "ReadWriteOnceWithFSType".to_owned());
    absent(&mut spec.requires_republish, false);
    absent(&mut spec.se_linux_mount, false);
    if is_empty(spec.volume_lifecycle_modes.as_ref(), Vec::is_empty) {
        spec.volume_lifecycle_modes = Some(vec!["Persistent".to_owned()]);
    }
}
