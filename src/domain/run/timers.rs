//! Timers of a run: moments of the wall clock, which may be set back while they run.
//!
//! A timer that lies further ahead than it was ever set is one of a clock that was set back since. How much of it is over
//! cannot be told then, and nothing is to wait for that clock: it is due.

use jiff::Timestamp;

use crate::domain::run::decide::after;
use crate::domain::run::policy::{Policy, REFUSED_WAITS_MAX};
use crate::domain::run::state::{Run, State, Unreachable};
use crate::domain::units::Seconds;

/// A moment may have been set by somebody who looked at the clock later; so much longer a wait does no harm either.
const SLACK_SECONDS: u64 = 5;

/// Whether a moment has come that was set at most `wait` ahead.
pub(super) fn has_come(at: Timestamp, wait: Seconds, now: Timestamp) -> bool {
    at <= now || at > after(now, Seconds(wait.0.saturating_add(SLACK_SECONDS)))
}

impl Run {
    /// Whether time alone may bring it on.
    pub fn has_timer(&self) -> bool {
        matches!(self.state, State::Backoff { .. } | State::Stopping { .. })
    }

    /// Whether something is due for the run at this time, whatever is seen.
    pub fn is_due(&self, policy: &Policy, now: Timestamp) -> bool {
        match self.state {
            State::Backoff { until } => has_come(until, policy.backoff, now),
            State::Stopping { escalate_at, .. } => {
                let grace = policy.grace().unwrap_or(policy.stop_patience);
                has_come(escalate_at, policy.stop_patience.max(grace), now)
            }
            State::Preparing
            | State::Pending { .. }
            | State::Submitting { .. }
            | State::Queued { .. }
            | State::Running
            | State::Finishing
            | State::Evaluating
            | State::Final { .. } => false,
        }
    }

    /// Whether it still has to wait after a refusal.
    pub fn is_held_off(&self, policy: &Policy, now: Timestamp) -> bool {
        let State::Pending { not_before: Some(at), .. } = self.state else { return false };
        let longest = Seconds(policy.refused_wait.0.saturating_mul(REFUSED_WAITS_MAX));
        !has_come(at, longest, now)
    }
}

impl Unreachable {
    /// Whether it is time to call again; never while a call is under way.
    pub fn is_due(&self, policy: &Policy, now: Timestamp) -> bool {
        self.again_at.is_some_and(|at| has_come(at, policy.unreachable_wait, now))
    }
}
