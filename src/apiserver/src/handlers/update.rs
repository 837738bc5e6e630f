//! `update`, and the one way in which stored objects change.

use std::sync::Arc;

use bytes::Bytes;
use copepod_api::field::{self, Errors, Path};
use copepod_api::kind::Kind;
use copepod_api::status::ApiError;
use copepod_api::strategy::{Object, Part};
use copepod_api::typed::Typed;
use copepod_api::{encode, metadata};
use copepod_store::{Attempt, Decision, Outcome, Preconditions, Revision};
use http::{Response, StatusCode};
use k8s_openapi::api::core::v1::Namespace;

use super::{Written, create, decode};
use crate::admission::{Operation, Request};
use crate::body::Body;
use crate::object_meta::{self, held};
use crate::request::Context;
use crate::request::content::{self, Incoming};
use crate::request::options::WriteOptions;
use crate::storage::{self, MODIFIED};

/// The stored object that a change starts from.
pub(crate) struct Current<'a> {
    pub(crate) object: &'a dyn Object,
    /// Canonical JSON as the kind serves it, without resource version.
    pub(crate) served: &'a Bytes,
    pub(crate) revision: Revision,
}

impl Current<'_> {
    /// The object as a client sees it, as a tree.
    ///
    /// # Errors
    /// 500 when the stored bytes are no JSON.
    pub(crate) fn to_value(&self) -> Result<serde_json::Value, ApiError> {
        Self::whole(self.served, self.revision)
    }

    /// As [`to_value`](Self::to_value), of any object.
    ///
    /// # Errors
    /// 500 when the bytes are no JSON.
    pub(crate) fn whole(served: &Bytes, revision: Revision) -> Result<serde_json::Value, ApiError> {
        serde_json::from_slice(&encode::object(served, revision)).map_err(ApiError::internal)
    }
}

/// What a write of an existing object is about.
#[derive(Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) kind: &'a Arc<Kind>,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) part: Part<'a>,
    pub(crate) dry_run: bool,
}

/// Makes the wanted object from the current one; called again when somebody else wrote in between.
pub(crate) type Propose<'a> = dyn FnMut(&Current<'_>) -> Result<Box<dyn Object>, ApiError> + Send + 'a;

/// Answers a PUT.
pub(crate) async fn serve(
    cx: &Context,
    kind: &Arc<Kind>,
    part: Part<'_>,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    cx.output()?;
    let options = WriteOptions::parse(&cx.query, "UpdateOptions")?;
    let body = content::read(&cx.headers, body).await?;
    let mut wanted = decode::object(cx, kind, &body, options.validation)?;
    create::fit_to_path(cx, kind, wanted.as_mut())?;
    let namespace = crate::request::object_namespace(kind, cx.namespace());
    let change = Change { kind, namespace, name: cx.name(), part, dry_run: options.dry_run };
    let unconditional = wanted.metadata().resource_version.as_deref().unwrap_or_default().is_empty();
    let result = change_object(cx, change, &mut |_| {
        if unconditional && !kind.unconditional_update && part == Part::Main {
            let mut errors = Errors::new();
            errors.0.push(field::Error {
                reason: field::Reason::Invalid,
                path: Path::new("metadata.resourceVersion"),
                // As Go prints an unsigned zero.
                message: "Invalid value: 0x0: must be specified for an update".to_owned(),
            });
            return Err(ApiError::invalid(kind, cx.name(), &errors));
        }
        Ok(wanted.boxed_clone())
    })
    .await;
    match result {
        Err(error) if error.code() == 404 && kind.create_on_update && part == Part::Main && unconditional => {
            let written = create::create(cx, kind, wanted, options.dry_run).await?;
            cx.object(StatusCode::CREATED, kind, written.served, written.revision)
        }
        Err(error) => Err(error),
        Ok(written) => cx.object(StatusCode::OK, kind, written.served, written.revision),
    }
}

