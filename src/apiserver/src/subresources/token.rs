//! `serviceaccounts/token`: a token for an account, bound to a pod, secret or node (KEP-1205).

use std::sync::Arc;
use std::time::Duration;

use copepod_api::codec::check_namespace;
use copepod_api::field::{Errors, Path};
use copepod_api::kind::Kind;
use copepod_api::scan;
use copepod_api::status::ApiError;
use copepod_base::clock;
use copepod_pki::service_account::{Binding, Reference};
use copepod_store::Record;
use http::{Response, StatusCode};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;

use crate::admission::node::token_bound_to_own_pod;
use crate::admission::{Operation, Request};
use crate::authenticate::uid;
use crate::body::Body;
use crate::handlers::decode;
use crate::object_meta::now;
use crate::request::Context;
use crate::request::content::{self, Incoming};
use crate::request::options::WriteOptions;
use crate::storage;

/// Life of a token that asks for none.
const DEFAULT: i64 = 60 * 60;
const LEAST: i64 = 10 * 60;
const MOST: i64 = 1 << 32;
/// What the tokens that are put into every pod ask for; old programs read them only once, so they live longer than
/// they say, and using them late is counted.
const UNASKED: i64 = 3607;
const EXTENDED: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Answers a POST of a TokenRequest.
pub(crate) async fn create(
    cx: &Context,
    kind: &Arc<Kind>,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&cx.query, "CreateOptions")?;
    let body = content::read(&cx.headers, body).await?;
    let mut request: TokenRequest = decode::plain(cx, &body, "TokenRequest")?;
    let namespace = cx.namespace().ok_or_else(ApiError::no_such_path)?;
    let mut given = request.metadata.namespace.take().unwrap_or_default();
    check_namespace(&mut given, namespace)?;
    let account = storage::get(cx.state.store.as_ref(), kind, &cx.key(kind), cx.name()).await?;
    let spec = request.spec.get_or_insert_default();
    let seconds = spec.expiration_seconds.unwrap_or(DEFAULT);
    spec.expiration_seconds = Some(seconds);
    validate(cx, seconds)?;
    let admission = Request::new(cx, kind, Operation::Create { dry_run: options.dry_run }, cx.name());
    cx.state.admission.validate(&admission, None, None).await?;

    let account_ref = Reference { name: cx.name().to_owned(), uid: uid(&account.value).unwrap_or_default() };
    let mut binding = Binding::account(namespace, account_ref);
    match &spec.bound_object_ref {
        Some(reference) => bind(cx, kind, &mut binding, reference).await?,
        None if cx.identity.node_name().is_some() => {
            return Err(ApiError::forbidden(kind, cx.name(), "node requested token not bound to a pod"));
        }
        None => {}
    }
    let signer = &cx.state.signer;
    let audiences = spec.audiences.take().unwrap_or_default();
    let own = audiences.is_empty() || audiences == [signer.issuer().to_owned()];
    let asked = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let mut lifetime = asked;
    if own && seconds == UNASKED && binding.pod.is_some() {
        lifetime = EXTENDED;
        binding.warnafter = Some(clock::since_epoch().as_secs() + asked.as_secs());
    }
    let (token, claims) =
        signer.issue(binding, &audiences, lifetime, clock::now()).map_err(ApiError::internal)?;
    spec.audiences = Some(claims.aud);
    request.metadata.name = Some(cx.name().to_owned());
    request.metadata.namespace = Some(namespace.to_owned());
    request.metadata.creation_timestamp = Some(now());
    let Time(at) = now();
    request.status = Some(TokenRequestStatus {
        expiration_timestamp: Some(Time(at + SignedDuration::from_secs(seconds))),
        token: Some(token),
    });
    cx.value(StatusCode::CREATED, &request)
}

fn validate(cx: &Context, seconds: i64) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    let path = Path::new("spec.expirationSeconds");
    if seconds < LEAST {
        errors.invalid(&path, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > MOST {
        errors.invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid_named("authentication.k8s.io", "TokenRequest", cx.name(), &errors))
    }
}

async fn bind(
    cx: &Context,
    kind: &Kind,
    binding: &mut Binding,
    reference: &BoundObjectReference,
) -> Result<(), ApiError> {
    let name = reference.name.clone().unwrap_or_default();
    let object_kind = reference.kind.as_deref().unwrap_or_default();
    let (plural, namespace) = match (reference.api_version.as_deref().unwrap_or_default(), object_kind) {
        ("v1", "Pod") => ("pods", Some(binding.namespace.as_str())),
        ("v1", "Secret") => ("secrets", Some(binding.namespace.as_str())),
        ("v1", "Node") => ("nodes", None),
        (version, other) => {
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount to object of type {version}, Kind={other}"
            )));
        }
    };
    let object = fetch(cx, plural, namespace, &name).await?;
    let found = uid(&object.value).unwrap_or_default();
    if let Some(wanted) = reference.uid.as_deref().filter(|wanted| !wanted.is_empty() && *wanted != found) {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have \
             been deleted and then recreated"
        );
        return Err(ApiError::conflict(kind, cx.name(), &why));
    }
    if let Some(node) = cx.identity.node_name() {
        let wanted = reference.uid.as_deref().unwrap_or_default();
        if plural != "pods" || !token_bound_to_own_pod(&object.value, node, cx.name(), wanted) {
            return Err(ApiError::forbidden(
                kind,
                cx.name(),
                "node requested token bound to a pod scheduled on a different node",
            ));
        }
    }
    let bound = Reference { name, uid: found };
    match plural {
        "pods" => {
            let text = |path: &[&str]| scan::get(&object.value, path).and_then(scan::text);
            if text(&["spec", "serviceAccountName"]).as_deref() != Some(cx.name()) {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    cx.name()
                )));
            }
            if let Some(node) = text(&["spec", "nodeName"]) {
                let record = fetch(cx, "nodes", None, &node).await.ok();
                let uid = record.and_then(|record| uid(&record.value)).unwrap_or_default();
                binding.node = Some(Reference { name: node.into_owned(), uid });
            }
            binding.pod = Some(bound);
        }
        "secrets" => binding.secret = Some(bound),
        _ => binding.node = Some(bound),
    }
    Ok(())
}

async fn fetch(cx: &Context, plural: &str, namespace: Option<&str>, name: &str) -> Result<Record, ApiError> {
    let kind = cx.state.registry.resource("", "v1", plural).ok_or_else(ApiError::no_such_path)?;
    storage::get(cx.state.store.as_ref(), kind, &kind.key(namespace, name), name).await
}
