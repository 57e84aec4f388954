//! A run as the machine sees it, and what a decision consists of.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::checkpoint::{Branch, Mark, Saved};
use crate::domain::hardware::Hardware;
use crate::domain::ids::{JobKey, RunId, SubmissionId, Token};
use crate::domain::inbox::ScriptEvent;
use crate::domain::nodelist::NodeName;
use crate::domain::run::claim::Claim;
pub use crate::domain::run::reason::Reason;
use crate::domain::run::seen::{Digest, Granted};

/// A run, as far as decisions need it. Stored whole with the run; the columns people ask for are made from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub state: State,
    /// The sbatch call that is, or was last, under way.
    pub submission: Option<Submission>,
    /// The attempt that is, or was last, under way; opened by the acknowledgement or by a grown restart count.
    pub attempt: Option<Attempt>,
    /// How many attempts there have been.
    pub attempts: u32,
    /// Restarts that count against the policy: the scheduler's and ours, not losses before any start.
    pub restarts: u32,
    /// Submissions of the attempt to come that vanished before they started, or before anybody could be sure of them; none
    /// that a daemon left behind when it ended.
    pub vanished: u32,
    /// Submissions in a row that were refused for now.
    #[serde(default)]
    pub refusals: u32,
    /// The last submission was refused with the nodes that it was to keep away from: the next one keeps away from none.
    #[serde(default)]
    pub avoidance_refused: bool,
    /// Who did not answer, and since when, while the run depends on an answer.
    pub stale: Option<Stale>,
    /// What it had saved when it was last looked at: at the end of each attempt, and now and then while it runs; none without
    /// `[checkpoint]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<Saved>,
    /// What the attempt under way could have gone on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Mark>,
    /// Attempts in a row that left nothing newer than they began from.
    #[serde(default)]
    pub fruitless: u32,
    /// What a person chose to go on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Branch>,
}

/// Where a run stands. The state owns its data: what does not belong to it cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Its environment is being built.
    Preparing,
    /// Waits by Trainyard's own rules; `why` is empty until they have looked at it.
    Pending {
        why: Option<String>,
        /// A refusal that passes: not to be submitted again before.
        #[serde(default)]
        not_before: Option<Timestamp>,
    },
    /// The intent is on disk.
    Submitting {
        #[serde(default)]
        call: Call,
    },
    /// The scheduler has it; `held` says why it is held there.
    Queued {
        why: Option<String>,
    },
    Running,
    /// The script wrote its end; the scheduler has not confirmed it.
    Finishing,
    /// Evaluation of what was trained.
    Evaluating,
    /// A wish or a stop of our own is being carried out.
    Stopping {
        stop: Stop,
        escalate_at: Timestamp,
    },
    /// Waits for the next attempt.
    Backoff {
        until: Timestamp,
    },
    /// Over; only `resume` leaves it.
    Final {
        end: End,
    },
}

/// How far the call of sbatch has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    #[default]
    UnderWay,
    /// Its answer was lost: the job may exist.
    InDoubt(Doubt),
    /// The scheduler could not be reached: it is called again under the same token, so that a job which came of the first
    /// call after all would be found.
    Unreachable(Unreachable),
}

/// A scheduler that could not be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreachable {
    /// What sbatch said.
    pub why: String,
    /// When it is called again; `None` once it was.
    pub again_at: Option<Timestamp>,
}

/// A submission whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    pub since: Timestamp,
    /// Good answers that did not know the job.
    pub rounds: u32,
    pub last_round_at: Option<Timestamp>,
    /// The last call was refused; it is an earlier one, which did not reach the scheduler, that may have come through.
    #[serde(default)]
    pub was_refused: bool,
}

/// Why a run is being stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub reason: Reason,
    pub message: String,
    pub since: Timestamp,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub ending: Ending,
    /// None for a run that completed.
    pub reason: Option<Reason>,
    /// The evidence, in one sentence.
    pub message: String,
    pub at: Timestamp,
}

/// The final states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Completed,
    Failed,
    Cancelled,
}

/// Silence that a run is exposed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale {
    pub since: Timestamp,
    pub who: String,
}

/// One sbatch call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    pub id: SubmissionId,
    pub token: Token,
    pub cluster: String,
    pub intent_at: Timestamp,
    /// The attempt number of restart 0.
    pub attempt_base: u32,
    pub job: Option<JobKey>,
    /// Accepted so lately that slurmctld may not have saved it: one that dies forgets the job, which may run on.
    pub provisional: bool,
    /// The claim is to be taken with `revoked`, so that no job of this submission can ever train.
    pub revoking: bool,
    #[serde(default)]
    pub claim: Claim,
    /// The daemon ended before sbatch had answered: nothing may have been called at all.
    #[serde(default)]
    pub orphaned: bool,
    /// Nodes that failed, and that the scheduler was told not to give it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoided: Vec<NodeName>,
    /// The start that it was told so for.
    #[serde(default)]
    pub avoided_for: u32,
}

