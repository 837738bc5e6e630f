//! Credentials from `imagePullSecrets`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use copepod_client::Client;
use copepod_cri::v1::AuthConfig;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::spec::{list, namespace, pod_spec};

#[derive(Debug, Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Debug, Default, Deserialize)]
struct DockerAuth {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
}

/// Credentials to try, in order; `None` (anonymous, or what the runtime itself knows) when no secret fits.
pub(super) async fn candidates(client: &Client, pod: &Pod, image: &str) -> Vec<Option<AuthConfig>> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace(pod));
    let mut found = Vec::new();
    for reference in list(&pod_spec(pod).image_pull_secrets) {
        match api.get_opt(&reference.name).await {
            Ok(Some(secret)) => found.extend(matching(&secret, image)),
            Ok(None) => {
                tracing::debug!(secret = reference.name, "image pull secret does not exist");
            }
            Err(error) => {
                tracing::warn!(secret = reference.name, error = %copepod_base::Chain(&error), "cannot read image pull secret");
            }
        }
    }
    if found.is_empty() { vec![None] } else { found.into_iter().map(Some).collect() }
}

/// Entries for the image's registry, the most specific path first.
fn matching(secret: &Secret, image: &str) -> Vec<AuthConfig> {
    let data = secret.data.iter().flatten();
    let mut entries = BTreeMap::new();
    for (key, value) in data {
        match key.as_str() {
            ".dockerconfigjson" => {
                if let Ok(config) = serde_json::from_slice::<DockerConfig>(&value.0) {
                    entries.extend(config.auths);
                }
            }
            ".dockercfg" => {
                if let Ok(auths) = serde_json::from_slice::<BTreeMap<String, DockerAuth>>(&value.0) {
                    entries.extend(auths);
                }
            }
            _ => {}
        }
    }
    let repository = repository(image);
    let mut hits: Vec<(usize, AuthConfig)> = entries
        .into_iter()
        .filter_map(|(server, auth)| {
            let place = place(&server);
            let fits = repository == place || repository.starts_with(&format!("{place}/"));
            fits.then(|| (place.len(), credentials(&server, auth)))
        })
        .collect();
    hits.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
    hits.into_iter().map(|(_, auth)| auth).collect()
}

fn credentials(server: &str, auth: DockerAuth) -> AuthConfig {
    let (mut username, mut password) = (auth.username, auth.password);
    if username.is_empty()
        && let Ok(decoded) = STANDARD.decode(&auth.auth)
        && let Some((user, secret)) = String::from_utf8_lossy(&decoded).split_once(':')
    {
        (username, password) = (user.to_owned(), secret.to_owned());
    }
    AuthConfig {
        username,
        password,
        server_address: server.to_owned(),
        identity_token: auth.identitytoken,
        ..AuthConfig::default()
    }
}

/// Registry and path of an image, without tag and digest; Docker Hub's under the name that its secrets use.
fn repository(image: &str) -> String {
    let image = image.split('@').next().unwrap_or(image);
    let image = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    };
    match image.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => match host {
            "docker.io" => format!("index.docker.io/{rest}"),
            _ => image.to_owned(),
        },
        Some(_) => format!("index.docker.io/{image}"),
        None => format!("index.docker.io/library/{image}"),
    }
}

/// A secret's server without scheme and API version.
fn place(server: &str) -> String {
    let server = server.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let server = server.trim_end_matches("/v1").trim_end_matches("/v2");
    match server {
        "docker.io" | "registry-1.docker.io" => "index.docker.io".to_owned(),
        _ => server.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_entry_of_the_images_registry_is_used() {
        let config = json!({"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"},
            "reg.example:5000/team": {"username": "a", "password": "b"}, "reg.example:5000": {"username": "c", "password": "d"}}});
        let secret: Secret = serde_json::from_value(json!({"metadata": {}, "data": {
            ".dockerconfigjson": STANDARD.encode(config.to_string())}}))
        .unwrap();
        let users =
            |image: &str| matching(&secret, image).into_iter().map(|a| a.username).collect::<Vec<_>>();
        assert_eq!(users("busybox:1"), ["u"]);
        assert_eq!(users("reg.example:5000/team/x:1"), ["a", "c"]);
        assert_eq!(users("reg.example:5000/teams/x"), ["c"]);
        assert!(users("quay.io/x").is_empty());
    }
}
