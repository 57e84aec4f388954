//! Arrays of points: one submission for many runs.

use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::domain::ids::{JobName, RunId, SubmissionId};
use crate::domain::ledger::{Refusal, StartId};
use crate::domain::nodelist::NodeName;
use crate::domain::run::{Answer, Event, Policy, Run, Seen, State, decide, step};
use crate::fault::point;
use crate::store::books::Books;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::ledger;
use crate::store::many::Inserts;
use crate::store::runs::write;
use crate::store::submissions::{Calling, Start, insert, machine, write_answer};
use crate::store::writer::begin;

/// An array of points that is submitted now.
#[derive(Debug, Clone)]
pub struct IntendingPoints {
    pub sweep: RunId,
    pub sweep_dir: PathBuf,
    pub owner: String,
    /// The point at index 0.
    pub first_point: u32,
    /// How many of them may run at once.
    pub at_once: Option<u32>,
    /// Each with its place in the array, in order; all are at the same attempt.
    pub runs: Vec<(Run, u32)>,
    pub start: Start,
}

impl IntendingPoints {
    fn array(&self, now: Timestamp) -> Array<'_> {
        let Self { sweep, sweep_dir, owner, first_point, at_once, runs, start } = self;
        Array {
            sweep: *sweep,
            sweep_dir,
            owner,
            first_point: *first_point,
            at_once: *at_once,
            attempt: runs.first().map_or(1, |(run, _)| run.attempts + 1),
            start,
            now,
        }
    }
}

/// The recorded intent to submit an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayIntent {
    pub submission: SubmissionId,
    pub job_name: JobName,
    /// The places in the array, in order.
    pub tasks: Vec<u32>,
    pub at_once: Option<u32>,
    /// Nodes that failed, and that it keeps away from.
    pub avoided: Vec<NodeName>,
}

/// An array that was submitted, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayRow {
    pub submission: SubmissionId,
    pub job_name: JobName,
    pub first_point: u32,
    pub at_once: Option<u32>,
}

impl ArrayRow {
    /// The same call once more, for those of its points that still wait for it.
    pub fn again(self, tasks: Vec<u32>, avoided: Vec<NodeName>) -> ArrayIntent {
        let Self { submission, job_name, at_once, .. } = self;
        ArrayIntent { submission, job_name, tasks, at_once, avoided }
    }
}

impl Store {
    /// Records the intent to submit an array: submission, elements, holds and the runs' states in one durable transaction. A
    /// point that its project's budget has no room for is left out, with all that come after it.
    pub async fn intend_points(
        &self,
        intending: IntendingPoints,
        now: Timestamp,
    ) -> Result<Result<ArrayIntent, Refusal>, StoreError> {
        let books = self.books.clone();
        self.call(move |connection| {
            let tx = begin(connection)?;
            let IntendingPoints { runs, start, .. } = &intending;
            let admit = |submission, runs: &[(Run, u32)]| {
                let admit = |(run, index): &(Run, u32)| {
                    let event = admitted(start, submission, *index);
                    write(&tx, &step(run, &event, &start.policy, now), now)?;
                    Ok((run.id, *index))
                };
                runs.iter().map(admit).collect()
            };
            let intended = intend_points((&tx, &books), &intending.array(now), runs, admit)?;
            point("array_intent_written");
            if intended.is_ok() {
                tx.commit().during("record the intent to submit an array")?;
            }
            Ok(intended)
        })
        .await
    }

    /// Records how an array was answered, and what that makes of these of its points, counted from its first, where they still
    /// wait for it. Those of which an act would come are left to the next pass.
    pub async fn heard_array(
        &self,
        submission: SubmissionId,
        answer: Answer,
        points: Range<usize>,
        (policy, now): (Policy, Timestamp),
    ) -> Result<usize, StoreError> {
        self.call_unsynced(move |connection| {
            let tx = begin(connection)?;
            write_answer(&tx, submission, &answer)?;
            let mut decided = 0;
            for (run, index) in elements(&tx, submission, points)? {
                let run = machine(&tx, run)?;
                let waits = matches!(run.state, State::Submitting { .. })
                    && run.submission.as_ref().is_some_and(|known| known.id == submission);
                if !waits {
                    continue;
                }
                let seen = Seen { answer: Some(answer.of_element(index)), ..Seen::default() };
                let decision = decide(&run, &seen, &policy, now);
                if decision.acts.is_empty() {
                    write(&tx, &decision, now)?;
                    decided += 1;
                }
            }
            tx.commit().during("record an answer")?;
            Ok(decided)
        })
        .await
    }

