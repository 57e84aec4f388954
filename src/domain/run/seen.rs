//! What can be seen of a run in one pass, and the events it comes to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::bad_nodes::{Avoided, Unwell};
use crate::domain::checkpoint::{Branch, Saved};
use crate::domain::hardware::Hardware;
use crate::domain::ids::{JobKey, SubmissionId, Token};
use crate::domain::inbox::ScriptEvent;
use crate::domain::keys::choice;
use crate::domain::run::decision::Act;
use crate::domain::run::state::Reason;
use crate::domain::site::LOCAL;

/// Everything that was seen of one run in one pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// What came of the build that the run waits for.
    pub preparation: Option<Preparation>,
    /// How the submission under way was answered.
    pub answer: Option<Answer>,
    /// The daemon that made the call has ended before it was answered.
    pub orphaned: bool,
    /// What the scheduler says about the job.
    pub look: Look,
    /// What it says about starts of that job before the one it shows now, oldest first.
    pub earlier: Vec<Sighting>,
    /// More jobs of the same submission: none of them is the run's.
    pub twins: Vec<Sighting>,
    /// New events of the script, oldest first.
    pub script: Vec<ScriptEvent>,
    /// The exit marker of the attempt under way, or of a later start of its job that nobody has seen.
    pub marker: Option<ScriptEvent>,
    /// How taking the claim with `revoked` went.
    pub revocation: Option<Revocation>,
    /// What the run has saved; looked at where an attempt has ended.
    pub saved: Option<Saved>,
    /// The nodes of the cluster that are not well; asked for where one may have ended an attempt.
    pub unwell_nodes: Unwell,
    /// What nodes are that attempts run on whose hardware is not known yet, by their names.
    pub hardware: BTreeMap<Vec<String>, Hardware>,
    pub wishes: Vec<Wish>,
}

/// What came of building a run's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preparation {
    Built,
    /// With what the builder said last.
    Failed {
        message: String,
    },
}

/// What a scheduler's answer says about one job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Look {
    /// It was not asked in this pass.
    #[default]
    NotAsked,
    /// It gave no answer that can be believed.
    Silence {
        who: String,
    },
    /// It answered well and does not know the job.
    Absent,
    Job(Box<Sighting>),
}

/// How a submission was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Acknowledged {
        job: JobKey,
        notices: String,
    },
    /// A clear no. `for_now`: a submit limit, which passes.
    Refused {
        message: String,
        for_now: bool,
    },
    /// The scheduler could not be reached, so nothing was submitted.
    Unreachable {
        message: String,
    },
    /// The answer was lost: the job may exist.
    Lost {
        message: String,
    },
}

impl Answer {
    /// What the answer to an array is to one of its elements. There are none on this machine.
    #[must_use]
    pub fn of_element(&self, index: u32) -> Self {
        match self {
            Self::Acknowledged { job, notices } if job.cluster != LOCAL => {
                let job = JobKey { array_task: Some(index), ..job.clone() };
                Self::Acknowledged { job, notices: notices.clone() }
            }
            Self::Acknowledged { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Lost { .. } => self.clone(),
        }
    }
}

/// How taking the claim with `revoked` went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// No job of the submission can ever train.
    Won,
    /// A job has claimed it: it did start.
    ClaimedBy(JobKey),
}

/// What a person asked for, as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    pub id: i64,
    pub kind: WishKind,
    pub by: String,
    pub at: Timestamp,
}

choice! {
    /// What people can ask for.
    pub enum WishKind {
        Cancel = "cancel",
        Resume = "resume",
    }
    later {}
}

/// A job, as a scheduler shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    pub job: JobKey,
    /// The token found in the job's name.
    pub token: Token,
    pub phase: Phase,
    /// The scheduler's own word.
    pub word: String,
    pub restart: u32,
    pub submitted_at: Option<Timestamp>,
    pub eligible_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub nodes: Vec<String>,
    pub granted: Granted,
    /// How long it ran, without the time in which it was suspended; once it is over, and only from accounting.
    pub elapsed_seconds: Option<u64>,
    /// Stands for all of it, where the scheduler can tell at once that it shows the same again.
    pub digest: Option<Digest>,
}

impl Sighting {
    /// To ask for the end of the job that is shown.
    pub(super) fn cancel(&self, grace: bool) -> Act {
        Act::Cancel { job: self.job.clone(), token: self.token.clone(), grace }
    }
}

/// Stands for what a scheduler shows of a job; equal for what is equal. Kept with the attempt, in words of hexadecimal
/// digits, since numbers as large as these do not survive every reader of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub u64);

