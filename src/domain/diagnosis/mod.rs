//! Why a run waits, or why it failed: in a sentence, with what proves it and what to do about it.
//!
//! A function of values: the record of a run and the ends of its logs. [`waiting`] knows Slurm's reasons, [`rules`] the words
//! that tell a cause in a log; [`traceback`] reads exceptions, [`cause`] says which of several findings is the first.
//! Logs are written by anybody: [`log`] is where their bytes become lines that are safe to show.

mod advice;
mod cause;
mod ended;
mod log;
mod rules;
#[cfg(test)]
mod tests;
mod torchrun;
mod traceback;
mod waiting;

use serde::{Deserialize, Serialize};

use crate::domain::keys::choice;
use crate::domain::view::{AttemptView, RunView};

pub use log::{Labels, Line, Log, Tail};

/// Pieces of evidence that are shown.
const EVIDENCE_MAX: usize = 12;
/// Characters of a sentence that come from a log.
const QUOTED_MAX: usize = 300;

choice! {
    /// What it comes to.
    pub enum Kind {
        /// It has not ended and does not wait.
        UnderWay = "under_way",
        Completed = "completed",
        /// It waits by Trainyard's own rules.
        OwnRules = "own_rules",
        /// Nobody has answered for the scheduler.
        SchedulerSilent = "scheduler_silent",
        /// It starts when its turn comes or nodes are free.
        InTurn = "in_turn",
        /// A limit counts what else is running.
        Limit = "limit",
        /// Slurm waits for something else: a time, a job, a license, a reservation.
        NotYet = "not_yet",
        /// Nodes that it needs are down or reserved.
        NodesUnavailable = "nodes_unavailable",
        /// A person has to release it.
        Held = "held",
        /// What it asks for is never given.
        NeverStarts = "never_starts",
        /// A reason that this version does not know.
        UnknownReason = "unknown_reason",

        GpuOutOfMemory = "gpu_out_of_memory",
        HostOutOfMemory = "host_out_of_memory",
        SharedMemory = "shared_memory",
        DiskFull = "disk_full",
        CollectiveTimeout = "collective_timeout",
        CollectiveError = "collective_error",
        GpuError = "gpu_error",
        GpuMissing = "gpu_missing",
        AddressInUse = "address_in_use",
        Rendezvous = "rendezvous",
        CheckpointMismatch = "checkpoint_mismatch",
        CheckpointDamaged = "checkpoint_damaged",
        ImportError = "import_error",
        MissingFile = "missing_file",
        Permission = "permission",
        CommandNotFound = "command_not_found",
        BadArguments = "bad_arguments",
        SyntaxError = "syntax_error",
        PythonException = "python_exception",
        /// The program itself broke: a bad access, an abort.
        Crash = "crash",
        /// Killed by a signal that it did not cause.
        Killed = "killed",
        ExitCode = "exit_code",
        TimeLimit = "time_limit",
        Preempted = "preempted",
        NodeFailure = "node_failure",
        Cancelled = "cancelled",
        LaunchFailed = "launch_failed",
        Rejected = "rejected",
        PreparationFailed = "preparation_failed",
        DataChanged = "data_changed",
        Lost = "lost",
        /// It wrote nothing any more, and was ended for that.
        Hung = "hung",
        /// Stopped by Trainyard, as its spec or its site says.
        Stopped = "stopped",
    }
    later {}
}

choice! {
    /// Where a piece of evidence is from.
    pub enum Source {
        /// What Trainyard has recorded.
        Record = "record",
        Build = "build",
        Scheduler = "scheduler",
        Training = "training",
    }
    later {}
}

choice! {
    /// Whether a run that waits will start.
    pub enum Outlook {
        ByItself = "by_itself",
        /// Only when somebody does something.
        WhenReleased = "when_released",
        Never = "never",
        Unknown = "unknown",
    }
    later {}
}

