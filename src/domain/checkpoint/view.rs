//! The catalogue as it is shown: what was found, put into a run's history.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::checkpoint::{Format, Found, State, Walked};

/// One checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointView {
    pub step: Option<i64>,
    /// Absolute.
    pub path: String,
    pub complete: bool,
    pub state: State,
    /// What it lacks.
    pub why: Option<String>,
    pub format: Format,
    /// Of all its files, where all were looked at.
    pub bytes: Option<u64>,
    pub files: Option<u64>,
    /// When it was last written to, as far as it was looked at.
    pub created_at: Option<Timestamp>,
    /// The attempt that was running then.
    pub attempt: Option<u32>,
    /// The step of the complete one before it, from which it went on.
    pub parent: Option<i64>,
    /// What was reported at that step.
    pub metrics: BTreeMap<String, f64>,
}

/// The catalogue of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CatalogueView {
    pub directory: String,
    pub count: usize,
    /// How many of them are complete.
    pub complete: usize,
    /// The newest one, complete or not.
    pub latest: Option<Summary>,
    /// Newest first.
    pub checkpoints: Vec<CheckpointView>,
    /// Why some may be missing.
    pub cut: Option<String>,
}

/// What a run's own record says of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Summary {
    pub step: Option<i64>,
    pub path: String,
    pub complete: bool,
    pub bytes: Option<u64>,
    pub created_at: Option<Timestamp>,
}

/// When an attempt began to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub attempt: u32,
    pub at: Timestamp,
    pub is_running: bool,
}

/// Puts what was found into the history of a run, newest first.
pub fn catalogue(
    directory: String,
    walked: Walked,
    starts: &[Start],
    now: Timestamp,
) -> CatalogueView {
    let mut found = walked.found;
    found.sort_by(|a, b| (a.modified, a.step, &a.path).cmp(&(b.modified, b.step, &b.path)));
    let newest_complete =
        found.iter().filter(|one| one.lacks.is_none()).filter_map(|one| one.modified).max();
    let running_since = starts.iter().find(|start| start.is_running).map(|start| start.at);
    let mut checkpoints: Vec<CheckpointView> = Vec::with_capacity(found.len());
    let mut parent = None;
    for one in found {
        let began = one.modified.and_then(|modified| {
            starts.iter().filter(|start| start.at <= modified).max_by_key(|start| start.at)
        });
        let state = state(&one, running_since, newest_complete, now);
        let step = one.step;
        checkpoints.push(CheckpointView {
            step,
            path: one.path,
            complete: state == State::Complete,
            state,
            why: match state {
                State::Complete => None,
                State::Writing | State::Incomplete => one.lacks,
            },
            format: one.format,
            bytes: one.bytes,
            files: one.files,
            created_at: one.modified,
            attempt: began.map(|start| start.attempt),
            parent: parent.filter(|parent| step.is_some_and(|step| *parent < step)),
            metrics: BTreeMap::new(),
        });
        if state == State::Complete {
            parent = step.or(parent);
        }
    }
    checkpoints.reverse();
    let latest = checkpoints.first().map(|newest| Summary {
        step: newest.step,
        path: newest.path.clone(),
        complete: newest.complete,
        bytes: newest.bytes,
        created_at: newest.created_at,
    });
    CatalogueView {
        directory,
        count: checkpoints.len(),
        complete: checkpoints.iter().filter(|one| one.complete).count(),
        latest,
        checkpoints,
        cut: walked.cut,
    }
}

/// What changed since the running attempt began and after the newest complete one may still become whole; and what
/// changed a moment ago may change again.
fn state(
    one: &Found,
    running_since: Option<Timestamp>,
    newest_complete: Option<Timestamp>,
    now: Timestamp,
) -> State {
    /// Files of one checkpoint come from several nodes; a marker may be seen before the last of them.
    const MOMENT: SignedDuration = SignedDuration::from_secs(2);
    let is_of_now = |modified| running_since.is_some_and(|since| since <= modified);
    let Some(modified) = one.modified else {
        return if one.lacks.is_none() { State::Complete } else { State::Incomplete };
    };
    let is_fresh = now.duration_since(modified).abs() < MOMENT;
    match &one.lacks {
        None if is_fresh && is_of_now(modified) => State::Writing,
        None => State::Complete,
        Some(_)
            if is_of_now(modified) && newest_complete.is_none_or(|newest| newest <= modified) =>
        {
            State::Writing
        }
        Some(_) => State::Incomplete,
    }
}
