//! Which objects are whose: orphans that match a selector are adopted, own objects that no longer match are let go.

use std::fmt::Debug;
use std::sync::Arc;

use copepod_client::{ObjectKey, controller_ref};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::still_there;
use crate::written::Written;

/// A namespaced kind that owns or is owned.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
}

impl<K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned> Kind
    for K
{
}

/// An owner that claims its dependents.
pub(crate) struct Claim<'a, O> {
    pub(crate) client: &'a Client,
    pub(crate) key: &'a ObjectKey,
    pub(crate) owner: &'a O,
    pub(crate) selector: Option<&'a LabelSelector>,
    pub(crate) written: &'a Written,
}

impl<O: Kind> Claim<'_, O> {
    /// Releases those of `own` that the selector does not pick, adopts those of `orphans` that it does; gives what
    /// is the owner's then. Objects for which `counts` is false are left as they are. An owner that is being deleted
    /// changes nothing.
    pub(crate) async fn claim<K: Kind>(
        &self,
        own: Vec<Arc<K>>,
        orphans: Vec<Arc<K>>,
        counts: impl Fn(&K) -> bool,
    ) -> Result<Vec<Arc<K>>, kube::Error> {
        let (mut owned, strangers): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|object| crate::selects(self.selector, object.meta()));
        if self.owner.meta().deletion_timestamp.is_some() {
            return Ok(owned);
        }
        let uid = self.owner.meta().uid.as_deref().unwrap_or_default();
        for object in strangers.into_iter().filter(|object| counts(object)) {
            let patch = json!([{"$patch": "delete", "uid": uid}]);
            self.set_owners(&*object, &patch).await?;
        }
        let adoptable: Vec<_> = orphans
            .into_iter()
            .filter(|object| counts(object) && object.meta().deletion_timestamp.is_none())
            .filter(|object| crate::selects(self.selector, object.meta()))
            .collect();
        if adoptable.is_empty() || !self.owner_lives().await? {
            return Ok(owned);
        }
        for object in adoptable {
            let patch = json!([controller_ref(self.owner)]);
            owned.extend(self.set_owners(&*object, &patch).await?.map(Arc::new));
        }
        Ok(owned)
    }

    /// An owner that was deleted and made again must not adopt in the name of the old one.
    async fn owner_lives(&self) -> Result<bool, kube::Error> {
        let api: Api<O> = Api::namespaced(self.client.clone(), self.key.namespace());
        let live = api.get_opt(&self.key.name).await?;
        Ok(live.is_some_and(|live| {
            live.meta().uid == self.owner.meta().uid && live.meta().deletion_timestamp.is_none()
        }))
    }

    /// `None` when the object is gone, or is another one of the same name, or somebody else's meanwhile.
    async fn set_owners<K: Kind>(&self, object: &K, owners: &Value) -> Result<Option<K>, kube::Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), self.key.namespace());
        let name = object.meta().name.as_deref().unwrap_or_default();
        let patch = json!({"metadata": {"uid": object.meta().uid, "ownerReferences": owners}});
        match api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            // A second controller is refused as invalid.
            Err(error) if copepod_client::error::is_invalid(&error) => Ok(None),
            result => {
                let changed = still_there(result)?;
                changed.iter().for_each(|object| self.written.note(self.key, object.meta()));
                Ok(changed)
            }
        }
    }
}
