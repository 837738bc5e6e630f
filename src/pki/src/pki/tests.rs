use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use copepod_base::Chain;
use tempfile::TempDir;

use super::*;
use crate::test_support::{folder, now};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn config(folder: &TempDir) -> PkiConfig {
    PkiConfig {
        dir: folder.path().join("tls"),
        sans: vec!["api.example".into(), "10.43.0.1".into()],
        cluster_domain: "cluster.local".into(),
        node_name: "edge-1".into(),
        node_ips: vec!["192.0.2.7".parse().unwrap()],
    }
}

/// Content, inode and times of every file.
fn picture(dir: &Path) -> BTreeMap<String, (Vec<u8>, u64, i64, i64)> {
    let entry = |entry: fs::DirEntry| {
        let meta = entry.metadata().unwrap();
        let content = fs::read(entry.path()).unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, (content, meta.ino(), meta.mtime_nsec(), meta.ctime_nsec()))
    };
    fs::read_dir(dir).unwrap().map(|e| entry(e.unwrap())).collect()
}

fn changed(before: &Path, then: impl FnOnce()) -> Vec<String> {
    let old = picture(before);
    then();
    let new = picture(before);
    new.into_iter().filter(|(name, now)| old.get(name) != Some(now)).map(|(name, _)| name).collect()
}

#[test]
fn the_first_run_makes_every_file_with_its_mode() {
    let folder = folder();
    let config = config(&folder);
    let pki = Pki::ensure(&config).unwrap();
    let files = picture(&config.dir);
    let mut names: Vec<_> = LEAVES.iter().flat_map(|n| [format!("{n}.crt"), format!("{n}.key")]).collect();
    for name in ["server-ca", "client-ca", "request-header-ca"] {
        names.extend([format!("{name}.crt"), format!("{name}.key")]);
    }
    names.push("service.key".into());
    names.sort();
    assert_eq!(files.keys().cloned().collect::<Vec<_>>(), names);
    for name in &names {
        let mode = fs::metadata(config.dir.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, if name.ends_with(".key") { 0o600 } else { 0o644 }, "{name}");
    }
    let mode = fs::metadata(&config.dir).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o700);
    let who = |pair: KeyCert| {
        let identity = pki.authenticator().authenticate(&[pair.cert_der().unwrap()], now()).unwrap();
        (identity.user, identity.groups.join(","))
    };
    assert_eq!(who(pki.client_admin()), ("system:admin".into(), "system:masters".into()));
    assert_eq!(who(pki.client_kubelet()), ("system:node:edge-1".into(), "system:nodes".into()));
}

#[test]
fn the_server_certificate_holds_for_all_names_of_the_server() {
    let folder = folder();
    let pki = Pki::ensure(&config(&folder)).unwrap();
    let der = pki.serving_kube_apiserver().cert_der().unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    let names: Vec<_> = San::of(&certificate).iter().map(San::to_string).collect();
    for name in [
        "kubernetes",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        "::1",
        "api.example",
        "10.43.0.1",
        "edge-1",
        "192.0.2.7",
    ] {
        assert!(names.contains(&name.to_owned()), "{name} is not in {names:?}");
    }
}

#[test]
fn a_second_run_changes_no_file() {
    let folder = folder();
    let config = config(&folder);
    Pki::ensure(&config).unwrap();
    let changed = changed(&config.dir, || drop(Pki::ensure(&config).unwrap()));
    assert_eq!(changed, [""; 0]);
}

#[test]
fn a_new_name_reissues_the_server_certificate_and_keeps_the_rest() {
    let folder = folder();
    let mut config = config(&folder);
    let pki = Pki::ensure(&config).unwrap();
    config.sans.push("new.example".into());
    let changed = changed(&config.dir, || assert!(pki.refresh(&config, now()).unwrap()));
    assert_eq!(changed, ["serving-kube-apiserver.crt"]);
    assert!(!pki.refresh(&config, now()).unwrap());
}

#[test]
fn certificates_are_renewed_when_less_than_120_days_are_left() {
    let folder = folder();
    let config = config(&folder);
    let pki = Pki::ensure(&config).unwrap();
    assert!(!pki.refresh(&config, now() + 240 * DAY).unwrap());
    let changed = changed(&config.dir, || assert!(pki.refresh(&config, now() + 246 * DAY).unwrap()));
    let certificates: Vec<_> = picture(&config.dir)
        .into_keys()
        .filter(|name| name.ends_with(".crt") && !name.ends_with("-ca.crt"))
        .collect();
    assert_eq!(changed, certificates);
}

