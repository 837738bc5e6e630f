use k8s_openapi::api::core::v1::Pod;

use super::strategy;

#[test]
fn a_pod_is_decoded() {
    let decoded = strategy::<Pod>().decode(br#"{"metadata":{"name":"a"},"spec":{"containers":[]}}"#).unwrap();
    assert_eq!(decoded.object.metadata().name.as_deref(), Some("a"));
}
