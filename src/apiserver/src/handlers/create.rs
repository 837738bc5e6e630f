//! `create`: POST, and PUT of a missing object where the kind allows it.

use std::sync::Arc;

use copepod_api::codec::{check_name, check_namespace};
use copepod_api::kind::{Kind, Scope};
use copepod_api::status::ApiError;
use copepod_api::strategy::Object;
use copepod_api::{metadata, names};
use copepod_store::Error;
use http::{Response, StatusCode};

use super::{Written, decode};
use crate::admission::{Operation, Request};
use crate::body::Body;
use crate::request::content::{self, Incoming};
use crate::request::options::WriteOptions;
use crate::request::{Context, object_namespace};
use crate::{object_meta, storage};

/// How often another name is tried when a generated one is taken.
const NAME_TRIES: usize = 8;

/// Answers a POST to a collection.
pub(crate) async fn serve(
    cx: &Context,
    kind: &Arc<Kind>,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    cx.output()?;
    let options = WriteOptions::parse(&cx.query, "CreateOptions")?;
    let body = content::read(&cx.headers, body).await?;
    let object = decode::object(cx, kind, &body, options.validation)?;
    let written = create(cx, kind, object, options.dry_run).await?;
    cx.object(StatusCode::CREATED, kind, written.served, written.revision)
}

/// Checks the namespace and name of a body against the path.
///
/// # Errors
/// 400 when they differ or the path lacks what the kind needs.
pub(crate) fn fit_to_path(cx: &Context, kind: &Kind, object: &mut dyn Object) -> Result<(), ApiError> {
    let meta = object.metadata_mut();
    let mut given = meta.namespace.take().unwrap_or_default();
    match kind.scope {
        Scope::Namespaced => {
            let Some(namespace) = cx.namespace() else { return Err(ApiError::no_such_path()) };
            check_namespace(&mut given, namespace)?;
            meta.namespace = Some(given);
        }
        Scope::Cluster => check_namespace(&mut given, "")?,
    }
    if !cx.name().is_empty() {
        if meta.name.as_deref().unwrap_or_default().is_empty() {
            return Err(ApiError::bad_request("name must be provided"));
        }
        check_name(meta.name.as_deref().unwrap_or_default(), cx.name())?;
    }
    Ok(())
}

/// Takes a decoded object through the rest of the pipeline.
pub(crate) async fn create(
    cx: &Context,
    kind: &Arc<Kind>,
    mut object: Box<dyn Object>,
    dry_run: bool,
) -> Result<Written, ApiError> {
    fit_to_path(cx, kind, object.as_mut())?;
    let meta = object.metadata_mut();
    if meta.resource_version.as_deref().is_some_and(|version| !version.is_empty()) {
        return Err(ApiError::internal("resourceVersion should not be set on objects to be created"));
    }
    let base = meta.generate_name.clone().filter(|base| !base.is_empty());
    let generates = base.filter(|_| meta.name.as_deref().unwrap_or_default().is_empty());
    let mut tries = 0;
    loop {
        tries += 1;
        // Every generated name is a new object, also for admission.
        let mut fresh = generates.as_ref().map(|base| {
            let mut fresh = object.boxed_clone();
            fresh.metadata_mut().name = Some(names::generate(base, random()));
            fresh
        });
        let attempt = fresh.as_deref_mut().unwrap_or(object.as_mut());
        match attempt_create(cx, kind, attempt, dry_run).await {
            Err(Failure::Exists) if generates.is_some() && tries < NAME_TRIES => {}
            Err(Failure::Exists) => {
                let name = attempt.metadata().name.clone().unwrap_or_default();
                return Err(ApiError::already_exists(kind, &name));
            }
            Err(Failure::Refused(error)) => return Err(error),
            Ok(written) => return Ok(written),
        }
    }
}

fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

enum Failure {
    Exists,
    Refused(ApiError),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Failure::Refused(error)
    }
}

async fn attempt_create(
    cx: &Context,
    kind: &Arc<Kind>,
    object: &mut dyn Object,
    dry_run: bool,
) -> Result<Written, Failure> {
    let strategy = &kind.strategy;
    let namespace = object_namespace(kind, cx.namespace());
    let name = object.metadata().name.clone().unwrap_or_default();
    let request = Request::new(cx, kind, Operation::Create { dry_run }, &name);
    strategy.default(object);
    cx.state.admission.mutate(&request, object).await?;
    strategy.default(object);
    object_meta::fill(object.metadata_mut(), kind.generation);
    strategy.prepare_create(object);
    cx.state.admission.complete(&request, object).await?;
    let mut errors = metadata::validate_create(object.metadata(), kind);
    errors.extend(strategy.validate_create(object));
    if !errors.is_empty() {
        return Err(ApiError::invalid(kind, &name, &errors).into());
    }
    cx.state.admission.validate(&request, Some(object), None).await?;
    let served = object.encode();
    let key = kind.key(namespace, &name);
    let store = &cx.state.store;
    if dry_run {
        let (existing, _) = store.get(&key).await.map_err(|e| storage::error(kind, &name, e))?;
        return if existing.is_some() { Err(Failure::Exists) } else { Ok(Written { served, revision: 0 }) };
    }
    let stored = kind.to_storage(served.clone())?;
    match store.create(&key, stored, storage::write_options(kind)).await {
        Ok(revision) => Ok(Written { served, revision }),
        Err(Error::Exists(_)) => Err(Failure::Exists),
        Err(error) => Err(storage::error(kind, &name, error).into()),
    }
}
