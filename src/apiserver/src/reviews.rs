//! Kinds that are answered and not stored: who am I, what may I do, whose token is this.

use copepod_api::codec::check_namespace;
use copepod_api::field::{Errors, Path};
use copepod_api::kind::Kind;
use copepod_api::status::ApiError;
use http::{Response, StatusCode};
use k8s_openapi::api::authentication::v1::{
    SelfSubjectReview, SelfSubjectReviewStatus, TokenReview, TokenReviewStatus, UserInfo,
};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, NonResourceRule, ResourceAttributes, ResourceRule,
    SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec,
    SubjectAccessReviewStatus, SubjectRulesReviewStatus,
};

use crate::authenticate::TokenReviewer;
use crate::authorize::{Attributes, Authorizer, Decision, Target};
use crate::body::Body;
use crate::handlers::decode::plain;
use crate::identity::Identity;
use crate::object_meta::now;
use crate::request::Context;
use crate::request::content::{self, Incoming};
use crate::request::options::WriteOptions;
use crate::subresources;

/// Answers a POST of a review.
pub(crate) async fn serve(cx: &Context, kind: &Kind, body: Incoming) -> Result<Response<Body>, ApiError> {
    if kind.gvk.kind == "Binding" {
        return subresources::bind(cx, body).await;
    }
    WriteOptions::parse(&cx.query, "CreateOptions")?;
    let body = content::read(&cx.headers, body).await?;
    let name = kind.gvk.kind.as_ref();
    match name {
        "SelfSubjectReview" => {
            let mut review: SelfSubjectReview = plain(cx, &body, name)?;
            review.metadata.creation_timestamp = Some(now());
            review.status = Some(SelfSubjectReviewStatus { user_info: Some(user_info(&cx.identity)) });
            cx.value(StatusCode::CREATED, &review)
        }
        "TokenReview" => token_review(cx, plain(cx, &body, name)?).await,
        "SelfSubjectAccessReview" => {
            let mut review: SelfSubjectAccessReview = plain(cx, &body, name)?;
            let spec = &review.spec;
            one_of(name, spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref())?;
            let status = decide(
                cx,
                &cx.identity,
                spec.resource_attributes.as_ref(),
                spec.non_resource_attributes.as_ref(),
            );
            review.status = Some(status.await);
            cx.value(StatusCode::CREATED, &review)
        }
        "SubjectAccessReview" => {
            let mut review: SubjectAccessReview = plain(cx, &body, name)?;
            review.status = Some(access(cx, name, &review.spec).await?);
            cx.value(StatusCode::CREATED, &review)
        }
        "LocalSubjectAccessReview" => {
            let mut review: LocalSubjectAccessReview = plain(cx, &body, name)?;
            let namespace = cx.namespace().unwrap_or_default();
            let mut given = review
                .spec
                .resource_attributes
                .as_ref()
                .and_then(|a| a.namespace.clone())
                .unwrap_or_default();
            check_namespace(&mut given, namespace)?;
            review.spec.resource_attributes.get_or_insert_default().namespace = Some(given);
            review.status = Some(access(cx, name, &review.spec).await?);
            cx.value(StatusCode::CREATED, &review)
        }
        "SelfSubjectRulesReview" => rules_review(cx, plain(cx, &body, name)?).await,
        _ => Err(ApiError::no_such_path()),
    }
}

fn user_info(identity: &Identity) -> UserInfo {
    UserInfo {
        username: Some(identity.user.clone()),
        uid: Some(identity.uid.clone()).filter(|uid| !uid.is_empty()),
        groups: Some(identity.groups.clone()),
        extra: Some(identity.extra.clone()).filter(|extra| !extra.is_empty()),
    }
}

async fn token_review(cx: &Context, mut review: TokenReview) -> Result<Response<Body>, ApiError> {
    let token = review.spec.token.clone();
    if token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences = review.spec.audiences.clone().unwrap_or_default();
    let known = cx.state.authentication.token(&token, &audiences).await;
    let status = match known {
        Some(identity) => TokenReviewStatus {
            authenticated: Some(true),
            user: Some(user_info(&identity)),
            audiences: cx.state.signer.audiences(&token, &audiences),
            ..TokenReviewStatus::default()
        },
        None => TokenReviewStatus {
            authenticated: Some(false),
            error: Some("invalid bearer token".to_owned()),
            ..TokenReviewStatus::default()
        },
    };
    review.status = Some(status);
    cx.value(StatusCode::CREATED, &review)
}

