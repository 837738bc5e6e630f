use std::sync::atomic::{AtomicUsize, Ordering};

use copepod_base::clock;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::Status;
use tokio::sync::mpsc;

use super::*;
use crate::test_server::TestServer;
use crate::{Informers, ObjectKey};

#[tokio::test(start_paused = true)]
async fn failures_and_panics_are_tried_again_until_success() {
    let (queue, shutdown, tries) = (Queue::new(), Shutdown::new(), Arc::new(AtomicUsize::new(0)));
    queue.add("a".to_owned());
    let (node, count) = (shutdown.clone(), tries.clone());
    let reconcile = move |_key: String| {
        let (node, count) = (node.clone(), count.clone());
        async move {
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => Err(kube::Error::Api(Status::failure("stale", "Conflict").with_code(409).boxed())),
                1 => Err(kube::Error::TlsRequired),
                2 => panic!("on purpose"),
                _ => {
                    node.cancel();
                    Ok(Action::Done)
                }
            }
        }
    };
    run("test", queue.clone(), 3, &shutdown, reconcile).await;
    assert_eq!(tries.load(Ordering::SeqCst), 4);
    assert_eq!(queue.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_requeued_key_comes_again_after_the_delay() {
    let (queue, shutdown) = (Queue::new(), Shutdown::new());
    let (sender, mut times) = mpsc::unbounded_channel();
    queue.add("a".to_owned());
    let node = shutdown.clone();
    let running = tokio::spawn(async move {
        run("test", queue, 1, &node, move |_key: String| {
            let sender = sender.clone();
            async move {
                sender.send(clock::instant()).unwrap();
                Ok::<_, kube::Error>(Action::RequeueAfter(Duration::from_secs(30)))
            }
        })
        .await;
    });
    let (first, second) = (times.recv().await.unwrap(), times.recv().await.unwrap());
    assert_eq!(second - first, Duration::from_secs(30));
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn changes_of_an_informer_become_keys() {
    let (server, shutdown, queue) = (TestServer::default(), Shutdown::new(), Queue::new());
    let informers = Informers::new(server.client(), &shutdown);
    feed("test", informers.get::<ConfigMap>().subscribe(), &queue, &shutdown, |change| {
        [ObjectKey::of(&**change.object())]
    });
    server.put("a", "1");
    let key = queue.next().await.unwrap();
    assert_eq!(key, ObjectKey::namespaced("ns", "a"));
    assert_eq!(key.to_string(), "ns/a");
}
