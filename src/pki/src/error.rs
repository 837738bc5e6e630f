//! What can go wrong with keys and certificates on disk.

use std::io;
use std::path::PathBuf;

/// Why the files of the `tls` folder cannot be used. Nothing is overwritten when one of these is returned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The file system's answer.
        #[source]
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path}: check that the disk is writable and not full")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The file system's answer.
        #[source]
        source: io::Error,
    },
    /// A certificate file holds something else.
    #[error("{path} holds no readable PEM certificate ({reason}): restore it from a backup")]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A key file holds something else.
    #[error("{path} holds no usable private key (PEM, PKCS#8): restore it from a backup")]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: rcgen::Error,
    },
    /// Certificate and key are of different pairs.
    #[error("the certificate {certificate} does not belong to the key {key}: restore the pair from a backup")]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// One half of an authority is gone.
    #[error(
        "{missing} is missing, but {present} is there: restore it from a backup; an authority is never made anew \
         beside certificates that it has issued"
    )]
    HalfAuthority {
        /// What is not there.
        missing: PathBuf,
        /// What is.
        present: PathBuf,
    },
    /// The certificate of an authority may not sign.
    #[error("{path} is not a certificate of an authority: restore it from a backup")]
    NoAuthority {
        /// The certificate file.
        path: PathBuf,
    },
    /// The certificate of an authority has expired.
    #[error(
        "the authority {path} has expired: check this machine's date, or replace the authority and join all \
         machines again"
    )]
    AuthorityExpired {
        /// The certificate file.
        path: PathBuf,
    },
    /// A name that no certificate can carry.
    #[error("{name:?} is neither a DNS name nor an IP address: check --tls-san and --node-name")]
    BadName {
        /// The name as given.
        name: String,
    },
    /// Making a key or a certificate failed.
    #[error("cannot make a certificate for {subject}")]
    Issue {
        /// Its common name.
        subject: String,
        /// What the library says.
        #[source]
        source: rcgen::Error,
    },
    /// A key pair cannot be used for TLS.
    #[error("certificate and key of {subject} cannot be used for TLS")]
    Tls {
        /// Whose they are.
        subject: String,
        /// What the library says.
        #[source]
        source: rustls::Error,
    },
}
