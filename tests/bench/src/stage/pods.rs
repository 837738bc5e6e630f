//! Pods through the API beside the same pods through bare CRI calls, by turns in the same run.

use std::time::Duration;

use serde_json::json;

use crate::error::Result;
use crate::options::Effort;
use crate::pods::NAMESPACE;
use crate::pods::bare::Bare;
use crate::pods::through_api::{Pods, Times};
use crate::process::{count, cpu};
use crate::report::Report;
use crate::series::Series;
use crate::server::{Setup, containerd};

/// Pods of each way before the measured ones.
const WARM_UP: usize = 2;

/// Measures one after the other, then all at once.
pub(super) async fn run(setup: &Setup, effort: &Effort) -> Result<Report> {
    setup.add_image()?;
    let server = setup.start().await?;
    server.namespace(NAMESPACE).await?;
    let bare = Bare::new(&setup.folder).await?;
    let mut pods = Pods::new(&server.endpoint()?).await?;

    let (mut api, mut calls, mut own_cpu) = (Times::default(), Series::default(), Duration::ZERO);
    for round in 0..WARM_UP + effort.pods {
        let name = [format!("one-{round}")];
        let before = cpu(server.pid)?;
        let (times, _) = pods.run(&name).await?;
        pods.delete(&name).await?;
        bare.empty().await?;
        let used = cpu(server.pid)?.saturating_sub(before);
        let (sandbox, call) = bare.run(&format!("bare-{round}")).await?;
        bare.remove(&[sandbox]).await?;
        if round >= WARM_UP {
            api.extend(times);
            calls.push_ms(call);
            own_cpu += used;
        }
    }

    let (mut api_burst, mut call_burst, mut burst_times) =
        (Series::default(), Series::default(), Times::default());
    for round in 0..effort.pod_rounds {
        let named = |kind: &str| (0..effort.pods).map(|n| format!("{kind}-{round}-{n}")).collect::<Vec<_>>();
        let names = named("burst");
        let (times, whole) = pods.run(&names).await?;
        pods.delete(&names).await?;
        bare.empty().await?;
        api_burst.push(whole.as_secs_f64());
        burst_times.extend(times);
        let (sandboxes, whole) = bare.run_all(&named("bare-burst")).await?;
        bare.remove(&sandboxes).await?;
        call_burst.push(whole.as_secs_f64());
    }
    let runtime = containerd()?;
    let runtime_cpu = cpu(runtime)?;
    server.stop().await?;

    let n = effort.pods;
    let pods = count(n as u64);
    let ratio = api.running.median() / calls.median();
    let burst_ratio = api_burst.median() / call_burst.median();
    let one = |series: &Series| format!("{:.0} ms (p95 {:.0})", series.median(), series.p95());
    let many = |series: &Series| format!("{:.2} s, {:.1} pods/s", series.median(), pods / series.median());
    let own_cpu_ms = own_cpu.as_secs_f64() * 1e3 / pods;
    Ok(Report::new(json!({
        "one": {
            "api_running_ms": api.running.to_json(),
            "api_answered_ms": api.answered.to_json(),
            "api_bound_ms": api.bound.to_json(),
            "cri_ms": calls.to_json(),
            "ratio": ratio,
            "copepod_cpu_per_pod_up_and_down_ms": own_cpu_ms,
        },
        "burst": {
            "pods": n,
            "api_seconds": api_burst.to_json(),
            "api_running_ms": burst_times.running.to_json(),
            "api_answered_ms": burst_times.answered.to_json(),
            "api_bound_ms": burst_times.bound.to_json(),
            "cri_seconds": call_burst.to_json(),
            "ratio": burst_ratio,
        },
        "containerd_cpu_seconds": runtime_cpu.as_secs_f64(),
    }))
    .row(&format!("pod create to Running, {n} one after the other"), "", one(&api.running))
    .row("the same through bare CRI calls", "", one(&calls))
    .row("pod start over what containerd itself costs", "<= 10 %", format!("{:+.1} %", (ratio - 1.0) * 100.0))
    .row("Copepod's own CPU per pod, up and down", "", format!("{own_cpu_ms:.0} ms"))
    .row(&format!("{n} pods at once, until the last is Running"), "", many(&api_burst))
    .row("the same through bare CRI calls, at once", "", many(&call_burst))
    .row(
        "at once, over what containerd itself costs",
        "<= 10 %",
        format!("{:+.1} %", (burst_ratio - 1.0) * 100.0),
    ))
}
