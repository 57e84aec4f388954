//! What a local job's supervisor is told.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::{SubmissionId, Token};
use crate::domain::units::Seconds;

/// `order.json`: written once by the scheduler, before the supervisor is launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub submission: SubmissionId,
    pub token: Token,
    pub job_name: String,
    pub run_dir: PathBuf,
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
        self.run_dir.join("job.sh")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.run_dir.join("logs").join(format!("local-{}.out", self.submission))
    }
}
