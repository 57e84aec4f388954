//! How an attempt's end becomes the run's: completed, brought back, or over with a reason and its evidence.

use jiff::Timestamp;

use crate::domain::inbox::ScriptReason;
use crate::domain::run::decide::after;
use crate::domain::run::decision::{Decision, Note};
use crate::domain::run::doubt::settle_claim;
use crate::domain::run::policy::Policy;
use crate::domain::run::progress::{count, veto};
use crate::domain::run::seen::JobEnd;
use crate::domain::run::state::{Attempt, AttemptState, End, Ending, Reason, Run, State, Stop};
use crate::domain::run::step::failed;
use crate::domain::units::Seconds;

/// The scheduler's final word about the attempt under way.
pub(super) fn close(
    decision: &mut Decision,
    end: JobEnd,
    (exit_code, signal): (Option<i32>, Option<i32>),
    policy: &Policy,
    now: Timestamp,
) {
    let (mut ending, mut reason) = judged(end, signal);
    let was_done = is_done_before(end, decision.run.attempt.as_ref());
    if let Some(attempt) = decision.run.attempt.as_mut() {
        attempt.exit_code = exit_code.or(attempt.exit_code);
        attempt.signal = signal;
        attempt.ended_at.get_or_insert(now);
        attempt.self_reported |= was_done;
    }
    if was_done {
        let why = format!(
            "the training had ended with exit code 0 before the job did, which Slurm recorded as {}: it is done",
            reason.map_or("over", Reason::as_str)
        );
        decision.notes.push(Note { kind: "self_reported".into(), message: why });
        (ending, reason) = (Ending::Completed, None);
    }
    conclude(decision, ending, reason, policy, now);
}

/// Whether the training was over, and well, when something from outside ended what was left of its job: an epilogue, or
/// nothing at all, since a slurmctld that was killed may hold a node for failed whose job it has forgotten to be over.
fn is_done_before(end: JobEnd, attempt: Option<&Attempt>) -> bool {
    let told = attempt.and_then(|attempt| attempt.script_end.as_ref());
    let is_done = told.is_some_and(|told| told.exit_code == Some(0) && told.reason.is_none());
    is_done && end.is_from_outside()
}

/// What the scheduler's word means for an attempt.
pub(super) fn judged(end: JobEnd, signal: Option<i32>) -> (Ending, Option<Reason>) {
    let failed = |reason| (Ending::Failed, Some(reason));
    match end {
        JobEnd::Completed => (Ending::Completed, None),
        JobEnd::Failed if signal.is_some_and(|signal| signal > 0) => failed(Reason::Signal),
        JobEnd::Failed => failed(Reason::ExitCode),
        JobEnd::Cancelled => (Ending::Cancelled, Some(Reason::CancelledByAdmin)),
        JobEnd::TimeLimit => failed(Reason::TimeLimit),
        JobEnd::OutOfMemory => failed(Reason::OutOfMemory),
        JobEnd::NodeFailure => failed(Reason::NodeFailure),
        JobEnd::BootFailure => failed(Reason::BootFailure),
        JobEnd::Deadline => failed(Reason::Deadline),
        JobEnd::Preempted => failed(Reason::Preempted),
        JobEnd::Requeued => failed(Reason::Requeued),
    }
}

