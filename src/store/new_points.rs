//! The points of a new sweep: very many rows in one transaction, for which somebody waits.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Transaction, params};

use crate::domain::ids::{RunId, SubmissionId};
use crate::domain::resolved::Resolved;
use crate::domain::run::{Run, step};
use crate::domain::run_files::RunFiles;
use crate::domain::sweep::PlannedPoint;
use crate::store::arrays::{Array, ArrayIntent, admitted, intend_points};
use crate::store::books::Books;
use crate::store::handle::{During, StoreError};
use crate::store::runs::to_json;
use crate::store::sweeps::{NewSweep, Opening};
use crate::store::{events, retention, secrets};

/// A point that is about to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPoint {
    set: u32,
    /// `domain::sweep::Given` as JSON.
    given: String,
}

impl NewPoint {
    /// As it will be written: what can be done before the database is asked does not hold it up.
    pub fn of(planned: &PlannedPoint) -> Result<Self, StoreError> {
        let given = to_json(&planned.given, "what a point is given")?;
        Ok(Self { set: planned.set, given })
    }

    pub(super) fn set(&self) -> u32 {
        self.set
    }
}

const WHAT: &str = "record a sweep";

/// Writes the points: those of the first array as submitted. Where the ledger is wrong all of them wait.
pub(super) fn insert_points(
    tx: &Transaction<'_>,
    books: &Books,
    new: &NewSweep,
    opening: Option<&Opening>,
) -> Result<Option<ArrayIntent>, StoreError> {
    let mut rows = Rows::of(tx, new)?;
    let intent = match opening {
        Some(opening) => open(&mut rows, books, opening)?,
        None => None,
    };
    let submitted = intent.iter().flat_map(|intent| &intent.tasks);
    let first = opening.map_or(0, |opening| opening.chunk.first_point);
    let submitted: BTreeSet<u32> = submitted.map(|index| first + index).collect();
    let (prepares, waits) =
        (Standing::of(&Run::to_prepare(new.id))?, Standing::of(&Run::accepted(new.id))?);
    for (number, point) in (0..).zip(&new.points) {
        let Some(set) = new.sets.get(point.set as usize) else { continue };
        if !submitted.contains(&number) {
            let is_built = set.environment.requirements.is_some();
            rows.insert((number, point, set), (if is_built { &prepares } else { &waits }, ""))?;
        }
    }
    Ok(intent)
}

/// Writes the first array's points, and the intent to submit them.
fn open(
    rows: &mut Rows<'_>,
    books: &Books,
    Opening { chunk, start }: &Opening,
) -> Result<Option<ArrayIntent>, StoreError> {
    let (tx, new) = (rows.tx, rows.new);
    let array = Array {
        sweep: new.id,
        sweep_dir: &new.sweep_dir,
        owner: &new.owner,
        first_point: chunk.first_point,
        at_once: chunk.at_once,
        attempt: 1,
        start,
        now: new.now,
    };
    let mut first: Option<Standing> = None;
    let write = |submission: SubmissionId, number: &u32| {
        let (id, index) = (new.point_id(*number), number - chunk.first_point);
        let standing = match &mut first {
            Some(standing) => &*standing,
            // New points are admitted alike: what comes of the first comes of all of them.
            none => {
                let event = admitted(start, submission, index);
                let decision = step(&Run::accepted(id), &event, &start.policy, new.now);
                for note in &decision.notes {
                    events::insert_shared(tx, submission, note, new.now)?;
                }
                &*none.insert(Standing::of(&decision.run)?)
            }
        };
        if let Some((point, set)) = new.point(*number) {
            let token = start.token.element(index);
            rows.insert((*number, point, set), (standing, token.as_str()))?;
        }
        Ok((id, index))
    };
    Ok(intend_points((tx, books), &array, &chunk.points, write)?.ok())
}

/// The rows of a sweep's points. The statement is looked up once for all of them.
struct Rows<'a> {
    tx: &'a Transaction<'a>,
    new: &'a NewSweep,
    insert: CachedStatement<'a>,
}

