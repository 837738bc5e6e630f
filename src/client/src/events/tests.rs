use k8s_openapi::api::core::v1::Pod;
use kube::api::ObjectMeta;

use super::*;
use crate::test_server::TestServer;

fn pod() -> Pod {
    let metadata = ObjectMeta {
        name: Some("web".into()),
        namespace: Some("shop".into()),
        uid: Some("u1".into()),
        resource_version: Some("7".into()),
        ..ObjectMeta::default()
    };
    Pod { metadata, ..Pod::default() }
}

#[tokio::test]
async fn an_event_is_written_beside_its_object_and_repeats_raise_its_count() {
    let server = TestServer::default();
    let recorder = Recorder::new(server.client(), "kubelet", "edge-1");
    recorder.normal(&pod(), "Started", "Started container web");
    recorder.normal(&pod(), "Started", "Started container web");
    recorder.warning(&pod(), "BackOff", "Back-off restarting");
    server.until(|counts| counts.creates == 2 && counts.patches == 1).await;
    let events = server.objects("events");
    let started = events.iter().find(|event| event["reason"] == "Started").unwrap();
    assert_eq!(started["count"], 2);
    assert_eq!(started["type"], "Normal");
    assert_eq!(started["metadata"]["namespace"], "shop");
    assert!(started["metadata"]["name"].as_str().unwrap().starts_with("web."));
    assert_eq!(started["source"]["component"], "kubelet");
    assert_eq!(started["source"]["host"], "edge-1");
    assert_eq!(started["involvedObject"]["kind"], "Pod");
    assert_eq!(started["involvedObject"]["uid"], "u1");
    assert_eq!(events.iter().find(|event| event["reason"] == "BackOff").unwrap()["type"], "Warning");
}

#[tokio::test]
async fn a_repeat_of_an_expired_event_is_made_again_with_its_count() {
    let server = TestServer::default();
    let recorder = Recorder::new(server.client(), "scheduler", "");
    recorder.normal(&pod(), "Scheduled", "to edge-1");
    server.until(|counts| counts.creates == 1).await;
    server.remove_all("events");
    recorder.normal(&pod(), "Scheduled", "to edge-1");
    server.until(|counts| counts.creates == 2).await;
    assert_eq!(server.objects("events")[0]["count"], 2);
}

#[tokio::test]
async fn recording_never_waits_for_the_server() {
    let server = TestServer::default();
    let recorder = Recorder::new(server.client(), "kubelet", "edge-1");
    for n in 0..5000 {
        recorder.normal(&pod(), "Flood", n.to_string());
    }
    drop(recorder);
    server.until(|counts| counts.creates + counts.patches == 25).await;
}
