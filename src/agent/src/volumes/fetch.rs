//! What a pod needs from the API before it can start, asked for at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{join_all, try_join_all};
use futures::try_join;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::api::{Api, PostParams};
use serde::de::DeserializeOwned;

use crate::spec::env::{self, Sources};
use crate::spec::{list, name, namespace, pod_spec, uid};

/// Objects and tokens.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    /// ConfigMaps and Secrets that exist.
    pub sources: Sources,
    /// Tokens by volume and path in it, or why there is none.
    pub tokens: BTreeMap<(String, String), Result<String, String>>,
}

/// Fetches everything the pod's volumes and environments name. What does not exist is left out: whether that
/// matters is decided where it is used.
///
/// # Errors
/// When the API does not answer.
pub async fn fetch(client: &kube::Client, pod: &Pod) -> Result<Fetched, kube::Error> {
    let (mut maps, mut secrets) = env::references(pod);
    volume_references(pod, &mut maps, &mut secrets);
    for names in [&mut maps, &mut secrets] {
        names.sort();
        names.dedup();
    }
    let space = namespace(pod);
    let config_map_api: Api<ConfigMap> = Api::namespaced(client.clone(), space);
    let secret_api: Api<Secret> = Api::namespaced(client.clone(), space);
    let tokens = async { Ok(tokens(client, pod).await) };
    let (config_maps, secrets, tokens) =
        try_join!(get_all(&config_map_api, maps), get_all(&secret_api, secrets), tokens)?;
    Ok(Fetched { sources: Sources { config_maps, secrets }, tokens })
}

async fn get_all<K>(api: &Api<K>, names: Vec<String>) -> Result<BTreeMap<String, Arc<K>>, kube::Error>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let found = try_join_all(names.into_iter().map(|name| async move {
        let object = match api.get_opt(&name).await {
            // The node may only read what its pods name; for what does not exist, that is the same as missing.
            Err(error) if copepod_client::error::is_forbidden(&error) => None,
            other => other?,
        };
        Ok::<_, kube::Error>(object.map(|o| (name, Arc::new(o))))
    }));
    Ok(found.await?.into_iter().flatten().collect())
}

fn volume_references(pod: &Pod, maps: &mut Vec<String>, secrets: &mut Vec<String>) {
    for volume in list(&pod_spec(pod).volumes) {
        maps.extend(volume.config_map.as_ref().map(|s| s.name.clone()));
        secrets.extend(volume.secret.as_ref().and_then(|s| s.secret_name.clone()));
        for projection in volume.projected.as_ref().map(|p| list(&p.sources)).unwrap_or_default() {
            maps.extend(projection.config_map.as_ref().map(|s| s.name.clone()));
            secrets.extend(projection.secret.as_ref().map(|s| s.name.clone()));
        }
    }
}

async fn tokens(client: &kube::Client, pod: &Pod) -> BTreeMap<(String, String), Result<String, String>> {
    let account = pod_spec(pod).service_account_name.as_deref().unwrap_or("default");
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace(pod));
    let wanted = list(&pod_spec(pod).volumes).iter().flat_map(|volume| {
        let sources = volume.projected.as_ref().map(|p| list(&p.sources)).unwrap_or_default();
        sources
            .iter()
            .filter_map(|source| source.service_account_token.as_ref())
            .map(|token| (volume.name.clone(), token))
    });
    let asked = wanted.map(|(volume, token)| {
        let api = &api;
        async move {
            let request = TokenRequest {
                spec: Some(TokenRequestSpec {
                    audiences: Some(token.audience.iter().filter(|a| !a.is_empty()).cloned().collect()),
                    bound_object_ref: Some(BoundObjectReference {
                        api_version: Some("v1".to_owned()),
                        kind: Some("Pod".to_owned()),
                        name: Some(name(pod).to_owned()),
                        uid: Some(uid(pod).to_owned()),
                    }),
                    expiration_seconds: token.expiration_seconds,
                }),
                ..TokenRequest::default()
            };
            let result = api.create_token_request(account, &PostParams::default(), &request).await;
            let result = match result {
                Ok(answer) => answer
                    .status
                    .and_then(|status| status.token)
                    .ok_or_else(|| "the answer has no token".to_owned()),
                Err(error) => Err(copepod_base::Chain(&error).to_string()),
            };
            ((volume, token.path.clone()), result)
        }
    });
    join_all(asked).await.into_iter().collect()
}
