//! The tables, and what a database file must pass before it is used.
//!
//! * `log` has every write of the kept history by revision, each value once. A row without value is a deletion.
//! * `current` maps each live key to its newest row of the log.
//! * `log_changes` finds the versions that a key had at an older revision.
//! * `meta` has the few numbers that outlive the rows.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::failure::Failures;
use crate::types::{Error, Revision};

/// "Cpod".
const APPLICATION_ID: i32 = 0x4370_6f64;
/// Raised with each change of the tables.
const SCHEMA_VERSION: u32 = 1;
/// A database up to this size is checked at each start (some 20 ms); a bigger one only after a power cut.
const ALWAYS_CHECKED_BYTES: u64 = 32 << 20;
/// How far the revision jumps after a power cut: more than the relaxed writes that it can have taken.
const LOST_REVISIONS: Revision = 1 << 14;

const TABLES: &str = "
CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    key      TEXT NOT NULL,
    created  INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    value    BLOB
) STRICT;
CREATE INDEX log_changes ON log (key, revision, previous) WHERE previous > 0;
CREATE TABLE current (
    key      TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    expires  INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX current_expires ON current (expires) WHERE expires IS NOT NULL;
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('floor', 0), ('compacted', 0), ('swept', 0), ('session', 0), ('boot', '');
";

/// An opened, checked database.
pub(crate) struct Database {
    pub(crate) connection: Connection,
    /// Held as long as the database is in use.
    pub(crate) lock: File,
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    /// Changes with each opening.
    pub(crate) session: i64,
    /// The session before, when it did not end with a clean close.
    pub(crate) crashed: Option<i64>,
}

/// The file beside the database with the given ending.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Opens and checks the database at `path`, or makes a new one. A file that fails the check is not changed.
pub(crate) fn open(path: &Path, failures: &Failures) -> Result<Database, Error> {
    let lock = lock(path)?;
    let fresh = precheck(path, failures)?;
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(|error| failures.of(error))?;
    let sql = |error| failures.of(error);
    // Until the checks passed, closing must not write.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(sql)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(sql)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.execute_batch("PRAGMA cache_size = -2048; PRAGMA temp_store = MEMORY;").map_err(sql)?;
    if fresh || is_empty(&connection, failures)? {
        connection
            .execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;")
            .map_err(sql)?;
        connection
            .execute_batch(&format!(
                "PRAGMA synchronous = FULL; BEGIN IMMEDIATE; {TABLES}
                 PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;
                 PRAGMA wal_checkpoint(TRUNCATE);"
            ))
            .map_err(sql)?;
    }
    let database = admit(connection, lock, path, failures)?;
    database
        .connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map_err(|error| failures.of(error))?;
    Ok(database)
}

/// Checks version and integrity, and begins a session.
fn admit(connection: Connection, lock: File, path: &Path, failures: &Failures) -> Result<Database, Error> {
    let sql = |error| failures.of(error);
    let found: u32 =
        connection.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0)).map_err(sql)?;
    if found > SCHEMA_VERSION {
        return Err(failures.newer(found, SCHEMA_VERSION));
    }
    let tables: i64 = connection
        .query_row(
            "SELECT count(*) FROM sqlite_schema
             WHERE name IN ('log', 'log_changes', 'current', 'current_expires', 'meta')",
            [],
            |row| row.get(0),
        )
        .map_err(sql)?;
    if found == 0 || tables != 5 {
        return Err(failures.damaged("its tables are not those of a Copepod datastore"));
    }
    let boot = boot_id();
    let last_session: i64 = meta(&connection, "session").map_err(sql)?;
    let last_boot: String = meta(&connection, "boot").map_err(sql)?;
    let crashed = (last_session != 0).then_some(last_session);
    let power_cut = crashed.is_some() && (last_boot != boot || boot.is_empty());
    let bytes = fs::metadata(path).map_or(0, |meta| meta.len());
    if power_cut || bytes <= ALWAYS_CHECKED_BYTES {
        quick_check(&connection, failures)?;
    }
    let mode: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(sql)?;
    if mode != "wal" {
        return Err(failures.backend(format!("write-ahead logging is not possible there, only {mode:?}")));
    }
    connection
        .execute_batch(
            "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 16777216; PRAGMA synchronous = FULL;",
        )
        .map_err(sql)?;
    let mut revision = newest(&connection).map_err(sql)?;
    let compacted: i64 = meta(&connection, "compacted").map_err(sql)?;
    if power_cut {
        // Readers may have seen relaxed writes that the power cut took: their revisions must not come again.
        revision += LOST_REVISIONS;
    }
    let session = fastrand::i64(1..);
    let transaction = connection.unchecked_transaction().map_err(sql)?;
    set_meta(&transaction, "session", session).map_err(sql)?;
    transaction.execute("UPDATE meta SET value = ?1 WHERE name = 'boot'", [&boot]).map_err(sql)?;
    if power_cut {
        set_meta(&transaction, "floor", revision.cast_signed()).map_err(sql)?;
    }
    transaction.commit().map_err(sql)?;
    Ok(Database { connection, lock, revision, compacted: compacted.cast_unsigned(), session, crashed })
}