    /// Records that sbatch is called again for those of an array's points whose submission did not reach the scheduler. None
    /// are left when they stand elsewhere by now.
    pub async fn intend_array_again(
        &self,
        submission: SubmissionId,
        host: String,
        policy: Policy,
        now: Timestamp,
    ) -> Result<Vec<u32>, StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            let mut tasks = Vec::new();
            for (run, index) in elements(&tx, submission, 0..usize::MAX)? {
                let run = machine(&tx, run)?;
                if run.submission.as_ref().is_none_or(|known| known.id != submission) {
                    continue;
                }
                let decision = step(&run, &Event::CalledAgain, &policy, now);
                if decision.run != run && matches!(run.state, State::Submitting { .. }) {
                    write(&tx, &decision, now)?;
                    tasks.push(index);
                }
            }
            if !tasks.is_empty() {
                let sql = "UPDATE submission SET outcome = 'intent', answer = NULL, host = ?2, called_at = ?3 WHERE id = ?1";
                let values = params![submission.0, host, now.as_millisecond()];
                change(&tx, "record a submission", sql, values)?;
            }
            tx.commit().during("record an intent")?;
            Ok(tasks)
        })
        .await
    }

    /// The arrays of these submissions.
    pub async fn arrays(&self, of: Vec<SubmissionId>) -> Result<Vec<ArrayRow>, StoreError> {
        self.call(move |connection| {
            let sql = "SELECT submission.id, sweep_dir, first_point, attempt_base, token, at_once FROM submission \
                       JOIN sweep ON sweep.id = submission.sweep JOIN element ON element.submission = submission.id \
                       WHERE submission.id = ?1 LIMIT 1";
            let mut statement = connection.prepare_cached(sql).during("read an array")?;
            let mut arrays = Vec::new();
            for id in of {
                arrays.extend(statement.query_row([id.0], array_row).optional().during("read an array")?);
            }
            Ok(arrays)
        })
        .await
    }

    /// Records how many points of an array may run at once.
    pub async fn set_at_once(
        &self,
        submission: SubmissionId,
        at_once: u32,
    ) -> Result<(), StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            let sql = "UPDATE submission SET at_once = ?2 WHERE id = ?1";
            change(&tx, "record a limit", sql, params![submission.0, at_once])?;
            tx.commit().during("record a limit")
        })
        .await
    }
}

fn array_row(row: &Row<'_>) -> rusqlite::Result<ArrayRow> {
    let token: String = row.get(4)?;
    let token = token.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, Box::new(error))
    })?;
    let (dir, first_point) = (PathBuf::from(row.get::<_, String>(1)?), row.get(2)?);
    Ok(ArrayRow {
        submission: SubmissionId(row.get(0)?),
        job_name: JobName::of_points(&dir, first_point, row.get(3)?, token),
        first_point,
        at_once: row.get(5)?,
    })
}

/// These of an array's points, counted from its first, with their places in it.
fn elements(
    connection: &Connection,
    submission: SubmissionId,
    points: Range<usize>,
) -> Result<Vec<(RunId, u32)>, StoreError> {
    let limit = i64::try_from(points.len()).unwrap_or(i64::MAX);
    let offset = i64::try_from(points.start).unwrap_or(i64::MAX);
    let sql = "SELECT run, idx FROM element WHERE submission = ?1 ORDER BY idx LIMIT ?2 OFFSET ?3";
    let mut statement = connection.prepare_cached(sql).during("list the points of an array")?;
    let rows = statement
        .query_map([submission.0, limit, offset], |row| Ok((RunId(row.get(0)?), row.get(1)?)));
    rows.and_then(Iterator::collect).during("list the points of an array")
}

