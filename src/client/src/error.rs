//! Asking what an API error means.
//!
//! The tests take the error as it came from `kube`; [`status`] finds the API's answer anywhere in a chain of
//! causes, for code that sees only its own error type.

use std::error::Error;

use kube::core::Status;

/// The API's Status object when the API answered with one; `None` for transport and decoding errors.
#[must_use]
pub fn api_status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// The API's Status object somewhere in the causes of `error`.
#[must_use]
pub fn status<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Status> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(kube::Error::Api(status)) = cause.downcast_ref::<kube::Error>() {
            return Some(status);
        }
        if let Some(kube::Error::Api(status)) = cause.downcast_ref::<Box<kube::Error>>().map(|e| &**e) {
            return Some(status);
        }
        // An error enum that is transparent over kube::Error shows only what is below it.
        if let Some(status) = cause.downcast_ref::<Box<Status>>() {
            return Some(status);
        }
        if let Some(status) = cause.downcast_ref::<Status>() {
            return Some(status);
        }
        next = cause.source();
    }
    None
}

/// The write was based on an old version of the object, or a precondition did not hold (409 Conflict).
#[must_use]
pub fn is_conflict(error: &kube::Error) -> bool {
    api_status(error).is_some_and(Status::is_conflict)
}

/// The object, its namespace or its kind does not exist (404 NotFound).
#[must_use]
pub fn is_not_found(error: &kube::Error) -> bool {
    api_status(error).is_some_and(Status::is_not_found)
}

/// An object of this name exists (409 AlreadyExists).
#[must_use]
pub fn is_already_exists(error: &kube::Error) -> bool {
    api_status(error).is_some_and(Status::is_already_exists)
}

/// The API did not accept the object's content (422 Invalid).
#[must_use]
pub fn is_invalid(error: &kube::Error) -> bool {
    api_status(error).is_some_and(Status::is_invalid)
}

/// The identity may not do this, or the namespace is being deleted (403 Forbidden).
#[must_use]
pub fn is_forbidden(error: &kube::Error) -> bool {
    api_status(error).is_some_and(Status::is_forbidden)
}

/// The resource version or continue token is older than what the server keeps (410 Expired or Gone).
#[must_use]
pub fn is_expired(error: &kube::Error) -> bool {
    api_status(error).is_some_and(status_is_expired)
}

/// The namespace of the object to create is being deleted (403 with cause `NamespaceTerminating`).
#[must_use]
pub fn is_namespace_terminating(error: &kube::Error) -> bool {
    api_status(error).is_some_and(|status| {
        status.is_forbidden()
            && status
                .details
                .as_ref()
                .is_some_and(|details| details.causes.iter().any(|c| c.reason == "NamespaceTerminating"))
    })
}

/// Whether a conflict is somewhere in the causes.
#[must_use]
pub fn caused_by_conflict(error: &(dyn Error + 'static)) -> bool {
    status(error).is_some_and(Status::is_conflict)
}

pub(crate) fn status_is_expired(status: &Status) -> bool {
    status.code == 410 || status.reason == "Expired" || status.reason == "Gone"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Own {
        #[error("cannot bind the pod")]
        Bind(#[source] kube::Error),
        #[error(transparent)]
        Plain(#[from] kube::Error),
    }

    fn conflict() -> kube::Error {
        kube::Error::Api(Status::failure("stale", "Conflict").with_code(409).boxed())
    }

    #[test]
    fn a_conflict_is_found_below_other_errors() {
        assert!(caused_by_conflict(&conflict()));
        assert!(caused_by_conflict(&Own::Bind(conflict())));
        assert!(caused_by_conflict(&Own::Plain(conflict())));
        assert!(!caused_by_conflict(&std::io::Error::other("disk")));
    }

    #[test]
    fn an_existing_object_is_no_conflict() {
        let error = kube::Error::Api(Status::failure("there", "AlreadyExists").with_code(409).boxed());
        assert!(is_already_exists(&error));
        assert!(!is_conflict(&error));
    }
}
