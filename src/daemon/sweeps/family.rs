//! A sweep as a pass finds it, and what clusters take of one at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::ids::{JobKey, RunId, SubmissionId};
use crate::domain::run::{Call, Run, State};
use crate::store::{LiveRuns, RunRow};

/// Points of one array, whatever a scheduler allows: one transaction records them.
const TASKS_MAX: u32 = 10_000;

/// How many points of an array a cluster takes, where it was found to take fewer than it says: its limits on what one user
/// may have submitted are told by nobody. A cache: without it a submission is only refused once more.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Portions(Mutex<HashMap<String, u32>>);

impl Portions {
    pub(super) fn of(&self, cluster: &str) -> u32 {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(cluster).copied().unwrap_or(TASKS_MAX)
    }

    /// So many were refused for now, or taken.
    pub(in crate::daemon) fn learn(&self, cluster: &str, count: usize, is_refused: bool) {
        let count = u32::try_from(count).unwrap_or(TASKS_MAX);
        let portion = if is_refused { (count / 2).max(1) } else { count.saturating_mul(2) };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(cluster).copied().unwrap_or(TASKS_MAX);
        // What was taken says nothing of more than that, unless less was known to be taken.
        let portion = if is_refused { portion } else { before.max(portion) };
        known.insert(cluster.to_owned(), portion.min(TASKS_MAX));
    }
}

/// One sweep, as a pass finds it.
pub(super) struct Family<'a> {
    pub(super) id: RunId,
    /// Its live points by their numbers.
    pub(super) points: BTreeMap<u32, &'a Arc<RunRow>>,
}

impl<'a> Family<'a> {
    /// The sweeps that have points to submit.
    pub(super) fn all(rows: &'a LiveRuns) -> Vec<Self> {
        let mut waiting: BTreeMap<RunId, bool> = BTreeMap::new();
        let mut points: BTreeMap<RunId, BTreeMap<u32, &Arc<RunRow>>> = BTreeMap::new();
        for row in rows.values() {
            let Some(of) = row.point else { continue };
            points.entry(of.sweep).or_default().insert(of.point, row);
            *waiting.entry(of.sweep).or_default() |=
                matches!(row.run.state, State::Pending { .. }) || wants_slots(&row.run);
        }
        let with_points = points.into_iter().filter(|(id, _)| waiting.get(id) == Some(&true));
        with_points.map(|(id, points)| Self { id, points }).collect()
    }

    /// Whether an answer to one of its arrays is still to come.
    pub(super) fn is_unanswered(&self) -> bool {
        self.points.values().any(|row| match &row.run.state {
            State::Submitting { call } => !matches!(call, Call::InDoubt(_)),
            State::Preparing
            | State::Pending { .. }
            | State::Queued { .. }
            | State::Running
            | State::Finishing
            | State::Evaluating
            | State::Stopping { .. }
            | State::Backoff { .. }
            | State::Final { .. } => false,
        })
    }

    /// Submissions that are not over, and of each how many points it has and how many run.
    pub(super) fn submissions(&self) -> BTreeMap<SubmissionId, (u32, u32)> {
        let mut submissions: BTreeMap<SubmissionId, (u32, u32)> = BTreeMap::new();
        for row in self.points.values().filter(|row| wants_slots(&row.run)) {
            let Some(submission) = &row.run.submission else { continue };
            let (live, running) = submissions.entry(submission.id).or_default();
            *live += 1;
            *running += u32::from(is_running(&row.run));
        }
        submissions
    }

    pub(super) fn job_of(&self, submission: SubmissionId) -> Option<JobKey> {
        let of = self.points.values().filter_map(|row| row.run.submission.as_ref());
        let job = of.filter(|known| known.id == submission).find_map(|known| known.job.clone());
        job.map(|job| JobKey { array_task: None, ..job })
    }
}

/// Whether a point's job may run now or later. The script of one that finishes has ended.
fn wants_slots(run: &Run) -> bool {
    run.state.depends_on_scheduler() && run.state != State::Finishing
}

fn is_running(run: &Run) -> bool {
    let has_started = || run.open_attempt().is_some_and(|attempt| attempt.started_at.is_some());
    match run.state {
        State::Running => true,
        // One that is in doubt may have started unseen.
        State::Submitting { call: Call::InDoubt(_) } => true,
        State::Stopping { .. } => has_started(),
        State::Submitting { .. }
        | State::Preparing
        | State::Pending { .. }
        | State::Queued { .. }
        | State::Finishing
        | State::Evaluating
        | State::Backoff { .. }
        | State::Final { .. } => false,
    }
}
