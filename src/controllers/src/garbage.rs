//! What has lost its owners goes; what blocks the deletion of its owner goes first.
//!
//! * [`graph`]: who owns whom, built from watches on the metadata of every deletable kind. Pure.
//! * [`collect`]: what is done about one object. Before anything is deleted, the absence of its owners is confirmed
//!   by a live request for their uid: a cache that is behind must never cost an object.
//!
//! The rules are those of `metadata.ownerReferences`, `blockOwnerDeletion` and the finalizers `foregroundDeletion` and
//! `orphan`.

mod collect;
mod graph;

use std::sync::Arc;

use copepod_client::{Change, Queue, Subscription, controller};
use futures::future::join_all;
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::discovery::{Discovery, Scope, verbs};
use parking_lot::Mutex;

use crate::Context;
use graph::{Graph, Identity};

/// Objects looked at at a time.
const WORKERS: usize = 4;

pub(crate) fn start(context: &Context) {
    let context = context.clone();
    let shutdown = context.shutdown.clone();
    shutdown.clone().spawn_until_cancelled("garbage", async move {
        let mut retry = copepod_base::backoff::Backoff::new(copepod_base::backoff::Policy::REQUEST);
        loop {
            match resources(&context).await {
                Ok(resources) => return run(context, resources).await,
                Err(error) => {
                    tracing::warn!(error = %copepod_base::Chain(&error), "cannot discover what to collect, will try again");
                    tokio::time::sleep(retry.next_delay()).await;
                }
            }
        }
    });
}

/// A resource whose objects can own and be owned.
#[derive(Debug)]
struct Resource {
    api: ApiResource,
    is_namespaced: bool,
}

/// Every resource that can be watched and deleted, but events: they own nothing and go by themselves.
async fn resources(context: &Context) -> Result<Vec<Arc<Resource>>, kube::Error> {
    let discovery = Discovery::new(context.client.clone()).run_aggregated().await?;
    Ok(discovery
        .groups()
        .flat_map(|group| group.resources_by_stability())
        .filter(|(resource, capabilities)| {
            resource.kind != "Event"
                && [verbs::DELETE, verbs::LIST, verbs::WATCH]
                    .iter()
                    .all(|verb| capabilities.supports_operation(verb))
        })
        .map(|(api, capabilities)| {
            Arc::new(Resource { api, is_namespaced: capabilities.scope == Scope::Namespaced })
        })
        .collect())
}

async fn run(context: Context, resources: Vec<Arc<Resource>>) {
    let graph = Arc::new(Mutex::new(Graph::default()));
    let queue: Queue<String> = Queue::new();
    let informers: Vec<_> =
        resources.iter().map(|resource| context.informers.ownership(&resource.api)).collect();
    // An owner whose kind was not listed yet would look absent, and one whose dependents are not in the graph yet would
    // look as if it had none: nothing is decided before the graph is whole.
    join_all(informers.iter().map(|informer| informer.synced())).await;
    let mut affected = Vec::new();
    let feeds: Vec<_> = resources
        .iter()
        .zip(&informers)
        .map(|(resource, informer)| {
            let mut changes = informer.subscribe();
            while let Some(change) = changes.try_recv() {
                affected.extend(observe(&graph, resource, &change));
            }
            (resource.clone(), changes)
        })
        .collect();
    affected.into_iter().for_each(|uid| queue.add(uid));
    for (resource, changes) in feeds {
        let follow = follow(graph.clone(), queue.clone(), resource, changes);
        context.shutdown.spawn_until_cancelled("garbage-feed", follow);
    }
    let collector =
        Arc::new(collect::Collector::new(context.client.clone(), graph, resources, queue.clone()));
    controller::run("garbage", queue, WORKERS, &context.shutdown, move |uid: String| {
        let collector = collector.clone();
        async move { collector.attend(&uid).await }
    })
    .await;
}

async fn follow(
    graph: Arc<Mutex<Graph>>,
    queue: Queue<String>,
    resource: Arc<Resource>,
    mut changes: Subscription<PartialObjectMeta<DynamicObject>>,
) {
    while let Some(change) = changes.recv().await {
        observe(&graph, &resource, &change).into_iter().for_each(|uid| queue.add(uid));
    }
}

/// Brings the graph up to date; gives the objects that have to be looked at.
fn observe(
    graph: &Mutex<Graph>,
    resource: &Arc<Resource>,
    change: &Change<PartialObjectMeta<DynamicObject>>,
) -> Vec<String> {
    let metadata = &change.object().metadata;
    let Some(uid) = metadata.uid.as_deref() else { return Vec::new() };
    if change.is_deleted() {
        return graph.lock().remove(uid);
    }
    let identity = Identity {
        resource: resource.clone(),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone().unwrap_or_default(),
    };
    graph.lock().set(uid, identity, metadata)
}
