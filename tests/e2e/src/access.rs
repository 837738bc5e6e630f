//! Who may come in, and as whom.

use crate::shared::{namespace, shared};
use copepod_test_support::{Credentials, Finished};
use std::path::PathBuf;
use std::process::Command;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// Makes a client certificate for an administrator, signed by `authority` (certificate and key) or by itself.
fn certificate(name: &str, authority: Option<(PathBuf, PathBuf)>, dates: &str) -> Credentials {
    let folder = shared().sandbox().folder().join(name);
    std::fs::create_dir_all(&folder).expect("writable");
    // `openssl ca` is the one command that takes dates.
    let signer = authority.map_or_else(
        || "-selfsign -keyfile key.pem".to_owned(),
        |(cert, key)| format!("-cert {} -keyfile {}", cert.display(), key.display()),
    );
    let script = format!(
        "openssl ecparam -genkey -name prime256v1 -noout -out key.pem && \
         openssl req -new -key key.pem -subj '/O=system:masters/CN=admin' -out request.pem && \
         touch index.txt && echo 01 >serial && printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index.txt\\nserial=serial\\n\
         new_certs_dir=.\\ndefault_md=sha256\\npolicy=p\\nx509_extensions=e\\n[p]\\norganizationName=supplied\\n\
         commonName=supplied\\n[e]\\nextendedKeyUsage=clientAuth\\n' >ca.conf && \
         openssl ca -batch -notext -config ca.conf {signer} {dates} -in request.pem -out cert.pem"
    );
    Finished::of(Command::new("sh").args(["-c", &script]).current_dir(&folder), b"").ok();
    Credentials::Certificate(folder.join("cert.pem"), folder.join("key.pem"))
}

fn client_authority() -> (PathBuf, PathBuf) {
    let tls = shared().data_dir().join("server/tls");
    (tls.join("client-ca.crt"), tls.join("client-ca.key"))
}

#[test]
fn nobody_sees_health_and_version_and_nothing_else() {
    let curl = shared().curl();
    let get = |path: &str| curl.send(&Credentials::Nobody, "GET", path, &[], b"");
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(get(path).code, 200, "{path}");
    }
    for path in [PODS, "/api", "/apis", "/metrics", "/api/v1/nodes"] {
        let answer = get(path);
        assert!(answer.code == 401 || answer.code == 403, "{path}: {answer:?}");
        assert_eq!(answer.json()["kind"], "Status", "{path}");
    }
}

#[test]
fn certificates_must_be_ours_and_in_date() {
    let curl = shared().curl();
    let good = certificate("good", Some(client_authority()), "-days 1");
    assert_eq!(curl.send(&good, "GET", PODS, &[], b"").code, 200);
    let expired =
        certificate("expired", Some(client_authority()), "-startdate 200101000000Z -enddate 200102000000Z");
    let foreign = certificate("foreign", None, "-days 1");
    for who in [expired, foreign] {
        curl.send(&who, "GET", PODS, &[], b"").is_status(401, "Unauthorized", "Unauthorized");
    }
}

#[test]
fn tokens_are_checked_and_carry_no_rights_of_their_own() {
    let namespace = namespace("tokens");
    let curl = shared().curl();
    let token = namespace.text(&["create", "token", "default"]);
    let user = format!("system:serviceaccount:{}:default", namespace.name());
    let answer = curl.send(&Credentials::Token(token.clone()), "GET", PODS, &[], b"");
    answer.is_status(403, "Forbidden", &format!("pods is forbidden: User \"{user}\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""));
    let mut forged = token.clone();
    let last = forged.pop();
    forged.push(if last == Some('A') { 'B' } else { 'A' });
    for wrong in ["nonsense", "a.b.c", ""] {
        let answer = curl.send(&Credentials::Token(wrong.to_owned()), "GET", PODS, &[], b"");
        assert_eq!(answer.code, 401, "{wrong:?}: {answer:?}");
    }
    // The last character carries unused bits, so one in the middle is changed too.
    let middle = forged.len() - 20;
    forged.replace_range(middle..=middle, if &forged[middle..=middle] == "x" { "y" } else { "x" });
    assert_eq!(curl.send(&Credentials::Token(forged), "GET", PODS, &[], b"").code, 401);

    namespace.ok(&["delete", "serviceaccount", "default"]);
    let answer = curl.send(&Credentials::Token(token), "GET", PODS, &[], b"");
    assert_eq!(answer.code, 401, "the account is gone: {answer:?}");
}

#[test]
fn both_versions_of_http_are_spoken() {
    let cluster = shared();
    let _ = cluster.curl();
    for (flag, version) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")] {
        let mut command = cluster.sandbox().network_command("curl");
        command.args(["-s", "-i", flag, "--cacert", "ca.pem", "https://127.0.0.1:6443/version"]);
        Finished::of(command.current_dir(cluster.sandbox().folder()), b"").prints(version);
    }
}
