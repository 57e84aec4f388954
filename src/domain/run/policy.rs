//! What a site and a spec say about waiting and restarting.

use crate::domain::run::state::Reason;
use crate::domain::spec::Resume;
use crate::domain::units::Seconds;

/// What the site and the spec say about waiting and restarting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub max_restarts: u32,
    pub restart_on: Vec<Reason>,
    pub restart_exit_codes: Vec<i32>,
    /// How long before its end a training is warned, and may then save; 0: not at all.
    pub warn_before_end: Seconds,
    /// How attempts go on from checkpoints; none for a run without `[checkpoint]`, whose progress nobody can tell.
    pub resume: Option<Resume>,
    pub backoff: Seconds,
    /// Between two rounds of asking for a submission whose answer was lost.
    pub in_doubt_wait: Seconds,
    /// How long a job may be unknown to good answers before that is news.
    pub absent_grace: Seconds,
    /// How long a stop may take before it is asked for again, without grace.
    pub stop_patience: Seconds,
    /// Until a submission that was refused for now is tried again; twice as long after each further refusal, up to
    /// [`REFUSED_WAITS_MAX`] times as long.
    pub refused_wait: Seconds,
    /// Until a scheduler that could not be reached is tried again.
    pub unreachable_wait: Seconds,
    /// The age at which the scheduler has saved a job, so that it cannot forget it as if it had never been.
    pub settled_after: Seconds,
}

/// How much longer a submission that is refused again and again waits.
pub(super) const REFUSED_WAITS_MAX: u64 = 16;

/// Submissions of one attempt that may vanish before any start until the run is given up.
pub(super) const VANISHED_MAX: u32 = 3;
