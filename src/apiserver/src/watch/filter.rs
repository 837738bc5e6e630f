//! Which objects a list or watch selects.

use std::sync::Arc;

use copepod_api::encode::EventType;
use copepod_api::kind::Kind;
use copepod_api::meta;
use copepod_api::selector::{FieldSelector, LabelSelector};
use copepod_store::{Event, EventKind};

/// Namespace, name and selectors of a request.
#[derive(Clone)]
pub(crate) struct Filter {
    pub(crate) kind: Arc<Kind>,
    /// All keys start with this: the kind's prefix, and the namespace where there is one.
    pub(crate) prefix: String,
    /// The only name, from a field selector.
    pub(crate) name: Option<String>,
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Filter {
    /// Whether every key with the prefix is selected, so that objects need not be looked at.
    pub(crate) fn is_plain(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty() && self.name.is_none()
    }

    fn selects_key(&self, key: &str) -> bool {
        let Some(rest) = key.strip_prefix(&self.prefix) else { return false };
        match &self.name {
            None => true,
            Some(name) => rest.rsplit('/').next() == Some(name),
        }
    }

    /// Whether a stored object is selected.
    pub(crate) fn matches(&self, key: &str, object: &[u8]) -> bool {
        self.selects_key(key) && self.matches_object(object)
    }

    fn matches_object(&self, object: &[u8]) -> bool {
        (self.labels.is_empty() || self.labels.matches(&meta::labels(object)))
            && (self.fields.is_empty()
                || self.fields.matches(|field| meta::selectable(&self.kind, object, field)))
    }

    /// What an event is for somebody who sees only selected objects, and whether it shows the previous object: one
    /// that leaves the selection is deleted as it last was inside.
    pub(crate) fn decide(&self, event: &Event) -> Option<(EventType, bool)> {
        if !self.selects_key(&event.key) {
            return None;
        }
        let now = || self.matches_object(&event.value);
        match event.kind {
            EventKind::Created => now().then_some((EventType::Added, false)),
            EventKind::Deleted => now().then_some((EventType::Deleted, false)),
            EventKind::Updated => {
                let before = event.previous.as_ref().is_some_and(|previous| self.matches_object(previous));
                match (before, now()) {
                    (true, true) => Some((EventType::Modified, false)),
                    (false, true) => Some((EventType::Added, false)),
                    (true, false) => Some((EventType::Deleted, true)),
                    (false, false) => None,
                }
            }
        }
    }
}
