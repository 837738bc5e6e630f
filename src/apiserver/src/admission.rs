//! What a write must pass besides authorization: plugins that change the object, then plugins that refuse it.
//!
//! A refusal is an `Err`: there is no way past it. The order of the chain is that of kube-apiserver.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use copepod_api::kind::Kind;
use copepod_api::status::ApiError;
use copepod_api::strategy::{Object, Part};
use copepod_api::typed::Typed;
use parking_lot::Mutex;

use crate::identity::Identity;
use crate::request::{Context, object_namespace};
use crate::state::State;

mod certificates;
mod namespace;
pub(crate) mod node;
mod priority;
mod service;
mod service_account;
mod tolerations;

/// The kind of write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) enum Operation {
    Create {
        dry_run: bool,
    },
    Update {
        dry_run: bool,
    },
    Delete {
        dry_run: bool,
    },
    /// A stream to a pod or another subresource that is no part of the object.
    Connect,
}

/// A write on its way through admission.
pub(crate) struct Request<'a> {
    pub(crate) cx: &'a Context,
    /// The kind of the object; for subresources that of the parent.
    pub(crate) kind: &'a Arc<Kind>,
    pub(crate) operation: Operation,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    pub(crate) part: Part<'a>,
    pub(crate) old: Option<&'a dyn Object>,
    held: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl<'a> Request<'a> {
    /// A write by the user of a request to the object that its path names.
    pub(crate) fn new(cx: &'a Context, kind: &'a Arc<Kind>, operation: Operation, name: &'a str) -> Self {
        Self {
            cx,
            kind,
            operation,
            namespace: object_namespace(kind, cx.namespace()),
            name,
            subresource: cx.subresource(),
            part: Part::Main,
            old: None,
            held: Mutex::default(),
        }
    }

    pub(crate) fn old(mut self, old: &'a dyn Object) -> Self {
        self.old = Some(old);
        self
    }

    pub(crate) fn part(mut self, part: Part<'a>) -> Self {
        self.part = part;
        self
    }

    pub(crate) fn in_namespace(mut self, namespace: Option<&'a str>) -> Self {
        self.namespace = namespace;
        self
    }

    pub(crate) fn state(&self) -> &State {
        &self.cx.state
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.cx.identity
    }

    /// Whether this is a create of the object itself.
    pub(crate) fn creates(&self) -> bool {
        matches!(self.operation, Operation::Create { .. }) && self.subresource.is_empty()
    }

    /// Whether the object is of a built-in kind.
    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.kind.gvk.group == group && self.kind.gvk.kind == kind
    }

    /// 403 with a reason.
    pub(crate) fn forbidden(&self, why: &str) -> ApiError {
        ApiError::forbidden(self.kind, self.name, why)
    }

    /// Keeps something, such as a lock, until the write is done.
    pub(crate) fn hold(&self, guard: impl Any + Send) {
        self.held.lock().push(Box::new(guard));
    }
}

/// The object as a type, when it is one.
pub(crate) fn typed<T: 'static>(object: &dyn Object) -> Option<&T> {
    object.as_any().downcast_ref::<Typed<T>>().map(|typed| &typed.0)
}

/// The object as a type to change, when it is one.
pub(crate) fn typed_mut<T: 'static>(object: &mut dyn Object) -> Option<&mut T> {
    object.as_any_mut().downcast_mut::<Typed<T>>().map(|typed| &mut typed.0)
}

/// A part of admission.
#[async_trait]
pub(crate) trait Admission: Send + Sync {
    /// Whether the plugin has anything to do with such requests.
    fn handles(&self, request: &Request<'_>) -> bool;

    /// Changes the object.
    ///
    /// # Errors
    /// Refuses the write.
    async fn mutate(&self, _request: &Request<'_>, _object: &mut dyn Object) -> Result<(), ApiError> {
        Ok(())
    }

    /// Adds what must be decided last, for an object that is otherwise as it would be stored: addresses and ports.
    ///
    /// # Errors
    /// Refuses the write.
    async fn complete(&self, _request: &Request<'_>, _object: &mut dyn Object) -> Result<(), ApiError> {
        Ok(())
    }

    /// Looks at the object as it would be stored; a deletion has none.
    ///
    /// # Errors
    /// Refuses the write.
    async fn validate(
        &self,
        _request: &Request<'_>,
        _object: Option<&dyn Object>,
        _old: Option<&dyn Object>,
    ) -> Result<(), ApiError> {
        Ok(())
    }
}

/// All plugins in order.
pub(crate) struct Chain(Vec<Box<dyn Admission>>);

impl Chain {
    /// The plugins that a server always has.
    pub(crate) fn standard(config: &crate::ServerConfig) -> Self {
        Self(vec![
            Box::new(namespace::NamespaceLifecycle),
            Box::new(node::NodeRestriction),
            Box::new(priority::Priority),
            Box::new(service_account::ServiceAccounts),
            Box::new(tolerations::DefaultTolerations),
            Box::new(certificates::Requester),
            Box::new(service::Allocation::new(config)),
        ])
    }

    pub(crate) async fn mutate(
        &self,
        request: &Request<'_>,
        object: &mut dyn Object,
    ) -> Result<(), ApiError> {
        for plugin in self.0.iter().filter(|plugin| plugin.handles(request)) {
            plugin.mutate(request, object).await?;
        }
        Ok(())
    }

    pub(crate) async fn complete(
        &self,
        request: &Request<'_>,
        object: &mut dyn Object,
    ) -> Result<(), ApiError> {
        for plugin in self.0.iter().filter(|plugin| plugin.handles(request)) {
            plugin.complete(request, object).await?;
        }
        Ok(())
    }

    pub(crate) async fn validate(
        &self,
        request: &Request<'_>,
        object: Option<&dyn Object>,
        old: Option<&dyn Object>,
    ) -> Result<(), ApiError> {
        for plugin in self.0.iter().filter(|plugin| plugin.handles(request)) {
            plugin.validate(request, object, old).await?;
        }
        Ok(())
    }
}
