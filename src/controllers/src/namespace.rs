//! A namespace that is being deleted is emptied and then removed.
//!
//! Pods go before everything else (KEP-5080): what they use must not vanish under them. The `kubernetes` finalizer in
//! `spec.finalizers` is taken away when nothing is left.

use std::time::Duration;

use copepod_client::controller::{Action, feed};
use copepod_client::{Queue, controller, error};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Pod};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PartialObjectMeta, PostParams};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Client};

use crate::Context;
use crate::condition::{self, Condition as _};

/// The finalizer that stands for this controller.
const FINALIZER: &str = "kubernetes";

/// Shortest and longest wait before a look at what finalizers still hold. In between it is half of the time that the
/// namespace has waited already: soon for what goes soon, seldom for what does not go.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How soon to look again while pods end; their deletion wakes the controller earlier.
const PODS_LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Whether new objects may be made in the namespace.
pub(crate) fn is_active(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_none()
}

pub(crate) fn start(context: &Context) {
    let queue: Queue<String> = Queue::new();
    let namespaces = context.informers.get::<Namespace>();
    let pods = context.informers.get::<Pod>();
    feed("namespace-namespaces", namespaces.subscribe(), &queue, &context.shutdown, |change| {
        let namespace = change.object();
        namespace.metadata.name.clone().filter(|_| !change.is_deleted() && !is_active(namespace))
    });
    let of_pods = namespaces.clone();
    feed("namespace-pods", pods.subscribe(), &queue, &context.shutdown, move |change| {
        let namespace = change.object().metadata.namespace.clone().filter(|_| change.is_deleted())?;
        of_pods.get(None, &namespace).is_some_and(|known| !is_active(&known)).then_some(namespace)
    });
    let context = context.clone();
    copepod_base::spawn("namespace", async move {
        let shutdown = context.shutdown.clone();
        controller::run("namespace", queue, 4, &shutdown, move |name: String| {
            let (client, namespaces) = (context.client.clone(), namespaces.clone());
            async move {
                match namespaces.get(None, &name) {
                    Some(namespace) if !is_active(&namespace) => terminate(client, &name).await,
                    _ => Ok(Action::Done),
                }
            }
        })
        .await;
    });
}

/// What is still there, by resource, and what holds it.
#[derive(Debug, Default)]
struct Leftovers {
    /// `pods.`, `deployments.apps` with the number of objects.
    resources: Vec<(String, usize)>,
    /// Finalizers with the number of objects that carry them.
    finalizers: std::collections::BTreeMap<String, usize>,
    failures: Vec<String>,
    /// Why the server could not tell what resources there are.
    undiscovered: Option<String>,
}

impl Leftovers {
    fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.failures.is_empty()
    }
}

async fn terminate(client: Client, name: &str) -> Result<Action, kube::Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    // The informer may lag: what a finalize call must be based on is the newest object.
    let Some(namespace) = api.get_opt(name).await? else { return Ok(Action::Done) };
    if is_active(&namespace) {
        return Ok(Action::Done);
    }
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_deref()).unwrap_or_default();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Action::Done);
    }
    let pods = empty(&client, name, &[ApiResource::erase::<Pod>(&())]).await;
    if !pods.is_empty() {
        report(&api, &namespace, &pods).await?;
        return Ok(Action::RequeueAfter(PODS_LOOK_AGAIN));
    }
    let resources = match deletable(&client).await {
        Ok(resources) => resources,
        Err(error) => {
            let unknown = Leftovers { undiscovered: Some(crate::message(&error)), ..Leftovers::default() };
            report(&api, &namespace, &unknown).await?;
            return Err(error);
        }
    };
    let rest = empty(&client, name, &resources).await;
    report(&api, &namespace, &rest).await?;
    if !rest.is_empty() {
        return Ok(Action::RequeueAfter(look_again(&namespace, copepod_client::time::timestamp())));
    }
    finalize(&api, name).await
}

fn look_again(namespace: &Namespace, now: Timestamp) -> Duration {
    let since = namespace.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
    let waited = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    (waited / 2).clamp(LOOK_AGAIN.0, LOOK_AGAIN.1)
}

/// All namespaced resources that can be listed and deleted.
async fn deletable(client: &Client) -> Result<Vec<ApiResource>, kube::Error> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    Ok(discovery
        .groups()
        .flat_map(|group| group.resources_by_stability())
        .filter(|(_, capabilities)| {
            capabilities.scope == Scope::Namespaced
                && capabilities.supports_operation(verbs::DELETE_COLLECTION)
                && capabilities.supports_operation(verbs::LIST)
        })
        .map(|(resource, _)| resource)
        .collect())
}

