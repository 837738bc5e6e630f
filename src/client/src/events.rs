//! Events about objects, as `kubectl describe` shows them.
//!
//! Recording never waits and never fails: a note goes into a bounded queue, and one task per recorder writes
//! core/v1 Events. Repeats raise the count of the first event; many similar ones are combined; an object that
//! floods is cut off for a while. The limits are client-go's.

mod correlator;
mod sender;

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use sender::Sender;

/// Notes that wait to be written; more are dropped.
const QUEUE: usize = 1000;

/// How serious an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Something a person may have to look at.
    Warning,
}

impl EventType {
    /// The `type` field of an event.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What was noted about an object.
#[derive(Debug, Clone)]
struct Note {
    component: Arc<str>,
    object: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
}

/// Records events in the name of one component. Clones record into the same queue.
///
/// The writing task ends when the last clone is dropped and everything noted is written.
#[derive(Debug, Clone)]
pub struct Recorder {
    notes: mpsc::Sender<Note>,
    component: Arc<str>,
}

impl Recorder {
    /// A recorder for `component` (such as `kubelet`) on machine `host`, empty for components that are not of a
    /// node. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(client: kube::Client, component: &str, host: &str) -> Self {
        let (notes, receiver) = mpsc::channel(QUEUE);
        copepod_base::spawn("event recorder", Sender::new(client, host).run(receiver));
        Self { notes, component: component.into() }
    }

    /// The same recorder in the name of another component: `kubectl describe` shows who says what.
    #[must_use]
    pub fn named(&self, component: &str) -> Self {
        Self { notes: self.notes.clone(), component: component.into() }
    }

    /// Notes an event about an object. Dropped when too many wait.
    ///
    /// `reason` is a short word in CamelCase, `message` a sentence for people.
    pub fn event(
        &self,
        object: &ObjectReference,
        kind: EventType,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) {
        let note = Note {
            component: self.component.clone(),
            object: object.clone(),
            kind,
            reason: reason.into(),
            message: message.into(),
        };
        if let Err(TrySendError::Full(note)) = self.notes.try_send(note) {
            tracing::debug!(
                component = &*self.component,
                reason = note.reason,
                "too many events, one dropped"
            );
        }
    }

    /// [`event`](Self::event) of type Normal about an object at hand.
    pub fn normal<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.event(&object_ref(object), EventType::Normal, reason, message);
    }

    /// [`event`](Self::event) of type Warning about an object at hand.
    pub fn warning<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.event(&object_ref(object), EventType::Warning, reason, message);
    }
}

/// A reference to this object in its current version, for [`Recorder::event`].
pub fn object_ref<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    ObjectReference { resource_version: object.meta().resource_version.clone(), ..object.object_ref(&()) }
}

#[cfg(test)]
mod tests;
