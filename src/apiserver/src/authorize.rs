//! Who may do what.
//!
//! Authorizers are asked in order; the first that allows decides. What nobody allows is refused.

use std::sync::Arc;

use async_trait::async_trait;
use copepod_api::selector::FieldSelector;
use copepod_api::status::ApiError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusDetails;

use crate::identity::{Identity, MASTERS};

mod components;
mod node;
mod rules;

pub(crate) use components::component_rules;
pub(crate) use node::{NodeAuthorizer, on_node};
pub(crate) use rules::RuleSet;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// `get`, `list`, `create`, ...
    pub verb: &'a str,
    /// To what.
    pub target: Target<'a>,
}

/// What a request is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// An object or a collection; empty texts stand for "none".
    #[allow(missing_docs)]
    Resource {
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        name: &'a str,
        namespace: Option<&'a str>,
        /// The field selector of a list or watch.
        fields: Option<&'a FieldSelector>,
    },
    /// A path that is no resource.
    Path(&'a str),
}

/// An authorizer's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Yes.
    Allow,
    /// Not by this authorizer; the text may say why.
    NoOpinion(String),
}

/// Decides on requests.
#[async_trait]
pub(crate) trait Authorizer: Send + Sync {
    /// The decision on one request.
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision;

    /// What a user may do in a namespace, for `kubectl auth can-i --list`.
    async fn rules(&self, identity: &Identity, namespace: &str) -> RuleSet;
}

/// Authorizers in order.
pub(crate) struct Chain(pub(crate) Vec<Arc<dyn Authorizer>>);

#[async_trait]
impl Authorizer for Chain {
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let mut reasons = Vec::new();
        for authorizer in &self.0 {
            match authorizer.authorize(attributes).await {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join(", "))
    }

    async fn rules(&self, identity: &Identity, namespace: &str) -> RuleSet {
        let mut all = RuleSet::default();
        for authorizer in &self.0 {
            all.extend(authorizer.rules(identity, namespace).await);
        }
        all
    }
}

/// Allows everything to `system:masters`.
pub(crate) struct Masters;

#[async_trait]
impl Authorizer for Masters {
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.identity.in_group(MASTERS) {
            Decision::Allow
        } else {
            Decision::NoOpinion(String::new())
        }
    }

    async fn rules(&self, identity: &Identity, _: &str) -> RuleSet {
        if identity.in_group(MASTERS) { RuleSet::everything() } else { RuleSet::default() }
    }
}

/// The refusal in the words of kube-apiserver.
pub(crate) fn forbidden(attributes: &Attributes<'_>, reason: &str) -> ApiError {
    let user = &attributes.identity.user;
    let verb = attributes.verb;
    let tail = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    match attributes.target {
        Target::Path(path) => {
            let mut error = ApiError::new(
                403,
                "Forbidden",
                format!("forbidden: User {user:?} cannot {verb} path {path:?}{tail}"),
            );
            error.0.details = Some(StatusDetails::default());
            error
        }
        Target::Resource { group, resource, subresource, name, namespace, .. } => {
            let qualified =
                if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
            let subject = if name.is_empty() { qualified } else { format!("{qualified} {name:?}") };
            let full = if subresource.is_empty() {
                resource.to_owned()
            } else {
                format!("{resource}/{subresource}")
            };
            let place = match namespace.filter(|ns| !ns.is_empty()) {
                Some(namespace) => format!("in the namespace {namespace:?}"),
                None => "at the cluster scope".to_owned(),
            };
            let mut error = ApiError::new(
                403,
                "Forbidden",
                format!(
                    "{subject} is forbidden: User {user:?} cannot {verb} resource {full:?} in API group {group:?} {place}{tail}"
                ),
            );
            error.0.details = Some(StatusDetails {
                name: (!name.is_empty()).then(|| name.to_owned()),
                group: (!group.is_empty()).then(|| group.to_owned()),
                kind: Some(resource.to_owned()),
                ..StatusDetails::default()
            });
            error
        }
    }
}
