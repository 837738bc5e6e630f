//! Measures the SQLite store: `cargo run --release -p copepod-store --example bench [folder]`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring tool")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use copepod_base::clock::instant;
use copepod_base::task::Shutdown;
use copepod_store::sqlite::{Sqlite, SqliteConfig};
use copepod_store::{Durability, Range, Store, WriteOptions};

const RUN: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let folder = std::path::Path::new(&folder).join(format!("copepod-bench-{:x}", fastrand::u64(..)));
    let shutdown = Shutdown::new();
    let mut config = SqliteConfig::new(folder.join("state.db"));
    config.relaxed_journal = Some(format!("/dev/shm/copepod-bench-{:x}", fastrand::u64(..)).into());
    let store = Sqlite::open(config, &shutdown).unwrap();
    for durability in [Durability::Durable, Durability::Relaxed] {
        for writers in [1, 8, 64] {
            creates(&store, writers, durability).await;
        }
    }
    list(&store).await;
    let started = instant();
    store.close().await.unwrap();
    println!("close: {:?}", started.elapsed());
    std::fs::remove_dir_all(folder).unwrap();
}

async fn creates(store: &Arc<Sqlite>, writers: usize, durability: Durability) {
    let stats = store.stats();
    let (commits, fsyncs) = (stats.commits.get(), stats.fsyncs.get());
    let written = Arc::new(AtomicU64::new(0));
    let started = instant();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, written) = (Arc::clone(store), Arc::clone(&written));
            tokio::spawn(async move {
                let value = Bytes::from(vec![b'x'; 2048]);
                let options = WriteOptions { durability, ttl: None };
                for number in 0.. {
                    let key = format!("/registry/core/{durability:?}/{writers}-{writer}/object-{number}");
                    store.create(&key, value.clone(), options).await.unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                    if started.elapsed() > RUN {
                        break;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let seconds = started.elapsed().as_secs_f64();
    let written = written.load(Ordering::Relaxed) as f64;
    println!(
        "{durability:?}, {writers} writers: {:.0} creates/s of 2 KiB, {:.3} commits and {:.3} flushes per write",
        written / seconds,
        (stats.commits.get() - commits) as f64 / written,
        (stats.fsyncs.get() - fsyncs) as f64 / written,
    );
}

async fn list(store: &Arc<Sqlite>) {
    let prefix = "/registry/core/pods/";
    let value = Bytes::from(vec![b'x'; 4096]);
    let creates =
        (0..5000).map(|number| {
            let (store, value) = (Arc::clone(store), value.clone());
            async move {
                store.create(&format!("{prefix}default/pod-{number}"), value, WriteOptions::default()).await
            }
        });
    futures::future::try_join_all(creates).await.unwrap();
    let range = || Range { prefix: prefix.to_owned(), ..Range::default() };
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let started = instant();
        assert_eq!(store.range(range()).await.unwrap().records.len(), 5000);
        best = best.min(started.elapsed());
    }
    println!("range of 5,000 records of 4 KiB: {best:?}");
    let started = instant();
    for number in 0..5000 {
        store.get(&format!("{prefix}default/pod-{number}")).await.unwrap().0.unwrap();
    }
    println!("get: {:?} each", started.elapsed() / 5000);
}
