use copepod_base::Shutdown;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use serde_json::json;

use super::*;
use crate::Informers;
use crate::test_server::TestServer;

struct Setup {
    server: TestServer,
    informers: Informers,
    shutdown: Shutdown,
}

fn setup() -> Setup {
    let (server, shutdown) = (TestServer::default(), Shutdown::new());
    let informers = Informers::new(server.client(), &shutdown);
    Setup { server, informers, shutdown }
}

fn value(object: &ConfigMap) -> &str {
    object.data.as_ref().map_or("", |data| &data["value"])
}

fn text(change: &Change<ConfigMap>) -> String {
    match change {
        Change::Added(new) => format!("added {}={}", new.name_any(), value(new)),
        Change::Updated { old, new } => format!("updated {}={}->{}", new.name_any(), value(old), value(new)),
        Change::Deleted(old) => format!("deleted {}={}", old.name_any(), value(old)),
    }
}

async fn next(changes: &mut Subscription<ConfigMap>) -> String {
    text(&changes.recv().await.unwrap())
}

#[tokio::test]
async fn two_users_of_a_kind_share_one_list_and_one_watch() {
    let Setup { server, informers, .. } = setup();
    server.put("a", "1");
    let (first, second) = (informers.get::<ConfigMap>(), informers.get::<ConfigMap>());
    let (mut left, mut right) = (first.subscribe(), second.subscribe());
    assert_eq!(next(&mut left).await, "added a=1");
    assert_eq!(next(&mut right).await, "added a=1");
    server.until(|counts| counts.watches > 0).await;
    assert_eq!((server.counts().lists, server.counts().watches), (1, 1));
    assert!(Arc::ptr_eq(&first.get(Some("ns"), "a").unwrap(), &second.get(Some("ns"), "a").unwrap()));
}

#[tokio::test]
async fn changes_arrive_in_order_and_without_managed_fields() {
    let Setup { server, informers, .. } = setup();
    let informer = informers.get::<ConfigMap>();
    let mut changes = informer.subscribe();
    assert!(informer.synced().await);
    server.put("a", "1");
    server.put("a", "2");
    server.delete("a");
    assert_eq!(next(&mut changes).await, "added a=1");
    let change = changes.recv().await.unwrap();
    assert_eq!(text(&change), "updated a=1->2");
    assert!(change.object().metadata.managed_fields.is_none());
    assert_eq!(next(&mut changes).await, "deleted a=2");
    assert!(informer.is_empty());
}

