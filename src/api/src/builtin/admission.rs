//! `admissionregistration.k8s.io`.

use k8s_openapi::api::admissionregistration::v1;

use super::{Builder, kind};
use crate::typed::TypedKind;

pub(super) fn kinds() -> Vec<Builder> {
    vec![
        extension::<v1::MutatingAdmissionPolicy>(),
        extension::<v1::MutatingAdmissionPolicyBinding>(),
        extension::<v1::MutatingWebhookConfiguration>(),
        extension::<v1::ValidatingAdmissionPolicy>().status(),
        extension::<v1::ValidatingAdmissionPolicyBinding>(),
        extension::<v1::ValidatingWebhookConfiguration>(),
    ]
}

fn extension<T: TypedKind>() -> Builder {
    kind::<T>().category("api-extensions").generation().conditional_update()
}
