//! Authorities, certificates, tokens and kubeconfigs.
//!
//! * [`Pki`]: the files of the `tls` folder, made and renewed as needed.
//! * [`Authority`] and [`Leaf`]: issuing certificates, and what to issue.
//! * [`tls`]: rustls configurations; the server's certificate can be exchanged while it runs.
//! * [`ClientAuthenticator`]: who a client certificate stands for.
//! * [`service_account`]: tokens of service accounts, and their key set.
//! * [`JoinToken`]: the secret with which machines join.
//! * [`Kubeconfig`]: a kubeconfig file with everything embedded.
//!
//! Dates come in as parameters, from `copepod_base::clock` in the end. All cryptography is ring's.
#![warn(missing_docs)]

mod authority;
mod client_cert;
mod error;
mod kubeconfig;
mod leaf;
mod pki;
mod san;
pub mod service_account;
pub mod tls;
mod token;
mod validity;

pub use authority::Authority;
pub use client_cert::{CertError, ClientAuthenticator, Identity};
pub use error::Error;
pub use kubeconfig::Kubeconfig;
pub use leaf::{KeyCert, Leaf, Renewal, Usage};
pub use pki::{Pki, PkiConfig};
pub use san::San;
pub use tls::{ServingCert, client_tls, server_tls};
pub use token::{JoinToken, TokenError};

#[cfg(test)]
mod test_support;