#[test]
fn another_authority_in_the_folder_reissues_what_the_old_one_signed() {
    let (folder, other) = (folder(), folder());
    let mut config = config(&folder);
    Pki::ensure(&config).unwrap();
    let mut foreign = config.clone();
    foreign.dir = other.path().join("tls");
    Pki::ensure(&foreign).unwrap();
    for name in ["server-ca.crt", "server-ca.key"] {
        fs::copy(foreign.dir.join(name), config.dir.join(name)).unwrap();
    }
    config.sans.sort();
    let changed = changed(&config.dir, || drop(Pki::ensure(&config).unwrap()));
    assert_eq!(changed, ["serving-kube-apiserver.crt", "serving-kubelet.crt"]);
}

#[test]
fn certificates_issued_by_a_reloaded_authority_verify() {
    let folder = folder();
    let config = config(&folder);
    Pki::ensure(&config).unwrap();
    let pki = Pki::ensure(&config).unwrap();
    let pair = pki.client_ca().issue(&Leaf::client("jane", None), now()).unwrap();
    assert!(pki.authenticator().authenticate(&[pair.cert_der().unwrap()], now()).is_ok());
}

fn failure(config: &PkiConfig, keep: &str) -> String {
    let mut text = String::new();
    let changed = changed(&config.dir, || text = Chain(&Pki::ensure(config).unwrap_err()).to_string());
    assert_eq!(changed, [""; 0], "files were changed although: {text}");
    assert!(text.contains(keep), "{text}");
    text
}

#[test]
fn a_damaged_or_foreign_half_is_named_and_nothing_is_overwritten() {
    for name in ["server-ca", "client-ca", "serving-kubelet"] {
        let folder = folder();
        let config = config(&folder);
        Pki::ensure(&config).unwrap();
        let (cert, key) = (config.dir.join(format!("{name}.crt")), config.dir.join(format!("{name}.key")));
        let (good_cert, good_key) = (fs::read(&cert).unwrap(), fs::read(&key).unwrap());
        fs::write(&cert, "garbage").unwrap();
        assert!(failure(&config, &format!("{name}.crt")).contains("no readable PEM certificate"));
        fs::write(&cert, &good_cert).unwrap();
        fs::write(&key, "garbage").unwrap();
        assert!(failure(&config, &format!("{name}.key")).contains("no usable private key"));
        fs::copy(config.dir.join("request-header-ca.key"), &key).unwrap();
        assert!(failure(&config, &format!("{name}.key")).contains("does not belong to the key"));
        fs::write(&key, good_key).unwrap();
        Pki::ensure(&config).unwrap();
    }
}

#[test]
fn half_of_an_authority_is_never_made_anew() {
    for missing in ["server-ca.crt", "server-ca.key", "client-ca.crt"] {
        let folder = folder();
        let config = config(&folder);
        Pki::ensure(&config).unwrap();
        fs::remove_file(config.dir.join(missing)).unwrap();
        assert!(failure(&config, missing).contains("is missing"));
    }
}

#[test]
fn a_first_run_that_was_cut_off_is_completed() {
    let names = {
        let folder = folder();
        let config = config(&folder);
        Pki::ensure(&config).unwrap();
        picture(&config.dir).len()
    };
    // What is there after a kill between the key and the certificate of the first authority.
    let folder = folder();
    let config = config(&folder);
    fs::create_dir_all(&config.dir).unwrap();
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    fs::write(config.dir.join("server-ca.key"), &key).unwrap();
    Pki::ensure(&config).unwrap();
    assert_eq!(fs::read_to_string(config.dir.join("server-ca.key")).unwrap(), key);
    // And between those of a certificate.
    fs::remove_file(config.dir.join("client-admin.crt")).unwrap();
    Pki::ensure(&config).unwrap();
    assert_eq!(picture(&config.dir).len(), names);
}

#[test]
fn an_expired_authority_is_an_error_that_says_so() {
    let folder = folder();
    let config = config(&folder);
    Pki::ensure(&config).unwrap();
    let error = Pki::ensure_at(&config, now() + 3700 * DAY).unwrap_err();
    assert!(error.to_string().contains("has expired"), "{error}");
}

#[test]
fn what_a_machine_without_a_clock_issues_still_holds_when_the_clock_is_set() {
    let folder = folder();
    let config = config(&folder);
    let epoch = std::time::UNIX_EPOCH + DAY;
    let pki = Pki::ensure_at(&config, epoch).unwrap();
    let der = pki.client_admin().cert_der().unwrap();
    pki.authenticator().authenticate(&[der], now()).unwrap();
    assert!(Pki::ensure(&config).is_ok());
}

#[test]
fn a_bad_name_is_refused_before_anything_is_signed_with_it() {
    let folder = folder();
    let mut config = config(&folder);
    config.sans.push("not a name".into());
    let error = Pki::ensure(&config).unwrap_err();
    assert!(error.to_string().contains("\"not a name\""), "{error}");
}