/// Ends the attempt under way and with it the run, unless the policy brings it back.
pub(super) fn conclude(
    decision: &mut Decision,
    ending: Ending,
    reason: Option<Reason>,
    policy: &Policy,
    now: Timestamp,
) {
    let is_stopping = matches!(decision.run.state, State::Stopping { .. });
    if decision.run.is_superseded() && !is_stopping || decision.run.is_contested() {
        settle_claim(&mut decision.run);
        return;
    }
    let (ending, reason) = corrected(&decision.run, ending, reason);
    // What the training was warned of is why it ended, unless it saved and wants to be brought back.
    let asks_back = asks_back(&decision.run, reason, policy);
    let ended_by_itself = matches!(reason, Some(Reason::ExitCode | Reason::Signal)) && !asks_back;
    let cause = decision.run.attempt.as_ref().filter(|_| ended_by_itself);
    let cause = cause.and_then(|attempt| attempt.warned_of(policy));
    let at = decision.run.attempt.as_ref().and_then(|attempt| attempt.ended_at).unwrap_or(now);
    let stop = if let State::Stopping { stop, .. } = &decision.run.state {
        Some(stop.clone())
    } else {
        None
    };
    // It had ended before anybody wished it to stop: its own end stands.
    let wished = stop.filter(|stop| ending != Ending::Completed || at > stop.since);
    let ending = wished.as_ref().map_or(ending, |stop| ending_of(stop.reason));
    let reason = wished.as_ref().map_or(reason, |stop| Some(stop.reason));
    let message = match (&wished, decision.run.attempt.as_ref()) {
        (Some(stop), _) => stop.message.clone(),
        (None, attempt) if cause.is_some() => after_warning(&evidence(reason, attempt), attempt),
        (None, attempt) => evidence(reason, attempt),
    };
    let reason = if wished.is_some() { reason } else { cause.or(reason) };
    if let Some(attempt) = decision.run.attempt.as_mut() {
        attempt.reason = reason;
        attempt.state = match ending {
            Ending::Completed => AttemptState::Completed,
            Ending::Failed => AttemptState::Failed,
            Ending::Cancelled => AttemptState::Cancelled,
        };
    }
    if let Some(submission) = decision.run.submission.as_mut() {
        // How it ended is known: whose the claim is does not matter any more.
        submission.revoking = false;
    }
    // What hung was stopped so that it could be brought back.
    let may_return = wished.as_ref().is_none_or(|stop| stop.reason == Reason::Hung);
    let ended = decision.run.attempt.clone();
    count(&mut decision.run, ended.as_ref(), policy);
    if may_return && is_restartable(&decision.run, reason, policy) {
        bring_back(decision, reason, &message, (policy, now));
        return;
    }
    let message = if may_return && asks_back {
        let most = policy.max_restarts;
        format!("{message}: it has saved, and may be brought back {most} times at most")
    } else {
        message
    };
    decision.run.state = State::Final { end: End { ending, reason, message, at } };
}

/// Lets the run come back after an attempt that ended so, unless it gets nowhere.
fn bring_back(
    decision: &mut Decision,
    reason: Option<Reason>,
    message: &str,
    (policy, now): (&Policy, Timestamp),
) {
    let run = &mut decision.run;
    if let Some((reason, why)) = reason.and_then(|reason| veto(run, reason, policy)) {
        let at = run.attempt.as_ref().and_then(|attempt| attempt.ended_at).unwrap_or(now);
        run.state = State::Final { end: failed(reason, &format!("{message}; {why}"), at) };
        return;
    }
    run.restarts += 1;
    let (restart, most) = (run.restarts, policy.max_restarts);
    run.state = State::Backoff { until: after(now, policy.backoff) };
    let note = format!("{message}; this is restart {restart} of at most {most}");
    decision.notes.push(Note { kind: "restart".into(), message: note });
}

/// The script knows better than its exit code why it gave up. Where Slurm ended the job, that is why.
fn corrected(run: &Run, ending: Ending, reason: Option<Reason>) -> (Ending, Option<Reason>) {
    let told = run.attempt.as_ref().and_then(|attempt| attempt.script_end.as_ref());
    let by_script = matches!(reason, None | Some(Reason::ExitCode | Reason::Signal));
    let told = told.and_then(|end| end.reason).and_then(gave_up).filter(|_| by_script);
    told.map_or((ending, reason), |told| (Ending::Failed, Some(told)))
}

/// Why a script gave up, or ended its training.
fn gave_up(reason: ScriptReason) -> Option<Reason> {
    match reason {
        ScriptReason::LaunchFailed => Some(Reason::LaunchFailed),
        ScriptReason::DataChanged => Some(Reason::DataChanged),
        ScriptReason::NoCheckpoint => Some(Reason::NoCheckpoint),
        ScriptReason::Hung => Some(Reason::Hung),
        ScriptReason::StoppedByPolicy => Some(Reason::StoppedByPolicy),
        ScriptReason::Superseded | ScriptReason::Unknown => None,
    }
}

/// Whether the training has saved and wants to be brought back. It may have said so just when its time was over, and then
/// only its script tells.
fn asks_back(run: &Run, reason: Option<Reason>, policy: &Policy) -> bool {
    let Some(attempt) = run.attempt.as_ref() else { return false };
    let told = attempt.script_end.as_ref().and_then(|end| end.exit_code);
    let its_time_was_over =
        matches!(reason, Some(Reason::TimeLimit | Reason::Preempted | Reason::Hung));
    let code = if its_time_was_over { told } else { attempt.exit_code };
    let code = code.filter(|_| its_time_was_over || reason == Some(Reason::ExitCode));
    code.is_some_and(|code| policy.restart_exit_codes.contains(&code))
}

fn is_restartable(run: &Run, reason: Option<Reason>, policy: &Policy) -> bool {
    let by_reason = reason.is_some_and(|reason| policy.restart_on.contains(&reason));
    run.restarts < policy.max_restarts && (by_reason || asks_back(run, reason, policy))
}

