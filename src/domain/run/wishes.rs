//! What people wish, stops of our own, and timers.

use jiff::Timestamp;

use crate::domain::checkpoint::Branch;
use crate::domain::run::decide::after;
use crate::domain::run::decision::Decision;
use crate::domain::run::finish::ending_of;
use crate::domain::run::policy::Policy;
use crate::domain::run::state::{End, Ending, Reason, Run, State, Stop};
use crate::domain::run::step::{become_state, impossible};

pub(super) fn cancel(run: &Run, by: &str, policy: &Policy, now: Timestamp) -> Decision {
    let message = format!("cancelled by {by}");
    match &run.state {
        State::Preparing | State::Pending { .. } | State::Backoff { .. } => {
            let reason = Some(Reason::CancelledByUser);
            become_state(
                run,
                State::Final { end: End { ending: Ending::Cancelled, reason, message, at: now } },
            )
        }
        State::Submitting { .. } => {
            let mut decision =
                stop(&Decision::stay(run), Reason::CancelledByUser, &message, (policy, now));
            if let Some(submission) = decision.run.submission.as_mut() {
                submission.revoking = true;
            }
            decision
        }
        State::Queued { .. } | State::Running | State::Finishing | State::Evaluating => {
            let decision = Decision::stay(run);
            warn_and_stop(&decision, Reason::CancelledByUser, &message, (policy, now))
        }
        State::Stopping { stop: under_way, .. } => {
            let mut decision = Decision::stay(run);
            // What a person cancels does not come back.
            if under_way.reason == Reason::Hung {
                decision = stop(&decision, Reason::CancelledByUser, &message, (policy, now));
            }
            cancel_job(decision, false).note("wish", message)
        }
        State::Final { .. } => too_late(run, "cancel"),
    }
}

pub(super) fn resume(run: &Run, by: &str, from: Option<&Branch>) -> Decision {
    let pending = || {
        let mut decision = become_state(run, State::Pending { why: None, not_before: None });
        // What was given up before stays so, unless this chooses it.
        decision.run.branch = from.or(run.branch.as_ref()).cloned();
        decision
    };
    let chosen = from.map_or_else(String::new, |from| format!(" from {}", from.path));
    match &run.state {
        State::Backoff { .. } => pending(),
        State::Final { .. } => {
            let mut decision = pending();
            decision.run.submission = None;
            decision.run.vanished = 0;
            // Somebody has looked at it.
            decision.run.fruitless = 0;
            if let Some(last) = decision.run.attempt.take() {
                decision.closed.push(last);
            }
            decision.note("reopened", format!("resumed by {by}{chosen}"))
        }
        State::Preparing
        | State::Pending { .. }
        | State::Submitting { .. }
        | State::Queued { .. }
        | State::Running
        | State::Finishing
        | State::Evaluating
        | State::Stopping { .. } => too_late(run, "resume"),
    }
}

pub(super) fn own_stop(
    run: &Run,
    reason: Reason,
    message: &str,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    match &run.state {
        State::Submitting { .. } => {
            let mut decision = stop(&Decision::stay(run), reason, message, (policy, now));
            if let Some(submission) = decision.run.submission.as_mut() {
                submission.revoking = true;
            }
            decision
        }
        State::Queued { .. } | State::Running | State::Finishing | State::Evaluating => {
            warn_and_stop(&Decision::stay(run), reason, message, (policy, now))
        }
        State::Stopping { .. } => Decision::stay(run),
        State::Backoff { .. } => {
            let (ending, message) = (ending_of(reason), message.to_owned());
            let end = End { ending, reason: Some(reason), message, at: now };
            become_state(run, State::Final { end })
        }
        State::Preparing | State::Pending { .. } | State::Final { .. } => {
            impossible(run, "a stop of our own")
        }
    }
}

pub(super) fn timer_due(run: &Run, policy: &Policy, now: Timestamp) -> Decision {
    if let State::Stopping { stop, .. } = &run.state {
        let escalate_at = after(now, policy.stop_patience);
        let decision = become_state(run, State::Stopping { stop: stop.clone(), escalate_at });
        return cancel_job(decision, false);
    }
    if matches!(run.state, State::Backoff { .. }) {
        return become_state(run, State::Pending { why: None, not_before: None });
    }
    Decision::stay(run)
}

/// Turns to `stopping`.
pub(super) fn stop(
    decision: &Decision,
    reason: Reason,
    message: &str,
    (policy, now): (&Policy, Timestamp),
) -> Decision {
    let mut decision = decision.clone();
    let stop = Stop { reason, message: message.to_owned(), since: now };
    decision.run.state = State::Stopping { stop, escalate_at: after(now, policy.stop_patience) };
    decision
}

/// Turns to `stopping`; what has started is warned, and ended when it has had its time to save.
fn warn_and_stop(
    decision: &Decision,
    reason: Reason,
    message: &str,
    (policy, now): (&Policy, Timestamp),
) -> Decision {
    let grace = decision.run.grace(policy);
    let mut decision = stop(decision, reason, message, (policy, now));
    if let (State::Stopping { escalate_at, .. }, Some(grace)) = (&mut decision.run.state, grace) {
        *escalate_at = after(now, grace);
    }
    cancel_job(decision, grace.is_some())
}

/// A wish that the run's state has overtaken: who asked was told so, or asked a moment too late.
fn too_late(run: &Run, what: &str) -> Decision {
    Decision::stay(run)
        .note("wish", format!("a wish to {what} came while the run is {}", run.state.as_str()))
}

/// Asks for the job's end, if the scheduler shows it: an id alone may be another's by now, and nobody can tell while one who
/// would know is silent. One that is not in sight is cancelled when it comes into sight.
fn cancel_job(decision: Decision, grace: bool) -> Decision {
    let is_shown = decision.run.is_in_sight() && decision.run.stale.is_none();
    let known = decision.run.open_attempt().filter(|_| is_shown);
    match known.map(|attempt| attempt.job.clone()) {
        Some(job) => decision.cancel(job, grace),
        None => decision,
    }
}
