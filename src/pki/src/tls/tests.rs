use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, Stream};

use super::*;
use crate::test_support::{authority, now};
use crate::{CertError, ClientAuthenticator, Leaf, San};

struct Seen {
    chain: Vec<CertificateDer<'static>>,
    alpn: Vec<u8>,
}

/// One real handshake over loopback; what the server sees of the client, and the serial-bearing certificate that
/// the client sees.
fn handshake(server: Arc<ServerConfig>, mut client: ClientConfig) -> Result<(Seen, Vec<u8>), rustls::Error> {
    client.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut connection = ServerConnection::new(server).unwrap();
        let mut byte = [0];
        let read = Stream::new(&mut connection, &mut socket).read_exact(&mut byte);
        read.map(|()| {
            Stream::new(&mut connection, &mut socket).write_all(b"!").unwrap();
            Seen {
                chain: connection.peer_certificates().unwrap_or_default().to_vec(),
                alpn: connection.alpn_protocol().unwrap_or_default().to_vec(),
            }
        })
    });
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut connection = ClientConnection::new(Arc::new(client), name)?;
    let mut socket = TcpStream::connect(address).unwrap();
    let mut stream = Stream::new(&mut connection, &mut socket);
    let talk = stream.write_all(b"?").and_then(|()| stream.read_exact(&mut [0]));
    let shown = connection.peer_certificates().map(|chain| chain[0].to_vec());
    drop(socket);
    let seen = serving.join().unwrap();
    match talk {
        Ok(()) => Ok((seen.unwrap(), shown.unwrap())),
        Err(error) => Err(*error.into_inner().unwrap().downcast::<rustls::Error>().unwrap()),
    }
}

struct Setup {
    server_ca: Authority,
    client_ca: Authority,
    certificate: Arc<ServingCert>,
    config: Arc<ServerConfig>,
}

fn setup() -> Setup {
    let (server_ca, client_ca) = (authority(), authority());
    let certificate = ServingCert::new(&serving(&server_ca)).unwrap();
    let verifier = Arc::new(ClientVerifier::new(&[&client_ca]));
    let config = server_config(certificate.clone(), verifier);
    Setup { server_ca, client_ca, certificate, config }
}

fn serving(authority: &Authority) -> KeyCert {
    authority.issue(&Leaf::server("server", ["127.0.0.1".parse::<San>().unwrap()]), now()).unwrap()
}

#[test]
fn a_client_with_a_certificate_is_known_after_the_handshake() {
    let Setup { server_ca, client_ca, config, .. } = setup();
    let pair = client_ca.issue(&Leaf::client("jane", Some("dev")), now()).unwrap();
    let client = client_tls(server_ca.cert_pem(), Some(&pair)).unwrap();
    let (seen, _) = handshake(config, client).unwrap();
    assert_eq!(seen.alpn, b"h2");
    let identity = ClientAuthenticator::new(&client_ca).unwrap().authenticate(&seen.chain, now()).unwrap();
    assert_eq!((identity.user.as_str(), identity.groups), ("jane", vec!["dev".to_owned()]));
}

#[test]
fn a_client_without_a_certificate_may_connect() {
    let Setup { server_ca, config, .. } = setup();
    let (seen, _) = handshake(config, client_tls(server_ca.cert_pem(), None).unwrap()).unwrap();
    assert!(seen.chain.is_empty());
}

#[test]
fn a_foreign_certificate_passes_the_handshake_and_fails_authentication() {
    let Setup { server_ca, client_ca, config, .. } = setup();
    let pair = authority().issue(&Leaf::client("jane", Some("system:masters")), now()).unwrap();
    // rustls clients send what they have whatever the hints say; so do curl and Go with one certificate.
    let (seen, _) = handshake(config, client_tls(server_ca.cert_pem(), Some(&pair)).unwrap()).unwrap();
    let result = ClientAuthenticator::new(&client_ca).unwrap().authenticate(&seen.chain, now());
    assert_eq!(result, Err(CertError::UnknownAuthority));
}

#[test]
fn a_certificate_without_its_key_breaks_the_handshake() {
    let Setup { server_ca, client_ca, config, .. } = setup();
    let victim = client_ca.issue(&Leaf::client("admin", Some("system:masters")), now()).unwrap();
    let own = client_ca.issue(&Leaf::client("jane", None), now()).unwrap();
    #[derive(Debug)]
    struct Thief(Arc<CertifiedKey>);
    impl rustls::client::ResolvesClientCert for Thief {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    let stolen =
        CertifiedKey::new(vec![victim.cert_der().unwrap()], own.certified_key().unwrap().key.clone());
    let mut client = client_tls(server_ca.cert_pem(), None).unwrap();
    client.client_auth_cert_resolver = Arc::new(Thief(Arc::new(stolen)));
    assert!(handshake(config, client).is_err());
}

#[test]
fn a_replaced_certificate_is_shown_to_the_next_client() {
    let Setup { server_ca, certificate, config, .. } = setup();
    let client = || client_tls(server_ca.cert_pem(), None).unwrap();
    let (_, first) = handshake(config.clone(), client()).unwrap();
    certificate.replace(&serving(&server_ca)).unwrap();
    let (_, second) = handshake(config, client()).unwrap();
    assert_ne!(first, second);
}

#[test]
fn a_client_refuses_a_server_of_another_authority() {
    let Setup { config, .. } = setup();
    assert!(handshake(config, client_tls(authority().cert_pem(), None).unwrap()).is_err());
}
