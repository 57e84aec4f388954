//! One attempt, as it is shown.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::charge::{self, seconds};
use crate::domain::environment::{EnvironmentRecord, NodeRecord};
use crate::domain::hardware::MIXED;
use crate::domain::resolved::Resolved;
use crate::domain::run::{Attempt, AttemptState};
use crate::domain::view::Recorded;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AttemptView {
    pub attempt: u32,
    pub job_id: u64,
    pub array_task_id: Option<u32>,
    pub restart_count: u32,
    pub state: String,
    pub slurm_state: Option<String>,
    pub reason: Option<String>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub nodes: Vec<String>,
    /// Those of them that are to blame for its end.
    #[serde(default)]
    pub failed_nodes: Vec<String>,
    /// What it got: a class of the site, or words for what its nodes are; `mixed` where they are not all of one kind.
    pub hardware_class: Option<String>,
    #[serde(default)]
    pub requested_class: String,
    pub partition: Option<String>,
    pub qos: Option<String>,
    pub account: Option<String>,
    pub time_limit_seconds: Option<u64>,
    pub cpus: Option<u64>,
    pub memory: Option<u64>,
    pub gpus: Option<u64>,
    pub notices: String,
    pub submitted_at: Timestamp,
    pub eligible_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// From when it could start to its start.
    pub queue_seconds: Option<f64>,
    /// From its submission to its start, with the time in which it could not.
    #[serde(default)]
    pub submit_wait_seconds: Option<f64>,
    /// Of a job that Slurm starts again: how long it held it back.
    #[serde(default)]
    pub requeue_hold_seconds: Option<f64>,
    pub elapsed_seconds: f64,
    /// Accounting has told how long it ran; before that, and where there is none, it is from its start to its end.
    #[serde(default)]
    pub accounted: bool,
    pub node_hours: f64,
    #[serde(default)]
    pub gpu_hours: f64,
    pub charge: Option<f64>,
    /// Of an attempt that failed or was started again: its node-hours since the newest complete checkpoint, or since its
    /// start.
    #[serde(default)]
    pub lost_node_hours: f64,
    pub resumed_from_step: Option<i64>,
    /// The checkpoint that it went on from; none on a fresh start.
    #[serde(default)]
    pub resumed_from: Option<String>,
    /// What its script found of data that is not what it was when the run was submitted.
    #[serde(default)]
    pub data_drift: Option<String>,
    /// What it really got where it started; none until its script has told.
    #[serde(default)]
    pub environment: Option<EnvironmentRecord>,
}

impl AttemptView {
    /// Whether it failed, or was ended so that the run had to start again.
    pub fn has_failed(&self) -> bool {
        ["failed", "requeued"].contains(&self.state.as_str())
    }
}

/// Which part of an attempt is lost: all since the newest complete checkpoint of one that failed or was started again.
fn lost_part(attempt: &Attempt) -> f64 {
    let has_failed = matches!(attempt.state, AttemptState::Failed | AttemptState::Requeued);
    let span = attempt.started_at.zip(attempt.ended_at).filter(|_| has_failed);
    let Some((started, ended)) = span.filter(|(started, ended)| started < ended) else {
        return 0.0;
    };
    let saved = attempt.saved_at.unwrap_or(started).clamp(started, ended);
    seconds(saved, ended) / seconds(started, ended)
}

pub(super) fn attempt_view(
    attempt: &Attempt,
    recorded: &Recorded<'_>,
    now: Timestamp,
) -> AttemptView {
    let resolved = recorded.resolved;
    let environment = recorded.environments.get(&attempt.n);
    let used = charge::used(attempt, resolved, now);
    let began = attempt.began.as_ref();
    let eligible = attempt.eligible_at.unwrap_or(attempt.submitted_at);
    AttemptView {
        attempt: attempt.n,
        job_id: attempt.job.job,
        array_task_id: attempt.job.array_task,
        restart_count: attempt.restart,
        state: attempt.state.as_str().to_owned(),
        slurm_state: attempt.slurm_state.clone(),
        reason: attempt.reason.map(|reason| reason.to_string()),
        exit_code: attempt.exit_code,
        signal: attempt.signal,
        nodes: attempt.nodes.clone(),
        failed_nodes: attempt.failed_nodes.iter().map(ToString::to_string).collect(),
        hardware_class: hardware_class(attempt, resolved, environment),
        requested_class: resolved.compute.class.clone(),
        partition: attempt.granted.partition.clone(),
        qos: attempt.granted.qos.clone(),
        account: attempt.granted.account.clone(),
        time_limit_seconds: attempt.granted.time_limit_seconds,
        cpus: attempt.granted.cpus,
        memory: attempt.granted.memory,
        gpus: attempt.granted.gpus,
        notices: attempt.notices.clone(),
        submitted_at: attempt.submitted_at,
        eligible_at: attempt.eligible_at,
        started_at: attempt.started_at,
        ended_at: attempt.ended_at,
        queue_seconds: attempt.started_at.map(|started| seconds(eligible, started)),
        submit_wait_seconds: attempt
            .started_at
            .map(|started| seconds(attempt.submitted_at, started)),
        requeue_hold_seconds: attempt
            .eligible_at
            .filter(|_| attempt.restart > 0)
            .map(|eligible| seconds(attempt.submitted_at, eligible)),
        elapsed_seconds: used.elapsed_seconds,
        accounted: attempt.elapsed_seconds.is_some(),
        node_hours: used.node_hours,
        gpu_hours: used.gpu_hours,
        charge: used.charge,
        lost_node_hours: used.node_hours * lost_part(attempt),
        resumed_from_step: began.and_then(|began| began.step),
        resumed_from: began.and_then(|began| began.from.clone()),
        data_drift: attempt.data_drift.clone(),
        environment: environment.cloned(),
    }
}

/// What an attempt got: as the scheduler says, else what was asked for, unless its nodes tell of different GPUs.
fn hardware_class(
    attempt: &Attempt,
    resolved: &Resolved,
    environment: Option<&EnvironmentRecord>,
) -> Option<String> {
    if let Some(hardware) = &attempt.hardware {
        return Some(hardware.class.clone());
    }
    let gpus = |node: &NodeRecord| -> Vec<String> {
        node.gpus.iter().map(|gpu| gpu.name.clone()).collect()
    };
    let mut nodes = environment.iter().flat_map(|record| &record.nodes).map(gpus);
    let first = nodes.next();
    let is_mixed = nodes.any(|other| first.as_ref() != Some(&other));
    let asked = || if is_mixed { MIXED } else { &resolved.compute.class };
    attempt.started_at.map(|_| asked().to_owned())
}
