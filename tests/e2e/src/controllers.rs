//! What happens without being asked for: accounts, root certificates, clean-up.

use crate::shared::{SOON, namespace, shared};
use copepod_test_support::images::SERVER;
use copepod_test_support::until;

#[test]
fn every_namespace_gets_an_account_and_the_root_certificate_and_gets_them_back() {
    let namespace = namespace("accounts");
    namespace.wait("configmap/kube-root-ca.crt", "create");
    let certificate = r"{.data.ca\.crt}";
    let first = namespace.field("configmap/kube-root-ca.crt", certificate);
    assert!(first.starts_with("-----BEGIN CERTIFICATE-----"), "{first}");
    let uid = namespace.field("serviceaccount/default", "{.metadata.uid}");
    namespace.ok(&["delete", "serviceaccount/default", "configmap/kube-root-ca.crt", "--wait=false"]);
    until("the account is back", SOON, || {
        let found = namespace.run(&["get", "serviceaccount/default", "-o", "jsonpath={.metadata.uid}"]);
        found.status.success() && found.stdout != uid
    });
    namespace.wait("configmap/kube-root-ca.crt", "create");
    namespace.ok(&["patch", "configmap", "kube-root-ca.crt", "-p", r#"{"data":{"ca.crt":"wrong"}}"#]);
    until("the certificate is right again", SOON, || {
        namespace.field("configmap/kube-root-ca.crt", certificate) == first
    });
}

#[test]
fn a_deleted_namespace_takes_everything_along() {
    let kubectl = shared().kubectl();
    let namespace = namespace("doomed");
    namespace.server("a", &["serve"]);
    namespace.ok(&["create", "deployment", "web", "--image", SERVER]);
    namespace
        .create("{apiVersion: v1, kind: ConfigMap, metadata: {name: held, finalizers: [example.com/hold]}}");
    kubectl.ok(&["delete", "namespace", namespace.name(), "--wait=false"]);
    let name = format!("namespace/{}", namespace.name());
    kubectl.wait(&name, "jsonpath={.status.phase}=Terminating");
    namespace.run(&["create", "configmap", "late"]).fails_with("because it is being terminated");
    kubectl.wait(&name, "condition=NamespaceFinalizersRemaining=True");
    namespace.wait("pods", "delete");
    namespace.ok(&[
        "patch",
        "configmap",
        "held",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ]);
    kubectl.wait(&name, "delete");
    kubectl.run(&["delete", "namespace", "default"]).fails_with("this namespace may not be deleted");
}

#[test]
fn an_object_goes_with_the_last_of_its_owners() {
    let namespace = namespace("owners");
    let uid = |name: &str| namespace.field(&format!("configmap/{name}"), "{.metadata.uid}");
    namespace.ok(&["create", "configmap", "one"]);
    namespace.ok(&["create", "configmap", "two"]);
    let owner = |name: &str| format!("{{apiVersion: v1, kind: ConfigMap, name: {name}, uid: {}}}", uid(name));
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: owned, ownerReferences: [{}, {}]}}}}",
        owner("one"),
        owner("two")
    ));
    namespace.ok(&["delete", "configmap", "one"]);
    // Its owner two is still there. One that was made after the deletion and collected tells that the collector has seen it.
    namespace.create(
        "{apiVersion: v1, kind: Secret, metadata: {name: orphan, ownerReferences: [{apiVersion: v1, kind: ConfigMap, \
         name: never, uid: 11111111-1111-1111-1111-111111111111}]}}",
    );
    namespace.wait("secret/orphan", "delete");
    assert_eq!(namespace.text(&["get", "secret", "owned", "-o", "name"]), "secret/owned");
    namespace.ok(&["delete", "configmap", "two"]);
    namespace.wait("secret/owned", "delete");
}

#[test]
fn the_cluster_starts_with_what_clients_expect() {
    let kubectl = shared().kubectl();
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        kubectl.ok(&["get", "namespace", name]);
    }
    assert_eq!(kubectl.field("service/kubernetes", "{.spec.clusterIP}"), "10.43.0.1");
    let ends = kubectl.text(&[
        "get",
        "endpointslices",
        "-l",
        "kubernetes.io/service-name=kubernetes",
        "-o",
        "jsonpath={.items[0].endpoints[0].addresses[0]}",
    ]);
    assert_eq!(ends, "192.168.77.2");
}
