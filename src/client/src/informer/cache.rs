//! The objects, their indexes and the subscribers: one lock, so that all three always agree.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::Arc;

use kube::Resource;
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};

use super::Change;

/// How far an informer is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// A complete list was taken over.
    pub(super) synced: bool,
    /// Nothing will change any more.
    pub(super) ended: bool,
    /// Everything up to this resource version is in the cache.
    pub(super) version: u64,
}

pub(super) type IndexFn<K> = Box<dyn Fn(&K) -> Vec<String> + Send + Sync>;

struct Index<K> {
    keys: IndexFn<K>,
    objects: HashMap<String, Vec<Arc<K>>>,
}

impl<K> Index<K> {
    fn insert(&mut self, object: &Arc<K>) {
        for key in (self.keys)(object) {
            self.objects.entry(key).or_default().push(object.clone());
        }
    }

    fn remove(&mut self, object: &Arc<K>) {
        for key in (self.keys)(object) {
            if let Some(bucket) = self.objects.get_mut(&key) {
                if let Some(place) = bucket.iter().position(|other| Arc::ptr_eq(other, object)) {
                    bucket.swap_remove(place);
                }
                if bucket.is_empty() {
                    self.objects.remove(&key);
                }
            }
        }
    }
}

/// Objects by namespace (empty for cluster scope) and name.
type Objects<K> = BTreeMap<Box<str>, BTreeMap<Box<str>, Arc<K>>>;

struct State<K> {
    objects: Objects<K>,
    indexes: BTreeMap<&'static str, Index<K>>,
    subscribers: Vec<mpsc::UnboundedSender<Change<K>>>,
}

/// What the handles and the reflector of an informer share.
pub(super) struct Shared<K> {
    state: RwLock<State<K>>,
    progress: watch::Sender<Progress>,
}

impl<K> Shared<K> {
    pub(super) fn new() -> Self {
        let state = State { objects: BTreeMap::new(), indexes: BTreeMap::new(), subscribers: Vec::new() };
        Self { state: RwLock::new(state), progress: watch::Sender::default() }
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.state.read().objects.get(namespace)?.get(name).cloned()
    }

    pub(super) fn list(&self) -> Vec<Arc<K>> {
        self.state.read().objects.values().flat_map(BTreeMap::values).cloned().collect()
    }

    pub(super) fn list_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.state.read().objects.get(namespace).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.state.read().objects.values().map(BTreeMap::len).sum()
    }

    pub(super) fn add_index(&self, name: &'static str, keys: IndexFn<K>) {
        let mut state = self.state.write();
        let State { objects, indexes, .. } = &mut *state;
        indexes.entry(name).or_insert_with(|| {
            let mut index = Index { keys, objects: HashMap::new() };
            objects.values().flat_map(BTreeMap::values).for_each(|object| index.insert(object));
            index
        });
    }

    pub(super) fn by_index(&self, name: &'static str, key: &str) -> Vec<Arc<K>> {
        let state = self.state.read();
        let Some(index) = state.indexes.get(name) else {
            panic!("index {name:?} is asked for but was never added to this informer");
        };
        index.objects.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn subscribe(&self) -> mpsc::UnboundedReceiver<Change<K>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state.write();
        for object in state.objects.values().flat_map(BTreeMap::values) {
            // The receiver is alive: it is in this function.
            let _ = sender.send(Change::Added(object.clone()));
        }
        if !self.current().ended {
            state.subscribers.push(sender);
        }
        receiver
    }

    pub(super) fn current(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits until `reached` holds; `false` when the informer ends first.
    pub(super) async fn progress(&self, reached: impl Fn(&Progress) -> bool) -> bool {
        let mut receiver = self.progress.subscribe();
        match receiver.wait_for(|progress| reached(progress) || progress.ended).await {
            Ok(progress) => reached(&progress),
            Err(_) => false,
        }
    }

    /// Everything up to this version was seen.
    pub(super) fn advance(&self, version: u64) {
        self.progress.send_if_modified(|progress| {
            let forward = version > progress.version;
            progress.version = progress.version.max(version);
            forward
        });
    }

    /// No change will come any more; subscriptions end.
    pub(super) fn end(&self) {
        let mut state = self.state.write();
        self.progress.send_modify(|progress| progress.ended = true);
        state.subscribers.clear();
    }
}

