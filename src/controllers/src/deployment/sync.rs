//! The loop around the plans.

use std::sync::Arc;

use copepod_client::controller::Action;
use copepod_client::{Informer, ObjectKey, controller_ref, error, owner};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};

use super::status::{self, Step};
use super::{rollout, template};
use crate::written::Written;
use crate::{Context, pods};

/// The controller's part that reconciles.
#[derive(Clone)]
pub(super) struct Sync(Arc<Inner>);

struct Inner {
    context: Context,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    written: Written,
}

/// What a pass over a Deployment works with.
struct Pass<'a> {
    key: &'a ObjectKey,
    deployment: &'a Deployment,
    sets: Api<ReplicaSet>,
    newest: Option<Arc<ReplicaSet>>,
    old: Vec<Arc<ReplicaSet>>,
}

impl Pass<'_> {
    fn all(&self) -> Vec<Arc<ReplicaSet>> {
        self.old.iter().chain(&self.newest).cloned().collect()
    }
}

impl Sync {
    pub(super) fn new(
        context: &Context,
        deployments: Informer<Deployment>,
        sets: Informer<ReplicaSet>,
        pods: Informer<Pod>,
    ) -> Self {
        Self(Arc::new(Inner {
            context: context.clone(),
            deployments,
            sets,
            pods,
            written: Written::default(),
        }))
    }

    pub(super) async fn reconcile(self, key: ObjectKey) -> Result<Action, kube::Error> {
        let this = &self.0;
        this.sets.synced().await;
        this.pods.synced().await;
        let Some(deployment) = this.deployments.by_key(&key) else {
            this.written.forget(&key);
            return Ok(Action::Done);
        };
        this.written.seen(&key, &this.sets).await;
        let mut pass = this.observe(&key, &deployment).await?;
        let step = if deployment.metadata.deletion_timestamp.is_some() {
            Step::Going
        } else {
            this.advance(&mut pass).await?
        };
        let (status, again) = status::status(
            &deployment,
            pass.newest.as_deref(),
            &pass.all(),
            &step,
            copepod_client::time::timestamp(),
        );
        let new = Deployment { status: Some(status), ..(*deployment).clone() };
        let api: Api<Deployment> = Api::namespaced(this.context.client.clone(), key.namespace());
        match copepod_client::patch_status(&api, &deployment, &new).await {
            Ok(_) => Ok(again.map_or(Action::Done, Action::RequeueAfter)),
            Err(error) if error::is_not_found(&error) => Ok(Action::Done),
            Err(error) => Err(error),
        }
    }
}

