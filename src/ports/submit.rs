//! What a [`Scheduler`](crate::ports::Scheduler) is to start.

use std::path::PathBuf;

use crate::domain::ids::{JobName, SubmissionId};
use crate::domain::nodelist::NodeName;
use crate::domain::units::Seconds;

/// Everything a scheduler needs to start one submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitOrder {
    pub submission: SubmissionId,
    pub job_name: JobName,
    /// The run directory: that of the first point, for an array.
    pub run_dir: PathBuf,
    /// Which of a sweep's scripts; 0 for a run of its own.
    pub set: u32,
    /// The points of a sweep that are submitted together; none for a job of its own.
    pub array: Option<ArrayOrder>,
    pub time_limit: Option<Seconds>,
    /// How long before that the script is warned; 0: not at all.
    pub warn_before_end: Seconds,
    /// Between asking a cancelled job to end and killing it.
    pub kill_wait: Seconds,
    /// What the job's files are made with.
    pub umask: u32,
    /// Nodes that it is not to be given, in place of those that the script excludes; none: what the script says.
    pub exclude: Vec<NodeName>,
}

/// An array of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayOrder {
    /// In order, from 0 at the least.
    pub tasks: Vec<u32>,
    /// How many may run at once; none for all.
    pub at_once: Option<u32>,
}

/// What the arrays of a scheduler may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrayLimits {
    /// Indices: 0 to one less.
    pub size: u32,
    pub tasks: u32,
}
