//! How the points of a new sweep are recorded. Where nothing holds its first array up, the intent to submit that comes first,
//! and the rows follow while sbatch is called: before anything else is done with the database, also after a crash.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, Transaction, params};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{RunId, SubmissionId, Token};
use crate::domain::run::{Run, step};
use crate::fault::point;
use crate::store::arrays::{Array, ArrayIntent, Elements, admitted, intend, intend_points};
use crate::store::books::Books;
use crate::store::events;
use crate::store::handle::{During, StoreError, change, unsynced};
use crate::store::many::Inserts;
use crate::store::new_points::{NewPoints, Rows, Standing};
use crate::store::open::Journal;
use crate::store::runs::{json, to_json};
use crate::store::sweeps::{NewSweep, Opening};
use crate::store::writer::begin;

const WHAT: &str = "record the points of a sweep";

/// Points whose rows follow: the first array is submitted already. A newer version finds what an older one owed, after its
/// migrations: what is added to this, or to a row, has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owed {
    new: NewPoints,
    submission: SubmissionId,
    token: Token,
    /// The point at index 0.
    first_point: u32,
    /// Those that are submitted, in order, and how each of them stands.
    submitted: Vec<u32>,
    standing: Standing,
}

/// Records the points of a new sweep, which is left without them; gives the intent to submit its first array, and what is
/// owed. Where a budget is asked each point is written with what is held for it, and nothing is owed.
pub(super) fn insert_points(
    tx: &Transaction<'_>,
    books: &Books,
    new: &mut NewSweep,
    begins: bool,
) -> Result<(Option<ArrayIntent>, Option<Owed>), StoreError> {
    let Some(points) = NewPoints::take(new) else { return Ok((None, None)) };
    let opening = new.opening.as_ref().filter(|_| begins);
    if let Some(opening) = opening.filter(|opening| opening.start.asked.is_none()) {
        let (intent, owed) = Owed::record(tx, new, points, opening)?;
        return Ok((Some(intent), Some(owed)));
    }
    let mut rows = Rows::of(tx, &points);
    let intent = match opening {
        Some(opening) => open(tx, books, (new, &points, &mut rows), opening)?,
        None => None,
    };
    let submitted = intent.iter().flat_map(|intent| &intent.tasks);
    let first = opening.map_or(0, |opening| opening.chunk.first_point);
    let submitted: BTreeSet<u32> = submitted.map(|index| first + index).collect();
    points.insert_others(&mut rows, |number| submitted.contains(&number))?;
    Ok((intent, None))
}

fn array<'a>(new: &'a NewSweep, Opening { chunk, start }: &'a Opening) -> Array<'a> {
    Array {
        sweep: new.id,
        sweep_dir: &new.sweep_dir,
        owner: &new.owner,
        first_point: chunk.first_point,
        at_once: chunk.at_once,
        attempt: 1,
        start,
        now: new.now,
    }
}

/// What comes of points that are admitted: new ones are admitted alike, and what comes of the first comes of all of them.
fn admit(
    tx: &Transaction<'_>,
    (new, points): (&NewSweep, &NewPoints),
    (submission, opening): (SubmissionId, &Opening),
) -> Result<Standing, StoreError> {
    let Opening { chunk, start } = opening;
    let number = chunk.points.first().copied().unwrap_or(chunk.first_point);
    let event = admitted(start, submission, number - chunk.first_point);
    let decision = step(&Run::accepted(points.id(number)), &event, &start.policy, new.now);
    for note in &decision.notes {
        events::insert_shared(tx, submission, note, new.now)?;
    }
    Standing::of(&decision.run)
}