/// The newest revision that the connection's snapshot has.
pub(crate) fn newest(connection: &Connection) -> rusqlite::Result<Revision> {
    connection
        .prepare_cached(
            "SELECT max(coalesce((SELECT max(revision) FROM log), 0),
                        (SELECT value FROM meta WHERE name = 'floor'))",
        )?
        .query_row([], |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
}

/// A value of `meta`.
pub(crate) fn meta<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> rusqlite::Result<T> {
    connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?.query_row([name], |row| row.get(0))
}

/// Sets a number of `meta`.
pub(crate) fn set_meta(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1")?
        .execute(params![name, value])
        .map(|_| ())
}

/// Takes the lock of the database; also finds out whether the folder can be written.
fn lock(path: &Path) -> Result<File, Error> {
    let unwritable = |path: &Path, source: io::Error| Error::Unwritable {
        path: path.display().to_string(),
        source: Arc::new(source),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.exists()) {
        copepod_base::file::create_dir(folder, 0o700).map_err(|source| unwritable(folder, source))?;
    }
    let name = beside(path, ".lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(|source| unwritable(folder.unwrap_or(Path::new(".")), source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: path.display().to_string() }),
        Err(TryLockError::Error(source)) => Err(unwritable(&name, source)),
    }
}

/// Looks at the file without SQLite, since SQLite takes an empty file for a new database and drops the log of
/// writes beside it. True when there is no database yet; an empty private file is there then.
fn precheck(path: &Path, failures: &Failures) -> Result<bool, Error> {
    let unwritable =
        |source| Error::Unwritable { path: path.display().to_string(), source: Arc::new(source) };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(unwritable)?;
    let bytes = file.metadata().map_err(unwritable)?.len();
    let unmerged = fs::metadata(beside(path, "-wal")).map_or(0, |meta| meta.len());
    if bytes == 0 {
        return if unmerged == 0 {
            Ok(true)
        } else {
            Err(failures.damaged("it is empty, its -wal file is not"))
        };
    }
    let mut header = [0; 100];
    if file.read_exact(&mut header).is_err() || !header.starts_with(b"SQLite format 3\0") {
        return Err(failures.damaged("it does not begin like an SQLite database"));
    }
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (pages, version, application) = (number(28), number(60), number(68));
    let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    if application != 0 && application != APPLICATION_ID.cast_unsigned() {
        return Err(failures.damaged("it belongs to another program"));
    }
    if version > SCHEMA_VERSION && application != 0 {
        return Err(failures.newer(version, SCHEMA_VERSION));
    }
    // While there is a log, a checkpoint may have been cut short; SQLite repeats it.
    if unmerged == 0 && u64::from(pages) * page_bytes > bytes {
        return Err(
            failures.damaged(&format!("it is cut off at {bytes} bytes of {}", u64::from(pages) * page_bytes))
        );
    }
    Ok(false)
}

/// Whether a creation was cut short before its first commit.
fn is_empty(connection: &Connection, failures: &Failures) -> Result<bool, Error> {
    let application: i32 = connection
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(|error| failures.of(error))?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| failures.of(error))?;
    match (application, tables) {
        (0, 0) => Ok(true),
        (APPLICATION_ID, _) => Ok(false),
        _ => Err(failures.damaged("it belongs to another program")),
    }
}

fn quick_check(connection: &Connection, failures: &Failures) -> Result<(), Error> {
    let finding: Option<String> = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .optional()
        .map_err(|error| failures.of(error))?;
    match finding.as_deref() {
        Some("ok") => Ok(()),
        finding => Err(failures.damaged(finding.unwrap_or("the check gave no answer").trim())),
    }
}

/// Differs after each start of the machine; empty when unknown.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| String::new(), |id| id.trim().to_owned())
}
