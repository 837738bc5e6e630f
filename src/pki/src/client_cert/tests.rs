use std::time::Duration;

use super::*;
use crate::test_support::{authority, now};
use crate::{KeyCert, Leaf, San};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn check(authority: &Authority, pair: &KeyCert, now: SystemTime) -> Result<Identity, CertError> {
    ClientAuthenticator::new(authority).unwrap().authenticate(&[pair.cert_der().unwrap()], now)
}

#[test]
fn common_name_and_organization_become_user_and_group() {
    let authority = authority();
    let leaf = Leaf::client("system:node:edge-1", Some("system:nodes"));
    let pair = authority.issue(&leaf, now()).unwrap();
    let identity = check(&authority, &pair, now()).unwrap();
    assert_eq!(identity, Identity { user: "system:node:edge-1".into(), groups: vec!["system:nodes".into()] });
    let pair = authority.issue(&Leaf::client("jane", None), now()).unwrap();
    assert!(check(&authority, &pair, now()).unwrap().groups.is_empty());
}

#[test]
fn a_certificate_of_a_foreign_authority_is_refused() {
    let pair = authority().issue(&Leaf::client("system:admin", Some("system:masters")), now()).unwrap();
    assert_eq!(check(&authority(), &pair, now()), Err(CertError::UnknownAuthority));
}

#[test]
fn a_certificate_holds_between_its_dates_only() {
    let authority = Authority::create("test-ca", now() - YEAR).unwrap();
    let old = authority.issue(&Leaf::client("jane", None), now() - YEAR).unwrap();
    assert_eq!(check(&authority, &old, now() + YEAR), Err(CertError::Expired));
    let fresh = authority.issue(&Leaf::client("jane", None), now()).unwrap();
    assert!(check(&authority, &fresh, now() - Duration::from_secs(1800)).is_ok());
    assert_eq!(check(&authority, &fresh, now() - Duration::from_secs(7200)), Err(CertError::NotYetValid));
}

#[test]
fn a_server_certificate_is_no_client() {
    let authority = authority();
    let pair = authority.issue(&Leaf::server("edge-1", [San::Dns("edge-1".into())]), now()).unwrap();
    assert_eq!(check(&authority, &pair, now()), Err(CertError::WrongUsage));
}

#[test]
fn nothing_and_nonsense_are_refused() {
    let authenticator = ClientAuthenticator::new(&authority()).unwrap();
    assert_eq!(authenticator.authenticate(&[], now()), Err(CertError::Missing));
    let nonsense = CertificateDer::from(vec![1, 2, 3]);
    assert_eq!(authenticator.authenticate(&[nonsense], now()), Err(CertError::Malformed));
    let authority = authority();
    let pair = authority.issue(&Leaf::client("", None), now()).unwrap();
    assert_eq!(check(&authority, &pair, now()), Err(CertError::NoUser));
}
