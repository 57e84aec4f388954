//! How often Slurm may start the job again, and after what the script itself asks for that.

use crate::domain::resolved::{Resolved, Target};
use crate::domain::run::Reason;

/// A job that Slurm may start again.
pub(super) struct Requeue {
    pub(super) max_restarts: u32,
    /// Whether the script asks for it.
    pub(super) by_script: bool,
    /// What a training exits with that wants to be brought back, for a `case` of bash.
    pub(super) codes: String,
    /// Whether it is brought back after its time limit.
    pub(super) at_limit: bool,
    /// How long the answer of one of Slurm's commands is waited for.
    pub(super) answer_seconds: u32,
}

impl Requeue {
    pub(super) fn of(resolved: &Resolved) -> Option<Self> {
        const ANSWER_SECONDS: u32 = 60;
        let failure = &resolved.failure;
        let is_on_slurm = resolved.compute.target != Target::Local;
        let codes: Vec<String> = failure.restart_exit_codes.iter().map(i32::to_string).collect();
        (is_on_slurm && failure.allows_requeue()).then(|| Self {
            max_restarts: failure.max_restarts,
            by_script: failure.requeues_itself,
            codes: codes.join(" | "),
            at_limit: failure.restart_on.contains(&Reason::TimeLimit),
            answer_seconds: ANSWER_SECONDS,
        })
    }
}