/// How a run ends that was stopped for this reason. One that fell behind others of its sweep did nothing wrong.
pub(super) fn ending_of(reason: Reason) -> Ending {
    let cancelled =
        matches!(reason, Reason::CancelledByUser | Reason::CancelledByAdmin | Reason::StoppedEarly);
    if cancelled { Ending::Cancelled } else { Ending::Failed }
}

/// The end of a run that was stopped and has no job any more.
pub(super) fn stopped(run: &Run, stop: &Stop, now: Timestamp) -> Decision {
    let mut decision = Decision::stay(run);
    let ending = ending_of(stop.reason);
    if let Some(attempt) = decision.run.attempt.as_mut() {
        attempt.reason = Some(stop.reason);
        attempt.state = if ending == Ending::Cancelled {
            AttemptState::Cancelled
        } else {
            AttemptState::Failed
        };
        let told = attempt.script_end.as_ref();
        attempt.exit_code = attempt.exit_code.or_else(|| told?.exit_code);
        let told_at = told.and_then(|end| Timestamp::from_second(end.at).ok());
        attempt.ended_at = attempt.ended_at.or(attempt.started_at.and(told_at));
        attempt.end_unseen(now);
    }
    let end = End { ending, reason: Some(stop.reason), message: stop.message.clone(), at: now };
    decision.run.state = State::Final { end };
    decision
}

/// The evidence for the end of a training that was warned of its time limit.
fn after_warning(evidence: &str, attempt: Option<&Attempt>) -> String {
    let limit = attempt.and_then(|attempt| attempt.granted.time_limit_seconds).map(Seconds);
    let limit = limit.map_or(String::new(), |limit| format!(" of {limit}"));
    format!("{evidence} after it was warned that its time limit{limit} was near")
}

/// One sentence that says why, from what is known about the attempt.
fn evidence(reason: Option<Reason>, attempt: Option<&Attempt>) -> String {
    let Some(reason) = reason else { return String::new() };
    let told =
        attempt.and_then(|attempt| attempt.script_end.as_ref()).map(|end| end.message.as_str());
    let code = attempt.and_then(|attempt| attempt.exit_code);
    let signal = attempt.and_then(|attempt| attempt.signal);
    let limit = attempt.and_then(|attempt| attempt.granted.time_limit_seconds);
    let nodes = attempt.map(|attempt| attempt.nodes.join(", ")).unwrap_or_default();
    match reason {
        Reason::ExitCode => match code {
            Some(code) => format!("the training ended with exit code {code}"),
            None => "the training failed".to_owned(),
        },
        Reason::Signal => {
            format!("the training was killed by signal {}", signal.unwrap_or_default())
        }
        Reason::OutOfMemory => format!("the job used more memory than it was given on {nodes}"),
        Reason::TimeLimit => match limit {
            Some(limit) => format!("the job reached its time limit of {}", Seconds(limit)),
            None => "the job reached its time limit".to_owned(),
        },
        Reason::NodeFailure => format!("a node of the job failed: {nodes}"),
        Reason::BootFailure => format!("a node of the job did not boot: {nodes}"),
        Reason::Deadline => "the job could not start before its deadline".to_owned(),
        Reason::Preempted => "the job was preempted".to_owned(),
        Reason::LaunchFailed => match told {
            Some(message) if !message.is_empty() => message.to_owned(),
            _ => "the training could not be started".to_owned(),
        },
        Reason::DataChanged => match told {
            Some(message) if !message.is_empty() => message.to_owned(),
            _ => "the data is not what it was when the run was submitted".to_owned(),
        },
        Reason::NoCheckpoint => match told {
            Some(message) if !message.is_empty() => message.to_owned(),
            _ => "there is no complete checkpoint to go on from".to_owned(),
        },
        Reason::StoppedByPolicy => match told {
            Some(message) if !message.is_empty() => message.to_owned(),
            _ => "the run was restarted too often".to_owned(),
        },
        Reason::Hung => match told {
            Some(message) if !message.is_empty() => message.to_owned(),
            _ => "the training wrote nothing for too long".to_owned(),
        },
        Reason::Lost => {
            "the job vanished: the scheduler has no record of it, nor did its script leave one"
                .to_owned()
        }
        Reason::CancelledByAdmin => "the job was cancelled outside Trainyard".to_owned(),
        Reason::Superseded => "another job owns the claim of this submission".to_owned(),
        Reason::Requeued
        | Reason::Rejected
        | Reason::PreparationFailed
        | Reason::NoProgress
        | Reason::StoppedEarly
        | Reason::BudgetExhausted
        | Reason::EvaluationFailed
        | Reason::CancelledByUser => reason.as_str().replace('_', " "),
    }
}
