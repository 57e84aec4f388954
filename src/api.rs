//! What travels between the command line and the daemon: requests, answers and errors of `/api/v1`.

mod budget;
mod estimate;
mod sweep;

pub use budget::{BySlurmView, ReleasedView};
pub use estimate::{EstimateView, LikelyStart};
pub use sweep::{
    AskAnswer, AwaitedAnswer, CompareRequest, EndedPointView, OpenSweepView, SweepShown,
    TellAnswer, TellPoint, TellRequest, ToldPointView,
};

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::inputs::{CodeDigest, Inputs, Stored};
use crate::domain::keys::choice;
use crate::domain::ledger::{Kind, OnExhausted, Resource};
use crate::domain::nodelist::NodeName;
use crate::domain::problem::{Problem, Sources};
use crate::domain::resolved::Resolved;
use crate::domain::schedule::ScheduleView;
use crate::domain::sweep::SweepView;
use crate::domain::view::{CHARGE_UNIT, RunView};
use crate::domain::waits::Waits;
use crate::store::{HistoryEvent, LedgerEntry};

/// A request body may hold a spec, its `--set` flags, a sweep's file of points (16 MiB, quoted) and little else.
pub const BODY_BYTES_MAX: usize = 40 << 20;
/// Runs of one list.
pub const LIST_MAX: u32 = 1_000;
/// Metric values of one answer; clients go on behind the last one.
pub const METRICS_PAGE: u32 = 10_000;
/// The longest that one request waits for a change; clients ask again.
pub const WAIT_SECONDS_MAX: u64 = 25;
/// The header that says which site file the client goes by.
pub const SITE_HEADER: &str = "trainyard-site";

choice! {
    /// What kind of error it is: one HTTP status and one exit code each.
    pub enum ErrorCode {
        /// The request cannot be understood.
        BadRequest = "bad_request",
        /// The spec has problems.
        InvalidSpec = "invalid_spec",
        /// There is no such run.
        NotFound = "not_found",
        /// A name that several runs have.
        Ambiguous = "ambiguous",
        /// It contradicts what is recorded.
        Conflict = "conflict",
        /// The project's budget has no room for it.
        OverBudget = "over_budget",
        /// Only Slurm could say what is meant, and it gives no answer.
        SlurmUnreachable = "slurm_unreachable",
        /// This version has not built it.
        NotSupported = "not_supported",
        /// The disk is full.
        StorageFull = "storage_full",
        /// The user's files cannot be reached.
        FilesUnavailable = "files_unavailable",
        /// A fault of Trainyard.
        Internal = "internal",
    }
    later {}
}

impl ErrorCode {
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::Ambiguous => 400,
            Self::OverBudget => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::InvalidSpec => 422,
            Self::NotSupported => 501,
            Self::StorageFull => 507,
            Self::FilesUnavailable | Self::SlurmUnreachable => 503,
            Self::Internal => 500,
        }
    }
}

/// A hardware class as it is now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClassStanding {
    pub name: String,
    /// None where Slurm does not say.
    pub nodes: Option<NodeCounts>,
    /// What starts of it have waited; none where there were none.
    pub waits: Option<Waits>,
}

/// The nodes that a class may be given.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct NodeCounts {
    /// They run jobs, or can.
    pub up: u32,
    /// Those of them that no job has any of.
    pub idle: u32,
    /// They are down, drained or silent.
    pub down: u32,
}

/// What a run that is over is to go on from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ResumeRequest {
    /// The step of a complete checkpoint; none for the newest.
    #[serde(default)]
    pub from: Option<i64>,
}

/// The body of an error, as RFC 9457 has it, with our code and hints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProblemBody {
    pub title: String,
    pub status: u16,
    pub code: ErrorCode,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// With `invalid_spec`: each problem, and the texts they point into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Sources>,
}

/// What became of a submission.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmitAnswer {
    /// Of a sweep the first point; none of an open sweep, which has none before it is told one.
    pub run: Option<RunView>,
    /// Where the run is a point: its sweep, and the numbers of all points.
    #[serde(default)]
    pub sweep: Option<SweepAnswer>,
    pub outcome: SubmitOutcome,
    /// What its owner is told about it.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A sweep with its points' numbers, as `submit --json` prints it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepAnswer {
    pub sweep: SweepView,
    pub runs: Vec<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmitOutcome {
    New,
    /// The key was given to this run before.
    OfKey,
    /// It was active, and `--if-active skip` was asked.
    Skipped,
}

/// What became of a schedule that was added.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScheduleAnswer {
    pub schedule: ScheduleView,
    /// The one of the same name that was there before.
    pub replaced: Option<ScheduleView>,
}

/// A run, and how many changes had been recorded when it was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunAnswer {
    pub run: RunView,
    pub change: u64,
}

