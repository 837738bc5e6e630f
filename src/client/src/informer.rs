//! A shared cache of one kind, kept current by list and watch.

mod cache;
mod reflector;

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use copepod_base::Shutdown;
use futures::Stream;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::informers::Scope;
use cache::Shared;

/// What an informer can hold; every k8s-openapi kind and `PartialObjectMeta` is one.
pub trait Object: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

impl<T: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static> Object for T {}

/// One change of the cache. The objects are shared, never copied.
#[derive(Debug)]
pub enum Change<K> {
    /// The object is new, or was known when the subscription began.
    Added(Arc<K>),
    /// The object has the same uid and another resource version than before.
    Updated {
        /// What the cache held until now.
        old: Arc<K>,
        /// What it holds since.
        new: Arc<K>,
    },
    /// The object is gone, or left the scope; its last known state.
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    /// The newest state of the object.
    #[must_use]
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Deleted(object) | Self::Updated { new: object, .. } => object,
        }
    }

    /// Whether the object is gone.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        matches!(self, Self::Deleted(_))
    }
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Added(object) => Self::Added(object.clone()),
            Self::Updated { old, new } => Self::Updated { old: old.clone(), new: new.clone() },
            Self::Deleted(object) => Self::Deleted(object.clone()),
        }
    }
}

/// The changes since a subscription began, without a gap, however slowly they are read.
///
/// Ends when the informer ends.
#[derive(Debug)]
pub struct Subscription<K> {
    changes: mpsc::UnboundedReceiver<Change<K>>,
}

impl<K> Subscription<K> {
    /// The next change; `None` when the informer has ended. Safe to cancel.
    pub async fn recv(&mut self) -> Option<Change<K>> {
        self.changes.recv().await
    }

    /// The next change if there is one already.
    pub fn try_recv(&mut self) -> Option<Change<K>> {
        self.changes.try_recv().ok()
    }
}

impl<K> Stream for Subscription<K> {
    type Item = Change<K>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().changes.poll_recv(context)
    }
}

/// A cache of the objects of one kind and scope. Clones are the same cache.
pub struct Informer<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: Object> Informer<K> {
    /// Starts the list and watch, until the shutdown. `slim` drops from each object what the cache need not hold.
    pub(crate) fn start(api: Api<K>, scope: Scope, slim: fn(&mut K), shutdown: &Shutdown) -> Self {
        let shared = Arc::new(Shared::new());
        let reflector = reflector::Reflector::new(api, scope, slim, shared.clone());
        shutdown.spawn_until_cancelled("informer", reflector.run());
        Self { shared }
    }

    /// The object of this name; `None` as namespace for cluster-scoped kinds.
    #[must_use]
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Option<Arc<K>> {
        self.shared.get(namespace.unwrap_or_default(), name)
    }

    /// The object of this key.
    #[must_use]
    pub fn by_key(&self, key: &crate::ObjectKey) -> Option<Arc<K>> {
        self.shared.get(key.namespace(), &key.name)
    }

    /// All objects, ordered by namespace and name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.list()
    }

    /// All objects of a namespace, ordered by name.
    #[must_use]
    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.shared.list_namespace(namespace)
    }

    /// How many objects the cache holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Whether the cache holds no object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a secondary index under a name, unless one of this name is there: the name stands for the function.
    pub fn index(
        &self,
        name: &'static str,
        keys: impl Fn(&K) -> Vec<String> + Send + Sync + 'static,
    ) -> &Self {
        self.shared.add_index(name, Box::new(keys));
        self
    }

    /// The objects for which the index's function gave this key, in no particular order.
    ///
    /// # Panics
    /// When no index of this name was added: an empty answer would be taken for the truth.
    #[must_use]
    pub fn by_index(&self, name: &'static str, key: &str) -> Vec<Arc<K>> {
        self.shared.by_index(name, key)
    }

    /// Waits for the first complete list; `false` when the informer ended before it had one.
    pub async fn synced(&self) -> bool {
        self.shared.progress(|progress| progress.synced).await
    }

    /// Whether the first complete list is there.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.shared.current().synced
    }

    /// Changes from now on, after an `Added` for every object known now.
    #[must_use]
    pub fn subscribe(&self) -> Subscription<K> {
        Subscription { changes: self.shared.subscribe() }
    }

    /// Resource version up to which the cache has seen everything; 0 before the first list.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.shared.current().version
    }

    /// Waits until the cache contains the write that gave this resource version to an object of this kind (and
    /// scope). `false` when the informer ended first, or when the version is not a number.
    ///
    /// For versions of other kinds the wait lasts until the server's next bookmark.
    pub async fn seen(&self, resource_version: &str) -> bool {
        let Ok(version) = resource_version.parse::<u64>() else { return false };
        self.shared.progress(|progress| progress.synced && progress.version >= version).await
    }
}

#[cfg(test)]
mod tests;
