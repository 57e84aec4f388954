//! Opening, starting and updating the attempt under way.

use jiff::Timestamp;

use crate::domain::ids::{JobKey, SubmissionId};
use crate::domain::inbox::{ScriptEvent, ScriptEventKind, ScriptReason};
use crate::domain::run::claim::Claim;
use crate::domain::run::seen::{Digest, Granted, Phase, Sighting};
use crate::domain::run::state::{Attempt, AttemptState, Run, State};

impl Attempt {
    /// The place of its job in the array that it is of.
    pub fn index(&self) -> u32 {
        self.job.array_task.unwrap_or(0)
    }

    /// Ends an attempt that nobody saw end. When it was last known is the nearest true thing to its end.
    pub(super) fn end_unseen(&mut self, now: Timestamp) {
        let last_known = self.absent_since.unwrap_or(now);
        self.ended_at = self.ended_at.or(self.started_at.map(|started| last_known.max(started)));
    }
}

impl Run {
    /// Whether the submission under way has an attempt.
    pub(super) fn has_open_attempt(&self) -> bool {
        self.open_attempt().is_some()
    }

    /// The attempt of the submission under way.
    pub fn open_attempt(&self) -> Option<&Attempt> {
        let submission = self.submission.as_ref()?;
        self.attempt.as_ref().filter(|attempt| attempt.submission == submission.id)
    }

    /// The restart count that is known; a submission begins with 0.
    pub fn known_restart(&self) -> u32 {
        self.open_attempt().map_or(0, |attempt| attempt.restart)
    }

    /// Whether the scheduler showed the job when it was last asked: otherwise its id may be another's by now.
    pub(super) fn is_in_sight(&self) -> bool {
        self.open_attempt()
            .is_some_and(|attempt| attempt.slurm_state.is_some() && attempt.absent_since.is_none())
    }

    /// What the scheduler showed last, where the same again would be no news: it is recorded whole, and nothing is open
    /// that only another look would settle.
    pub fn shown(&self) -> Option<Digest> {
        let follows = match self.state {
            State::Queued { .. } | State::Running | State::Finishing => true,
            State::Preparing
            | State::Pending { .. }
            | State::Submitting { .. }
            | State::Evaluating
            | State::Stopping { .. }
            | State::Backoff { .. }
            | State::Final { .. } => false,
        };
        let is_settled =
            self.submission.as_ref().is_some_and(|known| !known.provisional && !known.revoking);
        let attempt = self.open_attempt().filter(|attempt| attempt.absent_since.is_none());
        attempt.filter(|_| follows && is_settled && self.stale.is_none())?.shown
    }

    /// Whether only sbatch and the script have spoken of the job.
    pub fn is_unseen(&self) -> bool {
        let waits_or_runs = matches!(self.state, State::Queued { .. } | State::Running);
        waits_or_runs && self.attempt.as_ref().is_some_and(|attempt| attempt.slurm_state.is_none())
    }

    /// Whether the scheduler may forget the job of the submission under way as if it had never been.
    pub fn is_provisional(&self) -> bool {
        self.submission.as_ref().is_some_and(|submission| submission.provisional)
    }

    /// Whether the scheduler's word about a job is waited for.
    pub(super) fn awaits_job(&self) -> bool {
        match self.state {
            State::Submitting { .. }
            | State::Queued { .. }
            | State::Running
            | State::Finishing
            | State::Stopping { .. } => true,
            State::Preparing
            | State::Pending { .. }
            | State::Evaluating
            | State::Backoff { .. }
            | State::Final { .. } => false,
        }
    }

    /// Whether the script of the attempt under way found its claim taken: nothing was trained by it.
    pub(super) fn is_superseded(&self) -> bool {
        let end = self.open_attempt().and_then(|attempt| attempt.script_end.as_ref());
        end.is_some_and(|end| end.reason == Some(ScriptReason::Superseded))
    }
}

impl Attempt {
    /// The attempt is another job's than it was taken for: what was recorded of that one is not its own.
    pub(super) fn become_of(&mut self, job: &JobKey) {
        let Self { n, submission, restart, submitted_at, .. } = *self;
        *self = Self::new(n, submission, restart, job.clone(), submitted_at);
    }

