//! Runs that are over and that accounting has yet to tell all about, and what it told.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Transaction, params};

use crate::domain::ids::{RunId, SubmissionId, Token};
use crate::domain::run::{Attempt, Decision, Note, Run};
use crate::domain::site::LOCAL;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::runs::{attempts, time, to_json, write_attempt};
use crate::store::submissions::machine;
use crate::store::writer::begin;
use crate::store::{events, ledger};

/// Accounting is some seconds behind what it keeps accounts of.
const LATE: SignedDuration = SignedDuration::from_secs(5);

/// When accounting is to be asked again of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Never,
    At(Timestamp),
    /// Nobody has answered: that it was asked does not count.
    Unheard(Timestamp),
}

/// One submission of a run that is over, with the attempts that came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub run: RunId,
    pub submission: SubmissionId,
    pub cluster: String,
    pub token: Token,
    pub intent_at: Timestamp,
    pub attempts: Vec<Attempt>,
    /// How often accounting was asked before.
    pub tries: u32,
}

/// Notes that a run is over, if accounting has not told all of its attempts. What counts is what its
/// attempts were submitted to, and not what the run is submitted to now, which may be nothing: a job of this machine is in no
/// accounts.
pub(super) fn is_over(tx: &Transaction<'_>, run: &Run, now: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO account_due (run, due_at) SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM attempt \
               JOIN submission ON submission.id = attempt.submission WHERE run = ?1 AND cluster <> ?3 \
               AND json_extract(record, '$.elapsed_seconds') IS NULL) \
               ON CONFLICT (run) DO UPDATE SET due_at = excluded.due_at, tries = 0";
    let due = now.saturating_add(LATE).unwrap_or(now);
    change(
        tx,
        "record that accounting is to be asked",
        sql,
        params![run.id.0, due.as_millisecond(), LOCAL],
    )
}

impl Store {
    /// The submissions of at most `max` runs that accounting is to be asked about now, and when it is to be asked next.
    pub async fn accounts_due(
        &self,
        max: u32,
        now: Timestamp,
    ) -> Result<(Vec<Account>, Option<Timestamp>), StoreError> {
        self.call(move |connection| {
            let accounts = due(connection, max, now)?;
            let sql = "SELECT min(due_at) FROM account_due WHERE due_at > ?1";
            let next: Option<i64> =
                connection.query_row(sql, [now.as_millisecond()], |row| row.get(0)).during(WHAT)?;
            Ok((accounts, next.map(time)))
        })
        .await
    }

    /// Records what accounting told of a run that is over, and when it is asked next.
    pub async fn accounts_told(
        &self,
        run: RunId,
        (mended, notes): (Vec<Attempt>, Vec<Note>),
        (next, now): (Next, Timestamp),
    ) -> Result<(), StoreError> {
        const WHAT: &str = "record what accounting told";
        self.call(move |connection| {
            let tx = begin(connection)?;
            for attempt in &mended {
                write_attempt(&tx, run, attempt)?;
            }
            let mut state = machine(&tx, run)?;
            let start = |attempt: &Attempt| (attempt.submission, attempt.restart);
            let last = state.attempt.as_ref().map(start);
            let (last, earlier): (Vec<_>, Vec<_>) =
                mended.into_iter().partition(|mended| Some(start(mended)) == last);
            if let Some(last) = last.into_iter().next() {
                state.attempt = Some(last);
                let values = params![run.0, to_json(&state, "a run")?];
                change(&tx, WHAT, "UPDATE run SET machine = ?2 WHERE id = ?1", values)?;
            }
            let mended = Decision { closed: earlier, ..Decision::stay(&state) };
            ledger::settle_in(&tx, &mended, now)?;
            for note in &notes {
                events::insert(&tx, run, note, now)?;
            }
            let sql = "UPDATE account_due SET due_at = ?2, tries = tries + ?3 WHERE run = ?1";
            let again = |at: Timestamp, tries: u32| {
                change(&tx, WHAT, sql, params![run.0, at.as_millisecond(), tries])
            };
            match next {
                Next::At(at) => again(at, 1)?,
                Next::Unheard(at) => again(at, 0)?,
                Next::Never => {
                    change(&tx, WHAT, "DELETE FROM account_due WHERE run = ?1", [run.0])?;
                }
            }
            tx.commit().during(WHAT)
        })
        .await
    }
}

const WHAT: &str = "list runs that accounting is to be asked about";

fn due(connection: &Connection, max: u32, now: Timestamp) -> Result<Vec<Account>, StoreError> {
    let sql = "SELECT due.run, due.tries, submission.id, cluster, token, intent_at, kind, idx FROM \
               (SELECT account_due.run, tries FROM account_due JOIN run ON run.id = account_due.run \
               AND state IN ('completed', 'failed', 'cancelled') WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2) AS due \
               JOIN element ON element.run = due.run JOIN submission ON submission.id = element.submission";
    let mut statement = connection.prepare_cached(sql).during(WHAT)?;
    let mut rows = statement.query(params![now.as_millisecond(), max]).during(WHAT)?;
    let mut accounts = Vec::new();
    while let Some(row) = rows.next().during(WHAT)? {
        let run = RunId(row.get(0).during(WHAT)?);
        let submission = SubmissionId(row.get(2).during(WHAT)?);
        let Ok(token) = row.get::<_, String>(4).during(WHAT)?.parse::<Token>() else { continue };
        let is_array = row.get_ref(6).during(WHAT)?.as_str().is_ok_and(|kind| kind == "array");
        let token = if is_array { token.element(row.get(7).during(WHAT)?) } else { token };
        let mut of_submission = attempts(connection, run)?;
        of_submission.retain(|attempt| attempt.submission == submission);
        accounts.push(Account {
            run,
            submission,
            cluster: row.get(3).during(WHAT)?,
            token,
            intent_at: time(row.get(5).during(WHAT)?),
            attempts: of_submission,
            tries: row.get(1).during(WHAT)?,
        });
    }
    accounts.retain(|account| !account.attempts.is_empty());
    Ok(accounts)
}