impl Inner {
    /// Claims the Deployment's sets and tells the newest from the others.
    async fn observe<'a>(
        &self,
        key: &'a ObjectKey,
        deployment: &'a Deployment,
    ) -> Result<Pass<'a>, kube::Error> {
        let sets: Api<ReplicaSet> = Api::namespaced(self.context.client.clone(), key.namespace());
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        let mut owned = self.sets.by_index(super::BY_CONTROLLER, uid);
        if deployment.metadata.deletion_timestamp.is_none() {
            let selector = deployment.spec.as_ref().map(|spec| &spec.selector);
            let orphans = self.sets.list_namespace(key.namespace()).into_iter().filter(|set| {
                owner::controller_of(&**set).is_none()
                    && set.metadata.deletion_timestamp.is_none()
                    && crate::selects(selector, &set.metadata)
            });
            for orphan in orphans {
                let patch = json!({"metadata": {
                    "uid": orphan.metadata.uid, "ownerReferences": [controller_ref(deployment)]}});
                if let Some(adopted) = self.patch(key, &sets, &orphan, &patch).await? {
                    owned.push(adopted);
                }
            }
        }
        let newest = template::newest(deployment, &owned);
        let old = owned
            .into_iter()
            .filter(|set| newest.as_ref().is_none_or(|newest| newest.metadata.uid != set.metadata.uid))
            .collect();
        Ok(Pass { key, deployment, sets, newest, old })
    }

    /// One step towards what the Deployment asks for.
    async fn advance(&self, pass: &mut Pass<'_>) -> Result<Step, kube::Error> {
        let deployment = pass.deployment;
        let paused = deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true);
        if paused || rollout::is_scaling(deployment, &pass.all()) {
            let steps = rollout::scaled(deployment, pass.newest.as_ref(), &pass.old);
            self.apply(pass, steps).await?;
            if paused {
                self.clean_up(pass).await?;
            }
            return Ok(Step::Going);
        }
        if rollout::is_recreate(deployment) {
            let steps: Vec<_> = pass
                .old
                .iter()
                .filter(|set| template::replicas(set) > 0)
                .map(|set| (set.clone(), 0))
                .collect();
            if !steps.is_empty() {
                self.apply(pass, steps).await?;
                return Ok(Step::Going);
            }
            if self.old_pods_remain(pass) {
                return Ok(Step::Going);
            }
        }
        let step = self.ensure_newest(pass).await?;
        let Some(newest) = pass.newest.clone() else { return Ok(step) };
        let current = template::replicas(&newest);
        let wanted = rollout::of_newest(deployment, current, &pass.old);
        if wanted != current {
            self.apply(pass, vec![(newest, wanted)]).await?;
        } else if !rollout::is_recreate(deployment) {
            let steps = rollout::shrink_old(deployment, &newest, &pass.old);
            self.apply(pass, steps).await?;
        }
        let status = deployment.status.clone().unwrap_or_default();
        if status::is_complete(deployment, &status) {
            self.clean_up(pass).await?;
        }
        Ok(step)
    }

    fn old_pods_remain(&self, pass: &Pass<'_>) -> bool {
        pass.old
            .iter()
            .filter_map(|set| set.metadata.uid.as_deref())
            .flat_map(|uid| self.pods.by_index(pods::BY_CONTROLLER, uid))
            .any(|pod| !pods::is_finished(&pod))
    }

    /// Makes the set for the present template, or brings its annotations up to date; keeps the revision on the
    /// Deployment.
    async fn ensure_newest(&self, pass: &mut Pass<'_>) -> Result<Step, kube::Error> {
        let revision = template::last_revision(&pass.old) + 1;
        let step = match pass.newest.clone() {
            Some(newest) => {
                let min_ready = pass.deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
                let differs = newest.spec.as_ref().and_then(|spec| spec.min_ready_seconds) != min_ready;
                let annotations = template::annotations(pass.deployment, &newest, revision);
                let rolled_back =
                    template::number(&newest.metadata, template::REVISION).is_some_and(|had| had < revision);
                if annotations.is_some() || differs {
                    let mut patch = json!({"metadata": {"uid": newest.metadata.uid}, "spec": {"minReadySeconds": min_ready}});
                    if let Some(annotations) = annotations {
                        patch["metadata"]["annotations"] = json!(annotations);
                    }
                    pass.newest =
                        self.patch(pass.key, &pass.sets, &newest, &patch).await?.or(pass.newest.take());
                }
                if rolled_back { Step::Found(name(&newest.metadata).to_owned()) } else { Step::Going }
            }
            None => self.create_newest(pass, revision).await?,
        };
        let noted = pass.newest.as_ref().and_then(|set| template::number(&set.metadata, template::REVISION));
        if let Some(noted) = noted
            .filter(|noted| template::number(&pass.deployment.metadata, template::REVISION) != Some(*noted))
        {
            let api: Api<Deployment> = Api::namespaced(self.context.client.clone(), pass.key.namespace());
            let patch = json!({"metadata": {
                "uid": pass.deployment.metadata.uid, "annotations": {(template::REVISION): noted.to_string()}}});
            api.patch(&pass.key.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        }
        Ok(step)
    }

    async fn create_newest(&self, pass: &mut Pass<'_>, revision: i64) -> Result<Step, kube::Error> {
        let deployment = pass.deployment;
        let replicas = rollout::of_newest(deployment, 0, &pass.old);
        let set = template::new_set(deployment, replicas, revision, rollout::most(deployment));
        let set_name = name(&set.metadata).to_owned();
        match pass.sets.create(&PostParams::default(), &set).await {
            Ok(created) => {
                self.written.note(pass.key, &created.metadata);
                if replicas > 0 {
                    self.scaled_event(deployment, &set_name, 0, replicas);
                }
                pass.newest = Some(Arc::new(created));
                Ok(Step::Created(set_name))
            }
            Err(error) if error::is_already_exists(&error) => {
                let there = pass.sets.get_opt(&set_name).await?.map(Arc::new);
                let ours = there.filter(|set| {
                    owner::is_controlled_by(&**set, deployment.metadata.uid.as_deref().unwrap_or_default())
                        && template::newest(deployment, std::slice::from_ref(set)).is_some()
                });
                if ours.is_some() {
                    // An earlier pass made it; the cache had not seen it yet.
                    pass.newest = ours;
                    return Ok(Step::Going);
                }
                // Another template has the same hash: the next name is made with the count mixed in.
                let api: Api<Deployment> = Api::namespaced(self.context.client.clone(), pass.key.namespace());
                let count =
                    deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0) + 1;
                let patch = json!({"metadata": {"uid": deployment.metadata.uid}, "status": {"collisionCount": count}});
                api.patch_status(&pass.key.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
                Err(error)
            }
            Err(error) if error::is_namespace_terminating(&error) => Ok(Step::Going),
            Err(error) => {
                let text = error::api_status(&error)
                    .map_or_else(|| error.to_string(), |status| status.message.clone());
                let message = format!("Failed to create new replica set {set_name:?}: {text}");
                self.context.recorder.warning(deployment, "ReplicaSetCreateError", message.clone());
                if error::is_invalid(&error) || error::is_forbidden(&error) {
                    return Ok(Step::Failed(message));
                }
                Err(error)
            }
        }
    }

    /// Gives sets their new sizes, and notes on each what they were computed from.
    async fn apply(&self, pass: &mut Pass<'_>, steps: Vec<rollout::Step>) -> Result<(), kube::Error> {
        let deployment = pass.deployment;
        let notes = json!({
            (template::DESIRED): template::desired(deployment).to_string(),
            (template::MAX): rollout::most(deployment).to_string(),
        });
        for (set, size) in steps {
            let before = template::replicas(&set);
            let patch = json!({
                "metadata": {"uid": set.metadata.uid, "annotations": notes},
                "spec": {"replicas": size}});
            let Some(changed) = self.patch(pass.key, &pass.sets, &set, &patch).await? else { continue };
            if before != size {
                self.scaled_event(deployment, name(&set.metadata), before, size);
            }
            let is_it = |other: &Arc<ReplicaSet>| other.metadata.uid == changed.metadata.uid;
            if pass.newest.as_ref().is_some_and(is_it) {
                pass.newest = Some(changed);
            } else if let Some(slot) = pass.old.iter_mut().find(|other| is_it(other)) {
                *slot = changed;
            }
        }
        Ok(())
    }

    fn scaled_event(&self, deployment: &Deployment, set: &str, from: i32, to: i32) {
        let direction = if to > from { "up" } else { "down" };
        self.context.recorder.normal(
            deployment,
            "ScalingReplicaSet",
            format!("Scaled {direction} replica set {set} from {from} to {to}"),
        );
    }

    async fn clean_up(&self, pass: &Pass<'_>) -> Result<(), kube::Error> {
        for set in template::obsolete(pass.deployment, &pass.old) {
            let params = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: set.metadata.uid.clone(),
                    resource_version: set.metadata.resource_version.clone(),
                }),
                ..DeleteParams::background()
            };
            match pass.sets.delete(name(&set.metadata), &params).await {
                Ok(_) => {}
                Err(error) if error::is_not_found(&error) || error::is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Patches a set; `None` when it is gone, or is another one of the same name.
    async fn patch(
        &self,
        key: &ObjectKey,
        api: &Api<ReplicaSet>,
        set: &ReplicaSet,
        patch: &Value,
    ) -> Result<Option<Arc<ReplicaSet>>, kube::Error> {
        match api.patch(name(&set.metadata), &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(set) => {
                self.written.note(key, &set.metadata);
                Ok(Some(Arc::new(set)))
            }
            Err(error) if error::is_not_found(&error) || error::is_conflict(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}
