//! When nobody knows: a submission whose answer was lost, and a job that good answers do not show any more.

use jiff::Timestamp;

use crate::domain::ids::JobKey;
use crate::domain::inbox::ScriptEvent;
use crate::domain::run::attempt::{mark_started, open_attempt};
use crate::domain::run::claim::Claim;
use crate::domain::run::decide::after;
use crate::domain::run::decision::{Decision, Note};
use crate::domain::run::finish::{conclude, stopped};
use crate::domain::run::policy::{Policy, VANISHED_MAX};
use crate::domain::run::restart::requeued;
use crate::domain::run::state::{
    AttemptState, Call, Doubt, Ending, Reason, Run, State, Unreachable,
};
use crate::domain::run::step::{become_state, failed, impossible};

pub(super) fn orphaned(run: &Run) -> Decision {
    let mut decision = Decision::stay(run);
    if let Some(submission) = decision.run.submission.as_mut() {
        submission.orphaned |= submission.job.is_none() && run.awaits_job();
    }
    decision
}

pub(super) fn answer_lost(run: &Run, message: &str, now: Timestamp) -> Decision {
    let State::Submitting {
        call: Call::UnderWay | Call::Unreachable(Unreachable { again_at: None, .. }),
    } = run.state
    else {
        // A stop has its claim revoked already; how that went settles it.
        return Decision::stay(run);
    };
    let doubt = Doubt { since: now, rounds: 0, last_round_at: None, was_refused: false };
    become_state(run, State::Submitting { call: Call::InDoubt(doubt) })
        .note("doubt", format!("the answer to the submission was lost: {message}"))
}

/// A call that did not reach the scheduler was made again, and refused: a no to the last call says nothing of those
/// before.
pub(super) fn refused_again(run: &Run, message: &str, now: Timestamp) -> Decision {
    let doubt = Doubt { since: now, rounds: 0, last_round_at: None, was_refused: true };
    let why = "whether an earlier call came through after all is asked for";
    become_state(run, State::Submitting { call: Call::InDoubt(doubt) }).note(
        "doubt",
        format!("the submission was refused when it was tried again; {why}: {message}"),
    )
}

/// A good answer does not know the job: it counts rounds of doubt, and the time since an attempt was last known.
pub(super) fn absent(run: &Run, policy: &Policy, now: Timestamp) -> Decision {
    /// Good answers that must not know a job before its claim is revoked.
    const ROUNDS: u32 = 2;
    let mut decision = Decision::stay(run);
    decision.run.stale = None;
    if let (Some(attempt), true) = (decision.run.attempt.as_mut(), run.awaits_job())
        && attempt.absent_since.is_none_or(|since| now < since)
    {
        attempt.absent_since = Some(now);
        let note = format!("the scheduler does not know job {} any more", attempt.job);
        decision.notes.push(Note { kind: "doubt".into(), message: note });
    }
    if let State::Submitting { call: Call::InDoubt(doubt) } = &mut decision.run.state {
        // A round of the future is one of a clock that was set back since.
        let waited = doubt
            .last_round_at
            .is_none_or(|last| now < last || after(last, policy.in_doubt_wait) <= now);
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

pub(super) fn absent_past_grace(
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
            match told {
                Some(end) => {
                    let why =
                        "the scheduler has no record: what the script said at its end decides";
                    decision = decision.note("self_reported", why);
                    conclude_by_script(&mut decision, end, policy, now);
                }
                None => conclude_lost(&mut decision, policy, now),
            }
            decision
        }
        State::Stopping { stop, .. } => stopped(run, stop, now),
        State::Evaluating | State::Final { .. } => Decision::stay(run),
        State::Preparing | State::Pending { .. } | State::Backoff { .. } => {
            impossible(run, "a job was missing")
        }
    }
}