/// Deletes all objects of the resources in the namespace, and tells what is still there.
async fn empty(client: &Client, namespace: &str, resources: &[ApiResource]) -> Leftovers {
    let mut leftovers = Leftovers::default();
    for resource in resources {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
        match remaining(&api).await {
            Ok(left) if left.is_empty() => {}
            Ok(left) => {
                leftovers.resources.push((qualified(resource), left.len()));
                for finalizer in left.iter().flat_map(|object| object.metadata.finalizers.iter().flatten()) {
                    *leftovers.finalizers.entry(finalizer.clone()).or_default() += 1;
                }
            }
            Err(error) if error::is_not_found(&error) => {}
            Err(error) => {
                leftovers.failures.push(format!("{}: {}", qualified(resource), copepod_base::Chain(&error)))
            }
        }
    }
    leftovers
}

/// Lists first: most resources have nothing here, or nothing that is not being deleted, and a list costs less than a
/// deletion.
async fn remaining(api: &Api<DynamicObject>) -> Result<Vec<PartialObjectMeta<DynamicObject>>, kube::Error> {
    let list = ListParams::default();
    let known = api.list_metadata(&list).await?.items;
    if known.iter().all(|object| object.metadata.deletion_timestamp.is_some()) {
        return Ok(known);
    }
    api.delete_collection(&DeleteParams::background(), &list).await?;
    Ok(api.list_metadata(&list).await?.items)
}

fn qualified(resource: &ApiResource) -> String {
    format!("{}.{}", resource.plural, resource.group)
}

/// Writes the conditions that tell a person why the namespace is still there.
async fn report(
    api: &Api<Namespace>,
    namespace: &Namespace,
    leftovers: &Leftovers,
) -> Result<(), kube::Error> {
    let mut new = namespace.clone();
    let status = new.status.get_or_insert_default();
    status.phase = Some("Terminating".into());
    let conditions = status.conditions.get_or_insert_default();
    for wanted in conditions_of(leftovers) {
        condition::update(conditions, wanted);
    }
    crate::still_there(copepod_client::patch_status(api, namespace, &new).await).map(|_| ())
}

fn conditions_of(leftovers: &Leftovers) -> Vec<NamespaceCondition> {
    let resources: Vec<String> = leftovers
        .resources
        .iter()
        .map(|(name, count)| format!("{name} has {count} resource instances"))
        .collect();
    let finalizers: Vec<String> = leftovers
        .finalizers
        .iter()
        .map(|(name, count)| format!("{name} in {count} resource instances"))
        .collect();
    let new = NamespaceCondition::new;
    vec![
        match &leftovers.undiscovered {
            None => new(
                "NamespaceDeletionDiscoveryFailure",
                "False",
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
            Some(why) => {
                let message = format!("Discovery failed for some groups, 1 failing: {why}");
                new("NamespaceDeletionDiscoveryFailure", "True", "DiscoveryFailed", &message)
            }
        },
        new(
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        if leftovers.failures.is_empty() {
            new(
                "NamespaceDeletionContentFailure",
                "False",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            )
        } else {
            let message = format!(
                "Failed to delete all resource types, {} remaining: {}",
                leftovers.failures.len(),
                leftovers.failures.join(", ")
            );
            new("NamespaceDeletionContentFailure", "True", "ContentDeletionFailed", &message)
        },
        if resources.is_empty() {
            new("NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed")
        } else {
            let message = format!("Some resources are remaining: {}", resources.join(", "));
            new("NamespaceContentRemaining", "True", "SomeResourcesRemain", &message)
        },
        if finalizers.is_empty() {
            new(
                "NamespaceFinalizersRemaining",
                "False",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            )
        } else {
            let message =
                format!("Some content in the namespace has finalizers remaining: {}", finalizers.join(", "));
            new("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", &message)
        },
    ]
}

/// Takes the `kubernetes` finalizer away; the API server removes the namespace with the last one.
async fn finalize(api: &Api<Namespace>, name: &str) -> Result<Action, kube::Error> {
    let Some(mut namespace) = api.get_opt(name).await? else { return Ok(Action::Done) };
    if let Some(finalizers) = namespace.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    match api.replace_subresource("finalize", name, &PostParams::default(), &namespace).await {
        Ok(_) => Ok(Action::Done),
        Err(error) if error::is_not_found(&error) => Ok(Action::Done),
        Err(error) => Err(error),
    }
}
