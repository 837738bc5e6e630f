//! Names that a server certificate holds for.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rcgen::SanType;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::Error;

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum San {
    /// A DNS name, lower case; may begin with `*.`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl FromStr for San {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Self::Ip(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let host = name.strip_prefix("*.").unwrap_or(&name);
        let valid = name.len() <= 253 && host.split('.').all(is_label);
        if valid { Ok(Self::Dns(name)) } else { Err(Error::BadName { name: text.to_owned() }) }
    }
}

/// RFC 1123, with the underscore that some machine names have.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl From<IpAddr> for San {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

impl San {
    /// # Errors
    /// When the name is not ASCII.
    pub(crate) fn to_rcgen(&self) -> Result<SanType, rcgen::Error> {
        Ok(match self {
            Self::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            Self::Ip(address) => SanType::IpAddress(*address),
        })
    }

    /// The DNS names and addresses of a certificate.
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> BTreeSet<Self> {
        let Ok(Some(extension)) = certificate.subject_alternative_name() else { return BTreeSet::new() };
        let names = extension.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(Self::Dns((*name).to_owned())),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(|b| Self::Ip(b.into())),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(|b| Self::Ip(b.into())),
            },
            _ => None,
        });
        names.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart_and_nonsense_is_refused() {
        assert_eq!("Edge-1.Example.".parse::<San>().unwrap(), San::Dns("edge-1.example".into()));
        assert_eq!("[::1]".parse::<San>().unwrap(), San::Ip("::1".parse().unwrap()));
        assert_eq!("*.example".parse::<San>().unwrap(), San::Dns("*.example".into()));
        for bad in ["", "a..b", "-a", "a b", "ümlaut", "1.2.3.4/24"] {
            let error = bad.parse::<San>().unwrap_err();
            assert!(error.to_string().contains("--tls-san"), "{error}");
        }
    }
}