/// One start of a run: one job key and one restart count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub n: u32,
    pub submission: SubmissionId,
    pub restart: u32,
    pub job: JobKey,
    pub state: AttemptState,
    /// The scheduler's own word, verbatim.
    pub slurm_state: Option<String>,
    pub reason: Option<Reason>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub nodes: Vec<String>,
    pub granted: Granted,
    /// How long it ran, as accounting says, which leaves out the time in which it was suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_seconds: Option<u64>,
    /// None where the scheduler could not say what its nodes are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Hardware>,
    /// What sbatch said while accepting.
    pub notices: String,
    pub submitted_at: Timestamp,
    pub eligible_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Since when good answers have not known the job.
    pub absent_since: Option<Timestamp>,
    /// What the script said at its end.
    pub script_end: Option<ScriptEvent>,
    /// The script's own word decided, because the scheduler has no record.
    pub self_reported: bool,
    /// When its script was told that the end is near.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warned_at: Option<Timestamp>,
    /// Those of its nodes that are to blame for its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_nodes: Vec<NodeName>,
    /// What its script found of data that is not what it was when the run was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_drift: Option<String>,
    /// Where its training began, once its script has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Began>,
    /// When the newest complete checkpoint was written that was there when it was last looked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_at: Option<Timestamp>,
    /// What the scheduler showed when it was last taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Digest>,
}

/// Where the training of an attempt began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// The checkpoint that it went on from; none on a fresh start.
    pub from: Option<String>,
    /// Its step, where its name tells one.
    pub step: Option<i64>,
}

impl Began {
    /// As the script told when it launched the training.
    pub(super) fn of(launched: &ScriptEvent) -> Self {
        let from = Some(&launched.message).filter(|message| !message.is_empty());
        Self { from: from.cloned(), step: launched.resumed_from_step }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    Queued,
    Running,
    Finishing,
    Completed,
    Failed,
    Cancelled,
    Requeued,
}

impl State {
    /// The word people see.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Pending { .. } => "pending",
            Self::Submitting { .. } => "submitting",
            Self::Queued { .. } => "queued",
            Self::Running => "running",
            Self::Finishing => "finishing",
            Self::Evaluating => "evaluating",
            Self::Stopping { .. } => "stopping",
            Self::Backoff { .. } => "backoff",
            Self::Final { end } => end.ending.as_str(),
        }
    }

    pub fn is_final(&self) -> bool {
        matches!(self, Self::Final { .. })
    }

    /// Whether a scheduler may know the run: its submission is, or may be, with it.
    pub fn depends_on_scheduler(&self) -> bool {
        match self {
            Self::Submitting { .. }
            | Self::Queued { .. }
            | Self::Running
            | Self::Finishing
            | Self::Evaluating
            | Self::Stopping { .. } => true,
            Self::Preparing | Self::Pending { .. } | Self::Backoff { .. } | Self::Final { .. } => {
                false
            }
        }
    }

    /// Why it is so, as it is recorded and shown; the message is empty when there is nothing to say.
    pub fn reason_and_message(&self) -> (Option<Reason>, &str) {
        match self {
            Self::Final { end } => (end.reason, &end.message),
            Self::Stopping { stop, .. } => (Some(stop.reason), &stop.message),
            Self::Pending { why, .. } | Self::Queued { why } => {
                (None, why.as_deref().unwrap_or_default())
            }
            Self::Submitting { call: Call::InDoubt(Doubt { was_refused: true, .. }) } => {
                (None, "refused when it was tried again; the scheduler is asked for earlier calls")
            }
            Self::Submitting { call: Call::InDoubt(_) } => {
                (None, "the answer to the submission was lost; the scheduler is asked for it")
            }
            Self::Submitting { call: Call::Unreachable(unreachable) } => (None, &unreachable.why),
            Self::Preparing => (None, "its environment is built of its requirements"),
            Self::Submitting { call: Call::UnderWay }
            | Self::Running
            | Self::Finishing
            | Self::Evaluating
            | Self::Backoff { .. } => (None, ""),
        }
    }

    /// All words, in the order a run meets them.
    pub const WORDS: &[&str] = &[
        "preparing",
        "pending",
        "submitting",
        "queued",
        "running",
        "finishing",
        "evaluating",
        "stopping",
        "backoff",
        "completed",
        "failed",
        "cancelled",
    ];
}

impl Ending {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl AttemptState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Finishing => "finishing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Requeued => "requeued",
        }
    }
}

impl Run {
    /// A run that was just accepted, and whose environment has to be built first.
    pub fn to_prepare(id: RunId) -> Self {
        Self { state: State::Preparing, ..Self::accepted(id) }
    }

    /// A run that was just accepted.
    pub fn accepted(id: RunId) -> Self {
        Self {
            id,
            state: State::Pending { why: None, not_before: None },
            submission: None,
            attempt: None,
            attempts: 0,
            restarts: 0,
            vanished: 0,
            refusals: 0,
            avoidance_refused: false,
            stale: None,
            saved: None,
            before: None,
            fruitless: 0,
            branch: None,
        }
    }
}