/// Writes the intent to submit the first array, as far as the budget has room, and its points.
fn open(
    tx: &Transaction<'_>,
    books: &Books,
    (new, points, rows): (&NewSweep, &NewPoints, &mut Rows<'_>),
    opening: &Opening,
) -> Result<Option<ArrayIntent>, StoreError> {
    let Opening { chunk, start } = opening;
    let index = |number: u32| number - chunk.first_point;
    let mut standing: Option<Standing> = None;
    let write = |submission: SubmissionId, numbers: &[u32]| {
        let standing = match &mut standing {
            Some(standing) => &*standing,
            none => &*none.insert(admit(tx, (new, points), (submission, opening))?),
        };
        let token = |number: u32| start.token.element(index(number)).as_str().to_owned();
        rows.insert(standing, numbers.iter().map(|number| (*number, token(*number))))?;
        Ok(numbers.iter().map(|number| (points.id(*number), index(*number))).collect())
    };
    Ok(intend_points((tx, books), &array(new, opening), &chunk.points, write)?.ok())
}

impl Owed {
    /// Records the intent to submit the first array, and what its points and the others will be.
    fn record(
        tx: &Transaction<'_>,
        new: &NewSweep,
        points: NewPoints,
        opening: &Opening,
    ) -> Result<(ArrayIntent, Self), StoreError> {
        let Opening { chunk, start } = opening;
        let mut intent = intend(tx, &array(new, opening))?;
        intent.tasks = chunk.points.iter().map(|number| number - chunk.first_point).collect();
        let submission = intent.submission;
        let standing = admit(tx, (new, &points), (submission, opening))?;
        let owed = Self {
            new: points,
            submission,
            token: start.token.clone(),
            first_point: chunk.first_point,
            submitted: chunk.points.clone(),
            standing,
        };
        let sql = "INSERT INTO owed_points (sweep, owed) VALUES (?1, ?2)";
        change(tx, WHAT, sql, params![owed.new.sweep.0, to_json(&owed, "the points of a sweep")?])?;
        Ok((intent, owed))
    }

    /// Writes the rows.
    fn write(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let tx = begin(connection)?;
        // Its place in the file is free for the rows.
        change(&tx, WHAT, "DELETE FROM owed_points WHERE sweep = ?1", [self.new.sweep.0])?;
        let mut rows = Rows::of(&tx, &self.new);
        let mut elements = Elements::of(self.submission, 1);
        let index = |number: u32| number - self.first_point;
        for numbers in self.submitted.chunks(Inserts::ROWS_MAX) {
            let token = |number: u32| self.token.element(index(number)).as_str().to_owned();
            rows.insert(&self.standing, numbers.iter().map(|number| (*number, token(*number))))?;
            let of_array: Vec<(RunId, u32)> =
                numbers.iter().map(|number| (self.new.id(*number), index(*number))).collect();
            elements.insert(&tx, &of_array)?;
        }
        let submitted: BTreeSet<u32> = self.submitted.iter().copied().collect();
        self.new.insert_others(&mut rows, |number| submitted.contains(&number))?;
        point("points_written");
        drop(rows);
        tx.commit().during(WHAT)
    }
}

/// Whether rows may be owed; known to the database thread alone.
#[derive(Debug, Clone)]
pub(super) struct Debt {
    may_be: Arc<AtomicBool>,
    journal: Journal,
}

impl Debt {
    /// A daemon that ended may have left some.
    pub(super) fn unknown(journal: Journal) -> Self {
        Self { may_be: Arc::new(AtomicBool::new(true)), journal }
    }

    /// A change failed, which may have recorded some.
    pub(super) fn doubt(&self) {
        self.may_be.store(true, Ordering::Relaxed);
    }

    /// Writes what is owed, if there is something: nothing else may be done before.
    pub(super) fn settle(&self, connection: &mut Connection) -> Result<(), StoreError> {
        if self.may_be.load(Ordering::Relaxed) {
            for owed in all_owed(connection)? {
                owed.write(connection)?;
            }
            self.may_be.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes what was recorded just now. Where that fails it is tried again before anything else is done.
    pub(super) fn pay(&self, connection: &mut Connection, owed: &Owed) {
        self.doubt();
        point("points_follow");
        // What a power cut takes back is owed as before.
        match unsynced(connection, self.journal, |connection| owed.write(connection)) {
            Ok(()) => self.may_be.store(false, Ordering::Relaxed),
            Err(error) => tracing::error!("{}", crate::chain(&error)),
        }
    }
}

fn all_owed(connection: &Connection) -> Result<Vec<Owed>, StoreError> {
    let mut statement =
        connection.prepare("SELECT owed FROM owed_points ORDER BY sweep").during(WHAT)?;
    let rows = statement.query_map([], |row| json(row, 0));
    rows.and_then(Iterator::collect).during(WHAT)
}
