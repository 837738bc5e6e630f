//! The administrator's kubeconfig, as far as the benchmark needs it.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::{Result, io, unusable, wrong};

#[derive(Deserialize)]
struct File {
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: String,
}

#[derive(Deserialize)]
struct NamedUser {
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate_data: String,
    client_key_data: String,
}

/// Where the API is and how to be let in; PEM texts.
pub(super) struct Kubeconfig {
    /// Host name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) authority: Vec<u8>,
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

impl Kubeconfig {
    /// Reads a kubeconfig with one cluster and one user, everything embedded.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(io(format!("read {name}")))?;
        Self::parse(&name, &text)
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let file: File = serde_saphyr::from_str(text).map_err(unusable(name))?;
        let (Some(cluster), Some(user)) = (file.clusters.into_iter().next(), file.users.into_iter().next())
        else {
            return Err(wrong(name, "has no cluster or no user"));
        };
        let (cluster, user) = (cluster.cluster, user.user);
        let (host, port) = cluster
            .server
            .strip_prefix("https://")
            .and_then(|rest| rest.trim_end_matches('/').rsplit_once(':'))
            .and_then(|(host, port)| Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?)))
            .ok_or_else(|| wrong(name, format!("{} is not https with a port", cluster.server)))?;
        let decode = |data: &str| STANDARD.decode(data.trim()).map_err(unusable(name));
        Ok(Self {
            host,
            port,
            authority: decode(&cluster.certificate_authority_data)?,
            certificate: decode(&user.client_certificate_data)?,
            key: decode(&user.client_key_data)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_credentials_are_taken_from_the_first_entries() {
        let text = "clusters:\n- name: default\n  cluster: {server: 'https://[::1]:6443', certificate-authority-data: Y2E=}\n\
                    users:\n- name: default\n  user: {client-certificate-data: Y2VydA==, client-key-data: a2V5}\n";
        let config = Kubeconfig::parse("test", text).unwrap();
        assert_eq!((config.host.as_str(), config.port), ("::1", 6443));
        assert_eq!(
            (config.authority, config.certificate, config.key),
            (b"ca".into(), b"cert".into(), b"key".into())
        );
    }

    #[test]
    fn a_server_without_a_port_is_refused_by_name() {
        let text = "clusters: [{cluster: {server: 'http://x', certificate-authority-data: ''}}]\n\
                    users: [{user: {client-certificate-data: '', client-key-data: ''}}]\n";
        let error = Kubeconfig::parse("test", text).err().unwrap().to_string();
        assert!(error.contains("http://x"), "{error}");
    }
}