impl TryFrom<String> for Digest {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u64::from_str_radix(&text, 16).map(Self)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        format!("{:016x}", digest.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Waiting {
        why: Option<String>,
    },
    /// Running, suspended or completing.
    Running,
    Ended {
        end: JobEnd,
        exit_code: Option<i32>,
        signal: Option<i32>,
    },
    /// A word that this version does not know: shown, never acted on.
    Unknown,
}

/// The scheduler's final words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    Completed,
    Failed,
    Cancelled,
    TimeLimit,
    OutOfMemory,
    NodeFailure,
    BootFailure,
    Deadline,
    Preempted,
    /// Of a start that was followed by another one.
    Requeued,
}

impl JobEnd {
    /// Whether it tells what became of the job's node, time or place, and nothing of what ran there: that may have been over.
    pub fn is_from_outside(self) -> bool {
        match self {
            Self::NodeFailure | Self::TimeLimit | Self::Preempted => true,
            Self::Completed
            | Self::Failed
            | Self::Cancelled
            | Self::OutOfMemory
            | Self::BootFailure
            | Self::Deadline
            | Self::Requeued => false,
        }
    }
}

/// What the scheduler gave, which may differ from what was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    pub partition: Option<String>,
    pub qos: Option<String>,
    pub account: Option<String>,
    pub time_limit_seconds: Option<u64>,
    /// Over all nodes.
    pub cpus: Option<u64>,
    /// MiB over all nodes.
    pub memory: Option<u64>,
    /// Over all nodes.
    pub gpus: Option<u64>,
    #[serde(default)]
    pub nodes: Option<u64>,
    /// Slurm's own measure of all of it.
    #[serde(default)]
    pub billing: Option<u64>,
}

impl Granted {
    /// What is said here, and where nothing is, what was known before.
    #[must_use]
    pub fn or(&self, known: &Self) -> Self {
        let text =
            |said: &Option<String>, known: &Option<String>| said.clone().or_else(|| known.clone());
        Self {
            partition: text(&self.partition, &known.partition),
            qos: text(&self.qos, &known.qos),
            account: text(&self.account, &known.account),
            time_limit_seconds: self.time_limit_seconds.or(known.time_limit_seconds),
            cpus: self.cpus.or(known.cpus),
            memory: self.memory.or(known.memory),
            gpus: self.gpus.or(known.gpus),
            nodes: self.nodes.or(known.nodes),
            billing: self.billing.or(known.billing),
        }
    }

    /// Whether these are all of its nodes, as far as that is known.
    pub fn has_all(&self, nodes: &[String]) -> bool {
        self.nodes.is_none_or(|all| u64::try_from(nodes.len()) == Ok(all))
    }
}

/// One row of the state × event table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Silence {
        who: String,
    },
    Prepared,
    PreparationFailed {
        message: String,
    },
    /// The run may start now; its intent is recorded with this decision.
    Admitted {
        submission: SubmissionId,
        token: Token,
        cluster: String,
        avoided: Avoided,
    },
    /// The run's own rules let it wait.
    Waits {
        why: String,
    },
    Acknowledged {
        job: JobKey,
        notices: String,
    },
    Refused {
        message: String,
        for_now: bool,
    },
    Unreachable {
        message: String,
    },
    /// sbatch is called again for the submission that did not reach the scheduler; recorded before it is.
    CalledAgain,
    /// The daemon has ended while sbatch was under way: what becomes of the call is no fault of the scheduler's.
    Orphaned,
    AnswerLost {
        message: String,
    },
    Absent,
    AbsentPastGrace {
        marker: Option<ScriptEvent>,
    },
    Revoked,
    ClaimedBy(JobKey),
    /// Found waiting, held, running, suspended, completing or ended, under the restart count that is known.
    Found(Box<Sighting>),
    /// The scheduler started the job again; `earlier` says how the starts before ended, as far as it tells, and `told` what
    /// the script said in those that nobody had seen.
    RestartGrew {
        now: Box<Sighting>,
        earlier: Vec<Sighting>,
        told: Vec<ScriptEvent>,
    },
    /// A job that the scheduler starts again keeps away from these nodes, as far as the scheduler takes it.
    KeepsAway(Avoided),
    /// Another job of the same submission: it can only be in the way.
    Twin(Box<Sighting>),
    Script(ScriptEvent),
    /// What the run has saved, as it is when an attempt has ended.
    Saved(Saved),
    Cancel {
        by: String,
    },
    Resume {
        by: String,
        /// What it is to go on from; none for the newest.
        from: Option<Branch>,
    },
    OwnStop {
        reason: Reason,
        message: String,
    },
    TimerDue,
}