/// The scheduler has no record of this start: the script's own word decides.
pub(super) fn conclude_by_script(
    decision: &mut Decision,
    end: ScriptEvent,
    policy: &Policy,
    now: Timestamp,
) {
    if end.restart > decision.run.known_restart() {
        open_later_start(decision, &end, now);
    }
    let Some(attempt) = decision.run.attempt.as_mut() else { return };
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

/// Neither the scheduler nor the script has a word about how it ended.
fn conclude_lost(decision: &mut Decision, policy: &Policy, now: Timestamp) {
    let is_provisional = decision.run.is_provisional();
    let Some(attempt) = decision.run.attempt.as_mut() else { return };
    if is_provisional {
        submit_again(decision, Reason::Lost, now);
    } else {
        attempt.end_unseen(now);
        conclude(decision, Ending::Failed, Some(Reason::Lost), policy, now);
    }
}

/// The scheduler started the job again and forgot all of it before it was asked: only the script tells of that start.
fn open_later_start(decision: &mut Decision, end: &ScriptEvent, now: Timestamp) {
    let ended_at = Timestamp::from_second(end.at).unwrap_or(now);
    if let Some(mut before) = open_attempt(&mut decision.run, &end.job, end.restart, ended_at) {
        requeued(&mut before, ended_at);
        decision.closed.push(before);
    }
}

/// Gives up a submission that slurmctld forgot before it had saved it. Its attempt, if there is one, is recorded as lost and
/// counts as no restart.
fn submit_again(decision: &mut Decision, reason: Reason, now: Timestamp) {
    let run = &mut decision.run;
    let was_refused = matches!(
        run.state,
        State::Submitting { call: Call::InDoubt(Doubt { was_refused: true, .. }) }
    );
    let was_orphaned = run.submission.take().is_some_and(|submission| submission.orphaned);
    // What was refused has not vanished, nor has what the daemon never came to.
    run.vanished += u32::from(!was_refused && !was_orphaned);
    if let Some(mut attempt) = run.attempt.take() {
        attempt.state = AttemptState::Failed;
        attempt.end_unseen(now);
        attempt.reason = Some(reason);
        decision.closed.push(attempt);
    }
    if run.vanished > VANISHED_MAX {
        let message = format!("{} submissions vanished, one after the other", run.vanished);
        run.state = State::Final { end: failed(Reason::LaunchFailed, &message, now) };
        return;
    }
    run.state = State::Pending { why: None, not_before: None };
    let note = "no job of that submission exists or can ever train: it is submitted again";
    decision.notes.push(Note { kind: "doubt".into(), message: note.into() });
}

pub(super) fn revoked(run: &Run, now: Timestamp) -> Decision {
    // A script may tell of its end while the claim is settled that it never had.
    let is_awaited = run.submission.as_ref().is_some_and(|submission| submission.revoking);
    match &run.state {
        State::Submitting { .. } | State::Queued { .. } => given_up(run, now),
        State::Finishing if is_awaited => given_up(run, now),
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

fn given_up(run: &Run, now: Timestamp) -> Decision {
    let mut decision = Decision::stay(run);
    let reason = if run.is_superseded() { Reason::Superseded } else { Reason::Lost };
    submit_again(&mut decision, reason, now);
    decision
}

pub(super) fn claimed(run: &Run, job: &JobKey, (policy, now): (&Policy, Timestamp)) -> Decision {
    let mut decision = Decision::stay(run);
    match &run.state {
        State::Submitting { .. } | State::Queued { .. } => {
            adopt_owner(&mut decision.run, job, now);
            decision.run.state = State::Running;
            decision.note("doubt", format!("job {job} owns the claim: it did start"))
        }
        State::Stopping { .. } => {
            adopt_owner(&mut decision.run, job, now);
            let is_news = run.submission.as_ref().is_some_and(|known| known.job.is_none());
            let grace = decision.run.grace(policy).is_some();
            if is_news { decision.cancel(job.clone(), grace) } else { decision }
        }
        State::Running | State::Finishing
            if run.submission.as_ref().is_some_and(|known| known.job.as_ref() != Some(job)) =>
        {
            adopt_owner(&mut decision.run, job, now);
            decision.run.state = State::Running;
            decision.note("doubt", format!("job {job} owns the claim: it is the run's"))
        }
        State::Running | State::Finishing | State::Evaluating | State::Final { .. } => decision,
        State::Preparing | State::Pending { .. } | State::Backoff { .. } => {
            impossible(run, "a claim was found")
        }
    }
}

/// The owner of a claim is the job of its submission, whatever was known before.
fn adopt_owner(run: &mut Run, job: &JobKey, now: Timestamp) {
    let known = run.open_attempt().map(|attempt| attempt.job.clone());
    // The scheduler has never shown it: it may have forgotten it for good.
    let is_unseen = known.as_ref() != Some(job);
    if let Some(submission) = run.submission.as_mut() {
        (submission.revoking, submission.claim) = (false, Claim::Owned);
        submission.provisional |= is_unseen;
        submission.job = Some(job.clone());
    }
    if known.is_none() {
        open_attempt(run, job, 0, now);
    } else if let Some(attempt) = run.attempt.as_mut() {
        if is_unseen {
            attempt.become_of(job);
        }
        attempt.script_end = attempt.script_end.take().filter(|end| end.job == *job);
    }
    mark_started(run, None);
}

/// A job that found its claim taken has trained nothing: who owns the claim decides what becomes of the run.
///
/// It was revoked while the job came back into sight, or another job of the same submission is training. So it is asked, too,
/// where there is or may be another job and nobody has said that the one which ended was the owner. A run that is being
/// stopped goes on being stopped.
pub(super) fn settle_claim(run: &mut Run) {
    if !matches!(run.state, State::Stopping { .. }) {
        run.state = State::Queued { why: Some("its claim is being settled".into()) };
    }
    if let Some(submission) = run.submission.as_mut() {
        submission.revoking = true;
    }
}
