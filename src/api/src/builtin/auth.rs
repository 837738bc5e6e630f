//! Who may do what: `authentication.k8s.io`, `authorization.k8s.io`, `certificates.k8s.io`,
//! `rbac.authorization.k8s.io`.

use k8s_openapi::api::{
    authentication::v1 as authentication, authorization::v1 as authorization,
    certificates::v1 as certificates, rbac::v1 as rbac,
};

use super::{Builder, PART, kind, review};

pub(super) fn kinds() -> Vec<Builder> {
    vec![
        review::<authentication::SelfSubjectReview>(),
        review::<authentication::TokenReview>(),
        review::<authorization::LocalSubjectAccessReview>(),
        review::<authorization::SelfSubjectAccessReview>(),
        review::<authorization::SelfSubjectRulesReview>(),
        review::<authorization::SubjectAccessReview>(),
        kind::<certificates::CertificateSigningRequest>()
            .short(&["csr"])
            .part("approval", PART)
            .status()
            .field("spec.signerName"),
        kind::<rbac::ClusterRole>().create_on_update(),
        kind::<rbac::ClusterRoleBinding>().create_on_update(),
        kind::<rbac::Role>().create_on_update(),
        kind::<rbac::RoleBinding>().create_on_update(),
    ]
}
