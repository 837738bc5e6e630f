//! The pods of this node as the kubelet API sees them.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::state::PodState;

/// A pod at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its status as computed last, maybe newer than the API's.
    pub status: PodStatus,
    /// What the runtime has.
    pub state: PodState,
}

type Key = (String, String);

/// A pod's UID and those who follow it.
type Entry = (String, watch::Sender<Arc<View>>);

/// Pods by namespace and name. Clones are the same registry.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<RwLock<HashMap<Key, Entry>>>);

impl Registry {
    /// Follows a pod; `None` when this node does not run it. The channel closes when the pod is gone.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<watch::Receiver<Arc<View>>> {
        let pods = self.0.read();
        pods.get(&(namespace.to_owned(), name.to_owned())).map(|(_, sender)| sender.subscribe())
    }

    /// All pods.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<View>> {
        self.0.read().values().map(|(_, sender)| sender.borrow().clone()).collect()
    }

    /// UID of the pod that has this sandbox, as far as its worker has told.
    #[must_use]
    pub fn owner(&self, sandbox: &str) -> Option<String> {
        let pods = self.0.read();
        let mut entries = pods.values();
        let (uid, _) =
            entries.find(|(_, sender)| sender.borrow().state.sandboxes.iter().any(|s| s.id == sandbox))?;
        Some(uid.clone())
    }

    pub(super) fn put(&self, view: View) {
        let key = (crate::spec::namespace(&view.pod).to_owned(), crate::spec::name(&view.pod).to_owned());
        let uid = crate::spec::uid(&view.pod).to_owned();
        let mut pods = self.0.write();
        match pods.get_mut(&key) {
            Some((known, sender)) if *known == uid => {
                sender.send_replace(Arc::new(view));
            }
            _ => {
                pods.insert(key, (uid, watch::Sender::new(Arc::new(view))));
            }
        }
    }

    /// Forgets a pod, unless another one has taken its name.
    pub(super) fn remove(&self, namespace: &str, name: &str, uid: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut pods = self.0.write();
        if pods.get(&key).is_some_and(|(known, _)| known == uid) {
            pods.remove(&key);
        }
    }
}
