//! The files of the `tls` folder.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use copepod_base::{clock, file};
use parking_lot::RwLock;

use crate::leaf::Files;
use crate::service_account::Signer;
use crate::{Authority, ClientAuthenticator, Error, KeyCert, Leaf, San, ServingCert};

/// What the certificates depend on.
#[derive(Debug, Clone)]
pub struct PkiConfig {
    /// The folder, made with mode 0700 when it is not there.
    pub dir: PathBuf,
    /// Names and addresses under which clients reach the API server: `--tls-san`, the machine's name and
    /// addresses, the address of the `kubernetes` Service. The names inside of the cluster and the loopback
    /// addresses are added.
    pub sans: Vec<String>,
    /// DNS domain of the cluster.
    pub cluster_domain: String,
    /// Name of this machine's Node.
    pub node_name: String,
    /// Addresses of this machine's Node.
    pub node_ips: Vec<IpAddr>,
}

impl PkiConfig {
    fn server_sans(&self) -> Result<Vec<San>, Error> {
        let inside = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"];
        let full = format!("kubernetes.default.svc.{}", self.cluster_domain);
        let given = self.sans.iter().map(String::as_str).filter(|name| !name.is_empty());
        let mut sans = inside
            .into_iter()
            .chain([full.as_str(), self.node_name.as_str()])
            .chain(given)
            .map(str::parse)
            .collect::<Result<Vec<San>, _>>()?;
        sans.extend(loopback());
        sans.extend(self.node_ips.iter().copied().map(San::Ip));
        Ok(sans)
    }

    fn kubelet_sans(&self) -> Result<Vec<San>, Error> {
        let mut sans = vec![self.node_name.parse()?, "localhost".parse()?];
        sans.extend(loopback());
        sans.extend(self.node_ips.iter().copied().map(San::Ip));
        Ok(sans)
    }
}

fn loopback() -> [San; 2] {
    [San::Ip(Ipv4Addr::LOCALHOST.into()), San::Ip(Ipv6Addr::LOCALHOST.into())]
}

#[derive(Debug, Clone)]
struct Leaves {
    serving_kube_apiserver: KeyCert,
    client_admin: KeyCert,
    client_kube_apiserver: KeyCert,
    serving_kubelet: KeyCert,
    client_kubelet: KeyCert,
}

/// Authorities, certificates and keys of a server. Share it in an `Arc`.
#[derive(Debug)]
pub struct Pki {
    server_ca: Authority,
    client_ca: Authority,
    request_header_ca: Authority,
    leaves: RwLock<Leaves>,
    serving: Arc<ServingCert>,
    authenticator: ClientAuthenticator,
    signer: Arc<Signer>,
}

impl Pki {
    /// Makes what is missing, renews what must be, keeps the rest. A second call changes no file.
    ///
    /// # Errors
    /// Files that cannot be read, written or understood; an existing authority is never overwritten.
    pub fn ensure(config: &PkiConfig) -> Result<Self, Error> {
        Self::ensure_at(config, clock::now())
    }

    /// [`ensure`](Self::ensure) at a given time.
    ///
    /// # Errors
    /// As there.
    pub fn ensure_at(config: &PkiConfig, now: SystemTime) -> Result<Self, Error> {
        let dir = &config.dir;
        file::create_dir(dir, 0o700).map_err(|source| Error::Write { path: dir.clone(), source })?;
        let unused = !LEAVES.iter().any(|name| Files::new(dir, name).cert.exists());
        let authority = |file: &str, name: &str| {
            Authority::ensure(&Files::new(dir, file), &format!("copepod-{name}"), unused, now)
        };
        let server_ca = authority("server-ca", "server-ca")?;
        let client_ca = authority("client-ca", "client-ca")?;
        let request_header_ca = authority("request-header-ca", "request-header-ca")?;
        let signer = Arc::new(Signer::ensure(&dir.join("service.key"))?);
        let (leaves, _) = Leaves::ensure(config, &server_ca, &client_ca, now)?;
        Ok(Self {
            serving: ServingCert::new(&leaves.serving_kube_apiserver)?,
            authenticator: ClientAuthenticator::new(&client_ca)?,
            server_ca,
            client_ca,
            request_header_ca,
            leaves: RwLock::new(leaves),
            signer,
        })
    }

