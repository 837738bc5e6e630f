//! Archives become images that containers run from.

use std::io::Cursor;

use copepod_cri::import::{Error, Importer, Outcome, Report};
use tokio::sync::mpsc;

use crate::support::{BUSYBOX, Layer, PAUSE, Sandbox, docker_archive, gzip, oci_archive};

async fn all(mut reports: mpsc::Receiver<Report>) -> Vec<Report> {
    let mut found = Vec::new();
    while let Some(report) = reports.recv().await {
        found.push(report);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_run_from_docker_and_oci_archives_in_every_compression() {
    let sandbox = Sandbox::new();
    let supervisor = sandbox.start().await;
    let importer = Importer::new(&supervisor.endpoint()).unwrap();
    let zstd =
        |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
    let pause = importer.import(Cursor::new(zstd(&oci_archive(&[PAUSE], Layer::Plain)))).await.unwrap();
    assert_eq!(pause[0].names, [PAUSE]);
    let other = importer.import(Cursor::new(gzip(&docker_archive(BUSYBOX)))).await.unwrap();
    assert_eq!(other[0].names, [BUSYBOX]);
    // Again is no error.
    importer.import(Cursor::new(oci_archive(&[PAUSE], Layer::Plain))).await.unwrap();
    assert!(importer.has(PAUSE).await.unwrap());

    let (runtime, images) = copepod_cri::connect(&supervisor.endpoint()).unwrap();
    let (pod, id) = sandbox.run(runtime.as_ref(), "a", "exit 0").await;
    assert!(images.list(None).await.unwrap().iter().any(|image| image.repo_tags == [PAUSE]));
    runtime.remove_container(&id).await.unwrap();
    runtime.remove_pod_sandbox(&pod).await.unwrap();
    images.remove(BUSYBOX).await.unwrap();
    images.remove(BUSYBOX).await.unwrap();
    assert!(images.status(BUSYBOX).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_image_survives_the_garbage_collector() {
    let sandbox = Sandbox::new();
    let (supervisor, runtime, images) = sandbox.ready().await;
    // Removing an image runs the collector to its end.
    let importer = Importer::new(&supervisor.endpoint()).unwrap();
    importer.import(Cursor::new(docker_archive("copepod.test/other:1"))).await.unwrap();
    images.remove("copepod.test/other:1").await.unwrap();
    sandbox.run(runtime.as_ref(), "a", "sleep 1000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_and_foreign_archives_are_refused_with_the_reason() {
    let sandbox = Sandbox::new();
    let supervisor = sandbox.start().await;
    let importer = Importer::new(&supervisor.endpoint()).unwrap();
    let good = oci_archive(&[BUSYBOX], Layer::Gzip);

    let cut = importer.import(Cursor::new(good[..good.len() / 2].to_vec())).await;
    assert!(matches!(cut, Err(Error::Damaged(_))), "{cut:?}");
    let mut flipped = good.clone();
    let middle = good.len() / 2;
    flipped[middle] ^= 0xff;
    let flipped = importer.import(Cursor::new(flipped)).await.unwrap_err();
    assert!(flipped.to_string().contains("the archive is damaged"), "{flipped}");
    let text = importer.import(Cursor::new(b"#!/bin/sh\n".to_vec())).await;
    assert!(text.is_err());
    let nameless = importer.import(Cursor::new(oci_archive(&[], Layer::Plain))).await.unwrap_err();
    assert!(nameless.to_string().contains("has a name"), "{nameless}");
    assert!(!importer.has(BUSYBOX).await.unwrap());
    importer.import(Cursor::new(good)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_of_a_folder_are_imported_once_and_again_when_they_change() {
    let sandbox = Sandbox::new();
    let supervisor = sandbox.start().await;
    let importer = Importer::new(&supervisor.endpoint()).unwrap();
    let folder = sandbox.folder.join("images");
    let cache = sandbox.folder.join("images.json");
    assert!(all(importer.import_folder(&folder, &cache, &sandbox.shutdown)).await.is_empty());
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.tar.gz"), gzip(&docker_archive(BUSYBOX))).unwrap();
    std::fs::write(folder.join("b.tar"), b"nothing").unwrap();
    std::fs::write(folder.join(".half-copied"), b"nothing").unwrap();

    let first = all(importer.import_folder(&folder, &cache, &sandbox.shutdown)).await;
    assert_eq!(first.len(), 2);
    assert!(matches!(first[0].outcome, Outcome::Imported(_)), "{first:?}");
    assert!(matches!(first[1].outcome, Outcome::Failed(_)));
    let second = all(importer.import_folder(&folder, &cache, &sandbox.shutdown)).await;
    assert!(matches!(&second[0].outcome, Outcome::Unchanged(names) if names == &[BUSYBOX]), "{second:?}");

    // Written anew with the same content: still the same archive.
    std::fs::write(folder.join("a.tar.gz"), gzip(&docker_archive(BUSYBOX))).unwrap();
    let third = all(importer.import_folder(&folder, &cache, &sandbox.shutdown)).await;
    assert!(matches!(third[0].outcome, Outcome::Unchanged(_)), "{third:?}");

    let (_, images) = copepod_cri::connect(&supervisor.endpoint()).unwrap();
    images.remove(BUSYBOX).await.unwrap();
    let fourth = all(importer.import_folder(&folder, &cache, &sandbox.shutdown)).await;
    assert!(matches!(fourth[0].outcome, Outcome::Imported(_)), "{fourth:?}");
}
