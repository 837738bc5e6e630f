//! Images come from archives in the data folder: at the start and while the server runs, plain or packed.

use copepod_test_support::images::{self, BUSYBOX, SERVER};
use copepod_test_support::{Cluster, Finished};
use std::fs;
use std::process::Command;

#[test]
fn archives_are_imported_plain_gzipped_and_zstandard() {
    let cluster = Cluster::builder().without_images().prepare();
    let target = cluster.data_dir().join("agent/images");
    let source = |name: &str| images::directory().join(name);
    let pack = |program: &str, from: &str, to: &str| {
        let packed = Command::new(program).arg("-c").arg(source(from)).output().expect("it runs");
        assert!(packed.status.success());
        fs::write(target.join(to), packed.stdout).expect("writable");
    };
    pack("gzip", "busybox.tar", "busybox.tar.gz");
    pack("zstd", "server.tar", "server.tar.zst");
    fs::write(target.join("broken.tar"), "this is no archive").expect("writable");
    let mut cluster = cluster;
    cluster.launch();
    cluster.wait_for_images(&["copepod.io/pause:1", BUSYBOX, SERVER]);
    let namespace = cluster.namespace("images");
    namespace.server("a", &["serve"]);
    copepod_test_support::until("the broken archive is reported", crate::shared::SOON, || {
        cluster.log().contains("broken.tar")
    });

    // Pinned: no image clean-up takes away what no registry can give back.
    let listed = cluster.ctr("images ls").ok();
    for image in [BUSYBOX, SERVER, "copepod.io/pause:1"] {
        let line = listed.lines().find(|line| line.starts_with(image)).unwrap_or_default();
        assert!(line.contains("io.cri-containerd.pinned=pinned"), "{image} is not pinned in\n{listed}");
    }
    let node = format!("node/{}", cluster.node());
    copepod_test_support::until("the node lists the images", crate::shared::SOON, || {
        cluster.kubectl().field(&node, "{.status.images[*].names[*]}").contains(SERVER)
    });
}

#[test]
fn a_second_start_does_not_import_again() {
    let mut cluster = Cluster::builder().start();
    let created = |cluster: &Cluster| cluster.ctr(&format!("images ls name=={SERVER}")).ok();
    let first = created(&cluster);
    assert!(first.contains(SERVER), "{first}");
    cluster.ctr(&format!("images rm {BUSYBOX}")).ok();
    cluster.restart();
    // One that was removed comes back, one that is there stays.
    assert_eq!(created(&cluster), first);
}

#[test]
fn the_pause_image_is_inside_the_executable() {
    let cluster = crate::shared::shared();
    cluster.ctr("images ls -q").prints("copepod.io/pause:1");
    let size =
        Finished::of(Command::new("stat").args(["-c", "%s"]).arg(copepod_test_support::executable()), b"");
    assert!(size.ok().trim().parse::<u64>().is_ok());
}
