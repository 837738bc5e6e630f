//! Volumes that need nothing but the node.

use crate::shared::{SOON, namespace};
use copepod_test_support::images::BUSYBOX;
use copepod_test_support::{Credentials, until};

#[test]
fn config_maps_secrets_and_the_pod_itself_appear_as_files() {
    let namespace = namespace("volumes");
    namespace.ok(&[
        "create",
        "configmap",
        "settings",
        "--from-literal=a.txt=one",
        "--from-literal=b.txt=two",
    ]);
    namespace.ok(&["create", "secret", "generic", "hidden", "--from-literal=key=s3cret"]);
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: a, labels: {{x: z}}}}, spec: {{terminationGracePeriodSeconds: 1, \
         volumes: [{{name: c, configMap: {{name: settings, items: [{{key: a.txt, path: sub/renamed}}, {{key: b.txt, \
         path: b, mode: 256}}]}}}}, {{name: s, secret: {{secretName: hidden, defaultMode: 288}}}}, {{name: d, downwardAPI: \
         {{items: [{{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}]}}}}, {{name: m, emptyDir: {{medium: Memory, \
         sizeLimit: 8Mi}}}}, {{name: p, projected: {{sources: [{{configMap: {{name: settings}}}}, {{secret: {{name: \
         hidden}}}}]}}}}], containers: [{{name: main, image: {BUSYBOX}, command: [sleep, '1000'], volumeMounts: [\
         {{name: c, mountPath: /c}}, {{name: s, mountPath: /s, readOnly: true}}, {{name: d, mountPath: /d}}, \
         {{name: m, mountPath: /m}}, {{name: p, mountPath: /p}}, {{name: c, mountPath: /one, subPath: b}}]}}]}}}}"
    ));
    namespace.wait("pod/a", "condition=Ready");
    let run = |script: &str| namespace.text(&["exec", "a", "--", "sh", "-c", script]);
    assert_eq!(run("cat /c/sub/renamed /c/b /s/key /d/labels"), "onetwos3cretx=\"z\"");
    assert_eq!(run("ls /c /p"), "/c:\nb\nsub\n\n/p:\na.txt\nb.txt\nkey");
    assert_eq!(run("stat -L -c %a /c/b /s/key"), "400\n440");
    assert_eq!(run("cat /one"), "two");
    assert!(run("mount | grep ' /m '").contains("tmpfs"));
    let failure = namespace.run(&["exec", "a", "--", "touch", "/s/new"]);
    assert!(!failure.status.success(), "{failure}");
}

#[test]
fn every_pod_gets_a_token_of_its_account() {
    let namespace = namespace("token");
    namespace.server("a", &["serve"]);
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    let read = |file: &str| namespace.text(&["exec", "a", "--", "cat", &format!("{folder}/{file}")]);
    assert_eq!(read("namespace"), namespace.name());
    assert!(read("ca.crt").starts_with("-----BEGIN CERTIFICATE-----"));
    let token = read("token");
    assert_eq!(token.split('.').count(), 3, "a JSON web token");
    let curl = namespace.cluster().curl();
    let answer = curl.send(&Credentials::Token(token), "GET", "/api/v1/namespaces/default/pods", &[], b"");
    answer.is_status(403, "Forbidden", &format!("system:serviceaccount:{}:default", namespace.name()));

    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: b}}, spec: {{automountServiceAccountToken: false, \
         terminationGracePeriodSeconds: 1, containers: [{{name: main, image: {BUSYBOX}, command: [sleep, '1000']}}]}}}}"
    ));
    namespace.wait("pod/b", "condition=Ready");
    assert!(!namespace.run(&["exec", "b", "--", "ls", folder]).status.success());
}

#[test]
fn a_missing_volume_holds_the_pod_back_until_it_is_there() {
    let namespace = namespace("missing");
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{terminationGracePeriodSeconds: 1, volumes: [{{name: c, \
         configMap: {{name: late}}}}], containers: [{{name: main, image: {BUSYBOX}, command: [sleep, '1000'], volumeMounts: \
         [{{name: c, mountPath: /c}}]}}]}}}}"
    ));
    until("an event tells what is missing", SOON, || {
        namespace.ok(&["get", "events"]).contains("configmap \"late\" not found")
    });
    namespace.ok(&["create", "configmap", "late", "--from-literal=a=b"]);
    namespace.wait("pod/a", "condition=Ready");
}

#[test]
fn host_paths_are_the_nodes() {
    let namespace = namespace("hostpath");
    let path = namespace.cluster().sandbox().folder().join(namespace.name());
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{restartPolicy: Never, volumes: [{{name: h, hostPath: \
         {{path: {}, type: DirectoryOrCreate}}}}], containers: [{{name: main, image: {BUSYBOX}, command: [sh, -c, \
         'echo written >/h/file'], volumeMounts: [{{name: h, mountPath: /h}}]}}]}}}}",
        path.display()
    ));
    namespace.wait("pod/a", "jsonpath={.status.phase}=Succeeded");
    assert_eq!(std::fs::read_to_string(path.join("file")).ok().as_deref(), Some("written\n"));
}
