//! What the scheduler shows of a job, and what its script tells.

use jiff::Timestamp;

use crate::domain::inbox::{ScriptEvent, ScriptEventKind, ScriptReason};
use crate::domain::run::attempt::{mark_started, open_attempt, open_for, take_over};
use crate::domain::run::claim::Claim;
use crate::domain::run::decide::after;
use crate::domain::run::decision::Decision;
use crate::domain::run::doubt::{claimed, conclude_by_script, settle_claim};
use crate::domain::run::finish::close;
use crate::domain::run::policy::Policy;
use crate::domain::run::seen::{JobEnd, Phase, Sighting};
use crate::domain::run::state::{AttemptState, Began, Run, State};
use crate::domain::run::step::impossible;
use crate::domain::run::warned::{unheard, warned};

pub(super) fn found(run: &Run, sighting: &Sighting, policy: &Policy, now: Timestamp) -> Decision {
    if let Some(decision) = out_of_place(run, sighting, "a job was found") {
        return decision;
    }
    let mut decision = Decision::stay(run);
    let is_new = !run.has_open_attempt();
    if is_new {
        open_attempt(&mut decision.run, &sighting.job, sighting.restart, now);
    }
    decision.run.stale = None;
    let is_stopping = matches!(run.state, State::Stopping { .. });
    let is_over = matches!(sighting.phase, Phase::Ended { .. });
    let is_superseded = run.is_superseded();
    let was_in_sight = run.is_in_sight();
    let untold = end_before_start(run, sighting);
    if let Some(submission) = decision.run.submission.as_mut() {
        submission.provisional =
            (submission.provisional || is_new) && is_unsettled(sighting, policy, now);
        submission.job = Some(sighting.job.clone());
        // A job in sight is not to be shut out of its claim any more.
        submission.revoking &= is_stopping || is_over || is_superseded;
    }
    let known_start = run.attempt.as_ref().and_then(|attempt| attempt.started_at);
    if let Some(attempt) = decision.run.attempt.as_mut() {
        take_over(attempt, sighting);
    }
    if let Some(end) = untold {
        if let Some(attempt) = decision.run.attempt.as_mut() {
            attempt.started_at = known_start;
        }
        let why = "the scheduler has forgotten that the job started: what the script said at its end decides";
        decision = decision.note("self_reported", why);
        conclude_by_script(&mut decision, end, policy, now);
        return decision;
    }
    match (&sighting.phase, &run.state) {
        (Phase::Ended { end, exit_code, signal }, _) => {
            close(&mut decision, *end, (*exit_code, *signal), policy, now);
        }
        // A word that nobody knows may be of a record that is late: the id may be another's by now.
        (Phase::Waiting { .. } | Phase::Running, State::Stopping { .. }) if !was_in_sight => {
            let grace = sighting.phase == Phase::Running && run.grace(policy).is_some();
            decision = decision.act(sighting.cancel(grace));
        }
        (Phase::Waiting { .. } | Phase::Running, _) if is_superseded => {}
        (Phase::Waiting { why }, State::Submitting { .. } | State::Queued { .. }) => {
            decision.run.state = State::Queued { why: why.clone() };
        }
        (Phase::Running, State::Submitting { .. } | State::Queued { .. }) => {
            mark_started(&mut decision.run, sighting.started_at);
            decision.run.state = State::Running;
        }
        // There is a job: the call is over, whatever becomes of its answer.
        (Phase::Unknown, State::Submitting { .. }) => {
            decision.run.state = State::Queued { why: None };
        }
        (Phase::Waiting { .. } | Phase::Running | Phase::Unknown, _) => {}
    }
    if sighting.phase == Phase::Running && !decision.run.is_provisional() {
        // What vanished before it has been made up for.
        decision.run.vanished = 0;
    }
    decision
}

/// The script's end, of a start that the scheduler knows nothing of.
///
/// A slurmctld that died before it saved the start takes the job for one that waits. When the job's end is told to it, it
/// calls the job cancelled, at a moment that it gives for its start as well.
fn end_before_start(run: &Run, sighting: &Sighting) -> Option<ScriptEvent> {
    let is_cancelled = matches!(sighting.phase, Phase::Ended { end: JobEnd::Cancelled, .. });
    let never_ran = sighting.started_at.is_none_or(|start| Some(start) >= sighting.ended_at);
    let end =
        run.attempt.as_ref().filter(|attempt| attempt.job == sighting.job)?.script_end.as_ref()?;
    let ended_before =
        Timestamp::from_second(end.at).ok() < sighting.started_at.or(sighting.ended_at);
    (is_cancelled && never_ran && ended_before).then(|| end.clone())
}

