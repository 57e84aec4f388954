//! A schedule as it is shown.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::keys::choice;
use crate::domain::schedule::Plan;

choice! {
    /// What became of a planned time.
    pub enum Outcome {
        /// A run is being submitted for it.
        Begun = "begun",
        /// It has a run.
        Submitted = "submitted",
        /// A run of the same name was active.
        Skipped = "skipped",
        /// No run could be submitted.
        Failed = "failed",
        /// No daemon was there in time.
        Missed = "missed",
    }
    later {}
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleView {
    pub name: String,
    /// The spec file, which is read at each time.
    pub spec: PathBuf,
    /// What the command line changed in it, as it was written.
    pub changes: Vec<String>,
    pub plan: Plan,
    pub added_at: Timestamp,
    pub paused_at: Option<Timestamp>,
    /// The next few times; none while it is paused.
    pub next: Vec<Timestamp>,
    /// The last planned times and what became of them, newest first.
    pub firings: Vec<FiringView>,
}

/// A planned time, or a time at which somebody asked for a run at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FiringView {
    pub planned: Timestamp,
    pub outcome: Outcome,
    /// When that was known.
    pub at: Timestamp,
    /// The run that was submitted, or that was active.
    pub run: Option<i64>,
    /// The sweep that this run is the first point of.
    #[serde(default)]
    pub sweep: Option<i64>,
    /// Why there is none; or what else is to be told.
    pub why: String,
}
