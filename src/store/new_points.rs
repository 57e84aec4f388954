//! The rows of a new sweep's points: very many of them.

use std::path::Path;

use rusqlite::Transaction;
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};

use crate::domain::ids::RunId;
use crate::domain::resolved::Resolved;
use crate::domain::run::Run;
use crate::domain::run_files::RunFiles;
use crate::domain::sweep::PlannedPoint;
use crate::store::handle::StoreError;
use crate::store::many::Inserts;
use crate::store::runs::to_json;
use crate::store::sweeps::NewSweep;
use crate::store::{retention, secrets};

/// A point that is about to be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// Everything that the rows of a new sweep's points are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NewPoints {
    pub(super) sweep: RunId,
    name: String,
    owner: String,
    project: Option<String>,
    spec_digest: String,
    sweep_dir: String,
    /// Milliseconds since the epoch.
    at: i64,
    /// What their sets differ in, as far as the rows know.
    sets: Vec<NewSet>,
    points: Vec<NewPoint>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NewSet {
    /// They wait for an environment.
    is_built: bool,
    keeps_secrets: bool,
    retains: bool,
}

impl NewSet {
    fn of(resolved: &Resolved) -> Self {
        let environment = &resolved.environment;
        Self {
            is_built: environment.requirements.is_some(),
            keeps_secrets: environment.secrets.is_some(),
            retains: resolved.retention().is_some(),
        }
    }
}

impl NewPoints {
    /// Of a sweep, which is left without them. None where it has no sets.
    pub(super) fn take(new: &mut NewSweep) -> Option<Self> {
        // All have the same name and project.
        let first = new.sets.first()?;
        Some(Self {
            sweep: new.id,
            name: first.name.clone(),
            owner: new.owner.clone(),
            project: first.project.clone(),
            spec_digest: new.spec_digest.clone(),
            sweep_dir: new.sweep_dir.display().to_string(),
            at: new.now.as_millisecond(),
            sets: new.sets.iter().map(NewSet::of).collect(),
            points: std::mem::take(&mut new.points),
        })
    }

    pub(super) fn id(&self, number: u32) -> RunId {
        RunId(self.sweep.0 + 1 + i64::from(number))
    }

    fn point(&self, number: u32) -> Option<(&NewPoint, &NewSet)> {
        let point = self.points.get(usize::try_from(number).ok()?)?;
        Some((point, self.sets.get(usize::try_from(point.set).ok()?)?))
    }

    /// Writes those that are not submitted, as they wait.
    pub(super) fn insert_others(
        &self,
        rows: &mut Rows<'_>,
        is_submitted: impl Fn(u32) -> bool,
    ) -> Result<(), StoreError> {
        let others = (0..).zip(&self.points).map(|(number, _)| number);
        let others = others.filter(|number| !is_submitted(*number));
        let is_built = |number: &u32| self.point(*number).is_some_and(|(_, set)| set.is_built);
        let (prepare, wait): (Vec<u32>, Vec<u32>) = others.partition(is_built);
        for (points, run) in
            [(prepare, Run::to_prepare(self.sweep)), (wait, Run::accepted(self.sweep))]
        {
            let standing = Standing::of(&run)?;
            for points in points.chunks(Inserts::ROWS_MAX) {
                rows.insert(&standing, points.iter().map(|number| (*number, String::new())))?;
            }
        }
        Ok(())
    }
}

/// Writes the rows.
pub(super) struct Rows<'a> {
    tx: &'a Transaction<'a>,
    new: &'a NewPoints,
    inserts: Inserts,
}

impl<'a> Rows<'a> {
    pub(super) fn of(tx: &'a Transaction<'a>, new: &'a NewPoints) -> Self {
        let inserts = Inserts {
            what: "record a sweep",
            head: "INSERT INTO run (name, owner, project, state, message, created_at, submitted_at, spec_digest, sweep, \
                   id, run_dir, machine, point, set_idx, given, resolved, spec, inputs)",
            row: "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, #, #, #, #, #, #, '', '', '')",
            shared: 9,
            last: Default::default(),
        };
        Self { tx, new, inserts }
    }