/// Changes a stored object: proposes, admits, defaults, validates and writes, again until nobody wrote in between.
///
/// # Errors
/// 404, 409, 422 and what admission refuses.
pub(crate) async fn change_object(
    cx: &Context,
    change: Change<'_>,
    propose: &mut Propose<'_>,
) -> Result<Written, ApiError> {
    let Change { kind, namespace, name, .. } = change;
    let failed = |e| storage::error(kind, name, e);
    let key = kind.key(namespace, name);
    let mut attempt =
        Attempt::begin(cx.state.store.as_ref(), &key, Preconditions::default()).await.map_err(failed)?;
    loop {
        let stored = attempt.current().clone();
        let served = kind.from_storage(stored.value.clone())?;
        let old = kind.strategy.decode(&served)?.object;
        let current = Current { object: old.as_ref(), served: &served, revision: stored.mod_revision };
        let mut new = propose(&current)?;
        let request = Request::new(cx, kind, Operation::Update { dry_run: change.dry_run }, name)
            .old(old.as_ref())
            .part(change.part);
        prepare(cx, &change, &request, new.as_mut(), &current).await?;
        let bytes = new.encode();
        let decision = if is_finished(new.as_ref()) {
            Decision::Delete(storage::write_options(kind))
        } else {
            let value = kind.to_storage(bytes.clone())?;
            if value == stored.value {
                Decision::Keep
            } else {
                Decision::Write(value, storage::write_options(kind))
            }
        };
        if change.dry_run {
            return Ok(Written { served: bytes, revision: stored.mod_revision });
        }
        match attempt.apply(decision).await.map_err(failed)? {
            Some(Outcome::Written(record) | Outcome::Kept(record)) => {
                return Ok(Written { served: bytes, revision: record.mod_revision });
            }
            Some(Outcome::Deleted(_, revision)) => return Ok(Written { served: bytes, revision }),
            None => {}
        }
    }
}

async fn prepare(
    cx: &Context,
    change: &Change<'_>,
    request: &Request<'_>,
    new: &mut dyn Object,
    current: &Current<'_>,
) -> Result<(), ApiError> {
    let Change { kind, name, part, .. } = *change;
    let strategy = &kind.strategy;
    let old = current.object;
    preconditions(kind, name, new, current)?;
    let before = old.metadata();
    object_meta::keep(new.metadata_mut(), before);
    strategy.default(new);
    cx.state.admission.mutate(request, new).await?;
    strategy.default(new);
    strategy.prepare_update(new, old, part);
    cx.state.admission.complete(request, new).await?;
    object_meta::keep(new.metadata_mut(), before);
    if kind.generation && part != Part::Status && strategy.spec_differs(new, old) {
        let meta = new.metadata_mut();
        meta.generation = Some(meta.generation.unwrap_or(0) + 1);
    }
    let mut errors = metadata::validate_update(new.metadata(), before, kind);
    errors.extend(strategy.validate_update(new, old, part));
    if !errors.is_empty() {
        return Err(ApiError::invalid(kind, name, &errors));
    }
    cx.state.admission.validate(request, Some(new), Some(old)).await
}

/// The resource version and uid in a body are conditions.
fn preconditions(kind: &Kind, name: &str, new: &dyn Object, current: &Current<'_>) -> Result<(), ApiError> {
    let meta = new.metadata();
    if let Some(version) = meta.resource_version.as_deref().filter(|version| !version.is_empty()) {
        let wanted: Revision = version.parse().map_err(|_| {
            let mut errors = Errors::new();
            let why = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
            errors.invalid(&Path::new("metadata.resourceVersion"), version, &why);
            ApiError::invalid(kind, name, &errors)
        })?;
        if wanted != current.revision {
            return Err(ApiError::conflict(kind, name, MODIFIED));
        }
    }
    let uid = current.object.metadata().uid.as_deref().unwrap_or_default();
    match meta.uid.as_deref() {
        Some(wanted) if !wanted.is_empty() && wanted != uid => Err(ApiError::conflict(
            kind,
            name,
            &format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"),
        )),
        _ => Ok(()),
    }
}

/// Whether nothing holds a deleted object any more: no finalizer and no time for its containers to end.
pub(crate) fn is_finished(object: &dyn Object) -> bool {
    let meta = object.metadata();
    meta.deletion_timestamp.is_some()
        && !held(meta)
        && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
        && !namespace_held(object)
}

/// A namespace also has finalizers in its spec.
pub(crate) fn namespace_held(object: &dyn Object) -> bool {
    object
        .as_any()
        .downcast_ref::<Typed<Namespace>>()
        .and_then(|namespace| namespace.0.spec.as_ref()?.finalizers.as_ref())
        .is_some_and(|finalizers| !finalizers.is_empty())
}
