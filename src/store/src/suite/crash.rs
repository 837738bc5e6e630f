//! `kill -9` and power cuts.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use copepod_base::task::Shutdown;
use tempfile::TempDir;

use super::{Fixture, RELAXED, config, events, text};
use crate::sqlite::Sqlite;
use crate::{Range, Store, WriteOptions};

const FOLDER: &str = "COPEPOD_STORE_TEST_FOLDER";
const ROUND: &str = "COPEPOD_STORE_TEST_ROUND";

/// Killed at the latest when the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn writer(folder: &Path, round: usize) -> Killed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "suite::crash::writer_process", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Killed(child)
}

#[test]
#[ignore = "the process that another test kills"]
fn writer_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let round = std::env::var(ROUND).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut config = crate::sqlite::SqliteConfig::new(Path::new(&folder).join("state.db"));
        config.relaxed_journal = Some(Path::new(&folder).join("journal"));
        config.history = Some(std::time::Duration::from_millis(50));
        let store = Sqlite::open(config, &Shutdown::new()).unwrap();
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let (store, round) = (store.clone(), round.clone());
                tokio::spawn(async move {
                    for number in 0.. {
                        let key = format!("/{round}/{task}/{number}");
                        let options =
                            if (number + task) % 3 == 0 { WriteOptions::default() } else { RELAXED };
                        let revision = store.create(&key, text(&"x".repeat(700)), options).await.unwrap();
                        writeln!(std::io::stdout().lock(), "acknowledged {key} {revision}").unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[tokio::test]
async fn no_acknowledged_write_is_lost_by_kill_9() {
    let folder = TempDir::new().unwrap();
    let mut acknowledged = HashSet::new();
    for round in 0..8 {
        let mut child = writer(folder.path(), round);
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let mut count = 0;
        let mut take = |line: &str| {
            let mut words = line.split_whitespace().skip_while(|word| *word != "acknowledged").skip(1);
            if let (Some(key), Some(revision)) = (words.next(), words.next()) {
                count += 1;
                acknowledged.insert((key.to_owned(), revision.parse::<u64>().unwrap()));
            }
            count
        };
        let wanted = 20 + 150 * round;
        let mut lines = lines.map_while(Result::ok);
        while take(&lines.next().expect("the writer ended by itself")) < wanted {}
        child.0.kill().unwrap();
        // What it had written before it died; the last line may be cut off.
        let mut rest: Vec<String> = lines.collect();
        rest.pop();
        for line in rest {
            take(&line);
        }
        child.0.wait().unwrap();
    }
    let mut config = config(&folder);
    config.relaxed_journal = Some(folder.path().join("journal"));
    let store = Sqlite::open(config, &Shutdown::new()).unwrap();
    let stored: HashSet<_> = store
        .range(Range::default())
        .await
        .unwrap()
        .records
        .into_iter()
        .map(|record| (record.key.to_string(), record.mod_revision))
        .collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
    // Only the lone write of each task at each kill may be there without an acknowledgement that was read.
    assert_eq!(store.revision().await.unwrap(), stored.len() as u64);
    store.close().await.unwrap();
}

/// A copy of the files, as a power cut would leave them; the machine started anew since.
async fn after_a_power_cut(fixture: &Fixture, cut: u64) -> TempDir {
    let copy = TempDir::new().unwrap();
    let from = fixture.folder.as_ref().unwrap().path();
    for name in ["state.db", "state.db-wal"] {
        fs::copy(from.join(name), copy.path().join(name)).unwrap();
    }
    let log = fs::OpenOptions::new().write(true).open(copy.path().join("state.db-wal")).unwrap();
    log.set_len(log.metadata().unwrap().len() - cut).unwrap();
    drop(log);
    let database = rusqlite::Connection::open(copy.path().join("state.db")).unwrap();
    database.execute("UPDATE meta SET value = 'another' WHERE name = 'boot'", []).unwrap();
    copy
}

#[tokio::test]
async fn after_a_power_cut_revisions_do_not_come_again() {
    let fixture = Fixture::sqlite();
    for number in 0..20 {
        fixture.store.create(&format!("/{number}"), text("x"), RELAXED).await.unwrap();
    }
    let mut last = 0;
    // Whole, cut within the last write, cut within a much earlier one.
    for cut in [0, 100, 60_000] {
        let folder = after_a_power_cut(&fixture, cut).await;
        let store = Sqlite::open(config(&folder), &Shutdown::new()).unwrap();
        let records = store.range(Range::default()).await.unwrap().records;
        let kept = records.len() as u64;
        assert!(if cut == 0 { kept == 20 } else { kept < 20 }, "{kept} after {cut}");
        assert!(records.iter().all(|record| record.value == "x" && record.mod_revision <= kept));
        let next = store.create("/new", text("y"), WriteOptions::default()).await.unwrap();
        assert!(next > 20, "{next}");
        // A watcher that saw the lost writes goes on from there.
        let mut watch = store.watch("/", 20).await.unwrap();
        assert_eq!(events(&mut watch, 1).await[0].revision, next);
        let mut watch = store.watch("/", 0).await.unwrap();
        assert_eq!(events(&mut watch, records.len() + 1).await.len(), records.len() + 1);
        store.close().await.unwrap();
        last = last.max(next);
    }
    assert!(last > 20);
}
