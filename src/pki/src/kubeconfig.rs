//! kubeconfig files.

use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use copepod_base::file;

use crate::KeyCert;

/// A kubeconfig with one cluster, user and context, all named `default`, and everything embedded.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    /// URL of the API server, such as `https://127.0.0.1:6443`.
    pub server: String,
    /// PEM of the authority that has signed the server's certificate.
    pub ca_pem: String,
    /// The user's certificate and key.
    pub client: KeyCert,
}

impl Kubeconfig {
    /// The file's text.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let ca = STANDARD.encode(&self.ca_pem);
        let cert = STANDARD.encode(self.client.cert_pem());
        let key = STANDARD.encode(self.client.key_pem());
        // JSON strings are YAML strings.
        let server = serde_json::Value::from(self.server.as_str());
        format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: default\n  cluster:\n    server: {server}\n    certificate-authority-data: {ca}\n\
             users:\n\
             - name: default\n  user:\n    client-certificate-data: {cert}\n    client-key-data: {key}\n\
             contexts:\n\
             - name: default\n  context:\n    cluster: default\n    user: default\n\
             current-context: default\n\
             preferences: {{}}\n"
        )
    }

    /// Writes the file with these permission bits; it holds a key, so 0600 unless the operator wants otherwise.
    /// Makes the folder when it is not there. A file of the same content is left alone.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn write(&self, path: &Path, mode: u32) -> io::Result<()> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        file::write_atomic(path, self.to_yaml().as_bytes(), mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{authority, now};
    use crate::{Leaf, test_support};

    #[test]
    fn a_kubeconfig_is_yaml_with_everything_embedded_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let authority = authority();
        let client = authority.issue(&Leaf::client("system:admin", Some("system:masters")), now()).unwrap();
        let config = Kubeconfig {
            server: "https://[::1]:6443".into(),
            ca_pem: authority.cert_pem().into(),
            client: client.clone(),
        };
        let folder = test_support::folder();
        let path = folder.path().join("etc/copepod.yaml");
        config.write(&path, 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(value["clusters"][0]["cluster"]["server"], "https://[::1]:6443");
        let data = |value: &serde_json::Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        let user = &value["users"][0]["user"];
        assert_eq!(
            data(&value["clusters"][0]["cluster"]["certificate-authority-data"]),
            config.ca_pem.as_bytes()
        );
        assert_eq!(data(&user["client-certificate-data"]), client.cert_pem().as_bytes());
        assert_eq!(data(&user["client-key-data"]), client.key_pem().as_bytes());
        assert_eq!(value["contexts"][0]["context"]["user"], "default");
        assert_eq!(value["current-context"], "default");
    }
}
