//! What a local job's supervisor is told.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::{SubmissionId, Token};
use crate::domain::run_files::RunFiles;
use crate::domain::units::Seconds;

/// `order.json`: written once by the scheduler, before the supervisor is launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub submission: SubmissionId,
    pub token: Token,
    pub job_name: String,
    pub run_dir: PathBuf,
    /// Which of a sweep's scripts it is.
    #[serde(default)]
    pub set: u32,
    pub time_limit: Option<Seconds>,
    /// How long before that the script is warned; 0: not at all.
    #[serde(default)]
    pub warn_before_end: Seconds,
    pub kill_wait: Seconds,
    /// What the script gets beside the few that come from the user database.
    pub environment: Vec<(String, String)>,
    pub submitted_at: Timestamp,
}

impl Order {
    pub(super) fn script(&self) -> PathBuf {
        RunFiles::of(&self.run_dir).script(self.set)
    }

    /// Where the script is started: a point's own directory is not there yet.
    pub(super) fn directory(&self) -> &Path {
        RunFiles::of(&self.run_dir).shared()
    }

    pub(super) fn log(&self) -> PathBuf {
        // Submissions are numbered from 1.
        let job = u64::try_from(self.submission.0).unwrap_or_default();
        RunFiles::of(&self.run_dir).scheduler_log("local", job, None)
    }
}