/// 422 unless exactly one of the two is given.
fn one_of(
    kind: &str,
    resource: Option<&ResourceAttributes>,
    path: Option<&NonResourceAttributes>,
) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    match (resource, path) {
        (Some(_), Some(_)) => errors.invalid(
            &Path::new("spec.nonResourceAttributes"),
            serde_json::Value::Null,
            "cannot be specified in combination with resourceAttributes",
        ),
        (None, None) => errors.invalid(
            &Path::new("spec.resourceAttributes"),
            serde_json::Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        _ => return Ok(()),
    }
    Err(ApiError::invalid_named("authorization.k8s.io", kind, "", &errors))
}

async fn access(
    cx: &Context,
    kind: &str,
    spec: &SubjectAccessReviewSpec,
) -> Result<SubjectAccessReviewStatus, ApiError> {
    one_of(kind, spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref())?;
    let user = spec.user.clone().unwrap_or_default();
    let groups = spec.groups.clone().unwrap_or_default();
    if user.is_empty() && groups.is_empty() {
        let mut errors = Errors::new();
        errors.invalid(&Path::new("spec.user"), "", "at least one of user or group must be specified");
        return Err(ApiError::invalid_named("authorization.k8s.io", kind, "", &errors));
    }
    let identity = Identity {
        user,
        uid: spec.uid.clone().unwrap_or_default(),
        groups,
        extra: spec.extra.clone().unwrap_or_default(),
    };
    let resource = spec.resource_attributes.as_ref();
    Ok(decide(cx, &identity, resource, spec.non_resource_attributes.as_ref()).await)
}

async fn decide(
    cx: &Context,
    identity: &Identity,
    resource: Option<&ResourceAttributes>,
    path: Option<&NonResourceAttributes>,
) -> SubjectAccessReviewStatus {
    fn text(field: &Option<String>) -> &str {
        field.as_deref().unwrap_or_default()
    }
    let decision = match (resource, path) {
        (Some(a), _) => {
            let attributes = Attributes {
                identity,
                verb: text(&a.verb),
                target: Target::Resource {
                    group: text(&a.group),
                    resource: text(&a.resource),
                    subresource: text(&a.subresource),
                    name: text(&a.name),
                    namespace: a.namespace.as_deref(),
                    fields: None,
                },
            };
            cx.state.authorizer.authorize(&attributes).await
        }
        (None, Some(a)) => {
            let target = Target::Path(text(&a.path));
            cx.state.authorizer.authorize(&Attributes { identity, verb: text(&a.verb), target }).await
        }
        (None, None) => Decision::NoOpinion(String::new()),
    };
    let (allowed, reason) = match decision {
        Decision::Allow => (true, String::new()),
        Decision::NoOpinion(reason) => (false, reason),
    };
    SubjectAccessReviewStatus {
        allowed,
        denied: None,
        reason: Some(reason).filter(|reason| !reason.is_empty()),
        evaluation_error: None,
    }
}

async fn rules_review(cx: &Context, mut review: SelfSubjectRulesReview) -> Result<Response<Body>, ApiError> {
    let namespace = review.spec.namespace.clone().unwrap_or_default();
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let rules = cx.state.authorizer.rules(&cx.identity, &namespace).await;
    review.status = Some(SubjectRulesReviewStatus {
        incomplete: false,
        evaluation_error: None,
        resource_rules: rules
            .resources
            .into_iter()
            .map(|rule| ResourceRule {
                verbs: rule.verbs,
                api_groups: Some(rule.groups),
                resources: Some(rule.resources),
                resource_names: Some(rule.names).filter(|names| !names.is_empty()),
            })
            .collect(),
        non_resource_rules: rules
            .paths
            .into_iter()
            .map(|(verbs, paths)| NonResourceRule { verbs, non_resource_urls: Some(paths) })
            .collect(),
    });
    cx.value(StatusCode::CREATED, &review)
}