#[tokio::test]
async fn a_late_subscriber_is_told_everything_known() {
    let Setup { server, informers, .. } = setup();
    server.put("a", "1");
    server.put("b", "2");
    let informer = informers.get::<ConfigMap>();
    informer.synced().await;
    let mut changes = informer.subscribe();
    assert_eq!(next(&mut changes).await, "added a=1");
    assert_eq!(next(&mut changes).await, "added b=2");
    assert!(changes.try_recv().is_none());
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_loses_nothing() {
    let Setup { server, informers, .. } = setup();
    let informer = informers.get::<ConfigMap>();
    informer.synced().await;
    let mut changes = informer.subscribe();
    let mut last = String::new();
    for n in 0..5000 {
        last = server.put(&format!("n{n}"), "1");
    }
    assert!(informer.seen(&last).await);
    for n in 0..5000 {
        assert_eq!(text(&changes.try_recv().unwrap()), format!("added n{n}=1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_goes_on_where_it_ended_without_a_list() {
    let Setup { server, informers, .. } = setup();
    let informer = informers.get::<ConfigMap>();
    let mut changes = informer.subscribe();
    informer.synced().await;
    server.until(|counts| counts.watches == 1).await;
    server.put("a", "1");
    assert_eq!(next(&mut changes).await, "added a=1");
    server.disconnect();
    server.put("a", "2");
    server.put("b", "1");
    server.delete("b");
    assert_eq!(next(&mut changes).await, "updated a=1->2");
    assert_eq!(next(&mut changes).await, "added b=1");
    assert_eq!(next(&mut changes).await, "deleted b=1");
    assert_eq!((server.counts().lists, server.counts().watches), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn after_an_expired_version_only_real_changes_are_reported() {
    for refuse_by_status in [false, true] {
        let Setup { server, informers, .. } = setup();
        server.put("gone", "1");
        server.put("same", "1");
        server.put("changed", "1");
        server.put("remade", "1");
        let informer = informers.get::<ConfigMap>();
        informer.synced().await;
        server.until(|counts| counts.watches == 1).await;
        let mut changes = informer.subscribe();
        for _ in 0..4 {
            changes.recv().await.unwrap();
        }
        server.disconnect();
        server.delete("gone");
        server.delete("remade");
        server.put("remade", "2");
        server.put("changed", "2");
        let last = server.put("new", "1");
        server.compact(refuse_by_status);
        assert!(informer.seen(&last).await);
        let mut seen = Vec::new();
        while let Some(change) = changes.try_recv() {
            seen.push(text(&change));
        }
        seen.sort();
        assert_eq!(
            seen,
            ["added new=1", "added remade=2", "deleted gone=1", "deleted remade=1", "updated changed=1->2"]
        );
        assert_eq!(server.counts().lists, 2);
        let names: Vec<_> = informer.list().iter().map(|object| object.name_any()).collect();
        assert_eq!(names, ["changed", "new", "remade", "same"]);
    }
}

#[tokio::test]
async fn indexes_follow_the_objects() {
    let Setup { server, informers, .. } = setup();
    server.put("a", "x");
    let informer = informers.get::<ConfigMap>();
    informer.synced().await;
    informer.index("value", |object: &ConfigMap| vec![value(object).to_owned()]);
    let names = |key: &str| {
        let mut names: Vec<_> = informer.by_index("value", key).iter().map(|o| o.name_any()).collect();
        names.sort();
        names
    };
    assert_eq!(names("x"), ["a"]);
    let last = server.put("b", "x");
    informer.seen(&last).await;
    assert_eq!(names("x"), ["a", "b"]);
    let last = server.put("a", "y");
    informer.seen(&last).await;
    assert_eq!((names("x"), names("y")), (vec!["b".to_owned()], vec!["a".to_owned()]));
    server.delete("b");
    informer.seen(&server.version().to_string()).await;
    assert!(names("x").is_empty());
}

#[tokio::test]
async fn long_lists_are_read_in_pages() {
    let Setup { server, informers, .. } = setup();
    for n in 0..1201 {
        server.put(&format!("n{n}"), "1");
    }
    let informer = informers.get::<ConfigMap>();
    informer.synced().await;
    assert_eq!(informer.len(), 1201);
    assert_eq!(informer.list_namespace("ns").len(), 1201);
    assert!(informer.list_namespace("other").is_empty());
    assert_eq!(server.counts().lists, 3);
}

#[tokio::test(start_paused = true)]
async fn a_failing_server_is_asked_again_ever_more_rarely() {
    let Setup { server, informers, .. } = setup();
    server.put("a", "1");
    server.fail_lists(10);
    let started = copepod_base::clock::instant();
    assert!(informers.get::<ConfigMap>().synced().await);
    assert_eq!(server.counts().lists, 11);
    assert!(started.elapsed() > std::time::Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_always_ends_at_once_is_no_busy_loop() {
    let Setup { server, informers, .. } = setup();
    informers.get::<ConfigMap>().synced().await;
    for n in 1..8 {
        server.until(|counts| counts.watches == n).await;
        server.disconnect();
    }
    let started = copepod_base::clock::instant();
    server.until(|counts| counts.watches == 8).await;
    assert!(started.elapsed() > std::time::Duration::from_secs(5));
}

#[tokio::test]
async fn a_bookmark_advances_the_version_without_a_change() {
    let Setup { server, informers, .. } = setup();
    let informer = informers.get::<ConfigMap>();
    let mut changes = informer.subscribe();
    server.until(|counts| counts.watches == 1).await;
    server.send_raw(&json!({"type": "BOOKMARK", "object":
        {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "77"}}}));
    assert!(informer.seen("77").await);
    assert_eq!(informer.version(), 77);
    assert!(changes.try_recv().is_none());
}

#[tokio::test]
async fn the_shutdown_ends_subscriptions_and_waiters() {
    let Setup { server, informers, shutdown } = setup();
    server.put("a", "1");
    let informer = informers.get::<ConfigMap>();
    informer.synced().await;
    let mut changes = informer.subscribe();
    shutdown.cancel();
    shutdown.finished().await;
    assert_eq!(next(&mut changes).await, "added a=1");
    assert!(changes.recv().await.is_none());
    assert!(!informer.seen("1000").await);
    let mut late = informer.subscribe();
    assert_eq!(next(&mut late).await, "added a=1");
    assert!(late.recv().await.is_none());
}

#[tokio::test]
async fn scopes_and_metadata_informers_are_apart() {
    let Setup { server, informers, .. } = setup();
    server.put("a", "1");
    let scope = crate::Scope { labels: Some("app=web".into()), ..Default::default() };
    let resource = kube::api::ApiResource::erase::<ConfigMap>(&());
    let metadata = informers.ownership(&resource);
    informers.get::<ConfigMap>().synced().await;
    informers.scoped::<ConfigMap>(scope.clone()).synced().await;
    informers.scoped::<ConfigMap>(scope).synced().await;
    metadata.synced().await;
    assert_eq!(metadata.get(Some("ns"), "a").unwrap().name_any(), "a");
    assert_eq!(server.counts().lists, 3);
}

#[tokio::test]
async fn pages_that_expire_are_replaced_by_one_whole_list() {
    let Setup { server, informers, .. } = setup();
    for n in 0..700 {
        server.put(&format!("n{n}"), "1");
    }
    server.expire_page();
    let informer = informers.get::<ConfigMap>();
    informer.synced().await;
    assert_eq!(informer.len(), 700);
    assert_eq!(server.counts().lists, 3);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_stays_silent_is_given_up_and_resumed() {
    let Setup { server, informers, .. } = setup();
    let informer = informers.get::<ConfigMap>();
    let started = copepod_base::clock::instant();
    server.until(|counts| counts.watches == 3).await;
    let minutes = started.elapsed().as_secs() / 60;
    assert!((10..=21).contains(&minutes), "{minutes}");
    assert_eq!(server.counts().lists, 1);
    server.put("a", "1");
    assert_eq!(next(&mut informer.subscribe()).await, "added a=1");
}
