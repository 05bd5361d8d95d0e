//! Opening the file: lock, migrations, pragmas, and what tells a restored copy from the database we left.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use veza_engine::id::ID_MAX;

use crate::store::lock::FileLock;
use crate::store::{DoctorReport, StoreError};

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// Statements kept prepared per connection; more than there are.
const STATEMENTS: usize = 256;
/// How long another process (a backup, a shell) may hold the file before an attempt counts as failed.
const BUSY: Duration = Duration::from_millis(500);

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

/// Holds the database against other servers.
pub(super) fn lock(path: &Path, wait: Duration) -> Result<FileLock, StoreError> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).map_err(|error| failed(format!("{}: {error}", dir.display())))?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    FileLock::file(&PathBuf::from(name), wait)
}

/// Brings the schema up to date; answers the names of what was applied.
pub(in crate::store) fn migrate(path: &Path) -> Result<Vec<String>, StoreError> {
    let _lock = lock(path, Duration::from_secs(1))?;
    migrate_locked(path)
}

/// As [`migrate`], by the holder of the lock.
pub(super) fn migrate_locked(path: &Path) -> Result<Vec<String>, StoreError> {
    let mut connection = writer(path)?;
    let (found, known) = versions(&connection)?;
    if found > known {
        return Err(StoreError::Newer(found, known));
    }
    let report = embedded::migrations::runner().run(&mut connection).map_err(failed)?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

/// The schema's version in the file (0: none yet), and the newest we know.
fn versions(connection: &Connection) -> Result<(u32, u32), StoreError> {
    let known = embedded::migrations::runner().get_migrations().iter().map(|step| step.version()).max();
    let table = "SELECT count(*) FROM sqlite_schema WHERE name = 'refinery_schema_history'";
    let found = match connection.query_row(table, [], |row| row.get::<_, i64>(0)).map_err(failed)? {
        0 => 0,
        _ => connection
            .query_row("SELECT coalesce(max(version), 0) FROM refinery_schema_history", [], |row| row.get(0))
            .map_err(failed)?,
    };
    Ok((found, u32::try_from(known.unwrap_or(0)).unwrap_or(u32::MAX)))
}

/// The connection that writes. Every commit is on the disk when it returns.
pub(super) fn writer(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| failed(format!("cannot open {}: {error}", path.display())))?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(failed(format!("{}: no write-ahead log here (journal_mode {mode})", path.display())));
    }
    for (name, value) in [
        ("synchronous", "FULL"),
        ("fullfsync", "ON"),
        ("foreign_keys", "ON"),
        // What a savepoint may have to undo, no more than one transaction's pages: in memory, not in a file.
        ("temp_store", "MEMORY"),
        // Pages in the log before they go into the database, and the log's size after that.
        ("wal_autocheckpoint", "4000"),
        ("journal_size_limit", "67108864"),
        ("cache_size", &format!("-{}", WRITER_CACHE_BYTES >> 10)),
    ] {
        connection.pragma_update(None, name, value).map_err(failed)?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Pages that the writing connection keeps in memory.
pub const WRITER_CACHE_BYTES: usize = 32 << 20;

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    // Not opened read-only: the shared memory of the log must be writable even to read.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.pragma_update(None, "query_only", "ON").map_err(failed)?;
    connection.pragma_update(None, "cache_size", "-8192").map_err(failed)?;
    // No memory mapping: a read error would come as a signal that ends the process.
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// The incarnation to mix into epochs. At each start a new random token is left in the database and in a file beside
/// the data; a database that does not know the token of the last start was restored from a copy, and gets a new
/// incarnation: its epochs change, so no client resumes over what was lost.
pub(super) fn incarnation(connection: &Connection, path: &Path, data_dir: &Path) -> Result<u64, StoreError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let file = data_dir.join(format!("{name}.start"));
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let stored = meta(connection, "start_token")?;
    let known = stored.as_deref().is_some_and(|token| kept.lines().any(|line| line == token));
    let incarnation = match meta(connection, "incarnation")?.and_then(|text| text.parse().ok()).filter(|_| known) {
        Some(incarnation) => incarnation,
        None => {
            if stored.is_some() {
                tracing::warn!("the database was restored from a copy: clients will read their rooms afresh");
            }
            random()? & ID_MAX
        }
    };
    let token = format!("{:016x}{:016x}", random()?, random()?);
    // The file first, with both tokens, and last with the new one alone: a crash between the writes must not look like
    // a restore, and a copy of the last start must.
    let keep = |lines: &str| replace_file(&file, lines).map_err(|error| failed(format!("{}: {error}", file.display())));
    keep(&format!("{token}\n{}\n", if known { stored.as_deref().unwrap_or("") } else { "" }))?;
    let put = "INSERT INTO meta (key, value) VALUES ('incarnation', ?1), ('start_token', ?2)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    connection.execute(put, params![incarnation.to_string(), token]).map_err(failed)?;
    keep(&format!("{token}\n"))?;
    Ok(incarnation)
}

fn meta(connection: &Connection, key: &str) -> Result<Option<String>, StoreError> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional().map_err(failed)
}

fn replace_file(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension("start.new");
    fs::write(&draft, text)?;
    fs::File::open(&draft)?.sync_all()?;
    fs::rename(&draft, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn random() -> Result<u64, StoreError> {
    getrandom::u64().map_err(failed)
}

/// The fence of former starts is of no use: their transactions ended with their processes.
pub(super) fn forget_former_writers(connection: &Connection, epoch: i64) -> Result<(), StoreError> {
    connection.execute("DELETE FROM writer_lanes WHERE epoch <> ?1", [epoch]).map(|_| ()).map_err(failed)
}

/// `doctor`: looks without writing anything that lasts.
pub(in crate::store) fn check(path: &Path) -> Result<DoctorReport, StoreError> {
    let mut report = DoctorReport::default();
    if !path.exists() {
        report.good("database", format!("{} does not exist yet and will be made", path.display()));
        return Ok(report);
    }
    report.good("database", format!("SQLite {} at {}", rusqlite::version(), path.display()));
    match lock(path, Duration::ZERO) {
        Ok(_) => report.good("server", "none is running on this database"),
        Err(error) => report.good("server", error),
    }
    let connection = writer(path)?;
    let (found, known) = versions(&connection)?;
    match found.cmp(&known) {
        std::cmp::Ordering::Less => report.bad("schema", found, "run `chat-server migrate`, or start the server"),
        std::cmp::Ordering::Equal => report.good("schema", found),
        std::cmp::Ordering::Greater => report.bad("schema", found, "use a newer program"),
    }
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).map_err(failed)?;
    report.good("durability", format!("journal_mode wal, synchronous {synchronous} (2 = FULL)"));
    let quick: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(failed)?;
    match quick.as_str() {
        "ok" => report.good("quick_check", "ok"),
        _ => report.bad("quick_check", quick, "the file is damaged: restore a copy"),
    }
    Ok(report)
}
