//! How the database is opened: fast on a local disk, careful on a network file system.
//!
//! "All processes using a database must be on the same host computer; WAL does not work over a network filesystem"
//! (sqlite.org/wal.html): WAL shares memory between processes through a mapped file.

use std::io;
use std::path::Path;

use nix::sys::statfs::{FsType, statfs};
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use crate::store::handle::{During, StoreError};

pub(super) const MIGRATIONS_SLICE: &[M<'_>] = &[
    M::up(include_str!("migrations/001-frame.sql")),
    M::up(include_str!("migrations/002-calls.sql")),
    M::up(include_str!("migrations/003-writer.sql")),
    M::up(include_str!("migrations/004-inputs.sql")),
    M::up(include_str!("migrations/005-deleted.sql")),
    M::up(include_str!("migrations/006-datasets.sql")),
    M::up(include_str!("migrations/007-secrets.sql")),
    M::up(include_str!("migrations/008-environment.sql")),
    M::up(include_str!("migrations/009-built.sql")),
    M::up(include_str!("migrations/010-build-job.sql")),
    M::up(include_str!("migrations/011-bad-node.sql")),
    M::up(include_str!("migrations/012-retention.sql")),
    M::up(include_str!("migrations/013-accounts.sql")),
    M::up(include_str!("migrations/014-ledger.sql")),
    M::up(include_str!("migrations/015-sweep.sql")),
    M::up(include_str!("migrations/016-schedule.sql")),
    M::up(include_str!("migrations/017-rung.sql")),
    M::up(include_str!("migrations/018-slurm-budget.sql")),
    M::up(include_str!("migrations/019-told.sql")),
    M::up(include_str!("migrations/020-no-number.sql")),
    M::up(include_str!("migrations/021-many-points.sql")),
    M::up(include_str!("migrations/022-owed-points.sql")),
];

/// How changes reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// Write-ahead log: a local disk.
    Wal,
    /// Rollback journal, one process, nothing mapped: a network file system.
    Careful,
}

/// Magic numbers (statfs(2)) of file systems that may be shared with other machines.
const NETWORK: &[(i64, &str)] = &[
    (0x6969, "NFS"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x5346_414F, "AFS"),
    (0x00C3_6400, "Ceph"),
    (0x6573_5546, "FUSE"),
    (0x1983_0326, "BeeGFS"),
    (0x1803_1977, "WekaFS"),
    (0x2003_0528, "OrangeFS"),
    (0x0102_1997, "9p"),
];

/// The journal that the file system of `path` can bear. What cannot be asked is treated as a network.
pub fn journal_for(path: &Path) -> Journal {
    match network_name(path) {
        Some(_) => Journal::Careful,
        None => Journal::Wal,
    }
}

/// The name of the network file system that `path` is on; `None` on a local disk.
///
/// Mount options do not matter here: [`Journal::Careful`] needs no lock that other machines see, for the lease keeps them
/// out.
pub fn network_name(path: &Path) -> Option<&'static str> {
    let existing = path.ancestors().find(|part| part.exists())?;
    let Ok(found) = statfs(existing) else { return Some("an unknown file system") };
    network_of(found.filesystem_type())
}

/// The network file system that a magic number stands for.
pub(super) fn network_of(found: FsType) -> Option<&'static str> {
    NETWORK.iter().find(|(magic, _)| FsType(*magic as _) == found).map(|(_, name)| *name)
}

/// Opens the database and brings its schema up to date; a copy is kept before a schema is changed.
pub fn open(path: &Path, journal: Journal) -> Result<Connection, StoreError> {
    open_with(path, journal, MIGRATIONS_SLICE)
}

pub(super) fn open_with(
    path: &Path,
    journal: Journal,
    migrations: &[M<'_>],
) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |source| StoreError::opening(path, source);
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    settle_locks(&connection, journal).map_err(failed)?;
    // Before anything is written: a newer database is left as it is.
    let found: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known });
    }
    configure(&connection, journal).map_err(failed)?;
    if found < known {
        if found > 0 {
            backup(&connection, path, found)?;
        }
        Migrations::from_slice(migrations)
            .to_latest(&mut connection)
            .map_err(|source| StoreError::Migrate { path: path.to_owned(), source })?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// What must be settled before the first read: how others are waited for, and that nothing is mapped.
fn settle_locks(connection: &Connection, journal: Journal) -> rusqlite::Result<()> {
    /// Another process holds the database only for moments: a backup, a look with sqlite3.
    const BUSY_MILLISECONDS: u32 = 5_000;
    connection.pragma_update(None, "busy_timeout", BUSY_MILLISECONDS)?;
    // A file system that fails under a mapping kills the process with SIGBUS.
    connection.pragma_update(None, "mmap_size", 0)?;
    match journal {
        Journal::Wal => Ok(()),
        Journal::Careful => connection.pragma_update(None, "locking_mode", "EXCLUSIVE"),
    }
}

fn configure(connection: &Connection, journal: Journal) -> rusqlite::Result<()> {
    /// At most, written as `cache_size` has it: a transaction about thousands of points fits into it. More is written early.
    const CACHE_KIBIBYTES: i32 = -32_768;
    /// Pages, 32 MiB, of a log that a change has to take into the database itself; mostly that is done between two.
    const LOG_PAGES_MAX: u32 = 8_192;
    match journal {
        Journal::Wal => {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES_MAX)?;
        }
        Journal::Careful => connection.pragma_update(None, "journal_mode", "DELETE")?,
    }
    // An intent that was told must survive a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", CACHE_KIBIBYTES)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// Keeps a copy beside the database before its schema changes.
fn backup(connection: &Connection, path: &Path, version: i64) -> Result<(), StoreError> {
    let copy = path.with_extension(format!("schema-{version}.db"));
    if copy.exists() {
        return Ok(());
    }
    // Under another name until it is whole: a copy that was cut is no copy.
    let unfinished = copy.with_extension("unfinished");
    let failed = |error: io::Error| {
        StoreError::Backup(rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    };
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let name = unfinished
        .to_str()
        .ok_or_else(|| StoreError::Backup(rusqlite::Error::InvalidPath(unfinished.clone())))?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(StoreError::Backup)?;
    let synced = std::fs::File::open(&unfinished).and_then(|file| file.sync_all());
    synced.and_then(|()| std::fs::rename(&unfinished, &copy)).map_err(failed)
}

/// Asks `SQLite` whether the file is whole.
pub fn integrity(connection: &Connection) -> Result<String, StoreError> {
    connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .during("check the database")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migrations_are_valid_sql() {
        let migrations = Migrations::from_slice(MIGRATIONS_SLICE);
        migrations.validate().expect("all statements run in order");
    }

    #[test]
    fn a_newer_database_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("t.db");
        drop(open(&path, Journal::Wal).expect("a new database"));
        let connection = Connection::open(&path).expect("opens");
        connection.pragma_update(None, "user_version", 99).expect("is set");
        drop(connection);
        let told = open(&path, Journal::Wal).expect_err("is refused").to_string();
        assert!(told.contains("newer version") && told.contains("schema 99"), "{told}");
    }

    #[test]
    fn the_careful_way_needs_no_shared_memory() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("t.db");
        let connection = open(&path, Journal::Careful).expect("opens");
        let mode: String =
            connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("answers");
        assert_eq!(mode, "delete");
        assert_eq!(integrity(&connection).expect("answers"), "ok");
        assert!(!dir.path().join("t.db-shm").exists());
        assert!(
            Connection::open(&path)
                .expect("opens")
                .query_row("SELECT count(*) FROM run", [], |_| Ok(()))
                .is_err()
        );
    }
}