impl<'a> Rows<'a> {
    fn of(tx: &'a Transaction<'a>, new: &'a NewSweep) -> Result<Self, StoreError> {
        let sql = "INSERT INTO run (id, name, owner, project, state, message, created_at, submitted_at, run_dir, spec_digest, \
                   machine, resolved, spec, inputs, sweep, point, set_idx, given) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, '', '', '', ?12, ?13, ?14, ?15)";
        Ok(Self { tx, new, insert: tx.prepare_cached(sql).during(WHAT)? })
    }

    /// Writes a point as it stands, under its token in the array.
    fn insert(
        &mut self,
        (number, point, set): (u32, &NewPoint, &Resolved),
        (standing, token): (&Standing, &str),
    ) -> Result<(), StoreError> {
        let (tx, new) = (self.tx, self.new);
        let id = new.point_id(number);
        let inserted = self.insert.execute(params![
            id.0,
            set.name,
            new.owner,
            set.project,
            standing.state,
            standing.message,
            new.now.as_millisecond(),
            standing.submitted_at.map(Timestamp::as_millisecond),
            RunFiles::point_dir(&new.sweep_dir, number).display().to_string(),
            new.spec_digest,
            standing.machine(id, token),
            new.id.0,
            number,
            point.set,
            point.given,
        ]);
        inserted.during(WHAT)?;
        if set.environment.secrets.is_some() {
            secrets::insert(tx, id)?;
        }
        if set.retention().is_some() {
            retention::insert(tx, id)?;
        }
        Ok(())
    }
}

/// How a run stands, and all that differ from it in nothing but their numbers and their tokens.
struct Standing {
    state: &'static str,
    message: String,
    submitted_at: Option<Timestamp>,
    /// The run as JSON, without its number and its token: what is between the two, and what comes behind them.
    machine: (String, String),
}

impl Standing {
    fn of(run: &Run) -> Result<Self, StoreError> {
        let json = to_json(run, "a new run")?;
        let without_number = json.strip_prefix(&number(run.id));
        let rest = without_number.expect("a run as JSON begins with its number");
        let submission = run.submission.as_ref();
        let around = submission.and_then(|known| rest.split_once(known.token.as_str()));
        let (between, behind) = around.unwrap_or((rest, ""));
        Ok(Self {
            state: run.state.as_str(),
            message: run.state.reason_and_message().1.to_owned(),
            submitted_at: submission.map(|submission| submission.intent_at),
            machine: (between.to_owned(), behind.to_owned()),
        })
    }

    /// What is recorded of the run that stands so.
    fn machine(&self, id: RunId, token: &str) -> String {
        let (between, behind) = &self.machine;
        [&number(id), between, token, behind].concat()
    }
}

fn number(id: RunId) -> String {
    format!("{{\"id\":{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::world::start;

    #[test]
    fn what_is_written_of_one_run_says_what_is_written_of_those_that_stand_alike() {
        let (start, submission) = (start(7), SubmissionId(17));
        let submitting = |id: i64, index: u32| {
            let event = admitted(&start, submission, index);
            step(&Run::accepted(RunId(id)), &event, &start.policy, Timestamp::UNIX_EPOCH).run
        };
        let standing = Standing::of(&submitting(17, 0)).unwrap();
        assert_eq!((standing.state, standing.message.as_str()), ("submitting", ""));
        assert_eq!(standing.submitted_at, Some(Timestamp::UNIX_EPOCH));
        for (id, index) in [(17, 0), (18, 1), (1_017, 1_000)] {
            let machine = standing.machine(RunId(id), start.token.element(index).as_str());
            assert_eq!(machine, to_json(&submitting(id, index), "a run").unwrap());
        }
        let waits = Standing::of(&Run::accepted(RunId(1))).unwrap();
        let other = Run::accepted(RunId(23));
        assert_eq!(waits.machine(other.id, ""), to_json(&other, "a run").unwrap());
        assert_eq!(waits.submitted_at, None);
    }
}