    /// Renews what must be at `now`, for a changed configuration or after time has passed; new TLS connections
    /// show the new certificate. Says whether anything was renewed. To be called once a day, and when the
    /// machine's addresses change.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure); the certificates of before stay in use.
    pub fn refresh(&self, config: &PkiConfig, now: SystemTime) -> Result<bool, Error> {
        let (leaves, changed) = Leaves::ensure(config, &self.server_ca, &self.client_ca, now)?;
        self.serving.replace(&leaves.serving_kube_apiserver)?;
        *self.leaves.write() = leaves;
        Ok(changed)
    }

    /// Signs server certificates; what clients must trust.
    #[must_use]
    pub fn server_ca(&self) -> &Authority {
        &self.server_ca
    }

    /// Signs client certificates.
    #[must_use]
    pub fn client_ca(&self) -> &Authority {
        &self.client_ca
    }

    /// Signs the certificates of front proxies that name users in request headers.
    #[must_use]
    pub fn request_header_ca(&self) -> &Authority {
        &self.request_header_ca
    }

    /// The API server's certificate, exchanged by [`refresh`](Self::refresh).
    #[must_use]
    pub fn serving(&self) -> &Arc<ServingCert> {
        &self.serving
    }

    /// Verifies client certificates.
    #[must_use]
    pub fn authenticator(&self) -> &ClientAuthenticator {
        &self.authenticator
    }

    /// Signs and verifies service account tokens.
    #[must_use]
    pub fn signer(&self) -> &Arc<Signer> {
        &self.signer
    }

    /// Certificate and key of the API server.
    #[must_use]
    pub fn serving_kube_apiserver(&self) -> KeyCert {
        self.leaves.read().serving_kube_apiserver.clone()
    }

    /// Client identity `system:admin` in `system:masters`.
    #[must_use]
    pub fn client_admin(&self) -> KeyCert {
        self.leaves.read().client_admin.clone()
    }

    /// Client identity of the API server towards kubelets.
    #[must_use]
    pub fn client_kube_apiserver(&self) -> KeyCert {
        self.leaves.read().client_kube_apiserver.clone()
    }

    /// Certificate and key of this machine's kubelet API.
    #[must_use]
    pub fn serving_kubelet(&self) -> KeyCert {
        self.leaves.read().serving_kubelet.clone()
    }

    /// Client identity `system:node:<name>` in `system:nodes`.
    #[must_use]
    pub fn client_kubelet(&self) -> KeyCert {
        self.leaves.read().client_kubelet.clone()
    }
}

const LEAVES: [&str; 5] =
    ["serving-kube-apiserver", "client-admin", "client-kube-apiserver", "serving-kubelet", "client-kubelet"];

impl Leaves {
    fn ensure(
        config: &PkiConfig,
        server_ca: &Authority,
        client_ca: &Authority,
        now: SystemTime,
    ) -> Result<(Self, bool), Error> {
        let node = format!("system:node:{}", config.node_name);
        let mut changed = false;
        let mut leaf = |name: &str, wanted: Leaf, authority: &Authority| {
            let (pair, written) = Files::new(&config.dir, name).ensure(&wanted, authority, now)?;
            changed |= written;
            Ok(pair)
        };
        let [apiserver, admin, to_kubelet, kubelet, node_client] = LEAVES;
        let leaves = Self {
            serving_kube_apiserver: leaf(
                apiserver,
                Leaf::server("kube-apiserver", config.server_sans()?),
                server_ca,
            )?,
            client_admin: leaf(admin, Leaf::client("system:admin", Some("system:masters")), client_ca)?,
            client_kube_apiserver: leaf(
                to_kubelet,
                Leaf::client("system:apiserver", Some("system:masters")),
                client_ca,
            )?,
            serving_kubelet: leaf(
                kubelet,
                Leaf::server(config.node_name.as_str(), config.kubelet_sans()?),
                server_ca,
            )?,
            client_kubelet: leaf(node_client, Leaf::client(node, Some("system:nodes")), client_ca)?,
        };
        Ok((leaves, changed))
    }
}

#[cfg(test)]
mod tests;
