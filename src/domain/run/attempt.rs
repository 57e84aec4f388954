//! Opening, starting and updating the attempt under way.

use jiff::Timestamp;

use crate::domain::ids::JobKey;
use crate::domain::inbox::ScriptEvent;
use crate::domain::run::seen::{Granted, Sighting};
use crate::domain::run::state::{Attempt, AttemptState, Run, State};

impl Run {
    /// Whether the submission under way has an open attempt.
    pub(super) fn has_open_attempt(&self) -> bool {
        let of_attempt = self.attempt.as_ref().map(|attempt| attempt.submission);
        of_attempt.is_some()
            && of_attempt == self.submission.as_ref().map(|submission| submission.id)
    }
}

/// Copies what the scheduler says about an attempt; what it does not say is kept.
pub(super) fn take_over(attempt: &mut Attempt, sighting: &Sighting) {
    attempt.absent_since = None;
    attempt.slurm_state = Some(sighting.word.clone());
    if !sighting.nodes.is_empty() {
        attempt.nodes.clone_from(&sighting.nodes);
    }
    if sighting.granted != Granted::default() {
        attempt.granted = sighting.granted.clone();
    }
    attempt.submitted_at = sighting.submitted_at.unwrap_or(attempt.submitted_at);
    attempt.eligible_at = sighting.eligible_at.or(attempt.eligible_at);
    attempt.started_at = sighting.started_at.or(attempt.started_at);
    attempt.ended_at = sighting.ended_at.or(attempt.ended_at);
}

/// Makes sure that the attempt an event belongs to is open.
pub(super) fn open_for(run: &mut Run, event: &ScriptEvent) {
    if !run.has_open_attempt() {
        let at = Timestamp::from_second(event.at).unwrap_or(Timestamp::UNIX_EPOCH);
        open_attempt(run, &event.job, event.restart, at);
    }
    if let Some(submission) = run.submission.as_mut() {
        submission.provisional = false;
        submission.job.get_or_insert_with(|| event.job.clone());
    }
    if let Some(attempt) = run.attempt.as_mut()
        && attempt.nodes.is_empty()
        && !event.host.is_empty()
    {
        attempt.nodes.push(event.host.clone());
    }
}

pub(super) fn mark_started(run: &mut Run, at: Option<Timestamp>) {
    run.vanished = 0;
    run.state = State::Running;
    if let Some(attempt) = run.attempt.as_mut() {
        attempt.state = AttemptState::Running;
        attempt.started_at = attempt.started_at.or(at);
    }
}

pub(super) fn open_attempt(run: &mut Run, job: &JobKey, restart: u32, at: Timestamp) {
    let Some(submission) = run.submission.as_ref() else { return };
    let (id, intent_at) = (submission.id, submission.intent_at);
    run.attempts += 1;
    run.attempt = Some(Attempt {
        n: run.attempts,
        submission: id,
        restart,
        job: job.clone(),
        state: AttemptState::Queued,
        slurm_state: None,
        reason: None,
        exit_code: None,
        signal: None,
        nodes: Vec::new(),
        granted: Granted::default(),
        notices: String::new(),
        submitted_at: if restart == 0 { intent_at } else { at },
        eligible_at: None,
        started_at: None,
        ended_at: None,
        absent_since: None,
        script_end: None,
        self_reported: false,
    });
}
