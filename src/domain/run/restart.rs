//! A job that the scheduler started again: the starts before are closed as it tells of them, and the new one goes on.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::domain::inbox::{ScriptEvent, ScriptEventKind};
use crate::domain::run::attempt::{moment, name_host, open_attempt, take_over};
use crate::domain::run::decision::Decision;
use crate::domain::run::finish::judged;
use crate::domain::run::policy::Policy;
use crate::domain::run::progress::{count, veto};
use crate::domain::run::seen::{Phase, Sighting};
use crate::domain::run::sighted::{found, out_of_place};
use crate::domain::run::state::{Attempt, AttemptState, Began, Reason, Run, State};
use crate::domain::run::wishes::stop;

pub(super) fn restart_grew(
    run: &Run,
    sighting: &Sighting,
    (earlier, told): (&[Sighting], &[ScriptEvent]),
    (policy, now): (&Policy, Timestamp),
) -> Decision {
    if let Some(decision) = out_of_place(run, sighting, "a restart was seen") {
        return decision;
    }
    let again = sighting.cancel(false);
    let is_stopping = matches!(run.state, State::Stopping { .. });
    let mut decision = Decision::stay(run);
    if let Some(submission) = decision.run.submission.as_mut() {
        // It may be the first that is heard of the job.
        submission.job = Some(sighting.job.clone());
    }
    // A requeue moves the submit time to the moment of the requeue.
    let requeued_at = sighting.submitted_at.unwrap_or(now);
    let all = earlier.iter().map(|start| start.restart).chain(told.iter().map(|it| it.restart));
    let before: BTreeSet<u32> = all.filter(|restart| *restart < sighting.restart).collect();
    for restart in before {
        let said = || told.iter().filter(move |event| event.restart == restart);
        match earlier.iter().find(|start| start.restart == restart) {
            Some(start) => {
                open_start(&mut decision, restart, start, now);
                if let Some(attempt) = decision.run.attempt.as_mut() {
                    take_over(attempt, start);
                    end_as_told(attempt, start);
                }
            }
            None => open_unseen(&mut decision, sighting, said().next()),
        }
        if let Some(attempt) = decision.run.attempt.as_mut() {
            said().for_each(|event| hear(attempt, event));
        }
    }
    open_start(&mut decision, sighting.restart, sighting, now);
    for attempt in &mut decision.closed {
        as_its_script_told(attempt, policy);
        requeued(attempt, requeued_at);
    }
    let last = decision.closed.last().cloned();
    count(&mut decision.run, last.as_ref(), policy);
    if is_stopping {
        let mut after = found(&decision.run, sighting, policy, now);
        after.closed.splice(0..0, decision.closed);
        let is_over = after.run.state.is_final();
        return if is_over || !after.acts.is_empty() { after } else { after.act(again) };
    }
    decision.run.state = State::Queued { why: None };
    if decision.run.restarts > policy.max_restarts {
        let message = format!("restarted more than {} times", policy.max_restarts);
        return stop(&decision, Reason::StoppedByPolicy, &message, (policy, now)).act(again);
    }
    if let Some((reason, message)) = veto(&decision.run, Reason::Requeued, policy) {
        return stop(&decision, reason, &message, (policy, now)).act(again);
    }
    let mut after = found(&decision.run, sighting, policy, now);
    after.closed.splice(0..0, decision.closed);
    after.note("restart", format!("the scheduler started job {} again", sighting.job))
}

/// Opens the attempt of a restart count, and closes the one before it.
fn open_start(decision: &mut Decision, restart: u32, sighting: &Sighting, now: Timestamp) {
    let is_open = decision.run.open_attempt().is_some_and(|attempt| attempt.restart >= restart);
    if !is_open {
        decision.closed.extend(open_attempt(&mut decision.run, &sighting.job, restart, now));
    }
}

/// Opens the attempt of a start of which only its script tells. The job is that of the start before, and of the one that is
/// shown: what it was granted is taken to be the same.
fn open_unseen(decision: &mut Decision, now: &Sighting, first: Option<&ScriptEvent>) {
    let Some(event) = first else { return };
    let before = decision.run.attempt.as_ref().map(|attempt| attempt.granted.clone());
    let closed = open_attempt(&mut decision.run, &now.job, event.restart, moment(event));
    decision.closed.extend(closed);
    if let Some(attempt) = decision.run.attempt.as_mut() {
        attempt.granted = now.granted.or(&before.unwrap_or_default());
        attempt.self_reported = true;
    }
}

/// What the script said in a start that nobody saw.
fn hear(attempt: &mut Attempt, event: &ScriptEvent) {
    name_host(attempt, event);
    match event.event {
        ScriptEventKind::Started => {
            attempt.started_at = attempt.started_at.or(Some(moment(event)));
        }
        ScriptEventKind::Launched => attempt.began = Some(Began::of(event)),
        ScriptEventKind::Warned => attempt.warned_at = Timestamp::from_second(event.at).ok(),
        ScriptEventKind::DataChanged => attempt.data_drift = Some(event.message.clone()),
        ScriptEventKind::Ended => {
            attempt.script_end = Some(event.clone());
            attempt.ended_at = attempt.ended_at.or(Some(moment(event)));
        }
        ScriptEventKind::Unheard | ScriptEventKind::DataUnchecked | ScriptEventKind::Unknown => {}
    }
}

/// Accounting says how a start ended, and why.
fn end_as_told(attempt: &mut Attempt, start: &Sighting) {
    if let Phase::Ended { end, exit_code, signal } = start.phase {
        attempt.exit_code = exit_code.or(attempt.exit_code);
        attempt.signal = signal;
        attempt.reason = judged(end, signal).1.or(attempt.reason);
    }
}

/// The scheduler tells only that a start was followed by another one, also where the script asked for that.
fn as_its_script_told(attempt: &mut Attempt, policy: &Policy) {
    if attempt.reason.is_some_and(|reason| reason != Reason::Requeued) {
        return;
    }
    let told = attempt.script_end.as_ref().and_then(|end| end.exit_code);
    let has_saved = told.is_some_and(|code| policy.restart_exit_codes.contains(&code));
    let why = if has_saved { Some(Reason::ExitCode) } else { attempt.warned_of(policy) };
    attempt.exit_code = if has_saved { told } else { attempt.exit_code };
    attempt.reason = why.or(attempt.reason);
}

/// A start that was followed by another one is over, whether or not anybody told when.
pub(super) fn requeued(attempt: &mut Attempt, requeued_at: Timestamp) {
    attempt.state = AttemptState::Requeued;
    attempt.reason.get_or_insert(Reason::Requeued);
    attempt.ended_at =
        attempt.ended_at.or(attempt.started_at.map(|started| requeued_at.max(started)));
}
