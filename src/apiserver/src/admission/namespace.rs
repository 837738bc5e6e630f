//! NamespaceLifecycle: objects go only into namespaces that exist and stay.

use async_trait::async_trait;
use copepod_api::kind::Scope;
use copepod_api::scan;
use copepod_api::status::ApiError;
use copepod_api::strategy::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{StatusCause, StatusDetails};

use super::{Admission, Operation, Request};
use crate::storage;

/// Namespaces that may not be deleted.
const PERMANENT: &[&str] = &["default", "kube-system", "kube-public"];

pub(super) struct NamespaceLifecycle;

#[async_trait]
impl Admission for NamespaceLifecycle {
    fn handles(&self, request: &Request<'_>) -> bool {
        match request.operation {
            Operation::Create { .. } => request.kind.scope == Scope::Namespaced,
            Operation::Delete { .. } => request.is("", "Namespace"),
            _ => false,
        }
    }

    async fn mutate(&self, request: &Request<'_>, _: &mut dyn Object) -> Result<(), ApiError> {
        let namespace = request.namespace.unwrap_or_default();
        let state = request.state();
        let namespaces =
            state.registry.resource("", "v1", "namespaces").ok_or_else(ApiError::no_such_path)?;
        let record =
            storage::get(state.store.as_ref(), namespaces, &namespaces.key(None, namespace), namespace)
                .await?;
        if scan::get(&record.value, &["metadata", "deletionTimestamp"]).is_none() {
            return Ok(());
        }
        let mut error = request.forbidden(&format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        ));
        error.0.details.get_or_insert_with(StatusDetails::default).causes = Some(vec![StatusCause {
            reason: Some("NamespaceTerminating".to_owned()),
            message: Some(format!("namespace {namespace} is being terminated")),
            field: Some("metadata.namespace".to_owned()),
        }]);
        Err(error)
    }

    async fn validate(
        &self,
        request: &Request<'_>,
        _: Option<&dyn Object>,
        _: Option<&dyn Object>,
    ) -> Result<(), ApiError> {
        if matches!(request.operation, Operation::Delete { .. }) && PERMANENT.contains(&request.name) {
            return Err(request.forbidden("this namespace may not be deleted"));
        }
        Ok(())
    }
}
