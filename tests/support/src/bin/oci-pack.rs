//! Writes the test images as OCI archives; `images/build` calls it.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command line tool

use copepod_test_support::images;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [busybox, server, directory] = args.as_slice() else {
        eprintln!("usage: oci-pack BUSYBOX TESTSERVER DIRECTORY");
        return ExitCode::from(64);
    };
    match pack(Path::new(busybox), Path::new(server), Path::new(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot pack the test images: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pack(busybox: &Path, server: &Path, directory: &Path) -> io::Result<()> {
    let archives = [images::busybox(busybox)?, images::server(server, busybox)?];
    for (name, archive) in images::ARCHIVES.iter().zip(archives) {
        let path = directory.join(name);
        fs::write(&path, &archive)?;
        println!("{} ({} KiB)", path.display(), archive.len() >> 10);
    }
    Ok(())
}
