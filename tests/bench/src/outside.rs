//! One sandbox after the other; then the table and the file.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use copepod_test_support::Sandbox;
use serde_json::{Map, Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::error::{Error, Result, io, unusable, wrong};
use crate::options::{Effort, FULL, Measurement, Options, QUICK, Stage};
use crate::report::{Report, Row, megabytes, table};
use crate::series::Series;

/// A stage that takes longer is given up, and its sandbox taken away.
const STAGE_LIMIT: Duration = Duration::from_secs(600);

/// Measures what was asked for. What could not be measured is said in the table, and by the exit code.
pub(crate) async fn run(options: &Options) -> Result<ExitCode> {
    use clap::ValueEnum;

    if !nix::unistd::geteuid().is_root() {
        return Err(wrong("user", "is not root: the benchmark makes namespaces"));
    }
    let executable = std::fs::canonicalize(&options.executable)
        .map_err(io(format!("find {}", options.executable.display())))?;
    let effort = if options.quick { QUICK } else { FULL };
    let (mut rows, mut figures, mut failed) = (Vec::new(), Map::new(), false);
    for measurement in Measurement::value_variants() {
        if !options.only.is_empty() && !options.only.contains(measurement) {
            continue;
        }
        let name = measurement.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
        eprintln!("bench: {name}");
        match measure(*measurement, &executable, options.quick, &effort).await {
            Ok(report) => {
                rows.extend(report.rows);
                figures.insert(name, report.figures);
            }
            Err(error) => {
                failed = true;
                let text = copepod_base::Chain(&error).to_string();
                eprintln!("bench: {name}: {text}");
                let first = text.lines().next().unwrap_or_default().to_owned();
                rows.push(Row {
                    what: name.clone(),
                    promise: String::new(),
                    measured: format!("failed: {first}"),
                });
                figures.insert(name, json!({"failed": text}));
            }
        }
    }
    write(&options.output, &executable, options.quick, &rows, &figures).await?;
    print!("\n{}\n{}\n", table(&rows), options.output.display());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn measure(what: Measurement, executable: &Path, quick: bool, effort: &Effort) -> Result<Report> {
    if what == Measurement::Size {
        return size(executable);
    }
    let mut whole = Report::new(json!({}));
    for (stage, times) in what.stages(effort) {
        let mut reports = Vec::new();
        for _ in 0..times {
            reports.push(inside(stage, executable, quick).await?);
        }
        let report = if stage == Stage::FirstStart { first_starts(&reports) } else { reports.remove(0) };
        whole.rows.extend(report.rows);
        if let (Value::Object(all), Value::Object(more)) = (&mut whole.figures, report.figures) {
            all.extend(more);
        }
    }
    Ok(whole)
}

fn size(executable: &Path) -> Result<Report> {
    let bytes = std::fs::metadata(executable).map_err(io(format!("look at {}", executable.display())))?.len();
    Ok(Report::new(json!({"bytes": bytes})).row("executable", "<= 30 MB, stripped", megabytes(bytes)))
}

/// Sums up starts that were each made in a sandbox of their own; the first was a warm-up.
fn first_starts(reports: &[Report]) -> Report {
    let series: Series = reports.iter().skip(1).filter_map(|r| r.figures["first_ms"].as_f64()).collect();
    Report::new(json!({"first_ms": series.to_json()})).row(
        "start to Ready, first start (empty data, containerd too)",
        "",
        format!("{:.0} ms", series.median()),
    )
}

/// Runs one stage in a sandbox of its own.
async fn inside(stage: Stage, executable: &Path, quick: bool) -> Result<Report> {
    use clap::ValueEnum;

    let own = std::env::current_exe().map_err(io("find the benchmark's own executable"))?;
    let name = stage.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
    let sandbox =
        tokio::task::spawn_blocking(Sandbox::new).await.map_err(|_| wrong("sandbox", "did not come up"))?;
    let mut command = sandbox.command(own);
    command.args(["inside", &name, "--executable"]).arg(executable).arg("--folder").arg(sandbox.folder());
    command.args(quick.then_some("--quick"));
    let mut child = Command::from(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(io("start nsenter"))?;
    let mut stdout = child.stdout.take().ok_or_else(|| wrong("standard output", "is not a pipe"))?;
    let mut output = Vec::new();
    // Containers started inside do not hold this pipe: Copepod's output goes to a file.
    let finished = tokio::time::timeout(STAGE_LIMIT, async {
        stdout.read_to_end(&mut output).await?;
        child.wait().await
    })
    .await;
    tokio::task::spawn_blocking(move || drop(sandbox))
        .await
        .map_err(|_| wrong("sandbox", "did not go away"))?;
    let status = match finished {
        Ok(status) => status.map_err(io(format!("run stage {name}")))?,
        Err(_) => return Err(Error::Late { what: format!("stage {name}"), limit: STAGE_LIMIT }),
    };
    if !status.success() {
        return Err(wrong(format!("stage {name}"), format!("ended with {status}")));
    }
    let outcome: std::result::Result<Report, String> =
        serde_json::from_slice(&output).map_err(unusable(format!("the report of stage {name}")))?;
    outcome.map_err(|problem| wrong(format!("stage {name}"), problem))
}

async fn write(
    path: &PathBuf,
    executable: &Path,
    quick: bool,
    rows: &[Row],
    figures: &Map<String, Value>,
) -> Result<()> {
    let all = json!({
        "executable": executable,
        "quick": quick,
        "machine": machine().await,
        "table": rows,
        "figures": figures,
    });
    let text = serde_json::to_vec_pretty(&all).map_err(unusable("the report"))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io(format!("create {}", folder.display())))?;
    }
    std::fs::write(path, text).map_err(io(format!("write {}", path.display())))
}

/// What figures depend on besides Copepod.
async fn machine() -> Value {
    let mut facts = Map::new();
    let temporary = std::env::temp_dir();
    let temporary = temporary.to_string_lossy();
    for (fact, program, args) in [
        ("commit", "git", vec!["-c", "safe.directory=*", "describe", "--always", "--dirty"]),
        ("kernel", "uname", vec!["-srm"]),
        ("processors", "nproc", vec![]),
        ("containerd", "containerd", vec!["--version"]),
        ("runc", "runc", vec!["--version"]),
        ("file_system", "stat", vec!["--file-system", "--format=%T", &*temporary]),
        ("load", "cat", vec!["/proc/loadavg"]),
    ] {
        let output = Command::new(program).args(&args).output().await;
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        facts.insert(fact.to_owned(), json!(text.lines().next().unwrap_or_default()));
    }
    Value::Object(facts)
}
