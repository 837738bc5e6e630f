//! Every active namespace has a ServiceAccount called `default`, made again when somebody deletes it.

use copepod_client::controller::{Action, feed};
use copepod_client::{Change, Queue, controller};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::Context;
use crate::namespace::is_active;

const NAME: &str = "default";

pub(crate) fn start(context: &Context) {
    let queue: Queue<String> = Queue::new();
    let namespaces = context.informers.get::<Namespace>();
    let accounts = context.informers.get::<ServiceAccount>();
    feed("service-account-namespaces", namespaces.subscribe(), &queue, &context.shutdown, |change| {
        change.object().metadata.name.clone()
    });
    feed(
        "service-account-accounts",
        accounts.subscribe(),
        &queue,
        &context.shutdown,
        |change| match change {
            Change::Deleted(account) if account.metadata.name.as_deref() == Some(NAME) => {
                account.metadata.namespace.clone()
            }
            _ => None,
        },
    );
    let context = context.clone();
    copepod_base::spawn("service-account", async move {
        let shutdown = context.shutdown.clone();
        controller::run("service-account", queue, 1, &shutdown, move |namespace: String| {
            let (context, namespaces, accounts) = (context.clone(), namespaces.clone(), accounts.clone());
            async move {
                accounts.synced().await;
                let wanted = namespaces.get(None, &namespace).is_some_and(|namespace| is_active(&namespace));
                if !wanted || accounts.get(Some(&namespace), NAME).is_some() {
                    return Ok(Action::Done);
                }
                let account = ServiceAccount {
                    metadata: ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() },
                    ..ServiceAccount::default()
                };
                let api: Api<ServiceAccount> = Api::namespaced(context.client, &namespace);
                crate::ensured(api.create(&PostParams::default(), &account).await)
            }
        })
        .await;
    });
}
