//! A node that has nothing to do.

use std::time::Duration;

use copepod_base::clock;
use serde_json::json;

use crate::error::Result;
use crate::options::Effort;
use crate::process::{Usage, written};
use crate::report::{Report, megabytes};
use crate::server::{Setup, containerd};

/// How often it is looked whether something was written.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Lets it settle, then compares its counters before and after.
pub(super) async fn run(setup: &Setup, effort: &Effort) -> Result<Report> {
    let server = setup.start().await?;
    tokio::time::sleep(effort.settle).await;

    let runtime = containerd()?;
    let begin = clock::instant();
    let (own, beside) = (Usage::of(server.pid)?, Usage::of(runtime)?);
    let (mut writes, mut last) = (0_u32, own.written);
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    while begin.elapsed() < effort.idle {
        ticks.tick().await;
        let now = written(server.pid)?;
        writes += u32::from(now > last);
        last = now;
    }
    let time = begin.elapsed();
    let (own_after, beside_after) = (Usage::of(server.pid)?, Usage::of(runtime)?);
    let (load, beside_load) = (own_after.since(&own, time), beside_after.since(&beside, time));
    server.stop().await?;

    let seconds = time.as_secs();
    Ok(Report::new(json!({
        "seconds": time.as_secs_f64(),
        "seconds_with_writes": writes,
        "copepod": {"memory": own_after.memory_json(), "load": load.to_json()},
        "containerd": {"memory": beside_after.memory_json(), "load": beside_load.to_json()},
    }))
    .row(
        "server + agent, idle, resident memory without containerd",
        "<= 40 MB",
        format!(
            "{} (proportional {}, anonymous {})",
            megabytes(own_after.resident),
            megabytes(own_after.proportional),
            megabytes(own_after.anonymous)
        ),
    )
    .row(
        "idle CPU of one node",
        "<= 0.3 % of a core",
        format!("{:.2} %, {:.1} wake-ups/s", load.cpu_percent, load.wakeups_per_second),
    )
    .row(
        "idle writes to disk",
        "<= 1 KB/s, once a minute",
        format!("{:.2} KB/s, in {writes} of {seconds} s", load.written_per_second / 1e3),
    )
    .row(
        "containerd beside it, idle",
        "",
        format!(
            "{}, {:.2} % of a core, {:.2} KB/s",
            megabytes(beside_after.resident),
            beside_load.cpu_percent,
            beside_load.written_per_second / 1e3
        ),
    ))
}
