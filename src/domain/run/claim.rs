//! Whose the claim of a submission is, as far as that is known.

use serde::{Deserialize, Serialize};

use crate::domain::run::state::Run;

/// Whether another job than the run's may have the claim of a submission.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// As far as anybody knows the submission has one job, or none.
    #[default]
    Unrivalled,
    /// It has several, or may come to: sbatch was called more than once. Whose the claim is nobody has said.
    Contested,
    /// It is known to be the run's job's.
    Owned,
}

impl Claim {
    /// There is, or may be, a second job.
    pub(super) fn contest(&mut self) {
        if *self == Self::Unrivalled {
            *self = Self::Contested;
        }
    }
}

impl Run {
    /// Whether another job of the submission may have the claim, or find it free.
    pub(super) fn is_contested(&self) -> bool {
        self.submission.as_ref().is_some_and(|submission| submission.claim == Claim::Contested)
    }
}
