//! Very many rows of one table: to begin and end a statement costs more than a row of it.

use std::fmt::Write as _;

use rusqlite::types::Value;
use rusqlite::{Transaction, params_from_iter};

use crate::store::handle::{StoreError, change};

/// Inserts rows into a table. In `row`, `#` stands for each value that is the row's own, and the numbered ones, `shared` of
/// them, for those that all rows share.
pub(super) struct Inserts {
    pub(super) what: &'static str,
    pub(super) head: &'static str,
    pub(super) row: &'static str,
    pub(super) shared: usize,
    /// The last statement, and how many rows it takes.
    pub(super) last: (usize, String),
}

impl Inserts {
    /// Rows that are written by one statement at most.
    pub(super) const ROWS_MAX: usize = 50;

    /// Inserts so many rows: the shared values, and then the rows' own in their order.
    pub(super) fn insert(
        &mut self,
        tx: &Transaction<'_>,
        rows: usize,
        values: impl Iterator<Item = Value>,
    ) -> Result<(), StoreError> {
        if rows == 0 {
            return Ok(());
        }
        if self.last.0 != rows {
            self.last = (rows, self.statement(rows));
        }
        change(tx, self.what, &self.last.1, params_from_iter(values))
    }

    fn statement(&self, rows: usize) -> String {
        let mut sql = self.head.to_owned();
        let mut number = self.shared;
        for index in 0..rows {
            sql.push_str(if index == 0 { " VALUES " } else { ", " });
            let mut parts = self.row.split('#');
            sql.push_str(parts.next().unwrap_or_default());
            for part in parts {
                number += 1;
                // Writing to a string cannot fail.
                write!(sql, "?{number}{part}").ok();
            }
        }
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_values_are_numbered_behind_the_shared_ones() {
        let inserts = Inserts {
            what: "",
            head: "INSERT INTO t (a, b, c)",
            row: "(#, ?1, #)",
            shared: 1,
            last: (0, String::new()),
        };
        assert_eq!(inserts.statement(1), "INSERT INTO t (a, b, c) VALUES (?2, ?1, ?3)");
        let two = "INSERT INTO t (a, b, c) VALUES (?2, ?1, ?3), (?4, ?1, ?5)";
        assert_eq!(inserts.statement(2), two);
    }
}
