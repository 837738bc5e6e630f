//! A controller must not decide on a cache that lacks its own last writes: it would make the same pods twice.

use std::collections::HashMap;

use copepod_client::informer::Object;
use copepod_client::{Informer, ObjectKey};
use kube::api::ObjectMeta;
use parking_lot::Mutex;

/// Per reconciled object, the newest resource version that this controller's writes of dependents got.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<HashMap<ObjectKey, u64>>);

impl Written {
    /// Notes a write on behalf of `key`.
    pub(crate) fn note(&self, key: &ObjectKey, metadata: &ObjectMeta) {
        if let Some(version) = metadata.resource_version.as_ref().and_then(|text| text.parse::<u64>().ok()) {
            let mut written = self.0.lock();
            let newest = written.entry(key.clone()).or_default();
            *newest = (*newest).max(version);
        }
    }

    /// Waits until the cache has seen all that was noted for `key`.
    pub(crate) async fn seen<K: Object>(&self, key: &ObjectKey, cache: &Informer<K>) {
        let version = self.0.lock().remove(key);
        if let Some(version) = version {
            cache.seen(&version.to_string()).await;
        }
    }
}
