//! `delete`: at once, gracefully, or when the finalizers are done.

use std::sync::Arc;

use bytes::Bytes;
use copepod_api::kind::Kind;
use copepod_api::metadata::{FOREGROUND, ORPHAN};
use copepod_api::status::ApiError;
use copepod_api::strategy::Object;
use copepod_api::typed::Typed;
use copepod_store::{Attempt, Decision, Outcome, Preconditions, Revision};
use http::{Response, StatusCode};
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Time};
use k8s_openapi::jiff::SignedDuration;

use super::read::success;
use super::update::namespace_held;
use crate::admission::{Operation, Request};
use crate::body::Body;
use crate::object_meta::{held, now};
use crate::request::content::{self, Incoming};
use crate::request::options::delete_options;
use crate::request::{Context, object_namespace};
use crate::{respond, storage};

/// Grace of a pod that names none, in seconds.
const POD_GRACE: i64 = 30;

/// Kinds whose deletion is answered with the object instead of a Status.
const RETURNED: &[&str] = &[
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodTemplate",
    "ResourceQuota",
    "Service",
    "ServiceAccount",
];
/// Kinds whose dependents are left alone by a deletion that does not say otherwise, for old clients' sake.
const ORPHANING: &[(&str, &str)] = &[("", "ReplicationController"), ("batch", "Job")];

fn returns_object(kind: &Kind) -> bool {
    kind.gvk.group.is_empty() && RETURNED.contains(&kind.gvk.kind.as_ref())
}

fn orphans_by_default(kind: &Kind) -> bool {
    ORPHANING.iter().any(|(group, name)| kind.gvk.group == *group && kind.gvk.kind == *name)
}

/// What became of a deletion.
pub(crate) enum Deleted {
    /// The object is gone; this was its last state.
    Gone { served: Bytes, uid: Option<String>, revision: Revision },
    /// The object is marked and will go later.
    Pending { served: Bytes, revision: Revision },
}

/// Answers a DELETE of one object.
pub(crate) async fn serve(
    cx: &Context,
    kind: &Arc<Kind>,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    let output = cx.output()?;
    let body = content::read(&cx.headers, body).await?;
    let options = delete_options(&cx.headers, &cx.query, &body)?;
    let namespace = object_namespace(kind, cx.namespace());
    match delete(cx, kind, namespace, cx.name(), &options).await? {
        Deleted::Gone { served, revision, .. } if returns_object(kind) => {
            cx.object(StatusCode::OK, kind, served, revision)
        }
        Deleted::Gone { uid, .. } => {
            let status = success(kind, cx.name(), uid.as_deref());
            Ok(respond::json(StatusCode::OK, status, output.format))
        }
        Deleted::Pending { served, revision } => {
            let code =
                if options.orphan_dependents == Some(false) { StatusCode::ACCEPTED } else { StatusCode::OK };
            cx.object(code, kind, served, revision)
        }
    }
}

/// What a deletion does to the stored object.
enum Plan {
    /// It is deleted already and the options change nothing.
    Nothing,
    /// It is marked and stays for now.
    Mark,
    /// It goes.
    Remove,
}

/// Deletes an object.
///
/// # Errors
/// 404, 409 when a precondition fails, and what admission refuses.
pub(crate) async fn delete(
    cx: &Context,
    kind: &Arc<Kind>,
    namespace: Option<&str>,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    let failed = |e| storage::error(kind, name, e);
    let key = kind.key(namespace, name);
    let dry_run = options.dry_run.as_ref().is_some_and(|values| !values.is_empty());
    let mut attempt =
        Attempt::begin(cx.state.store.as_ref(), &key, Preconditions::default()).await.map_err(failed)?;
    loop {
        let stored = attempt.current().clone();
        let served = kind.from_storage(stored.value.clone())?;
        let mut object = kind.strategy.decode(&served)?.object;
        preconditions(kind, name, object.metadata(), stored.mod_revision, options)?;
        let before = object.boxed_clone();
        let request = Request::new(cx, kind, Operation::Delete { dry_run }, name)
            .in_namespace(namespace)
            .old(before.as_ref());
        cx.state.admission.validate(&request, None, Some(before.as_ref())).await?;
        let plan = plan(kind, object.as_mut(), options);
        let uid = object.metadata().uid.clone();
        let bytes = object.encode();
        let decision = match plan {
            Plan::Nothing => Decision::Keep,
            Plan::Mark => Decision::Write(kind.to_storage(bytes.clone())?, storage::write_options(kind)),
            Plan::Remove => Decision::Delete(storage::write_options(kind)),
        };
        let outcome = if dry_run {
            let record = stored;
            Some(match plan {
                Plan::Remove => Outcome::Deleted(record.clone(), record.mod_revision),
                _ => Outcome::Kept(record),
            })
        } else {
            attempt.apply(decision).await.map_err(failed)?
        };
        match outcome {
            None => {}
            Some(Outcome::Deleted(_, revision)) => {
                return Ok(Deleted::Gone { served: bytes, uid, revision });
            }
            Some(Outcome::Written(record) | Outcome::Kept(record)) => {
                return Ok(Deleted::Pending { served: bytes, revision: record.mod_revision });
            }
        }
    }
}

fn preconditions(
    kind: &Kind,
    name: &str,
    meta: &ObjectMeta,
    revision: Revision,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let Some(wanted) = &options.preconditions else { return Ok(()) };
    let uid = meta.uid.as_deref().unwrap_or_default();
    if let Some(wanted) = wanted.uid.as_deref().filter(|wanted| *wanted != uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been \
             deleted and then recreated"
        );
        return Err(ApiError::conflict(kind, name, &why));
    }
    if let Some(wanted) = wanted.resource_version.as_deref().filter(|wanted| *wanted != revision.to_string())
    {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({revision}). The object might have been modified"
        );
        return Err(ApiError::conflict(kind, name, &why));
    }
    Ok(())
}