impl<K: Resource> Shared<K> {
    /// Takes over a complete list: what is not in it is gone.
    pub(super) fn replace(&self, fresh: Vec<K>, version: u64) {
        let mut state = self.state.write();
        let mut before = mem::take(&mut state.objects);
        for object in fresh {
            let (namespace, name) = place(&object);
            let old = before.get_mut(namespace).and_then(|names| names.remove(name));
            match old {
                Some(old) if same_version(&*old, &object) => state.store(old),
                Some(old) => state.update(old, Arc::new(object)),
                None => state.add(Arc::new(object)),
            }
        }
        for gone in before.into_values().flat_map(BTreeMap::into_values) {
            state.unindex(&gone);
            state.emit(&Change::Deleted(gone));
        }
        // Set, not raised: after a restore from a backup the server's versions begin lower.
        self.progress.send_modify(|progress| {
            progress.synced = true;
            progress.version = version;
        });
    }

    /// Takes over an added or modified object.
    pub(super) fn apply(&self, object: K) {
        let mut state = self.state.write();
        let (namespace, name) = place(&object);
        match state.take(namespace, name) {
            Some(old) if same_version(&*old, &object) => state.store(old),
            Some(old) => state.update(old, Arc::new(object)),
            None => state.add(Arc::new(object)),
        }
    }

    /// Takes over a deletion; `object` is the last state.
    pub(super) fn delete(&self, object: K) {
        let mut state = self.state.write();
        let (namespace, name) = place(&object);
        if let Some(old) = state.take(namespace, name) {
            state.unindex(&old);
            state.emit(&Change::Deleted(Arc::new(object)));
        }
    }
}

impl<K: Resource> State<K> {
    fn store(&mut self, object: Arc<K>) {
        let (namespace, name) = place(&*object);
        let name = Box::from(name);
        if let Some(names) = self.objects.get_mut(namespace) {
            names.insert(name, object);
        } else {
            let namespace = Box::from(namespace);
            self.objects.insert(namespace, BTreeMap::from([(name, object)]));
        }
    }

    fn take(&mut self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let names = self.objects.get_mut(namespace)?;
        let object = names.remove(name);
        if names.is_empty() {
            self.objects.remove(namespace);
        }
        object
    }

    fn add(&mut self, object: Arc<K>) {
        self.indexes.values_mut().for_each(|index| index.insert(&object));
        self.store(object.clone());
        self.emit(&Change::Added(object));
    }

    fn update(&mut self, old: Arc<K>, new: Arc<K>) {
        self.unindex(&old);
        if old.meta().uid == new.meta().uid {
            self.indexes.values_mut().for_each(|index| index.insert(&new));
            self.store(new.clone());
            self.emit(&Change::Updated { old, new });
        } else {
            // Deleted and made again while nobody looked: two objects, not one that changed.
            self.emit(&Change::Deleted(old));
            self.add(new);
        }
    }

    fn unindex(&mut self, object: &Arc<K>) {
        self.indexes.values_mut().for_each(|index| index.remove(object));
    }

    fn emit(&mut self, change: &Change<K>) {
        self.subscribers.retain(|subscriber| subscriber.send(change.clone()).is_ok());
    }
}

fn place<K: Resource>(object: &K) -> (&str, &str) {
    let meta = object.meta();
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

fn same_version<K: Resource>(a: &K, b: &K) -> bool {
    let (a, b) = (a.meta(), b.meta());
    a.uid == b.uid && a.resource_version.is_some() && a.resource_version == b.resource_version
}