    /// Writes points that stand so, not more than [`Inserts::ROWS_MAX`], each under its token in the array.
    pub(super) fn insert(
        &mut self,
        standing: &Standing,
        points: impl Iterator<Item = (u32, String)>,
    ) -> Result<(), StoreError> {
        let (tx, new) = (self.tx, self.new);
        let known = points.filter_map(|(number, token)| {
            let (point, set) = new.point(number)?;
            Some((number, token, point, set))
        });
        let known: Vec<(u32, String, &NewPoint, &NewSet)> = known.collect();
        let shared: [Value; 9] = [
            new.name.clone().into(),
            new.owner.clone().into(),
            new.project.clone().into(),
            standing.state.clone().into(),
            standing.message.clone().into(),
            new.at.into(),
            standing.submitted_at.into(),
            new.spec_digest.clone().into(),
            new.sweep.0.into(),
        ];
        let own = known.iter().flat_map(|(number, token, point, _)| -> [Value; 6] {
            let id = new.id(*number);
            let run_dir = RunFiles::point_dir(Path::new(&new.sweep_dir), *number);
            [
                id.0.into(),
                run_dir.display().to_string().into(),
                standing.machine(id, token).into(),
                i64::from(*number).into(),
                i64::from(point.set).into(),
                point.given.clone().into(),
            ]
        });
        self.inserts.insert(tx, known.len(), shared.into_iter().chain(own))?;
        for (number, _, _, set) in known {
            let id = new.id(number);
            if set.keeps_secrets {
                secrets::insert(tx, id)?;
            }
            if set.retains {
                retention::insert(tx, id)?;
            }
        }
        Ok(())
    }
}

/// How a run stands, and all that differ from it in nothing but their numbers and their tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    state: String,
    message: String,
    /// Milliseconds since the epoch.
    submitted_at: Option<i64>,
    /// The run as JSON, without its number and its token: what is between the two, and what comes behind them.
    machine: (String, String),
}

impl Standing {
    pub(super) fn of(run: &Run) -> Result<Self, StoreError> {
        let json = to_json(run, "a new run")?;
        let without_number = json.strip_prefix(&number(run.id));
        let rest = without_number.expect("a run as JSON begins with its number");
        let submission = run.submission.as_ref();
        let around = submission.and_then(|known| rest.split_once(known.token.as_str()));
        let (between, behind) = around.unwrap_or((rest, ""));
        Ok(Self {
            state: run.state.as_str().to_owned(),
            message: run.state.reason_and_message().1.to_owned(),
            submitted_at: submission.map(|submission| submission.intent_at.as_millisecond()),
            machine: (between.to_owned(), behind.to_owned()),
        })
    }

    /// What is recorded of the run that stands so.
    pub(super) fn machine(&self, id: RunId, token: &str) -> String {
        let (between, behind) = &self.machine;
        [&number(id), between, token, behind].concat()
    }
}

fn number(id: RunId) -> String {
    format!("{{\"id\":{id}")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::ids::SubmissionId;
    use crate::domain::run::step;
    use crate::store::arrays::admitted;
    use crate::store::tests::world::start;

    #[test]
    fn what_is_written_of_one_run_says_what_is_written_of_those_that_stand_alike() {
        let (start, submission) = (start(7), SubmissionId(17));
        let submitting = |id: i64, index: u32| {
            let event = admitted(&start, submission, index);
            step(&Run::accepted(RunId(id)), &event, &start.policy, Timestamp::UNIX_EPOCH).run
        };
        let standing = Standing::of(&submitting(17, 0)).unwrap();
        assert_eq!((standing.state.as_str(), standing.message.as_str()), ("submitting", ""));
        assert_eq!(standing.submitted_at, Some(0));
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