    pub(super) fn new(
        n: u32,
        submission: SubmissionId,
        restart: u32,
        job: JobKey,
        submitted_at: Timestamp,
    ) -> Self {
        Self {
            n,
            submission,
            restart,
            job,
            state: AttemptState::Queued,
            slurm_state: None,
            reason: None,
            exit_code: None,
            signal: None,
            nodes: Vec::new(),
            granted: Granted::default(),
            elapsed_seconds: None,
            hardware: None,
            notices: String::new(),
            submitted_at,
            eligible_at: None,
            started_at: None,
            ended_at: None,
            absent_since: None,
            script_end: None,
            self_reported: false,
            warned_at: None,
            failed_nodes: Vec::new(),
            data_drift: None,
            began: None,
            saved_at: None,
            shown: None,
        }
    }
}

/// Copies what the scheduler says about an attempt; what it does not say is kept.
pub(super) fn take_over(attempt: &mut Attempt, sighting: &Sighting) {
    attempt.absent_since = None;
    // An end that did not end the run waits for something else to be settled, and is news again then.
    let is_over = matches!(sighting.phase, Phase::Ended { .. });
    attempt.shown = sighting.digest.filter(|_| !is_over);
    // A record from before the start that is known is older news.
    let is_waiting = matches!(sighting.phase, Phase::Waiting { .. });
    if is_waiting && attempt.state != AttemptState::Queued {
        return;
    }
    attempt.job.clone_from(&sighting.job);
    attempt.slurm_state = Some(sighting.word.clone());
    if !sighting.nodes.is_empty() {
        attempt.nodes.clone_from(&sighting.nodes);
    }
    attempt.granted = sighting.granted.or(&attempt.granted);
    attempt.elapsed_seconds = sighting.elapsed_seconds.or(attempt.elapsed_seconds);
    attempt.submitted_at = sighting.submitted_at.unwrap_or(attempt.submitted_at);
    attempt.eligible_at = sighting.eligible_at.or(attempt.eligible_at);
    // Slurm shows an expected start of a waiting job, and an expected end of a running one.
    if !is_waiting {
        attempt.started_at = sighting.started_at.or(attempt.started_at);
    }
    if matches!(sighting.phase, Phase::Ended { .. }) {
        attempt.ended_at = sighting.ended_at.or(attempt.ended_at);
    }
}

/// Makes sure that the attempt an event belongs to is open.
pub(super) fn open_for(run: &mut Run, event: &ScriptEvent) {
    if !run.has_open_attempt() {
        open_attempt(run, &event.job, event.restart, moment(event));
    }
    if let Some(submission) = run.submission.as_mut() {
        submission.job.get_or_insert_with(|| event.job.clone());
        // Only the owner of the claim begins; an end may be told by one that never came to it.
        if event.event != ScriptEventKind::Ended {
            submission.claim = Claim::Owned;
        }
    }
    if let Some(attempt) = run.attempt.as_mut() {
        name_host(attempt, event);
    }
}

/// Of an attempt whose nodes nobody has told its script tells one.
pub(super) fn name_host(attempt: &mut Attempt, event: &ScriptEvent) {
    if attempt.nodes.is_empty() && !event.host.is_empty() {
        attempt.nodes.push(event.host.clone());
    }
}

/// When the script told of it.
pub(super) fn moment(event: &ScriptEvent) -> Timestamp {
    Timestamp::from_second(event.at).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The attempt under way is known to have started.
pub(super) fn mark_started(run: &mut Run, at: Option<Timestamp>) {
    if let Some(attempt) = run.attempt.as_mut() {
        attempt.state = AttemptState::Running;
        attempt.started_at = attempt.started_at.or(at);
    }
}

/// Opens the attempt of a restart count and gives back the one that was under way.
///
/// The script numbers itself by the same rule, `attempt_base + restart`, also when starts were never seen here.
pub(super) fn open_attempt(
    run: &mut Run,
    job: &JobKey,
    restart: u32,
    at: Timestamp,
) -> Option<Attempt> {
    let submission = run.submission.as_ref()?;
    let (id, intent_at) = (submission.id, submission.intent_at);
    let n = submission.attempt_base.saturating_add(restart);
    run.restarts += restart.saturating_sub(run.known_restart());
    run.attempts = run.attempts.max(n);
    let submitted_at = if restart == 0 { intent_at } else { at };
    run.attempt.replace(Attempt::new(n, id, restart, job.clone(), submitted_at))
}
