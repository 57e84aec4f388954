//! Whose checkpoints are looked through, and when.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::domain::checkpoint::{Found, Mark};
use crate::domain::ids::RunId;
use crate::store::RunRow;

/// Until it is tried again after something failed: an archive that is full is not filled in each pass.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// How far it has come with each run.
#[derive(Default)]
pub(in crate::daemon) struct Retaining {
    known: Mutex<Known>,
    /// Held while a person chooses a checkpoint, until that is recorded, and while those go that nobody has chosen.
    pub(in crate::daemon) choosing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    runs: HashMap<RunId, Progress>,
    /// File systems on which one is at work: one at a time, so that the pass finds room there.
    busy: HashSet<PathBuf>,
}

#[derive(Default)]
struct Progress {
    /// The newest complete one that a look has shown since.
    seen: Option<Mark>,
    /// None before the first time.
    done: Option<Done>,
    not_before: Option<Timestamp>,
    /// What failed the last time.
    trouble: Option<String>,
}

/// What was known when a run's checkpoints were looked through.
#[derive(Default)]
pub(super) struct Done {
    /// Of the run's record.
    pub(super) saved: Option<Mark>,
    pub(super) newest: Option<Mark>,
}

/// What came of looking through a run's checkpoints.
pub(super) enum Outcome {
    Done(Done),
    /// In words.
    Failed(String),
    /// The run has changed meanwhile: the next pass begins anew.
    Changed,
}

impl Retaining {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the newest complete checkpoint of a run that is live and does not keep all.
    pub(in crate::daemon) fn saw(&self, row: &RunRow, newest: Option<&Found>) {
        let is_one = row.resolved.retention().is_some() && !row.run.state.is_final();
        if let Some(mark) = newest.filter(|_| is_one).map(Mark::of) {
            self.lock().runs.entry(row.run.id).or_default().seen = Some(mark);
        }
    }

    /// Whether a run's checkpoints are to be looked through now, which nobody else does then until it is left.
    pub(super) fn take_on(&self, row: &RunRow, mount: &Path, now: Timestamp) -> bool {
        let known = &mut *self.lock();
        let progress = known.runs.entry(row.run.id).or_default();
        // A clock that was set back stops nobody.
        let waits = progress
            .not_before
            .is_some_and(|then| now < then && then.duration_since(now) <= AGAIN_AFTER);
        let is_news = match &progress.done {
            None => row.run.attempts > 0,
            Some(done) => {
                let saved = row.run.saved.as_ref().and_then(|saved| saved.newest.as_ref());
                let is_seen = progress.seen.is_some() && progress.seen != done.newest;
                is_seen || saved != done.saved.as_ref()
            }
        };
        let is_due = !waits && (is_news || row.run.state.is_final());
        is_due && known.busy.insert(mount.to_owned())
    }

    pub(super) fn leave(&self, run: RunId, mount: &Path, outcome: Outcome, now: Timestamp) {
        let known = &mut *self.lock();
        known.busy.remove(mount);
        let progress = known.runs.entry(run).or_default();
        match outcome {
            Outcome::Done(done) => {
                *progress = Progress { done: Some(done), ..Progress::default() };
            }
            Outcome::Failed(trouble) => {
                progress.not_before = now.checked_add(AGAIN_AFTER).ok();
                progress.trouble = Some(trouble);
            }
            Outcome::Changed => {}
        }
    }

    pub(super) fn forget(&self, run: RunId) {
        self.lock().runs.remove(&run);
    }

    pub(super) fn is_news(&self, run: RunId, trouble: &str) -> bool {
        let known = self.lock();
        let last = known.runs.get(&run).and_then(|progress| progress.trouble.as_deref());
        last != Some(trouble)
    }
}
