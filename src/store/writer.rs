//! Who may write: the daemon that has opened the database last.
//!
//! The lease keeps a second daemon away. It cannot hold back one that had it: a machine that stood still while another
//! took over goes on where it was, with everything it knew. So every change asks in its own transaction.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::store::handle::{During, StoreError};

/// Makes this connection the one that may write, and remembers which opening it is.
pub(super) fn take(connection: &mut Connection) -> rusqlite::Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute("UPDATE writer SET opening = opening + 1", [])?;
    tx.execute("CREATE TEMP TABLE own AS SELECT opening FROM writer", [])?;
    tx.commit()
}

/// A transaction that takes the write lock at once: one that must upgrade later can fail in the middle.
pub(super) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    let tx = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .during("begin a change")?;
    let is_ours: bool = tx
        .prepare_cached("SELECT (SELECT opening FROM main.writer) = (SELECT opening FROM temp.own)")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .during("see who may write")?;
    if is_ours { Ok(tx) } else { Err(StoreError::TakenOver) }
}