/// What is known, and what of the logs was read.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    pub run: &'a RunView,
    /// Those of its last attempt, each from its end.
    pub logs: &'a [Log],
    /// Why there are none, where they could not be read.
    pub silence: Option<&'a str>,
    /// Its owner's other runs that the same cluster is running.
    pub others_running: usize,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub run: i64,
    pub name: String,
    pub state: String,
    pub kind: Kind,
    pub sentence: String,
    /// Of a run that waits.
    pub will_start: Option<Outlook>,
    /// The attempt that it is about.
    pub attempt: Option<u32>,
    /// The first rank that failed, where the logs tell.
    pub rank: Option<u32>,
    pub node: Option<String>,
    pub exception: Option<Exception>,
    pub evidence: Vec<Evidence>,
    pub what_to_do: String,
}

/// A Python exception that ended a rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
    /// Where the training's own code was: the last frame that is no library's.
    pub file: Option<String>,
    pub line: Option<u64>,
    pub function: Option<String>,
}

/// A line that proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub source: Source,
    /// In the log, from 1; none where the log is too long to count them.
    pub line: Option<u64>,
    pub text: String,
}

impl Evidence {
    fn recorded(text: impl Into<String>) -> Self {
        Self { source: Source::Record, line: None, text: text.into() }
    }
}

/// What a rule finds, before the record is added.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    kind: Kind,
    sentence: String,
    what_to_do: String,
    evidence: Vec<Evidence>,
    will_start: Option<Outlook>,
    rank: Option<u32>,
    node: Option<String>,
    exception: Option<Exception>,
}

impl Finding {
    fn new(kind: Kind, sentence: impl Into<String>) -> Self {
        Self {
            kind,
            sentence: sentence.into(),
            what_to_do: advice::for_kind(kind).to_owned(),
            evidence: Vec::new(),
            will_start: None,
            rank: None,
            node: None,
            exception: None,
        }
    }
}

/// Says why a run stands where it stands.
pub fn explain(case: Case<'_>) -> Explanation {
    let run = case.run;
    let finding = match run.state.as_str() {
        "completed" => Finding::new(Kind::Completed, "it completed"),
        "failed" | "cancelled" => ended::explain(&case),
        "queued" | "pending" | "preparing" | "submitting" | "backoff" => waiting::explain(&case),
        _ => under_way(run),
    };
    let attempt = run.attempts.iter().flatten().last();
    let mut evidence = finding.evidence;
    evidence.extend(attempt.map(|attempt| Evidence::recorded(attempt_line(attempt))));
    evidence.extend(case.silence.map(|why| Evidence::recorded(format!("no log was read: {why}"))));
    evidence.truncate(EVIDENCE_MAX);
    Explanation {
        run: run.id,
        name: run.name.clone(),
        state: run.state.clone(),
        kind: finding.kind,
        sentence: finding.sentence,
        will_start: finding.will_start,
        attempt: attempt.map(|attempt| attempt.attempt),
        rank: finding.rank,
        node: finding.node,
        exception: finding.exception,
        evidence,
        what_to_do: finding.what_to_do,
    }
}

fn under_way(run: &RunView) -> Finding {
    match &run.stale_who {
        Some(who) => Finding::new(
            Kind::SchedulerSilent,
            format!("it was {} when it was last seen; since then: {who}", run.state),
        ),
        None if run.message.is_empty() => {
            Finding::new(Kind::UnderWay, format!("it is {}", run.state))
        }
        None => Finding::new(Kind::UnderWay, format!("it is {}: {}", run.state, run.message)),
    }
}

/// What the record says of an attempt, in a line.
fn attempt_line(attempt: &AttemptView) -> String {
    let mut line =
        format!("attempt {}, job {}: {}", attempt.attempt, attempt.job_id, attempt.state);
    if let Some(word) = attempt.slurm_state.as_ref().filter(|word| !word.is_empty()) {
        line.push_str(&format!(", {word}"));
    }
    if let Some(code) = attempt.exit_code {
        line.push_str(&format!(", exit code {code}"));
    }
    if let Some(signal) = attempt.signal.filter(|signal| *signal != 0) {
        line.push_str(&format!(", signal {signal}"));
    }
    if !attempt.nodes.is_empty() {
        line.push_str(&format!(", on {}", attempt.nodes.join(", ")));
    }
    if !attempt.failed_nodes.is_empty() {
        line.push_str(&format!("; to blame: {}", attempt.failed_nodes.join(", ")));
    }
    line
}
