//! Resource descriptors: all that the server needs to know of a kind.
//!
//! Nothing else in the server knows a kind by name, except where Kubernetes itself does (binding, eviction,
//! token, log, exec, attach, portforward, proxy).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::status::ApiError;
use crate::strategy::Strategy;
use crate::typed::encode::canonical;

/// Text that is static for built-in kinds and owned for custom ones.
pub type Text = Cow<'static, str>;

/// Whether objects of a kind live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `/apis/<group>/<version>/namespaces/<namespace>/<plural>`.
    Namespaced,
    /// `/apis/<group>/<version>/<plural>`.
    Cluster,
}

/// What a client may do with a resource. The names are those of discovery and RBAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    /// Every verb of an ordinary stored kind, in the order of discovery documents.
    pub const ALL: &'static [Verb] = &[
        Verb::Create,
        Verb::Delete,
        Verb::DeleteCollection,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ];
    /// The only verb of reviews and other kinds that are answered and not stored.
    pub const CREATE_ONLY: &'static [Verb] = &[Verb::Create];

    /// The verb's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Patch => "patch",
            Verb::Update => "update",
            Verb::Watch => "watch",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Group, version and kind, as in `apiVersion` and `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gvk {
    /// Empty for the core group.
    pub group: Text,
    /// For example `v1`.
    pub version: Text,
    /// For example `Pod`.
    pub kind: Text,
}

impl Gvk {
    /// `v1`, or `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> Text {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version).into()
        }
    }
}

/// A subresource and how it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    /// Path segment: `status`, `scale`, `log`, `exec`, ...
    pub name: Text,
    /// Kind of the objects that go over the wire, where it is not the parent's: `Scale`, `Eviction`, `Binding`,
    /// `TokenRequest`, `PodExecOptions`.
    pub gvk: Option<Gvk>,
    /// Verbs in discovery.
    pub verbs: &'static [Verb],
    /// How the generic pipeline serves it.
    pub access: Access,
}

/// What part of the parent object a subresource reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// The whole object is read; a write changes only `.status` (and metadata that a status write may change).
    Status,
    /// An `autoscaling/v1` Scale, mapped by JSON paths on the parent.
    Scale {
        /// For example `.spec.replicas`.
        spec_replicas: Text,
        /// For example `.status.replicas`.
        status_replicas: Text,
        /// Path of the label selector: `.spec.selector`; a LabelSelector object or a plain map of labels.
        selector: Text,
    },
    /// A write is an update of the whole object of which the strategy keeps only what this subresource owns
    /// (`approval`, `finalize`, `ephemeralcontainers`, `resize`).
    Part,
    /// Served by a handler of its own in the API server (`binding`, `eviction`, `token`, `log`, `exec`, ...).
    Connect,
}

/// A field that `fieldSelector` can name, besides `metadata.name` and `metadata.namespace`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectableField {
    /// Name in the selector, for example `status.phase`.
    pub name: Text,
    /// JSON path in the stored object, segments without dots; a missing field is the empty string.
    pub path: Vec<Text>,
    /// Value of a missing field (`false` for booleans such as `spec.unschedulable`).
    pub missing: Text,
    /// Path of the value where there is none at `path`.
    pub fallback: Option<Vec<Text>>,
}

/// What the datastore must do for objects of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retention {
    /// Kept until deleted, durable when acknowledged.
    #[default]
    Durable,
    /// May be lost in a power cut, never torn (Leases).
    Relaxed,
    /// As `Relaxed`, and deleted after this time (Events: an hour).
    Expiring(Duration),
}

/// The column of a server-side table (`meta.k8s.io/v1` Table).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Heading, as kubectl prints it in capitals.
    pub name: Text,
    /// `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: Text,
    /// `name` marks the object's name.
    pub format: Text,
    /// 0 is always shown; higher only with `-o wide`.
    pub priority: i32,
    /// Text of `kubectl explain`-like tools.
    pub description: Text,
}

