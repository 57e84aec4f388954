//! What a run or a sweep may cost, and when it may start.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::BudgetView;
use crate::domain::waits::Expected;

/// What a submission would cost and wait. Amounts are in charge units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EstimateView {
    pub name: String,
    pub project: Option<String>,
    /// Of a sweep; none of a run.
    pub points: Option<usize>,
    /// How many different jobs the points are.
    pub resource_sets: usize,
    /// Where the first of its starts executes, and on how much.
    pub target: String,
    pub cluster: String,
    pub class: String,
    pub nodes: u32,
    pub time_limit_seconds: Option<u64>,
    /// At the time limit; of all points, as are the charges.
    pub node_hours: Option<f64>,
    /// What is set aside before it is submitted, where its project has a budget: it cannot cost more. None where it costs
    /// nothing.
    pub charge: Option<f64>,
    /// What it costs that ends at its time limit.
    pub charge_at_limit: Option<f64>,
    pub unit: String,
    /// How the budget stands that it is paid from; none where nothing is held for it.
    pub budget: Option<BudgetView>,
    /// Whether what is left suffices.
    pub sufficient: bool,
    /// Why not.
    pub shortage: Option<String>,
    /// Whether that keeps it from being started.
    pub is_refused: bool,
    pub start: LikelyStart,
}

/// When it may start that is submitted now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LikelyStart {
    /// How long starts like it have waited; none where there were none, and on this machine.
    pub history: Option<Expected>,
    /// When Slurm would start it as its queue is now; none where it does not say.
    pub slurm_at: Option<Timestamp>,
    /// Why it does not: its own words, or that it gives no answer.
    pub slurm_says: Option<String>,
}
