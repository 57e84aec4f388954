//! A run as it is shown: the JSON of `show --json`, from which every table and line is made too.
//!
//! Sums are taken over all attempts, requeued ones included; whatever depends on an attempt that is still running is
//! computed at the time of asking and marked as an estimate.

mod attempt;

pub use attempt::AttemptView;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::bad_nodes::BadNode;
use crate::domain::charge::{self, seconds};
use crate::domain::checkpoint::SavedView;
use crate::domain::dataset::DatasetView;
use crate::domain::environment::EnvironmentRecord;
use crate::domain::inputs::Inputs;
use crate::domain::metrics::Progress;
use crate::domain::resolved::Resolved;
use crate::domain::run::{Attempt, Run};
use crate::domain::sweep::{Given, PointId};
use crate::domain::view::attempt::attempt_view;

/// The unit of charges: the class's rate is units per node-hour.
pub const CHARGE_UNIT: &str = "unit";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunView {
    pub id: i64,
    pub name: String,
    pub token: Option<String>,
    pub owner: String,
    pub project: Option<String>,
    pub experiment: Option<String>,
    pub state: String,
    pub reason: Option<String>,
    pub message: String,
    pub created_at: Timestamp,
    pub submitted_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// When its files were deleted; the record stays.
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
    pub stale_since: Option<Timestamp>,
    pub stale_who: Option<String>,
    pub target: String,
    pub cluster: String,
    pub class: String,
    pub nodes: u32,
    pub gpus_per_node: u32,
    pub processes_per_node: u32,
    pub world_size: u32,
    pub launcher: String,
    pub strategy: Option<String>,
    pub queue_seconds: Option<f64>,
    pub waiting_seconds: f64,
    /// How long Slurm held it back before starting it again.
    #[serde(default)]
    pub requeue_hold_seconds: f64,
    pub elapsed_seconds: f64,
    pub node_hours: f64,
    pub gpu_hours: f64,
    pub charge: Option<f64>,
    pub charge_unit: String,
    pub charge_estimated: bool,
    /// While it runs.
    #[serde(default)]
    pub charge_rate_per_hour: Option<f64>,
    /// While it runs: what it will have cost in all at its time limit.
    #[serde(default)]
    pub charge_projected: Option<f64>,
    pub self_reported: bool,
    pub progress: ProgressView,
    pub metrics: BTreeMap<String, MetricView>,
    /// As they were when an attempt last ended; none before, and without `[checkpoint]`.
    pub checkpoints: Option<SavedView>,
    pub sweep: Option<i64>,
    pub point: Option<i64>,
    /// What sets the point apart, by the keys of the spec.
    pub parameters: Option<serde_json::Value>,
    pub run_dir: PathBuf,
    pub key: Option<String>,
    pub spec_digest: String,
    pub code: CodeView,
    #[serde(default)]
    pub datasets: Vec<DatasetView>,
    /// Nodes that failed, and that its next attempt keeps away from, as far as enough others are left.
    #[serde(default)]
    pub avoids: Vec<BadNode>,
    /// The run that this one repeats.
    #[serde(default)]
    pub rerun_of: Option<i64>,
    /// The point of a sweep whose values it has as a run of its own: `SWEEP:POINT`.
    #[serde(default)]
    pub rerun_of_point: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<AttemptView>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProgressView {
    pub step: Option<i64>,
    pub steps: Option<i64>,
    pub epoch: Option<f64>,
    pub epochs: Option<f64>,
    pub fraction: Option<f64>,
}

impl From<Progress> for ProgressView {
    fn from(progress: Progress) -> Self {
        Self {
            step: progress.step,
            steps: progress.steps,
            epoch: progress.epoch,
            epochs: progress.epochs,
            fraction: progress.fraction(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MetricView {
    #[serde(with = "crate::domain::number")]
    #[schemars(schema_with = "crate::domain::number::schema")]
    pub last: f64,
    pub step: i64,
    pub at: Timestamp,
}

/// Where the code was taken from, and what was captured of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CodeView {
    pub path: PathBuf,
    /// None for runs from before code was captured: theirs was used in place.
    pub digest: Option<String>,
    #[serde(default)]
    pub files: Option<u64>,
    #[serde(default)]
    pub bytes: Option<u64>,
    pub commit: Option<String>,
    #[serde(default)]
    pub branch: Option<String>,
    #[serde(default)]
    pub remote: Option<String>,
    /// Whether the work tree differed from the commit; none without git.
    pub dirty: Option<bool>,
}

impl CodeView {
    fn of(resolved: &Resolved, inputs: &Inputs) -> Self {
        let code = inputs.code.as_ref();
        let git = code.and_then(|code| code.git.clone());
        Self {
            path: resolved.code.path.clone(),
            digest: code.map(|code| code.digest.to_string()),
            files: code.map(|code| code.files),
            bytes: code.map(|code| code.bytes),
            dirty: git.as_ref().map(|git| git.changes.is_some()),
            commit: git.as_ref().and_then(|git| git.commit.clone()),
            branch: git.as_ref().and_then(|git| git.branch.clone()),
            remote: git.and_then(|git| git.remote),
        }
    }
}

/// What a view is made from.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    pub run: &'a Run,
    pub owner: &'a str,
    pub key: Option<&'a str>,
    pub created_at: Timestamp,
    pub submitted_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    pub run_dir: &'a std::path::Path,
    pub spec_digest: &'a str,
    pub resolved: &'a Resolved,
    pub inputs: &'a Inputs,
    /// Which point of which sweep it is, and what it is given as that.
    pub point: Option<(PointId, Option<&'a Given>)>,
    pub attempts: &'a [Attempt],
    pub progress: Progress,
    pub metrics: &'a BTreeMap<String, MetricView>,
    /// By attempt.
    pub environments: &'a BTreeMap<u32, EnvironmentRecord>,
}

impl RunView {
    /// The run as it stands at `now`; with its attempts for `show`, without for `list`.
    pub fn of(recorded: Recorded<'_>, now: Timestamp) -> Self {
        let Recorded { run, resolved, progress, .. } = recorded;
        let attempts: Vec<AttemptView> =
            recorded.attempts.iter().map(|a| attempt_view(a, &recorded, now)).collect();
        let sum =
            |value: fn(&AttemptView) -> f64| attempts.iter().map(value).fold(0.0, |a, b| a + b);
        let charge = sum(|attempt| attempt.charge.unwrap_or(0.0));
        let newest = recorded.attempts.last();
        let outlook = newest.and_then(|attempt| charge::outlook(attempt, resolved, now));
        let of_newest = attempts.last().and_then(|attempt| attempt.charge).unwrap_or(0.0);
        let (reason, message) = run.state.reason_and_message();
        let distributed = &resolved.distributed;
        Self {
            id: run.id.0,
            name: resolved.name.clone(),
            token: run.submission.as_ref().map(|submission| submission.token.to_string()),
            owner: recorded.owner.to_owned(),
            project: resolved.project.clone(),
            experiment: resolved.experiment.clone(),
            state: run.state.as_str().to_owned(),
            reason: reason.map(|reason| reason.to_string()),
            message: message.to_owned(),
            created_at: recorded.created_at,
            submitted_at: recorded.submitted_at,
            started_at: recorded.started_at,
            ended_at: recorded.ended_at,
            deleted_at: recorded.deleted_at,
            stale_since: run.stale.as_ref().map(|stale| stale.since),
            stale_who: run.stale.as_ref().map(|stale| stale.who.clone()),
            target: resolved.compute.target.kind().to_owned(),
            cluster: resolved.compute.target.cluster().to_owned(),
            class: resolved.compute.class.clone(),
            nodes: resolved.compute.nodes,
            gpus_per_node: resolved.compute.gpus_per_node,
            processes_per_node: distributed.processes_per_node,
            world_size: distributed.world_size,
            launcher: distributed.launcher.as_str().to_owned(),
            strategy: distributed.strategy.clone(),
            queue_seconds: recorded
                .submitted_at
                .zip(recorded.started_at)
                .map(|(from, to)| seconds(from, to)),
            waiting_seconds: sum(|attempt| attempt.queue_seconds.unwrap_or(0.0)),
            requeue_hold_seconds: sum(|attempt| attempt.requeue_hold_seconds.unwrap_or(0.0)),
            elapsed_seconds: sum(|attempt| attempt.elapsed_seconds),
            node_hours: sum(|attempt| attempt.node_hours),
            gpu_hours: sum(|attempt| attempt.gpu_hours),
            charge: charge::rate(&resolved.compute, now).map(|_| charge),
            charge_unit: CHARGE_UNIT.to_owned(),
            charge_estimated: recorded.attempts.iter().any(is_running),
            charge_rate_per_hour: outlook.map(|outlook| outlook.per_hour),
            charge_projected: outlook
                .and_then(|outlook| outlook.at_limit)
                .map(|at_limit| charge - of_newest + at_limit),
            self_reported: recorded.attempts.iter().any(|attempt| attempt.self_reported),
            progress: progress.into(),
            metrics: recorded.metrics.clone(),
            checkpoints: run.saved.as_ref().map(SavedView::from),
            sweep: recorded.point.map(|(point, _)| point.sweep.0),
            point: recorded.point.map(|(point, _)| point.point.into()),
            parameters: recorded.point.and_then(|(_, given)| Some(given?.parameters.clone())),
            run_dir: recorded.run_dir.to_owned(),
            key: recorded.key.map(str::to_owned),
            spec_digest: recorded.spec_digest.to_owned(),
            code: CodeView::of(resolved, recorded.inputs),
            datasets: DatasetView::of_run(&resolved.datasets, &recorded.inputs.datasets),
            avoids: Vec::new(),
            rerun_of: recorded.inputs.rerun_of,
            rerun_of_point: resolved.repeats.map(|point| point.to_string()),
            attempts: Some(attempts),
        }
    }

    /// What the newest attempt got that has told of it.
    pub fn newest_environment(&self) -> Option<&EnvironmentRecord> {
        let mut attempts = self.attempts.iter().flatten().rev();
        attempts.find_map(|attempt| attempt.environment.as_ref())
    }

    /// Whether the run is in a final state.
    pub fn is_final(&self) -> bool {
        ["completed", "failed", "cancelled"].contains(&self.state.as_str())
    }

    /// Whether nothing is known yet of how the scheduler takes it: the moment between acceptance and an answer.
    pub fn awaits_acknowledgement(&self) -> bool {
        match self.state.as_str() {
            "submitting" => true,
            // Its own rules have not looked at it yet.
            "pending" => self.message.is_empty(),
            _ => false,
        }
    }
}

/// Whether an attempt's elapsed time still grows.
fn is_running(attempt: &Attempt) -> bool {
    attempt.started_at.is_some() && attempt.ended_at.is_none()
}
