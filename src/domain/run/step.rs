//! The state × event table, row by row. docs/ARCHITECTURE.md shows it as a table; the tests walk it.

use jiff::Timestamp;

use crate::domain::ids::JobKey;
use crate::domain::inbox::{ScriptEvent, ScriptEventKind};
use crate::domain::run::attempt::{mark_started, open_attempt, open_for, take_over};
use crate::domain::run::decide::after;
use crate::domain::run::finish::{close, conclude, stopped};
use crate::domain::run::seen::{Event, Phase, Sighting};
use crate::domain::run::state::{
    Act, AttemptState, Decision, Doubt, End, Ending, Policy, Reason, Run, Stale, State, Submission,
    VANISHED_MAX,
};
use crate::domain::run::wishes::{cancel, own_stop, resume, stop, timer_due};

/// What one event does to a run.
#[must_use]
pub fn step(run: &Run, event: &Event, policy: &Policy, now: Timestamp) -> Decision {
    let decision = match event {
        Event::Silence { who } => silence(run, who, now),
        Event::Prepared | Event::PreparationFailed { .. } => prepared(run, event, now),
        Event::Admitted { .. } | Event::Waits { .. } => admission(run, event, now),
        Event::Acknowledged { job, notices } => acknowledged(run, job, notices, now),
        Event::Refused { message, for_now } => refused(run, message, *for_now, now),
        Event::AnswerLost { message } => answer_lost(run, message, now),
        Event::Absent => absent(run, policy, now),
        Event::AbsentPastGrace { marker } => absent_past_grace(run, marker.as_ref(), policy, now),
        Event::Revoked => revoked(run, now),
        Event::ClaimedBy(job) => claimed(run, job, now),
        Event::Found(sighting) => found(run, sighting, policy, now),
        Event::RestartGrew(sighting) => restart_grew(run, sighting, policy, now),
        Event::Script(event) => script(run, event),
        Event::Cancel { by } => cancel(run, by, policy, now),
        Event::Resume { by } => resume(run, by),
        Event::OwnStop { reason, message } => own_stop(run, *reason, message, policy, now),
        Event::TimerDue => timer_due(run, policy, now),
    };
    with_transition(run, decision)
}

/// Writes a change of state into the history.
fn with_transition(before: &Run, decision: Decision) -> Decision {
    let (from, to) = (before.state.as_str(), decision.run.state.as_str());
    if from == to {
        return decision;
    }
    let why = match &decision.run.state {
        State::Final { end } if !end.message.is_empty() => format!(": {}", end.message),
        State::Stopping { stop, .. } => format!(": {}", stop.message),
        State::Pending { why: Some(why) } => format!(": {why}"),
        State::Preparing
        | State::Pending { .. }
        | State::Submitting { .. }
        | State::Queued { .. }
        | State::Running
        | State::Finishing
        | State::Evaluating
        | State::Backoff { .. }
        | State::Final { .. } => String::new(),
    };
    decision.note("state", format!("{from} → {to}{why}"))
}

/// The "×" of the table: it cannot be; it is logged and changes nothing.
pub(super) fn impossible(run: &Run, what: &str) -> Decision {
    Decision::stay(run).note("impossible", format!("{what} while {}", run.state.as_str()))
}

pub(super) fn become_state(run: &Run, state: State) -> Decision {
    let mut decision = Decision::stay(run);
    decision.run.state = state;
    decision
}

fn silence(run: &Run, who: &str, now: Timestamp) -> Decision {
    let mut decision = Decision::stay(run);
    match run.state {
        State::Submitting { .. }
        | State::Queued { .. }
        | State::Running
        | State::Finishing
        | State::Stopping { .. } => {
            let since = run.stale.as_ref().map_or(now, |stale| stale.since);
            decision.run.stale = Some(Stale { since, who: who.to_owned() });
        }
        State::Preparing
        | State::Pending { .. }
        | State::Evaluating
        | State::Backoff { .. }
        | State::Final { .. } => {}
    }
    decision
}

fn prepared(run: &Run, event: &Event, now: Timestamp) -> Decision {
    match (&run.state, event) {
        (State::Preparing, Event::PreparationFailed { message }) => {
            let end = failed(Reason::PreparationFailed, message, now);
            become_state(run, State::Final { end })
        }
        (State::Preparing, _) => become_state(run, State::Pending { why: None }),
        (State::Stopping { .. } | State::Final { .. }, _) => Decision::stay(run),
        _ => impossible(run, "an environment was built"),
    }
}

