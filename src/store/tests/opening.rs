//! Opening: file systems, copies before a change, and files that are no database.

use std::path::Path;

use nix::sys::statfs::FsType;
use rusqlite::Connection;
use rusqlite_migration::M;

use crate::domain::ids::RunId;
use crate::store::open::{MIGRATIONS_SLICE, network_of, open_with};
use crate::store::tests::world::Yard;
use crate::store::{Journal, Store, StoreError, journal_for};

#[test]
fn network_file_systems_are_known_by_their_number() {
    #[track_caller]
    fn check(number: i64, name: Option<&str>) {
        assert_eq!(network_of(FsType(number as _)), name, "{number:#x}");
    }
    check(0x6969, Some("NFS"));
    check(0x0BD0_0BD0, Some("Lustre"));
    check(0x1983_0326, Some("BeeGFS"));
    // ext4, XFS, tmpfs, overlayfs.
    for local in [0xEF53, 0x5846_5342, 0x0102_1994, 0x794C_7630] {
        check(local, None);
    }
    assert_eq!(journal_for(Path::new("/proc/self")), Journal::Wal);
}

const FIRST: &[M<'_>] = &[M::up("CREATE TABLE one (x); INSERT INTO one VALUES (7);")];
const SECOND: &[M<'_>] = &[
    M::up("CREATE TABLE one (x); INSERT INTO one VALUES (7);"),
    M::up("CREATE TABLE two (y); DELETE FROM one;"),
];
const BROKEN: &[M<'_>] = &[
    M::up("CREATE TABLE one (x); INSERT INTO one VALUES (7);"),
    M::up("DELETE FROM one; CREATE TABLE one (x);"),
];

fn count(connection: &Connection) -> i64 {
    connection.query_row("SELECT count(*) FROM one", [], |row| row.get(0)).unwrap()
}

fn version(connection: &Connection) -> i64 {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn runs_of_an_older_database_are_live_or_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.db");
    let old = open_with(&path, Journal::Wal, &MIGRATIONS_SLICE[..20]).unwrap();
    old.execute_batch(
        "INSERT INTO number VALUES (1), (2), (3);
         INSERT INTO run (id, name, owner, state, message, created_at, run_dir, spec_digest, machine, resolved, spec) \
         SELECT id, 'x', 'ada', CASE id WHEN 2 THEN 'backoff' ELSE 'failed' END, '', 0, '', '', '', '', '' FROM number;",
    )
    .unwrap();
    drop(old);
    let store = Store::start(&path).unwrap();
    assert_eq!(store.newest_active("ada", "x").await.unwrap(), Some(RunId(2)));
    assert_eq!(store.newest_active("bob", "x").await.unwrap(), None);
}

#[tokio::test]
async fn the_log_is_taken_into_the_database_while_nobody_asks_for_anything() {
    let yard = Yard::new();
    let new = yard.new_sweep(600, None).await;
    yard.store.accept_sweep(new).await.unwrap();
    // Without its log.
    let alone = yard.path().with_extension("alone");
    let points = || {
        std::fs::copy(yard.path(), &alone).unwrap();
        let alone = Connection::open(&alone).unwrap();
        alone.query_row("SELECT count(*) FROM run", [], |row| row.get::<_, i64>(0)).unwrap_or(0)
    };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while points() < 600 {
        assert!(std::time::Instant::now() < until, "{} points are in the database", points());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[test]
fn a_copy_is_kept_before_a_schema_changes() {
    for journal in [Journal::Wal, Journal::Careful] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let copy = dir.path().join("t.schema-1.db");
        drop(open_with(&path, journal, FIRST).unwrap());
        assert!(!copy.exists(), "a new database has nothing to keep");
        // A copy that was cut is made again.
        std::fs::write(dir.path().join("t.schema-1.unfinished"), "half").unwrap();
        let now = open_with(&path, journal, SECOND).unwrap();
        assert_eq!((count(&now), version(&now)), (0, 2));
        let kept = Connection::open(&copy).unwrap();
        assert_eq!((count(&kept), version(&kept)), (1, 1));
        assert!(!dir.path().join("t.schema-1.unfinished").exists());
        drop(now);
        drop(open_with(&path, journal, SECOND).unwrap());
    }
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.db");
    drop(open_with(&path, Journal::Wal, FIRST).unwrap());
    let failed = open_with(&path, Journal::Wal, BROKEN);
    assert!(matches!(failed, Err(StoreError::Migrate { .. })), "{failed:?}");
    let before = open_with(&path, Journal::Wal, FIRST).unwrap();
    assert_eq!((count(&before), version(&before)), (1, 1));
}

#[test]
fn a_file_that_is_no_database_is_damaged_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.db");
    let garbage = "garbage ".repeat(1_000);
    std::fs::write(&path, &garbage).unwrap();
    for journal in [Journal::Wal, Journal::Careful] {
        let failed = open_with(&path, journal, FIRST);
        assert!(matches!(failed, Err(StoreError::Damaged { .. })), "{failed:?}");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), garbage);
}

#[test]
fn a_newer_database_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.db");
    drop(open_with(&path, Journal::Careful, SECOND).unwrap());
    let before = std::fs::read(&path).unwrap();
    let failed = open_with(&path, Journal::Wal, FIRST);
    assert!(matches!(failed, Err(StoreError::TooNew { found: 2, known: 1, .. })), "{failed:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before, "not even its journal mode is changed");
}

#[tokio::test]
async fn who_has_opened_the_database_last_may_write_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.db");
    let first = Store::start(&path).unwrap();
    let number = first.next_number().await.unwrap();
    let second = Store::start(&path).unwrap();
    // It stood still meanwhile, and does not know.
    assert!(matches!(first.next_number().await, Err(StoreError::TakenOver)));
    assert_eq!(second.next_number().await.unwrap().0, number.0 + 1);
    assert_eq!(first.live().await.unwrap().len(), 0, "it may look");
}
