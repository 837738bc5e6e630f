//! From the start of the process to a Ready node.

use serde_json::json;

use crate::error::{Result, wrong};
use crate::options::Effort;
use crate::pods::NAMESPACE;
use crate::pods::bare::Bare;
use crate::pods::through_api::Pods;
use crate::report::Report;
use crate::series::Series;
use crate::server::{Setup, stop_containerd};

/// Pods that must still run after each restart.
const ADOPTED: usize = 5;

/// Nothing is there yet: authorities, database and containerd are made.
pub(super) async fn first(setup: &Setup) -> Result<Report> {
    let server = setup.start().await?;
    let mut series = Series::default();
    series.push_ms(server.ready_after);
    server.stop().await?;
    Ok(Report::new(json!({"first_ms": series.median()})))
}

/// Everything is there: with containerd and pods that ran on, and then as after a reboot.
pub(super) async fn second(setup: &Setup, effort: &Effort) -> Result<Report> {
    setup.add_image()?;
    let mut server = setup.start().await?;
    server.namespace(NAMESPACE).await?;
    let runtime = Bare::new(&setup.folder).await?;
    let names: Vec<String> = (0..ADOPTED).map(|n| format!("adopted-{n}")).collect();
    Pods::new(&server.endpoint()?).await?.run(&names).await?;
    let containers = runtime.running().await?;

    let (mut adopting, mut stopping) = (Series::default(), Series::default());
    // The first restart is a warm-up.
    for round in 0..=effort.starts {
        let stopped = server.stop().await?;
        server = setup.start().await?;
        if round > 0 {
            stopping.push_ms(stopped);
            adopting.push_ms(server.ready_after);
        }
        let now = runtime.running().await?;
        if now != containers {
            return Err(wrong(
                "restart",
                format!("containers {containers:?} were not adopted, now {now:?} run"),
            ));
        }
    }

    Pods::new(&server.endpoint()?).await?.delete(&names).await?;
    runtime.empty().await?;
    let mut booting = Series::default();
    for _ in 0..effort.starts {
        server.stop().await?;
        stop_containerd().await?;
        server = setup.start().await?;
        booting.push_ms(server.ready_after);
    }
    server.stop().await?;

    let text = |series: &Series| format!("{:.0} ms", series.median());
    Ok(Report::new(json!({
        "second_ms": adopting.to_json(),
        "second_with_containerd_ms": booting.to_json(),
        "stop_ms": stopping.to_json(),
    }))
    .row(
        &format!("process start to node Ready, second start ({ADOPTED} pods adopted)"),
        "<= 1 s",
        text(&adopting),
    )
    .row("start to Ready, second start, containerd started too", "", text(&booting))
    .row("SIGTERM to end", "<= 2 s (issue 2)", text(&stopping)))
}