fn admission(run: &Run, event: &Event, now: Timestamp) -> Decision {
    match (&run.state, event) {
        (State::Pending { .. }, Event::Admitted { submission, token, cluster }) => {
            let mut decision = become_state(run, State::Submitting { doubt: None });
            decision.closed.extend(decision.run.attempt.take());
            decision.run.submission = Some(Submission {
                id: *submission,
                token: token.clone(),
                cluster: cluster.clone(),
                intent_at: now,
                attempt_base: run.attempts + 1,
                job: None,
                provisional: false,
                revoking: false,
            });
            decision
        }
        (State::Pending { .. }, Event::Waits { why }) => {
            become_state(run, State::Pending { why: Some(why.clone()) })
        }
        _ => impossible(run, "it was admitted"),
    }
}

fn acknowledged(run: &Run, job: &JobKey, notices: &str, now: Timestamp) -> Decision {
    let mut decision = Decision::stay(run);
    if let Some(submission) = decision.run.submission.as_mut()
        && submission.job.is_none()
    {
        submission.job = Some(job.clone());
    }
    match &run.state {
        State::Submitting { .. } => {
            open_attempt(&mut decision.run, job, 0, now);
            if let Some(attempt) = decision.run.attempt.as_mut() {
                notices.clone_into(&mut attempt.notices);
            }
            if let Some(submission) = decision.run.submission.as_mut() {
                submission.provisional = true;
            }
            decision.run.state = State::Queued { why: None };
            decision
        }
        State::Queued { .. } | State::Running | State::Finishing | State::Evaluating => decision,
        State::Stopping { .. } => {
            // The attempt is opened so that its end is recorded and charged.
            if decision.run.attempt.as_ref().map(|attempt| attempt.submission)
                != run.submission.as_ref().map(|s| s.id)
            {
                open_attempt(&mut decision.run, job, 0, now);
            }
            decision.act(Act::Cancel { job: job.clone(), grace: false })
        }
        State::Final { .. } => {
            Decision::stay(run).act(Act::Cancel { job: job.clone(), grace: false })
        }
        State::Preparing | State::Pending { .. } | State::Backoff { .. } => {
            impossible(run, "sbatch acknowledged")
        }
    }
}

fn refused(run: &Run, message: &str, for_now: bool, now: Timestamp) -> Decision {
    match &run.state {
        State::Submitting { .. } if for_now => {
            become_state(run, State::Pending { why: Some(message.to_owned()) })
        }
        State::Submitting { .. } => {
            become_state(run, State::Final { end: failed(Reason::Rejected, message, now) })
        }
        State::Stopping { stop, .. } => stopped(run, stop, now),
        State::Final { .. } => Decision::stay(run),
        State::Preparing
        | State::Pending { .. }
        | State::Queued { .. }
        | State::Running
        | State::Finishing
        | State::Evaluating
        | State::Backoff { .. } => impossible(run, "the submission was refused"),
    }
}

fn answer_lost(run: &Run, message: &str, now: Timestamp) -> Decision {
    // A stop has its claim revoked already; how that went settles it.
    if !matches!(run.state, State::Submitting { doubt: None }) {
        return Decision::stay(run);
    }
    let doubt = Doubt { since: now, rounds: 0, last_round_at: None };
    become_state(run, State::Submitting { doubt: Some(doubt) })
        .note("doubt", format!("the answer to the submission was lost: {message}"))
}

/// A good answer does not know the job: it counts rounds of doubt, and the time since an attempt was last known.
fn absent(run: &Run, policy: &Policy, now: Timestamp) -> Decision {
    /// Good answers that must not know a job before its claim is revoked.
    const ROUNDS: u32 = 2;
    let mut decision = Decision::stay(run);
    decision.run.stale = None;
    if let (Some(attempt), false) = (decision.run.attempt.as_mut(), run.state.is_final()) {
        attempt.absent_since.get_or_insert(now);
    }
    if let State::Submitting { doubt: Some(doubt) } = &mut decision.run.state {
        let waited =
            doubt.last_round_at.is_none_or(|last| after(last, policy.in_doubt_wait) <= now);
        if waited {
            doubt.rounds += 1;
            doubt.last_round_at = Some(now);
        }
        if doubt.rounds >= ROUNDS
            && let Some(submission) = decision.run.submission.as_mut()
        {
            submission.revoking = true;
        }
    }
    decision
}

