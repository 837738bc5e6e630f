//! All informers of a process.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use copepod_base::Shutdown;
use kube::api::{Api, ApiResource, DynamicObject, ObjectMeta, PartialObjectMeta};
use parking_lot::Mutex;

use crate::informer::{Informer, Object};

/// Selectors that the server applies; part of an informer's identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Field selector, such as `spec.nodeName=edge-1`.
    pub fields: Option<String>,
    /// Label selector, such as `app in (a,b)`.
    pub labels: Option<String>,
}

type Id = (TypeId, String, Scope);

/// Gives out one shared [`Informer`] per kind and scope. Clones are the same set.
///
/// An informer starts at the first request for it and ends with the shutdown node given to [`Informers::new`].
#[derive(Clone)]
pub struct Informers {
    client: kube::Client,
    shutdown: Shutdown,
    running: Arc<Mutex<HashMap<Id, Box<dyn Any + Send + Sync>>>>,
}

impl Informers {
    /// A set without informers.
    #[must_use]
    pub fn new(client: kube::Client, shutdown: &Shutdown) -> Self {
        Self { client, shutdown: shutdown.clone(), running: Arc::default() }
    }

    /// The client that the informers use.
    #[must_use]
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// The informer of all objects of a kind, in all namespaces.
    #[must_use]
    pub fn get<K: Object<DynamicType = ()>>(&self) -> Informer<K> {
        self.scoped(Scope::default())
    }

    /// The informer of the objects of a kind that the scope selects, in all namespaces.
    #[must_use]
    pub fn scoped<K: Object<DynamicType = ()>>(&self, scope: Scope) -> Informer<K> {
        // What no controller reads and what is often larger than the rest of the object.
        self.with_type(&(), scope, |object| object.meta_mut().managed_fields = None)
    }

    /// The informer of what ties the objects of a kind, known only at run time, to others: name, uid, owners,
    /// finalizers and times. Labels, annotations and all beside the metadata are not kept: with an informer per kind
    /// they would be most of the memory.
    #[must_use]
    pub fn ownership(&self, resource: &ApiResource) -> Informer<PartialObjectMeta<DynamicObject>> {
        self.with_type(resource, Scope::default(), |object| {
            object.metadata = ObjectMeta {
                name: object.metadata.name.take(),
                namespace: object.metadata.namespace.take(),
                uid: object.metadata.uid.take(),
                resource_version: object.metadata.resource_version.take(),
                owner_references: object.metadata.owner_references.take(),
                finalizers: object.metadata.finalizers.take(),
                creation_timestamp: object.metadata.creation_timestamp.take(),
                deletion_timestamp: object.metadata.deletion_timestamp.take(),
                ..ObjectMeta::default()
            };
            object.types = None;
        })
    }

    fn with_type<K: Object>(&self, resource: &K::DynamicType, scope: Scope, slim: fn(&mut K)) -> Informer<K> {
        let id = (TypeId::of::<K>(), K::url_path(resource, None), scope);
        let mut running = self.running.lock();
        if let Some(known) = running.get(&id).and_then(|any| any.downcast_ref::<Informer<K>>()) {
            return known.clone();
        }
        let api = Api::all_with(self.client.clone(), resource);
        let informer = Informer::start(api, id.2.clone(), slim, &self.shutdown);
        running.insert(id, Box::new(informer.clone()));
        informer
    }
}
