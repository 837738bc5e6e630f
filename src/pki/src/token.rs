//! The secret with which machines join.
//!
//! `K10<SHA-256 of the server authority's PEM, hex>::server:<password>`: the hash lets a machine verify the
//! authority that it fetches before it sends the password. The format is k3s'.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use copepod_base::file;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

const PREFIX: &str = "K10";
const USER: &str = "server";

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not of the form of a token.
    #[error("the token is not of the form K10<hash>::server:<password>: copy it whole from server/token")]
    Malformed,
    /// The machine gives no randomness.
    #[error("the machine gives no random numbers")]
    Random,
    /// The token file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The file system's answer.
        #[source]
        source: io::Error,
    },
    /// The token file cannot be written.
    #[error("cannot write {path}: check that the disk is writable and not full")]
    Write {
        /// The file.
        path: PathBuf,
        /// The file system's answer.
        #[source]
        source: io::Error,
    },
    /// The token file holds something else.
    #[error("{path} holds no token: restore it from a backup, or remove it and join all machines again")]
    BadFile {
        /// The file.
        path: PathBuf,
    },
}

/// A join token. `Display` shows the secret; `Debug` does not.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the authority's PEM file; `None` in a short token, which is only the password.
    ca_hash: Option<String>,
    password: String,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("ca_hash", &self.ca_hash).finish_non_exhaustive()
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ca_hash {
            Some(hash) => write!(f, "{PREFIX}{hash}::{USER}:{}", self.password),
            None => f.write_str(&self.password),
        }
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    /// Reads a whole token, or a short one: a password of the operator's choice without `::`.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let plain = |password: &str| !password.is_empty() && !password.contains(char::is_whitespace);
        let Some(rest) = text.strip_prefix(PREFIX).filter(|_| text.contains("::")) else {
            let short = plain(text) && !text.contains("::");
            return if short {
                Ok(Self { ca_hash: None, password: text.to_owned() })
            } else {
                Err(TokenError::Malformed)
            };
        };
        let (hash, credentials) = rest.split_once("::").ok_or(TokenError::Malformed)?;
        let (user, password) = credentials.split_once(':').ok_or(TokenError::Malformed)?;
        let hex = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex || user != USER || !plain(password) {
            return Err(TokenError::Malformed);
        }
        Ok(Self { ca_hash: Some(hash.to_ascii_lowercase()), password: password.to_owned() })
    }
}

impl JoinToken {
    /// A token with a random password of 128 bits.
    ///
    /// # Errors
    /// When the machine gives no randomness.
    pub fn generate(ca_pem: &str) -> Result<Self, TokenError> {
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).map_err(|_| TokenError::Random)?;
        Ok(Self { ca_hash: Some(hash(ca_pem)), password: hex::encode(random) })
    }

    /// The token of a server: as `chosen` by the operator, else as in the file, else a new one. The file then
    /// holds the whole token, with mode 0600.
    ///
    /// # Errors
    /// A file that cannot be read, written or understood.
    pub fn ensure(path: &Path, ca_pem: &str, chosen: Option<Self>) -> Result<Self, TokenError> {
        let found = match std::fs::read_to_string(path) {
            Ok(text) => Some(text.parse().map_err(|_| TokenError::BadFile { path: path.to_owned() })?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(TokenError::Read { path: path.to_owned(), source }),
        };
        let token: Self = match chosen.or(found) {
            Some(token) => token,
            None => Self::generate(ca_pem)?,
        };
        let token = Self { ca_hash: Some(hash(ca_pem)), ..token };
        file::write_atomic(path, format!("{token}\n").as_bytes(), 0o600)
            .map_err(|source| TokenError::Write { path: path.to_owned(), source })?;
        Ok(token)
    }

    /// Whether an authority is the one that the token was made for; a short token cannot tell and accepts any.
    #[must_use]
    pub fn trusts(&self, ca_pem: &str) -> bool {
        self.ca_hash.as_ref().is_none_or(|expected| *expected == hash(ca_pem))
    }

    /// The password. A secret.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Whether this is the password; takes the same time whatever is wrong with it.
    #[must_use]
    pub fn accepts(&self, password: &str) -> bool {
        // Compared as codes under a key of the moment: ring compares those in constant time.
        let Ok(key) = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()) else { return false };
        let expected = hmac::sign(&key, self.password.as_bytes());
        hmac::verify(&key, password.as_bytes(), expected.as_ref()).is_ok()
    }
}

fn hash(ca_pem: &str) -> String {
    hex::encode(Sha256::digest(ca_pem.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support;

    #[test]
    fn a_token_reads_as_it_was_written_and_trusts_its_authority_only() {
        let token = JoinToken::generate("ca").unwrap();
        let text = token.to_string();
        assert!(text.starts_with("K10") && text.contains("::server:"));
        let read: JoinToken = text.parse().unwrap();
        assert_eq!(read, token);
        assert!(read.trusts("ca") && !read.trusts("other"));
        assert!(read.accepts(token.password()));
        assert!(!read.accepts("") && !read.accepts("wrong"));
        assert!(!format!("{token:?}").contains(token.password()));
    }

    #[test]
    fn damaged_tokens_are_refused() {
        let hash = "a".repeat(64);
        for bad in
            ["", "a b", "K10abc::server:x", &format!("K10{hash}::node:x"), &format!("K10{hash}::server:")]
        {
            assert!(matches!(bad.parse::<JoinToken>(), Err(TokenError::Malformed)), "{bad}");
        }
        assert_eq!("secret".parse::<JoinToken>().unwrap().password(), "secret");
    }

    #[test]
    fn the_file_keeps_its_token_until_the_operator_chooses_another() {
        use std::os::unix::fs::PermissionsExt;
        let folder = test_support::folder();
        let path = folder.path().join("token");
        let first = JoinToken::ensure(&path, "ca", None).unwrap();
        assert_eq!(JoinToken::ensure(&path, "ca", None).unwrap(), first);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let chosen = JoinToken::ensure(&path, "ca", Some("mine".parse().unwrap())).unwrap();
        assert_eq!(chosen.password(), "mine");
        assert_eq!(JoinToken::ensure(&path, "ca", None).unwrap(), chosen);
        std::fs::write(&path, "two words").unwrap();
        assert!(JoinToken::ensure(&path, "ca", None).unwrap_err().to_string().contains("token"));
    }
}