fn absent_past_grace(
    run: &Run,
    marker: Option<&ScriptEvent>,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    match &run.state {
        State::Submitting { .. } => absent(run, policy, now),
        State::Queued { .. } => {
            let mut decision = absent(run, policy, now);
            if let Some(submission) = decision.run.submission.as_mut() {
                submission.revoking = true;
            }
            decision
        }
        State::Running | State::Finishing => {
            let mut decision = absent(run, policy, now);
            let told = marker
                .cloned()
                .or_else(|| run.attempt.as_ref().and_then(|attempt| attempt.script_end.clone()));
            conclude_unseen(&mut decision, told, policy, now);
            decision
        }
        State::Stopping { stop, .. } => stopped(run, stop, now),
        State::Evaluating | State::Final { .. } => Decision::stay(run),
        State::Preparing | State::Pending { .. } | State::Backoff { .. } => {
            impossible(run, "a job was missing")
        }
    }
}

/// The scheduler has no record: the script's own word decides, else the run is lost.
fn conclude_unseen(
    decision: &mut Decision,
    told: Option<ScriptEvent>,
    policy: &Policy,
    now: Timestamp,
) {
    let Some(attempt) = decision.run.attempt.as_mut() else { return };
    match told {
        Some(end) => {
            attempt.self_reported = true;
            attempt.exit_code = end.exit_code;
            attempt.ended_at = Timestamp::from_second(end.at).ok();
            attempt.script_end = Some(end);
            let ending = match attempt.exit_code {
                Some(0) => Ending::Completed,
                _ => Ending::Failed,
            };
            let reason = (ending == Ending::Failed).then_some(Reason::ExitCode);
            conclude(decision, ending, reason, policy, now);
        }
        None => {
            conclude(decision, Ending::Failed, Some(Reason::Lost), policy, now);
        }
    }
}

fn revoked(run: &Run, now: Timestamp) -> Decision {
    match &run.state {
        State::Submitting { .. } | State::Queued { .. } => {
            let mut decision = Decision::stay(run);
            decision.run.submission = None;
            decision.run.vanished += 1;
            if let Some(mut attempt) = decision.run.attempt.take() {
                attempt.state = AttemptState::Failed;
                attempt.reason = Some(Reason::Lost);
                decision.closed.push(attempt);
            }
            if decision.run.vanished > VANISHED_MAX {
                let message =
                    format!("{} submissions vanished before they started", decision.run.vanished);
                decision.run.state =
                    State::Final { end: failed(Reason::LaunchFailed, &message, now) };
            } else {
                decision.run.state = State::Pending { why: None };
            }
            decision.note(
                "doubt",
                "no job of that submission exists or can ever train: it is submitted again",
            )
        }
        State::Stopping { stop, .. } => stopped(run, stop, now),
        State::Final { .. } => Decision::stay(run),
        State::Preparing
        | State::Pending { .. }
        | State::Running
        | State::Finishing
        | State::Evaluating
        | State::Backoff { .. } => impossible(run, "a claim was revoked"),
    }
}

fn claimed(run: &Run, job: &JobKey, now: Timestamp) -> Decision {
    let mut decision = Decision::stay(run);
    if let Some(submission) = decision.run.submission.as_mut() {
        submission.revoking = false;
        submission.job.get_or_insert_with(|| job.clone());
    }
    match &run.state {
        State::Submitting { .. } | State::Queued { .. } => {
            if !run.has_open_attempt() {
                open_attempt(&mut decision.run, job, 0, now);
            }
            mark_started(&mut decision.run, None);
            decision.note("doubt", format!("job {job} owns the claim: it did start"))
        }
        State::Stopping { .. } => decision.act(Act::Cancel { job: job.clone(), grace: false }),
        State::Running | State::Finishing | State::Evaluating | State::Final { .. } => {
            Decision::stay(run)
        }
        State::Preparing | State::Pending { .. } | State::Backoff { .. } => {
            impossible(run, "a claim was found")
        }
    }
}

