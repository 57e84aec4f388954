//! A training that was warned of its end: how long it has, and why it ended if it did not end well.

use jiff::Timestamp;

use crate::domain::inbox::ScriptEvent;
use crate::domain::run::decide::after;
use crate::domain::run::decision::Decision;
use crate::domain::run::policy::Policy;
use crate::domain::run::state::{Attempt, Reason, Run};
use crate::domain::run::wishes::timer_due;
use crate::domain::units::Seconds;

/// A run that is told to stop is given no longer to save than this, however early the spec wants to be warned.
const GRACE_MAX: Seconds = Seconds(10 * 60);

/// How much too early a warning may come: slurmctld looks every half minute whom to warn, documents a whole one, and the
/// clocks of nodes differ.
const EARLY_MAX: Seconds = Seconds(90);

impl Policy {
    /// How long a training may take to save that is warned because its run is to stop; none where it is not warned.
    pub(super) fn grace(&self) -> Option<Seconds> {
        Some(self.warn_before_end.min(GRACE_MAX)).filter(|grace| grace.0 > 0)
    }
}

impl Run {
    /// The same of this run: a script that has not started its training yet would end at the warning.
    pub fn grace(&self, policy: &Policy) -> Option<Seconds> {
        let has_begun = self.open_attempt().is_some_and(|attempt| attempt.began.is_some());
        policy.grace().filter(|_| has_begun)
    }
}

impl Attempt {
    /// What the training was warned of, where that can be told. Preemption is the scheduler's to tell, and a stop our own.
    pub(super) fn warned_of(&self, policy: &Policy) -> Option<Reason> {
        let limit = Seconds(self.granted.time_limit_seconds?);
        let earliest = Seconds(policy.warn_before_end.0.saturating_add(EARLY_MAX.0));
        let is_near = after(self.warned_at?, earliest) >= after(self.started_at?, limit);
        (policy.warn_before_end.0 > 0 && is_near).then_some(Reason::TimeLimit)
    }
}

/// The script of the attempt under way was told that its end is near.
pub(super) fn warned(run: &mut Run, event: &ScriptEvent) {
    let is_under_way = run.has_open_attempt() && !run.state.is_final();
    if let Some(attempt) = run.attempt.as_mut().filter(|_| is_under_way) {
        attempt.warned_at = attempt.warned_at.or(Timestamp::from_second(event.at).ok());
    }
}

/// Nobody is there who would save: a run that is to stop waits no longer.
pub(super) fn unheard(
    run: &Run,
    is_stopping: bool,
    (policy, now): (&Policy, Timestamp),
) -> Decision {
    let decision = if is_stopping { timer_due(run, policy, now) } else { Decision::stay(run) };
    decision.note("warned", "no process of the training has a handler for the warning")
}
