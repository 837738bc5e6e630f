//! Certificate requests carry who sent them, whatever they say themselves: approvers rely on it.

use async_trait::async_trait;
use copepod_api::status::ApiError;
use copepod_api::strategy::Object;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::{Admission, Operation, Request, typed, typed_mut};

pub(super) struct Requester;

#[async_trait]
impl Admission for Requester {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.is("certificates.k8s.io", "CertificateSigningRequest")
            && matches!(request.operation, Operation::Create { .. } | Operation::Update { .. })
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut dyn Object) -> Result<(), ApiError> {
        let old = request.old.and_then(typed::<CertificateSigningRequest>);
        let Some(csr) = typed_mut::<CertificateSigningRequest>(object) else { return Ok(()) };
        let spec = &mut csr.spec;
        if let Some(old) = old {
            spec.username.clone_from(&old.spec.username);
            spec.uid.clone_from(&old.spec.uid);
            spec.groups.clone_from(&old.spec.groups);
            spec.extra.clone_from(&old.spec.extra);
        } else {
            let identity = request.identity();
            spec.username = Some(identity.user.clone());
            spec.uid = Some(identity.uid.clone()).filter(|uid| !uid.is_empty());
            spec.groups = Some(identity.groups.clone());
            spec.extra = Some(identity.extra.clone()).filter(|extra| !extra.is_empty());
        }
        Ok(())
    }
}
