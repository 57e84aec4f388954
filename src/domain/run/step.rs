//! The state × event table, row by row. docs/ARCHITECTURE.md shows it as a table; the tests walk it.

use jiff::Timestamp;

use crate::domain::checkpoint::Saved;
use crate::domain::run::call::{acknowledged, called_again, refused, unreachable};
use crate::domain::run::claim::Claim;
use crate::domain::run::decision::Decision;
use crate::domain::run::doubt::{
    absent, absent_past_grace, answer_lost, claimed, orphaned, revoked,
};
use crate::domain::run::nodes::{keeps_away, tell_avoided};
use crate::domain::run::policy::Policy;
use crate::domain::run::restart::restart_grew;
use crate::domain::run::seen::Event;
use crate::domain::run::sighted::{found, script, twin};
use crate::domain::run::state::{Call, End, Ending, Reason, Run, Stale, State, Submission};
use crate::domain::run::wishes::{cancel, own_stop, resume, timer_due};

/// What one event does to a run.
#[must_use]
pub fn step(run: &Run, event: &Event, policy: &Policy, now: Timestamp) -> Decision {
    let decision = match event {
        Event::Silence { who } => silence(run, who, now),
        Event::Prepared | Event::PreparationFailed { .. } => prepared(run, event, now),
        Event::Admitted { .. } | Event::Waits { .. } => admission(run, event, now),
        Event::Acknowledged { job, notices } => acknowledged(run, job, notices, now),
        Event::Refused { message, for_now } => refused(run, message, *for_now, (policy, now)),
        Event::Unreachable { message } => unreachable(run, message, policy, now),
        Event::CalledAgain => called_again(run),
        Event::Orphaned => orphaned(run),
        Event::AnswerLost { message } => answer_lost(run, message, now),
        Event::Absent => absent(run, policy, now),
        Event::AbsentPastGrace { marker } => absent_past_grace(run, marker.as_ref(), policy, now),
        Event::Revoked => revoked(run, now),
        Event::ClaimedBy(job) => claimed(run, job, (policy, now)),
        Event::Found(sighting) => found(run, sighting, policy, now),
        Event::RestartGrew { now: sighting, earlier, told } => {
            restart_grew(run, sighting, (earlier, told), (policy, now))
        }
        Event::KeepsAway(avoided) => keeps_away(run, avoided),
        Event::Twin(sighting) => twin(run, sighting),
        Event::Script(event) => script(run, event, (policy, now)),
        Event::Cancel { by } => cancel(run, by, policy, now),
        Event::Saved(saved) => has_saved(run, saved),
        Event::Resume { by, from } => resume(run, by, from.as_ref()),
        Event::OwnStop { reason, message } => own_stop(run, *reason, message, policy, now),
        Event::TimerDue => timer_due(run, policy, now),
    };
    with_transition(run, decision)
}

/// Writes a change of state into the history.
fn with_transition(before: &Run, decision: Decision) -> Decision {
    let mut decision = decision;
    if !decision.run.awaits_job() {
        decision.run.stale = None;
    }
    let (from, to) = (before.state.as_str(), decision.run.state.as_str());
    if from == to {
        return decision;
    }
    let why = match &decision.run.state {
        State::Final { end } if !end.message.is_empty() => format!(": {}", end.message),
        State::Stopping { stop, .. } => format!(": {}", stop.message),
        State::Pending { why: Some(why), .. } => format!(": {why}"),
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
    if run.awaits_job() {
        // The first words stand: a silence that is told in other words each time is still the same one.
        decision.run.stale.get_or_insert_with(|| Stale { since: now, who: who.to_owned() });
    }
    decision
}

/// What an end is judged by, which is told after it; and what is seen of a run that saves.
fn has_saved(run: &Run, saved: &Saved) -> Decision {
    let mut decision = Decision::stay(run);
    if run.state.is_final() {
        return decision;
    }
    decision.run.saved = Some(saved.clone());
    if let Some(attempt) =
        decision.run.attempt.as_mut().filter(|attempt| attempt.ended_at.is_none())
    {
        attempt.saved_at = saved.newest.as_ref().and_then(|newest| newest.modified);
    }
    match saved.news(run.saved.as_ref()) {
        Some(news) => decision.note("checkpoint", news),
        None => decision,
    }
}

fn prepared(run: &Run, event: &Event, now: Timestamp) -> Decision {
    match (&run.state, event) {
        (State::Preparing, Event::PreparationFailed { message }) => {
            let end = failed(Reason::PreparationFailed, message, now);
            become_state(run, State::Final { end })
        }
        (State::Preparing, _) => become_state(run, State::Pending { why: None, not_before: None }),
        (State::Stopping { .. } | State::Final { .. }, _) => Decision::stay(run),
        _ => impossible(run, "an environment was built"),
    }
}

fn admission(run: &Run, event: &Event, now: Timestamp) -> Decision {
    match (&run.state, event) {
        (State::Pending { .. }, Event::Admitted { submission, token, cluster, avoided }) => {
            let mut decision = become_state(run, State::Submitting { call: Call::UnderWay });
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
                claim: Claim::default(),
                orphaned: false,
                avoided: avoided.nodes.clone(),
                avoided_for: 0,
            });
            tell_avoided(decision, avoided)
        }
        (State::Pending { not_before, .. }, Event::Waits { why }) => {
            let (why, not_before) = (Some(why.clone()), *not_before);
            become_state(run, State::Pending { why, not_before })
        }
        (_, Event::Waits { .. }) => impossible(run, "it was told to wait"),
        _ => impossible(run, "it was admitted"),
    }
}

pub(super) fn failed(reason: Reason, message: &str, at: Timestamp) -> End {
    End { ending: Ending::Failed, reason: Some(reason), message: message.to_owned(), at }
}
