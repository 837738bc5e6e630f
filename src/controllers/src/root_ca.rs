//! Every active namespace has a ConfigMap `kube-root-ca.crt` with the certificates that verify the API server; what
//! somebody else changes in it is put right.

use std::collections::BTreeMap;

use copepod_client::controller::{Action, feed};
use copepod_client::{Queue, controller};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::Context;
use crate::namespace::is_active;

const NAME: &str = "kube-root-ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the \
     internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
     clusters.",
);

pub(crate) fn start(context: &Context) {
    let queue: Queue<String> = Queue::new();
    let namespaces = context.informers.get::<Namespace>();
    let maps = context.informers.scoped::<ConfigMap>(copepod_client::Scope {
        fields: Some(format!("metadata.name={NAME}")),
        labels: None,
    });
    feed("root-ca-namespaces", namespaces.subscribe(), &queue, &context.shutdown, |change| {
        change.object().metadata.name.clone()
    });
    feed("root-ca-maps", maps.subscribe(), &queue, &context.shutdown, |change| {
        change.object().metadata.namespace.clone()
    });
    let context = context.clone();
    copepod_base::spawn("root-ca", async move {
        let shutdown = context.shutdown.clone();
        controller::run("root-ca", queue, 1, &shutdown, move |namespace: String| {
            let (context, namespaces, maps) = (context.clone(), namespaces.clone(), maps.clone());
            async move {
                maps.synced().await;
                if !namespaces.get(None, &namespace).is_some_and(|namespace| is_active(&namespace)) {
                    return Ok(Action::Done);
                }
                let data = BTreeMap::from([("ca.crt".to_owned(), context.config.root_ca.clone())]);
                let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &namespace);
                let known = maps.get(Some(&namespace), NAME);
                if known.as_ref().is_some_and(|map| map.data.as_ref() == Some(&data)) {
                    return Ok(Action::Done);
                }
                let metadata = match &known {
                    Some(map) => map.metadata.clone(),
                    None => ObjectMeta {
                        name: Some(NAME.into()),
                        annotations: Some([(DESCRIPTION.0.into(), DESCRIPTION.1.into())].into()),
                        ..ObjectMeta::default()
                    },
                };
                let map = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
                crate::ensured(match known {
                    Some(_) => api.replace(NAME, &PostParams::default(), &map).await,
                    None => api.create(&PostParams::default(), &map).await,
                })
            }
        })
        .await;
    });
}
