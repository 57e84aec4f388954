//! What a run has saved, as it was found when it was last looked at.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::checkpoint::{Branch, Found, Summary, newest};
use crate::domain::units::Bytes;

/// The checkpoints of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub count: usize,
    /// How many of them are complete.
    pub complete: usize,
    /// The newest one, complete or not.
    pub latest: Option<Summary>,
    /// The one that the next attempt would go on from.
    pub newest: Option<Mark>,
}

/// Tells a complete checkpoint from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub path: String,
    pub step: Option<i64>,
    pub modified: Option<Timestamp>,
}

impl Saved {
    pub fn of(found: &[Found], branch: Option<&Branch>) -> Self {
        let latest = found.iter().max_by_key(|one| (one.modified, one.step, one.path.clone()));
        Self {
            count: found.len(),
            complete: found.iter().filter(|one| one.lacks.is_none()).count(),
            latest: latest.map(|one| Summary {
                step: one.step,
                path: one.path.clone(),
                complete: one.lacks.is_none(),
                bytes: one.bytes,
                created_at: one.modified,
            }),
            newest: newest(found, branch).map(Mark::of),
        }
    }
}

impl Saved {
    /// That there is a newer complete checkpoint than before, in a sentence.
    pub fn news(&self, before: Option<&Self>) -> Option<String> {
        let newest = self.newest.as_ref()?;
        let known = before.and_then(|before| before.newest.as_ref());
        if known.is_some_and(|known| !newest.is_newer_than(known)) {
            return None;
        }
        let of_step = newest.step.map_or(String::new(), |step| format!(" of step {step}"));
        let latest = self.latest.as_ref().filter(|latest| latest.path == newest.path);
        let bytes = latest.and_then(|latest| latest.bytes);
        let size = bytes.map_or(String::new(), |bytes| format!(", {}", Bytes(bytes)));
        Some(format!("a complete checkpoint{of_step}: {}{size}", newest.path))
    }
}

impl Mark {
    pub fn of(one: &Found) -> Self {
        Self { path: one.path.clone(), step: one.step, modified: one.modified }
    }

    /// Whether it is newer than another: by the step where both tell one, else by the time.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        match (self.step, other.step) {
            (Some(own), Some(other)) => own > other,
            _ => self.modified > other.modified,
        }
    }
}

/// What a run's own record says of its checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SavedView {
    pub count: usize,
    pub complete: usize,
    pub latest: Option<Summary>,
}

impl From<&Saved> for SavedView {
    fn from(saved: &Saved) -> Self {
        Self { count: saved.count, complete: saved.complete, latest: saved.latest.clone() }
    }
}