/// Whether the scheduler may not have saved the job yet.
fn is_unsettled(sighting: &Sighting, policy: &Policy, now: Timestamp) -> bool {
    let settled = |submitted| after(submitted, policy.settled_after) <= now;
    let is_over = matches!(sighting.phase, Phase::Ended { .. });
    !is_over && sighting.submitted_at.is_some_and(|submitted| !settled(submitted))
}

/// Two jobs of one submission: a plug-in, a retry of sbatch's own, or an answer that came too late. One of them is the
/// run's, the others go.
pub(super) fn twin(run: &Run, sighting: &Sighting) -> Decision {
    let mut decision = Decision::stay(run);
    if let Some(submission) = decision.run.submission.as_mut().filter(|_| run.awaits_job()) {
        submission.claim.contest();
    }
    if matches!(sighting.phase, Phase::Ended { .. } | Phase::Unknown) {
        return decision;
    }
    // It runs, and may be about to take the claim, or have it: then it is the run's. Else it goes by itself.
    let has_owner = run.submission.as_ref().is_some_and(|known| known.claim == Claim::Owned);
    let is_stopping = matches!(run.state, State::Stopping { .. });
    if sighting.phase == Phase::Running && run.awaits_job() && !has_owner && !is_stopping {
        return decision;
    }
    let job = &sighting.job;
    let note = format!("job {job} belongs to the same submission as the run's: it is cancelled");
    decision.act(sighting.cancel(false)).note("doubt", note)
}

/// A job that the run does not wait for: it is cancelled whenever it is met, since it can only be in the way.
pub(super) fn out_of_place(run: &Run, sighting: &Sighting, what: &str) -> Option<Decision> {
    let is_alive = matches!(sighting.phase, Phase::Waiting { .. } | Phase::Running);
    let is_ours = run.submission.as_ref().is_some_and(|known| known.token == sighting.token);
    let decision = match (&run.state, &sighting.phase) {
        (State::Preparing | State::Pending { .. }, Phase::Unknown) => Decision::stay(run),
        (State::Preparing | State::Pending { .. }, _) => impossible(run, what),
        (State::Backoff { .. } | State::Final { .. }, _) => Decision::stay(run),
        _ if is_ours => return None,
        _ if is_alive => Decision::stay(run)
            .note("doubt", format!("job {} of an earlier submission is cancelled", sighting.job)),
        _ => Decision::stay(run),
    };
    Some(if is_alive { decision.act(sighting.cancel(false)) } else { decision })
}

pub(super) fn script(
    run: &Run,
    event: &ScriptEvent,
    (policy, now): (&Policy, Timestamp),
) -> Decision {
    use ScriptEventKind::{
        DataChanged, DataUnchecked, Ended, Launched, Started, Unheard, Unknown, Warned,
    };
    if is_of_another_job(run, event) && run.awaits_job() {
        return script_of_another(run, event, (policy, now));
    }
    let mut decision = Decision::stay(run);
    if not_of_this_start(run, event).is_some() {
        return of_nothing(run, event);
    }
    let at = Timestamp::from_second(event.at).ok();
    let gave_way = event.reason == Some(ScriptReason::Superseded);
    match (&run.state, event.event) {
        (_, Unknown) => decision,
        (_, DataUnchecked) => decision.note("script", event.message.clone()),
        (_, Warned) => {
            warned(&mut decision.run, event);
            let by = &event.message;
            decision.note("warned", format!("{by} told the script that the end is near"))
        }
        (state, Unheard) => unheard(run, matches!(state, State::Stopping { .. }), (policy, now)),
        (
            State::Preparing | State::Pending { .. } | State::Backoff { .. } | State::Final { .. },
            Started | DataChanged | Launched | Ended,
        ) => decision.note("script", "a late event of the script"),
        (State::Running | State::Finishing | State::Evaluating, Started) => decision,
        (State::Running | State::Finishing | State::Evaluating, Launched) => began(decision, event),
        (State::Running | State::Finishing | State::Evaluating, DataChanged) => {
            drifted(decision, event)
        }
        (
            State::Submitting { .. } | State::Queued { .. } | State::Stopping { .. },
            Started | DataChanged | Launched,
        ) => {
            open_for(&mut decision.run, event);
            mark_started(&mut decision.run, at);
            if !matches!(run.state, State::Stopping { .. }) {
                decision.run.state = State::Running;
            }
            match event.event {
                DataChanged => drifted(decision, event),
                Launched => began(decision, event),
                Started | DataUnchecked | Warned | Unheard | Ended | Unknown => decision,
            }
        }
        (State::Evaluating, Ended) => decision,
        (State::Stopping { .. }, Ended) => {
            open_for(&mut decision.run, event);
            remember_end(&mut decision.run, event);
            decision
        }
        (
            State::Submitting { .. } | State::Queued { .. } | State::Running | State::Finishing,
            Ended,
        ) => {
            open_for(&mut decision.run, event);
            remember_end(&mut decision.run, event);
            if gave_way {
                settle_claim(&mut decision.run);
                let who = &event.job;
                return decision.note("doubt", format!("job {who} found its claim taken"));
            }
            mark_started(&mut decision.run, None);
            if let Some(attempt) = decision.run.attempt.as_mut() {
                attempt.state = AttemptState::Finishing;
            }
            decision.run.state = State::Finishing;
            decision
        }
    }
}

