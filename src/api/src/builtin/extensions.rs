//! `apiextensions.k8s.io` and `apiregistration.k8s.io`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;

use super::{Builder, kind};

pub(super) fn kinds() -> Vec<Builder> {
    vec![
        kind::<apiextensions::CustomResourceDefinition>()
            .short(&["crd", "crds"])
            .category("api-extensions")
            .status()
            .generation()
            .conditional_update(),
        kind::<apiregistration::APIService>().category("api-extensions").status().conditional_update(),
    ]
}