/// How the budget of a project stands in the period that it is now. Amounts are in charge units, or in hours of what Slurm
/// counts where it keeps the budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetView {
    pub project: String,
    /// `2026-11`, `2026-Q4`, `2026` or `none`; `CLUSTER/ACCOUNT/TRES` where Slurm keeps the budget.
    pub period: String,
    /// None where there is no limit, or it is not known.
    pub budget: Option<f64>,
    /// What starts that are over did cost; where Slurm keeps the budget what it has counted for anybody, and what it has not
    /// counted yet of ours.
    pub captured: f64,
    /// What is set aside for starts that are not over.
    pub held: f64,
    /// Less than nothing where starts ran longer than was set aside for them.
    pub available: Option<f64>,
    /// `unit`, or `node-hour`, `core-hour`, `GPU-hour` or `billing-hour`.
    pub unit: String,
    /// How much more is spent and held than the budget has.
    pub overrun: f64,
    pub on_exhausted: OnExhausted,
    /// Why nothing of it is started: its entries do not come to its balance, or Slurm does not tell what is left.
    pub wrong: Option<String>,
    /// Where the figures come from, where Slurm keeps the budget.
    pub slurm: Option<BySlurmView>,
}

/// A line of the ledger. Amounts are in charge units, or in hours of what Slurm counts where it keeps the budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryView {
    pub id: i64,
    pub at: Timestamp,
    pub project: String,
    pub period: String,
    pub kind: Kind,
    pub amount: f64,
    pub unit: String,
    pub run: Option<i64>,
    pub submission: Option<i64>,
    pub restart: Option<u32>,
    pub who: String,
    pub why: String,
}

impl From<LedgerEntry> for EntryView {
    fn from(recorded: LedgerEntry) -> Self {
        let LedgerEntry { id, at, entry } = recorded;
        Self {
            id,
            at,
            kind: entry.kind,
            amount: entry.amount().units(),
            unit: entry.account.counted().map_or(CHARGE_UNIT, Resource::unit).to_owned(),
            run: entry.of.map(|(run, _)| run.0),
            submission: entry.of.map(|(_, start)| start.submission.0),
            restart: entry.of.map(|(_, start)| start.restart),
            project: entry.account.project,
            period: entry.account.period,
            who: entry.who,
            why: entry.why,
        }
    }
}

/// Nodes that failed and are to be forgotten; all of them where none is named.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClearRequest {
    pub nodes: Option<Vec<NodeName>>,
}

/// Data that is to be fingerprinted now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotRequest {
    pub name: String,
    /// Absolute.
    pub path: PathBuf,
    pub version: Option<String>,
    /// Whether contents are read, too.
    pub content: bool,
}

/// The daemon, about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DaemonStatus {
    pub pid: u32,
    pub socket: String,
    pub state_dir: String,
    pub version: String,
    pub host: String,
    /// The site that it goes by; a daemon of an older version does not say.
    #[serde(default)]
    pub site: Option<SiteStatus>,
}

/// The site that a daemon goes by.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SiteStatus {
    /// The files, or who was asked.
    pub sources: Vec<String>,
    pub read_at: Timestamp,
    /// Why the files as they are now are not in force, and since when.
    pub trouble: Option<String>,
    pub trouble_since: Option<Timestamp>,
}

/// What the format of [`RunRecord`] is called; another one gets another name.
pub const RECORD_FORMAT: &str = "trainyard-run-1";

/// The whole record of a run, as one document: enough to submit it again wherever its code is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunRecord {
    /// `trainyard-run-1`; a format that cannot be read as this one has another name.
    #[schemars(regex(pattern = "^trainyard-run-1$"))]
    pub format: String,
    /// Of the program that wrote it.
    pub version: String,
    pub exported_at: Timestamp,
    /// As `show --json` gives it: states, attempts, charges, metrics.
    pub run: RunView,
    /// What was asked, with what the command line changed as comments.
    pub spec: String,
    /// What it was given: the request that `rerun` hands in again, and the captured code.
    pub inputs: Inputs,
    /// What the spec meant at that site. Its keys are the program's own, and grow.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub resolved: Resolved,
    /// The batch script; null where the run directory is gone.
    pub script: Option<String>,
    /// Its history, oldest first.
    pub events: Vec<HistoryEvent>,
}

/// What deleting a run means, and whether it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    pub run: i64,
    pub run_dir: PathBuf,
    pub files: u64,
    pub bytes: u64,
    /// Its captured code, and how many other runs use it: it stays in the store until nobody does.
    pub code: Option<CodeDigest>,
    pub code_used_by: u64,
    pub deleted: bool,
}

/// What a request to delete asks for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct DeleteRequest {
    /// Only tell what it means.
    pub dry_run: bool,
}

/// What the store of one run root keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReport {
    pub run_root: PathBuf,
    /// What runs use, what somebody is at work on, and what was used a short time ago.
    pub kept: u64,
    pub kept_bytes: u64,
    pub unused: Vec<Unused>,
    /// Whether they were removed.
    pub removed: bool,
    /// Why the run root could not be looked at.
    pub silence: Option<String>,
}

/// Something that no run uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unused {
    pub kind: Stored,
    /// A digest, but of leftovers.
    pub name: String,
    pub bytes: u64,
    pub used_at: Timestamp,
}

choice! {
    /// Where a log line came from.
    pub enum LogSource {
        /// What the builder of its environment said.
        Build = "build",
        /// What the scheduler kept: prologue, modules, our own messages.
        Scheduler = "scheduler",
        /// What the training printed.
        Training = "training",
    }
    later {}
}
