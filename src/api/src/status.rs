//! The errors that Kubernetes gives: a `Status` object with code, reason, details and causes.
//!
//! One constructor per reason; texts are those of kube-apiserver, since clients and people match them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};

use crate::field::Errors;
use crate::kind::Kind;

/// A refusal, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError(pub Box<Status>);

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.message.as_deref().unwrap_or("unknown error"))
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    /// A failure with a code, a reason (`metav1.StatusReason`) and a message.
    #[must_use]
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Status {
            status: Some("Failure".to_owned()),
            code: Some(i32::from(code)),
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            message: Some(message.into()),
            ..Status::default()
        }))
    }

    /// The HTTP status code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.0.code.and_then(|c| u16::try_from(c).ok()).unwrap_or(500)
    }

    /// The reason, empty when there is none.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.0.reason.as_deref().unwrap_or_default()
    }

    fn of(mut self, kind: &Kind, name: &str) -> Self {
        let details = self.0.details.get_or_insert_with(StatusDetails::default);
        details.name = (!name.is_empty()).then(|| name.to_owned());
        details.group = (!kind.gvk.group.is_empty()).then(|| kind.gvk.group.to_string());
        details.kind = Some(kind.plural.to_string());
        self
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: the credentials are missing or not accepted.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 for a whole request; `message` says who may not do what.
    #[must_use]
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let subject =
            if name.is_empty() { kind.qualified() } else { format!("{} {name:?}", kind.qualified()) };
        Self::new(403, "Forbidden", format!("{subject} is forbidden: {why}")).of(kind, name)
    }

    /// 404: no object of that name.
    #[must_use]
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", kind.qualified())).of(kind, name)
    }

    /// 404: no such path.
    #[must_use]
    pub fn no_such_path() -> Self {
        let mut error = Self::new(404, "NotFound", "the server could not find the requested resource");
        error.0.details = Some(StatusDetails::default());
        error
    }

    /// 405: there is no such method on this path.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let text = "the server does not allow this method on the requested resource";
        let mut error = Self::new(405, "MethodNotAllowed", text);
        error.0.details = Some(StatusDetails::default());
        error
    }

    /// 409: an object of that name exists.
    #[must_use]
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", kind.qualified()))
            .of(kind, name)
    }

    /// 409: somebody changed the object in between, or a precondition does not hold.
    #[must_use]
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.qualified()),
        )
        .of(kind, name)
    }

    /// 410: the resource version or continue token is too old.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 422: fields are wrong.
    #[must_use]
    pub fn invalid(kind: &Kind, name: &str, errors: &Errors) -> Self {
        Self::invalid_named(&kind.gvk.group, &kind.gvk.kind, name, errors)
    }

    /// 422 for a kind that has no descriptor, such as the options of a request. Group, kind and name may be empty.
    #[must_use]
    pub fn invalid_named(group: &str, kind: &str, name: &str, errors: &Errors) -> Self {
        let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let subject = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut error = Self::new(422, "Invalid", format!("{subject} {name:?} is invalid: {list}"));
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        error.0.details = Some(StatusDetails {
            name: text(name),
            group: text(group),
            kind: text(kind),
            causes: Some(
                errors
                    .0
                    .iter()
                    .map(|e| StatusCause {
                        field: Some(e.path.to_string()),
                        message: Some(e.message.clone()),
                        reason: Some(e.reason.as_str().to_owned()),
                    })
                    .collect(),
            ),
            ..StatusDetails::default()
        });
        error
    }

    /// 413: the body is over the limit.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 415: the body's media type cannot be read here.
    #[must_use]
    pub fn unsupported_media_type(supported: &[&str]) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                supported.join(", ")
            ),
        )
    }

    /// 406: none of the accepted media types can be served.
    #[must_use]
    pub fn not_acceptable(supported: &[&str]) -> Self {
        Self::new(
            406,
            "NotAcceptable",
            format!("only the following media types are accepted: {}", supported.join(", ")),
        )
    }

    /// 429: come back later.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: i32) -> Self {
        let mut error = Self::new(429, "TooManyRequests", message);
        error.0.details = Some(StatusDetails {
            retry_after_seconds: Some(retry_after_seconds),
            ..StatusDetails::default()
        });
        error
    }

    /// 500: the server failed; the message is for the log of the client.
    #[must_use]
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// 503: not now (starting, shutting down, datastore away).
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }
}
