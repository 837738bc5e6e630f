//! Builds `images/pause` for the target and packs it as `$OUT_DIR/pause.tar`, which the executable embeds.

#[path = "../../images/oci.rs"]
#[allow(unreachable_pub, dead_code, reason = "shared with the tests, which pack larger images")]
mod oci;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Name under which the image is imported; the agent's sandboxes run it.
const IMAGE: &str = "copepod.io/pause:1";
const SOURCE: &str = "../../images/pause/pause.rs";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=../../images/oci.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");

    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let executable = out_dir.join("pause");
    compile(Path::new(SOURCE), &executable)?;
    let image = oci::Image {
        name: IMAGE.into(),
        architecture: oci::architecture(&env::var("CARGO_CFG_TARGET_ARCH")?).into(),
        entrypoint: vec!["/pause".into()],
        entries: vec![oci::Entry::File("/pause".into(), 0o755, fs::read(&executable)?)],
        ..oci::Image::default()
    };
    fs::write(out_dir.join("pause.tar"), image.pack()?)?;
    Ok(())
}

/// Compiles `source` by itself: it uses neither the standard library nor the C library, so that it stays a few
/// kilobytes and runs in an empty file system. cargo cannot build it along, as its panic strategy differs.
fn compile(source: &Path, executable: &Path) -> Result<(), Box<dyn Error>> {
    let mut rustc = Command::new(env::var("RUSTC")?);
    rustc.args(["--edition=2024", "--crate-name=pause", "--crate-type=bin"]);
    rustc.arg("--target").arg(env::var("TARGET")?);
    for option in ["panic=abort", "opt-level=s", "relocation-model=static", "strip=symbols"] {
        rustc.arg("-C").arg(option);
    }
    for argument in
        ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-z,norelro"]
    {
        rustc.arg("-C").arg(format!("link-arg={argument}"));
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    let status = rustc.arg("-o").arg(executable).arg(source).status()?;
    if !status.success() {
        return Err(format!("cannot build the pause image: {rustc:?} ended with {status}").into());
    }
    Ok(())
}