/// The training goes ahead with other data than it was submitted with.
fn drifted(mut decision: Decision, event: &ScriptEvent) -> Decision {
    if let Some(attempt) = decision.run.attempt.as_mut() {
        attempt.data_drift = Some(event.message.clone());
    }
    decision.note("data_changed", event.message.clone())
}

/// The training was started, on a checkpoint or without one.
fn began(mut decision: Decision, event: &ScriptEvent) -> Decision {
    let began = Began::of(event);
    let from = began.from.clone();
    if let Some(attempt) = decision.run.attempt.as_mut() {
        attempt.began = Some(began);
    }
    match from {
        Some(from) => decision.note("resumed", format!("the training goes on from {from}")),
        None => decision,
    }
}

fn remember_end(run: &mut Run, event: &ScriptEvent) {
    if let Some(attempt) = run.attempt.as_mut() {
        attempt.script_end = Some(event.clone());
    }
}

/// What a second job of the submission tells.
fn script_of_another(
    run: &Run,
    event: &ScriptEvent,
    (policy, now): (&Policy, Timestamp),
) -> Decision {
    use ScriptEventKind::{
        DataChanged, DataUnchecked, Ended, Launched, Started, Unheard, Unknown, Warned,
    };
    match event.event {
        // Only the owner of the claim begins: the run's job is this one.
        Started | DataChanged | Launched => {
            let mut decision = claimed(run, &event.job, (policy, now));
            let Decision { run, acts, notes, .. } = script(&decision.run, event, (policy, now));
            decision.run = run;
            decision.acts.extend(acts);
            decision.notes.extend(notes);
            decision
        }
        // It may have been the owner, whose beginning nobody heard of.
        Ended if event.reason != Some(ScriptReason::Superseded) => {
            let mut decision = of_nothing(run, event);
            if let Some(submission) = decision.run.submission.as_mut() {
                submission.claim.contest();
            }
            decision
        }
        Ended | Warned | Unheard | DataUnchecked | Unknown => of_nothing(run, event),
    }
}

/// An event of another start is only written down.
fn of_nothing(run: &Run, event: &ScriptEvent) -> Decision {
    let why = not_of_this_start(run, event).unwrap_or_default();
    Decision::stay(run).note("script", why)
}

/// Whether it is of a second job of the submission under way.
fn is_of_another_job(run: &Run, event: &ScriptEvent) -> bool {
    let submission = run.submission.as_ref().filter(|submission| submission.token == event.token);
    let known = submission.and_then(|submission| submission.job.as_ref());
    known.is_some_and(|known| *known != event.job)
}

/// Why an event does not belong to the start under way, if it does not. A requeued job keeps its token.
fn not_of_this_start(run: &Run, event: &ScriptEvent) -> Option<String> {
    let ScriptEvent { token, job, restart, .. } = event;
    let submission = run.submission.as_ref().filter(|submission| submission.token == *token);
    let Some(submission) = submission else {
        return Some(format!("an event of an earlier submission: job {job}"));
    };
    if submission.job.as_ref().is_some_and(|known| known != job) {
        return Some(format!("an event of another job of this submission: job {job}"));
    }
    // The scheduler tells of restarts; the script only of the one that is known.
    let known = run.known_restart();
    (*restart != known)
        .then(|| format!("an event of restart {restart} of job {job}, while {known} is under way"))
}
