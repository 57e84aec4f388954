//! How a call of sbatch was answered, unless the answer was lost ([`crate::domain::run::doubt`]).

use jiff::Timestamp;

use crate::domain::ids::JobKey;
use crate::domain::nodelist::joined;
use crate::domain::run::attempt::open_attempt;
use crate::domain::run::decide::after;
use crate::domain::run::decision::Decision;
use crate::domain::run::doubt::refused_again;
use crate::domain::run::policy::{Policy, REFUSED_WAITS_MAX};
use crate::domain::run::state::{Call, Reason, Run, State, Unreachable};
use crate::domain::run::step::{become_state, failed, impossible};
use crate::domain::units::Seconds;

pub(super) fn acknowledged(run: &Run, job: &JobKey, notices: &str, now: Timestamp) -> Decision {
    let mut decision = Decision::stay(run);
    if let Some(submission) = decision.run.submission.as_mut()
        && submission.job.is_none()
    {
        submission.job = Some(job.clone());
    }
    match &run.state {
        State::Submitting { .. } => {
            if let Some(submission) = decision.run.submission.as_mut() {
                submission.provisional |= !run.has_open_attempt();
            }
            decision.run.refusals = 0;
            decision.run.avoidance_refused = false;
            accept(&mut decision.run, job, notices, now);
            decision.run.state = State::Queued { why: None };
            decision
        }
        State::Queued { .. } | State::Running | State::Finishing | State::Evaluating => {
            accept(&mut decision.run, job, notices, now);
            decision
        }
        State::Stopping { .. } => {
            // The attempt is opened so that its end is recorded and charged.
            accept(&mut decision.run, job, notices, now);
            decision.cancel(job.clone(), false)
        }
        State::Final { .. } => Decision::stay(run).cancel(job.clone(), false),
        State::Preparing | State::Pending { .. } | State::Backoff { .. } => {
            impossible(run, "sbatch acknowledged")
        }
    }
}

/// Opens the attempt of an accepted job, unless it was seen before sbatch could say so.
fn accept(run: &mut Run, job: &JobKey, notices: &str, now: Timestamp) {
    if !run.has_open_attempt() {
        open_attempt(run, job, 0, now);
    }
    if let Some(attempt) = run.attempt.as_mut()
        && attempt.notices.is_empty()
    {
        notices.clone_into(&mut attempt.notices);
    }
}

pub(super) fn refused(
    run: &Run,
    message: &str,
    for_now: bool,
    (policy, now): (&Policy, Timestamp),
) -> Decision {
    let State::Submitting { call } = &run.state else {
        return no_job_came(run, "the submission was refused");
    };
    if matches!(call, Call::Unreachable(_)) {
        return refused_again(run, message, now);
    }
    let avoided = run.submission.as_ref().map_or(&[][..], |submission| &submission.avoided);
    if !for_now && !avoided.is_empty() {
        // They are ours, and not the spec's: where Slurm has no other nodes for it, it takes those that there are.
        let mut decision = become_state(run, State::Pending { why: None, not_before: None });
        decision.run.avoidance_refused = true;
        let why = format!("refused without {}: {message}", joined(avoided, ", "));
        return decision.note("avoided", format!("{why}; it is submitted again with them"));
    }
    if !for_now {
        let end = failed(Reason::Rejected, message, now);
        return become_state(run, State::Final { end });
    }
    let waits = 2_u64.saturating_pow(run.refusals).min(REFUSED_WAITS_MAX);
    let not_before = Some(after(now, Seconds(policy.refused_wait.0.saturating_mul(waits))));
    let mut decision =
        become_state(run, State::Pending { why: Some(message.to_owned()), not_before });
    decision.run.refusals = run.refusals.saturating_add(1);
    decision
}

/// What it means to a run which does not wait for sbatch that no job came of the call.
fn no_job_came(run: &Run, what: &str) -> Decision {
    match &run.state {
        // An earlier call of the same submission may have come through: its claim, which is being revoked, settles it.
        State::Stopping { .. } | State::Final { .. } => Decision::stay(run),
        State::Preparing
        | State::Pending { .. }
        | State::Submitting { .. }
        | State::Queued { .. }
        | State::Running
        | State::Finishing
        | State::Evaluating
        | State::Backoff { .. } => impossible(run, what),
    }
}

pub(super) fn unreachable(run: &Run, message: &str, policy: &Policy, now: Timestamp) -> Decision {
    let State::Submitting { call } = &run.state else {
        return no_job_came(run, "the scheduler could not be reached");
    };
    let again = || {
        let again_at = Some(after(now, policy.unreachable_wait));
        let call = Call::Unreachable(Unreachable { why: message.to_owned(), again_at });
        become_state(run, State::Submitting { call })
    };
    match call {
        Call::UnderWay => {
            again().note("unreachable", format!("the scheduler could not be reached: {message}"))
        }
        Call::Unreachable(Unreachable { again_at: None, .. }) => again(),
        // The answer to the last call, which is known.
        Call::Unreachable(_) | Call::InDoubt(_) => Decision::stay(run),
    }
}

pub(super) fn called_again(run: &Run) -> Decision {
    let State::Submitting { call: Call::Unreachable(Unreachable { why, again_at: Some(_) }) } =
        &run.state
    else {
        return impossible(run, "sbatch was called again");
    };
    // Until it answers, what it said last is all there is to say.
    let call = Call::Unreachable(Unreachable { why: why.clone(), again_at: None });
    let mut decision = become_state(run, State::Submitting { call });
    if let Some(submission) = decision.run.submission.as_mut() {
        submission.claim.contest();
    }
    decision
}
