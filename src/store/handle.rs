//! The one thread that owns the database.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rusqlite::{Connection, Params, Transaction};
use tokio::sync::oneshot;

use crate::store::books::Books;
use crate::store::live::Live;
use crate::store::open::Journal;
use crate::store::owed::{Debt, Owed};
use crate::store::writer;

/// Why the database could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot open the database {}", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error(
        "the database {} was written by a newer version of trainyard (schema {found}, this program knows {known})",
        path.display()
    )]
    TooNew { path: PathBuf, found: i64, known: i64 },
    #[error("cannot bring the database {} up to date", path.display())]
    Migrate { path: PathBuf, source: rusqlite_migration::Error },
    #[error("cannot keep a copy of the database before it is changed")]
    Backup(#[source] rusqlite::Error),
    #[error("the database {} is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("cannot {what}")]
    Statement { what: &'static str, source: rusqlite::Error },
    #[error("the record of {what} cannot be read")]
    Record { what: String, source: serde_json::Error },
    #[error("another daemon has taken over the database")]
    TakenOver,
    #[error("the database thread has ended")]
    Gone,
}

impl StoreError {
    /// An error of opening the database at `path`.
    pub(super) fn opening(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged { path, why: source.to_string() },
            _ => Self::Open { path, source },
        }
    }

    /// Whether the disk takes no more: full, over quota, or a file at `ulimit -f`. It passes when room is made.
    pub fn is_disk_full(&self) -> bool {
        let (Self::Statement { source, .. } | Self::Open { source, .. } | Self::Backup(source)) =
            self
        else {
            return false;
        };
        // SQLite knows ENOSPC only; a quota and a limit are failed writes to it.
        source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
            || source.sqlite_error().map(|error| error.extended_code)
                == Some(rusqlite::ffi::SQLITE_IOERR_WRITE)
    }
}

/// Says which statement failed.
pub(super) trait During<T> {
    fn during(self, what: &'static str) -> Result<T, StoreError>;
}

impl<T> During<T> for rusqlite::Result<T> {
    fn during(self, what: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Statement { what, source })
    }
}

/// One statement of a change, which is prepared once for all its calls.
pub(super) fn change(
    tx: &Transaction<'_>,
    what: &'static str,
    sql: &str,
    values: impl Params,
) -> Result<(), StoreError> {
    let done = tx.prepare_cached(sql).and_then(|mut statement| statement.execute(values));
    done.map(drop).during(what)
}

/// Nobody has asked for anything for so long: there is time for what somebody would have to wait for.
const QUIET: Duration = Duration::from_millis(200);

/// Takes the write-ahead log into the database, once enough has changed since the last time. It waits for the disk a few
/// times, which takes long where others use it, too. What fails is tried again after the next changes.
fn take_in_log(connection: &Connection, known: &mut u64) {
    const CHANGES_MIN: u64 = 500;
    let changes = connection.total_changes();
    if changes - *known >= CHANGES_MIN {
        *known = changes;
        let taken = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        // The first change after it begins the log anew, and waits for the disk once more.
        let begun = || connection.execute("UPDATE main.writer SET opening = opening", []);
        if let Err(error) = taken.and_then(|()| begun()) {
            tracing::warn!("cannot take the log into the database: {error}");
        }
    }
}

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the database thread. Cloned freely; the thread ends with the last handle.
#[derive(Debug, Clone)]
pub struct Store {
    work: mpsc::Sender<Work>,
    pub(super) live: Live,
    pub(super) books: Books,
    debt: Debt,
    journal: Journal,
}

impl Store {
    /// Opens the database at `path`, brings it up to date and starts its thread.
    pub fn start(path: &Path) -> Result<Self, StoreError> {
        let journal = super::journal_for(path);
        /// All that are made again and again.
        const STATEMENTS: usize = 64;
        let mut connection = super::open(path, journal)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        writer::take(&mut connection).map_err(|source| StoreError::opening(path, source))?;
        let live = Live::default();
        live.listen(&connection).map_err(|source| StoreError::opening(path, source))?;
        let books = Books::default();
        books.check(&connection, true)?;
        let (work, jobs) = mpsc::channel::<Work>();
        let thread = move || {
            let mut changes = connection.total_changes();
            let mut next = jobs.recv().ok();
            while let Some(job) = next {
                job(&mut connection);
                next = match jobs.recv_timeout(QUIET) {
                    Err(RecvTimeoutError::Timeout) => {
                        take_in_log(&connection, &mut changes);
                        jobs.recv().ok()
                    }
                    waited => waited.ok(),
                };
            }
        };
        std::thread::Builder::new().name("store".into()).spawn(thread).map_err(|error| {
            StoreError::Open {
                path: path.to_owned(),
                source: rusqlite::Error::ToSqlConversionFailure(Box::new(error)),
            }
        })?;
        Ok(Self { work, live, books, debt: Debt::unknown(journal), journal })
    }

    /// Does something with the database on its thread, in the order of the calls.
    pub async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.call_and_pay(|connection| Ok((job(connection)?, None))).await
    }

    /// The same, where rows may be owed afterwards: they are written while the asker goes on.
    pub(super) async fn call_and_pay<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<(T, Option<Owed>), StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let debt = self.debt.clone();
        let work: Work = Box::new(move |connection| {
            let (done, owed) = match debt.settle(connection).and_then(|()| job(connection)) {
                Ok((done, owed)) => (Ok(done), owed),
                Err(error) => {
                    // It may be written all the same.
                    debt.doubt();
                    (Err(error), None)
                }
            };
            // The asker may have gone away; what was written stays written.
            drop(answer.send(done));
            if let Some(owed) = owed {
                debt.pay(connection, &owed);
            }
        });
        self.work.send(work).map_err(|_| StoreError::Gone)?;
        answered.await.map_err(|_| StoreError::Gone)?
    }

    /// Changes what a power cut may take back, so that nobody waits for the disk: what only another change, which is waited
    /// for, makes worth anything. It goes to disk with the next of those.
    pub async fn call_unsynced<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let journal = self.journal;
        self.call(move |connection| unsynced(connection, journal, job)).await
    }
}

/// Makes changes that a power cut may take back.
pub(super) fn unsynced<T>(
    connection: &mut Connection,
    journal: Journal,
    job: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    match journal {
        Journal::Wal => {
            let sync = |connection: &Connection, how: &str| {
                connection
                    .pragma_update(None, "synchronous", how)
                    .during("set how to wait for the disk")
            };
            sync(connection, "NORMAL")?;
            let done = job(connection);
            sync(connection, "FULL")?;
            done
        }
        // There a change that is not waited for may cost the whole database.
        Journal::Careful => job(connection),
    }
}