/// Between the version of a kind that is served and the one that is stored.
pub trait Conversion: Send + Sync {
    /// A served object as it is stored.
    fn to_storage(&self, object: Value) -> Value;
    /// A stored object as it is served.
    fn to_served(&self, object: Value) -> Value;
}

fn convert(json: &[u8], conversion: impl FnOnce(Value) -> Value) -> Result<Bytes, ApiError> {
    let value = serde_json::from_slice(json)
        .map_err(|e| ApiError::internal(format!("a stored object is no JSON: {e}")))?;
    Ok(canonical(&conversion(value)))
}

/// Everything the server knows of a resource.
pub struct Kind {
    /// Group, version and kind.
    pub gvk: Gvk,
    /// Kind of a list, usually the kind and `List`.
    pub list_kind: Text,
    /// Resource name in URLs.
    pub plural: Text,
    /// Resource name for one object.
    pub singular: Text,
    /// Abbreviations for kubectl.
    pub short_names: Vec<Text>,
    /// Groups of resources such as `all`.
    pub categories: Vec<Text>,
    /// Namespaced or not.
    pub scope: Scope,
    /// What may be done with it.
    pub verbs: &'static [Verb],
    /// `status`, `scale` and others.
    pub subresources: Vec<Subresource>,
    /// Fields for `fieldSelector`.
    pub selectable: Vec<SelectableField>,
    /// Group (or `core`) and plural under which objects are stored; versions and groups that share objects
    /// (events, horizontalpodautoscalers) have the same.
    pub storage: (Text, Text),
    /// What the datastore must do.
    pub retention: Retention,
    /// Whether `metadata.generation` counts changes of everything but metadata and status.
    pub generation: bool,
    /// Grace period in seconds of a deletion that names none; `None` deletes at once. Only pods have one.
    pub graceful: bool,
    /// Whether a PUT on a missing object creates it (`leases`, `endpoints`, `events`, `runtimeclasses` ...).
    pub create_on_update: bool,
    /// Whether an update may leave `metadata.resourceVersion` empty.
    pub unconditional_update: bool,
    /// How objects are stored that another version or group shares; `None` stores them as they are served.
    pub conversion: Option<&'static dyn Conversion>,
    /// Decoding, defaulting, validation, printing.
    pub strategy: Arc<dyn Strategy>,
}

impl Kind {
    /// Canonical JSON of this kind as it is stored.
    ///
    /// # Errors
    /// 500 when the bytes are no JSON.
    pub fn to_storage(&self, object: Bytes) -> Result<Bytes, ApiError> {
        match self.conversion {
            None => Ok(object),
            Some(conversion) => convert(&object, |value| conversion.to_storage(value)),
        }
    }

    /// A stored object as canonical JSON of this kind, which has the resource version not yet in it.
    ///
    /// # Errors
    /// 500 when the bytes are no JSON.
    pub fn from_storage(&self, stored: Bytes) -> Result<Bytes, ApiError> {
        match self.conversion {
            None => Ok(stored),
            Some(conversion) => convert(&stored, |value| conversion.to_served(value)),
        }
    }

    /// Prefix of all keys of this resource in the store, with a slash at the end.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("/registry/{}/{}/", self.storage.0, self.storage.1)
    }

    /// Key of an object in the store.
    #[must_use]
    pub fn key(&self, namespace: Option<&str>, name: &str) -> String {
        match namespace {
            Some(namespace) => format!("{}{namespace}/{name}", self.prefix()),
            None => format!("{}{name}", self.prefix()),
        }
    }

    /// `pods`, or `deployments.apps`, as error messages name a resource.
    #[must_use]
    pub fn qualified(&self) -> String {
        if self.gvk.group.is_empty() {
            self.plural.to_string()
        } else {
            format!("{}.{}", self.plural, self.gvk.group)
        }
    }

    /// The subresource of this name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.gvk.api_version(), self.gvk.kind)
    }
}