/// Marks the object as the options want, and says whether it stays.
fn plan(kind: &Kind, object: &mut dyn Object, options: &DeleteOptions) -> Plan {
    let finalizers_changed = set_propagation(kind, object.metadata_mut(), options);
    if let Some(plan) = plan_namespace(object) {
        return plan;
    }
    if !kind.graceful {
        if !held(object.metadata()) {
            return Plan::Remove;
        }
        let marked = mark(object.metadata_mut(), 0);
        return if marked || finalizers_changed { Plan::Mark } else { Plan::Nothing };
    }
    let changed = match plan_graceful(object, options) {
        Graceful::Now => return if held(object.metadata()) { Plan::Mark } else { Plan::Remove },
        Graceful::Later { changed } => changed,
    };
    if changed || finalizers_changed { Plan::Mark } else { Plan::Nothing }
}

enum Graceful {
    /// The grace is over.
    Now,
    /// The grace runs, maybe shortened.
    Later { changed: bool },
}

fn plan_graceful(object: &mut dyn Object, options: &DeleteOptions) -> Graceful {
    let grace = pod_grace(object, options.grace_period_seconds);
    let meta = object.metadata_mut();
    match (&meta.deletion_timestamp, meta.deletion_grace_period_seconds) {
        // Marked by a finalizer's wait, never by grace.
        (Some(_), None) => Graceful::Now,
        (Some(at), Some(running)) => {
            // The grace that runs can only become shorter.
            match options.grace_period_seconds.map(|wanted| wanted.max(0)) {
                Some(wanted) if wanted < running => {
                    let start = at.0 - SignedDuration::from_secs(running);
                    meta.deletion_timestamp = Some(Time(start + SignedDuration::from_secs(wanted)));
                    meta.deletion_grace_period_seconds = Some(wanted);
                    if wanted == 0 { Graceful::Now } else { Graceful::Later { changed: true } }
                }
                _ if running == 0 => Graceful::Now,
                _ => Graceful::Later { changed: false },
            }
        }
        (None, _) => {
            mark(meta, grace);
            if grace == 0 { Graceful::Now } else { Graceful::Later { changed: true } }
        }
    }
}

/// The grace of a pod that is not being deleted yet; nobody ends the containers of one without a node.
fn pod_grace(object: &dyn Object, wanted: Option<i64>) -> i64 {
    let Some(Typed(pod)) = object.as_any().downcast_ref::<Typed<Pod>>() else { return 0 };
    let spec = pod.spec.as_ref();
    let scheduled = spec.and_then(|s| s.node_name.as_deref()).is_some_and(|node| !node.is_empty());
    let ended = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .is_some_and(|phase| matches!(phase, "Failed" | "Succeeded"));
    if !scheduled || ended {
        return 0;
    }
    let grace =
        wanted.unwrap_or_else(|| spec.and_then(|s| s.termination_grace_period_seconds).unwrap_or(POD_GRACE));
    if grace < 0 { 1 } else { grace }
}

/// Sets the time of deletion where it is not set; says whether it did.
fn mark(meta: &mut ObjectMeta, grace: i64) -> bool {
    if meta.deletion_timestamp.is_some() {
        return false;
    }
    let Time(at) = now();
    meta.deletion_timestamp = Some(Time(at + SignedDuration::from_secs(grace)));
    meta.deletion_grace_period_seconds = Some(grace);
    if let Some(generation) = meta.generation.as_mut().filter(|generation| **generation > 0) {
        *generation += 1;
    }
    true
}

/// A namespace is emptied by its controller first, which then takes the finalizer out of its spec.
fn plan_namespace(object: &mut dyn Object) -> Option<Plan> {
    let spec_held = namespace_held(object);
    let namespace = &mut object.as_any_mut().downcast_mut::<Typed<Namespace>>()?.0;
    if !spec_held && !held(&namespace.metadata) {
        return Some(Plan::Remove);
    }
    if namespace.metadata.deletion_timestamp.is_some() {
        return Some(Plan::Nothing);
    }
    namespace.metadata.deletion_timestamp = Some(now());
    namespace.status.get_or_insert_with(NamespaceStatus::default).phase = Some("Terminating".to_owned());
    Some(Plan::Mark)
}

/// Sets or takes away the finalizers by which the garbage collector deals with dependents; says whether they changed.
fn set_propagation(kind: &Kind, meta: &mut ObjectMeta, options: &DeleteOptions) -> bool {
    let has = |name: &str| meta.finalizers.iter().flatten().any(|f| f == name);
    let policy = options.propagation_policy.as_deref();
    let (orphan, foreground) = match (options.orphan_dependents, policy) {
        (Some(orphan), _) => (orphan, false),
        (None, Some(policy)) => (policy == "Orphan", policy == "Foreground"),
        (None, None) if has(ORPHAN) => (true, false),
        (None, None) if has(FOREGROUND) => (false, true),
        (None, None) => (orphans_by_default(kind), false),
    };
    if has(ORPHAN) == orphan && has(FOREGROUND) == foreground {
        return false;
    }
    let finalizers = meta.finalizers.get_or_insert_default();
    finalizers.retain(|f| f != ORPHAN && f != FOREGROUND);
    if orphan {
        finalizers.push(ORPHAN.to_owned());
    }
    if foreground {
        finalizers.push(FOREGROUND.to_owned());
    }
    true
}
