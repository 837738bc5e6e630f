//! What runs inside a sandbox.

mod idle;
mod list;
mod pods;
mod start;
mod watch;
mod writes;

use crate::error::Result;
use crate::options::{Inside, Stage};
use crate::report::Report;
use crate::server::Setup;

/// Runs one stage.
pub(crate) async fn run(inside: &Inside) -> Result<Report> {
    let effort = inside.effort();
    let setup = |agent| Setup { executable: inside.executable.clone(), folder: inside.folder.clone(), agent };
    match inside.stage {
        Stage::FirstStart => start::first(&setup(true)).await,
        Stage::SecondStart => start::second(&setup(true), &effort).await,
        Stage::Idle => idle::run(&setup(true), &effort).await,
        Stage::Pods => pods::run(&setup(true), &effort).await,
        Stage::Writes => writes::run(&setup(false), &effort).await,
        Stage::List => list::run(&setup(false), &effort).await,
        Stage::Watch => watch::run(&setup(false), &effort).await,
    }
}