/// What is known of an array before it is submitted.
pub(super) struct Array<'a> {
    pub(super) sweep: RunId,
    pub(super) sweep_dir: &'a Path,
    pub(super) owner: &'a str,
    pub(super) first_point: u32,
    pub(super) at_once: Option<u32>,
    /// Which attempt of each point it is.
    pub(super) attempt: u32,
    pub(super) start: &'a Start,
    pub(super) now: Timestamp,
}

/// What lets a point of an array in.
pub(super) fn admitted(start: &Start, submission: SubmissionId, index: u32) -> Event {
    let Start { cluster, token, avoided, .. } = start;
    let (cluster, avoided) = (cluster.clone(), avoided.clone());
    Event::Admitted { submission, token: token.element(index), cluster, avoided }
}

/// Writes the intent to submit an array of these points. `write` records what comes of some, before what refers to them is
/// written, and says which runs they are, and where in the array.
pub(super) fn intend_points<P>(
    (tx, books): (&Transaction<'_>, &Books),
    array: &Array<'_>,
    points: &[P],
    mut write: impl FnMut(SubmissionId, &[P]) -> Result<Vec<(RunId, u32)>, StoreError>,
) -> Result<Result<ArrayIntent, Refusal>, StoreError> {
    let Array { owner, attempt, start: Start { asked, .. }, now, .. } = *array;
    let room = || match asked {
        Some(asked) => Ok(ledger::let_in(tx, books, asked, &[])?.err()),
        None => Ok(None),
    };
    if let Some(refusal) = room()? {
        return Ok(Err(refusal));
    }
    let mut intent = intend(tx, array)?;
    let submission = intent.submission;
    // What is held for one leaves less room for the next.
    let at_once = if asked.is_some() { 1 } else { Inserts::ROWS_MAX };
    let mut elements = Elements::of(submission, attempt);
    for points in points.chunks(at_once) {
        if !intent.tasks.is_empty() && room()?.is_some() {
            break;
        }
        let of_array = write(submission, points)?;
        elements.insert(tx, &of_array)?;
        for (run, index) in of_array {
            if let Some(asked) = asked {
                let of = StartId { submission, idx: index, restart: 0 };
                ledger::hold(tx, asked, ((run, of), owner), now)?;
            }
            intent.tasks.push(index);
        }
    }
    Ok(Ok(intent))
}

/// Writes the submission of an array, none of whose points is written yet.
pub(super) fn intend(tx: &Transaction<'_>, array: &Array<'_>) -> Result<ArrayIntent, StoreError> {
    let Array { sweep, sweep_dir, owner, first_point, at_once, attempt, start, now } = *array;
    let Start { cluster, token, host, avoided, .. } = start;
    let job_name = JobName::of_points(sweep_dir, first_point, attempt, token.clone());
    let calling = Calling { cluster: cluster.clone(), owner: owner.to_owned(), host: host.clone() };
    let submission = insert(tx, &calling, &job_name, now)?;
    let sql = "UPDATE submission SET kind = 'array', sweep = ?2, first_point = ?3, at_once = ?4 WHERE id = ?1";
    change(tx, "record an array", sql, params![submission.0, sweep.0, first_point, at_once])?;
    let avoided = avoided.nodes.clone();
    Ok(ArrayIntent { submission, job_name, tasks: Vec::new(), at_once, avoided })
}

/// The elements of an array.
pub(super) struct Elements {
    shared: [i64; 2],
    inserts: Inserts,
}

impl Elements {
    pub(super) fn of(submission: SubmissionId, attempt: u32) -> Self {
        let inserts = Inserts {
            what: "record an element",
            head: "INSERT INTO element (submission, attempt_base, run, idx)",
            row: "(?1, ?2, #, #)",
            shared: 2,
            last: Default::default(),
        };
        Self { shared: [submission.0, i64::from(attempt)], inserts }
    }

    /// Each is a run, and its place in the array.
    pub(super) fn insert(
        &mut self,
        tx: &Transaction<'_>,
        elements: &[(RunId, u32)],
    ) -> Result<(), StoreError> {
        let own = elements.iter().flat_map(|(run, index)| [run.0, i64::from(*index)]);
        let values = self.shared.into_iter().chain(own).map(Value::from);
        self.inserts.insert(tx, elements.len(), values)
    }
}
