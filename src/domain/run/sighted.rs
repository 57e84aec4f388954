//! What the scheduler shows of a job, and what its script tells.

use jiff::Timestamp;

use crate::domain::inbox::{ScriptEvent, ScriptEventKind};
use crate::domain::run::attempt::{mark_started, open_attempt, open_for, take_over};
use crate::domain::run::finish::close;
use crate::domain::run::seen::{Phase, Sighting};
use crate::domain::run::state::{Act, AttemptState, Decision, Policy, Reason, Run, State};
use crate::domain::run::step::impossible;
use crate::domain::run::wishes::stop;

pub(super) fn found(run: &Run, sighting: &Sighting, policy: &Policy, now: Timestamp) -> Decision {
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

pub(super) fn restart_grew(
    run: &Run,
    sighting: &Sighting,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
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

pub(super) fn script(run: &Run, event: &ScriptEvent) -> Decision {
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