fn found(run: &Run, sighting: &Sighting, policy: &Policy, now: Timestamp) -> Decision {
    if matches!(run.state, State::Backoff { .. } | State::Final { .. }) {
        let over = matches!(sighting.phase, Phase::Ended { .. } | Phase::Unknown);
        let act = Act::Cancel { job: sighting.job.clone(), grace: false };
        return if over { Decision::stay(run) } else { Decision::stay(run).act(act) };
    }
    if matches!(run.state, State::Preparing | State::Pending { .. }) {
        return impossible(run, "a job was found");
    }
    let mut decision = Decision::stay(run);
    if !run.has_open_attempt() {
        open_attempt(&mut decision.run, &sighting.job, sighting.restart, now);
    }
    decision.run.stale = None;
    if let Some(submission) = decision.run.submission.as_mut() {
        submission.provisional = false;
        submission.job.get_or_insert_with(|| sighting.job.clone());
    }
    if let Some(attempt) = decision.run.attempt.as_mut() {
        take_over(attempt, sighting);
    }
    match (&sighting.phase, &run.state) {
        (Phase::Waiting { why }, State::Submitting { .. } | State::Queued { .. }) => {
            decision.run.state = State::Queued { why: why.clone() };
        }
        (Phase::Running, State::Submitting { .. } | State::Queued { .. }) => {
            mark_started(&mut decision.run, sighting.started_at);
        }
        (Phase::Ended { end, exit_code, signal }, _) => {
            close(&mut decision, *end, (*exit_code, *signal), policy, now);
        }
        (Phase::Waiting { .. } | Phase::Running | Phase::Unknown, _) => {}
    }
    decision
}

fn restart_grew(run: &Run, sighting: &Sighting, policy: &Policy, now: Timestamp) -> Decision {
    let again = Act::Cancel { job: sighting.job.clone(), grace: false };
    match &run.state {
        State::Submitting { .. }
        | State::Queued { .. }
        | State::Running
        | State::Finishing
        | State::Evaluating => {
            let mut decision = Decision::stay(run);
            if let Some(mut old) = decision.run.attempt.take() {
                old.state = AttemptState::Requeued;
                old.reason.get_or_insert(Reason::Requeued);
                decision.closed.push(old);
            }
            decision.run.restarts += 1;
            open_attempt(&mut decision.run, &sighting.job, sighting.restart, now);
            decision.run.state = State::Queued { why: None };
            if decision.run.restarts > policy.max_restarts {
                let message = format!("restarted more than {} times", policy.max_restarts);
                return stop(&decision, Reason::StoppedByPolicy, &message, (policy, now))
                    .act(again);
            }
            let mut after = found(&decision.run, sighting, policy, now);
            after.closed.splice(0..0, decision.closed);
            after.note("restart", format!("the scheduler started job {} again", sighting.job))
        }
        State::Stopping { .. } | State::Backoff { .. } | State::Final { .. } => {
            Decision::stay(run).act(again)
        }
        State::Preparing | State::Pending { .. } => impossible(run, "a restart was seen"),
    }
}

fn script(run: &Run, event: &ScriptEvent) -> Decision {
    let ours = run.submission.as_ref().is_some_and(|submission| submission.token == event.token);
    if !ours {
        return Decision::stay(run)
            .note("script", format!("an event of an earlier submission: job {}", event.job));
    }
    match (&run.state, event.event) {
        (
            State::Submitting { .. } | State::Queued { .. },
            ScriptEventKind::Started | ScriptEventKind::Launched,
        ) => {
            let mut decision = Decision::stay(run);
            let at = Timestamp::from_second(event.at).ok();
            open_for(&mut decision.run, event);
            mark_started(&mut decision.run, at);
            decision
        }
        (
            State::Submitting { .. } | State::Queued { .. } | State::Running | State::Finishing,
            ScriptEventKind::Ended,
        ) => {
            let mut decision = Decision::stay(run);
            open_for(&mut decision.run, event);
            mark_started(&mut decision.run, None);
            if let Some(attempt) = decision.run.attempt.as_mut() {
                attempt.script_end = Some(event.clone());
                attempt.state = AttemptState::Finishing;
            }
            decision.run.state = State::Finishing;
            decision
        }
        (State::Stopping { .. }, ScriptEventKind::Ended) => {
            let mut decision = Decision::stay(run);
            if let Some(attempt) = decision.run.attempt.as_mut() {
                attempt.script_end = Some(event.clone());
            }
            decision
        }
        (_, ScriptEventKind::Warned) => Decision::stay(run).note("script", event.message.clone()),
        (
            State::Backoff { .. } | State::Final { .. },
            ScriptEventKind::Started | ScriptEventKind::Ended,
        ) => Decision::stay(run).note("script", "a late event of the script"),
        (State::Preparing | State::Pending { .. }, _) => impossible(run, "the script spoke"),
        (_, _) => Decision::stay(run),
    }
}

pub(super) fn failed(reason: Reason, message: &str, at: Timestamp) -> End {
    End { ending: Ending::Failed, reason: Some(reason), message: message.to_owned(), at }
}
