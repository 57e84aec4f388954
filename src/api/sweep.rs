//! Sweeps: how they stand, several side by side, and those that are told their points.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::checkpoint::Goal;
use crate::domain::sweep::SweepView;
use crate::domain::view::RunView;
use crate::store::{EndedPoint, ToldPoint};

/// A sweep, and how many changes had been recorded when it was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepShown {
    pub sweep: SweepView,
    pub change: u64,
}

/// What somebody waits for: one of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AwaitedAnswer {
    Run(Box<RunView>),
    Sweep(Box<SweepView>),
}

/// Which sweeps are to be compared, and by what.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CompareRequest {
    /// Numbers or names.
    pub sweeps: Vec<String>,
    /// All sweeps of this experiment as well.
    pub experiment: Option<String>,
    /// That of the sweeps' objective where none is named.
    pub metric: Option<String>,
    pub goal: Option<Goal>,
}

/// Points for an open sweep.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TellRequest {
    pub points: Vec<TellPoint>,
    /// They are the last ones.
    #[serde(default)]
    pub close: bool,
}

/// What one point is to be given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TellPoint {
    /// An object of JSON in one line, as it was written: numbers stay as they are.
    pub parameters: String,
    /// The same key and parameters are the same point.
    pub key: Option<String>,
}

/// How an open sweep stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenSweepView {
    pub sweep: i64,
    pub state: String,
    /// Whether it takes more points.
    pub open: bool,
    /// Whether all its points are over, and no more can come.
    pub over: bool,
    /// How many it has been told, and may be.
    pub points: u32,
    pub max_points: u32,
}

impl OpenSweepView {
    /// None of a sweep that never was open.
    pub fn of(sweep: &SweepView) -> Option<Self> {
        Some(Self {
            sweep: sweep.id,
            state: sweep.state.clone(),
            open: sweep.is_open(),
            over: sweep.is_over(),
            points: sweep.points,
            max_points: sweep.about.max_points?,
        })
    }
}

/// What `sweep tell` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TellAnswer {
    #[serde(flatten)]
    pub sweep: OpenSweepView,
    /// The points, in the order in which they were told.
    pub told: Vec<ToldPointView>,
}

/// A point that an open sweep was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToldPointView {
    pub point: u32,
    pub run: i64,
    pub key: Option<String>,
    /// Else its key was known.
    pub new: bool,
    pub parameters: serde_json::Value,
}

impl ToldPointView {
    pub fn of(told: ToldPoint, new: bool) -> Self {
        let ToldPoint { run, point, key, parameters } = told;
        Self { point, run: run.0, key, new, parameters }
    }
}

/// What `sweep ask` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AskAnswer {
    #[serde(flatten)]
    pub sweep: OpenSweepView,
    /// The number of the last result; who asks for what comes after it gets each once.
    pub after: u32,
    pub results: Vec<EndedPointView>,
}

/// What came of a point of an open sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndedPointView {
    /// Which end of a point it was, from 1.
    pub result: u32,
    pub point: u32,
    pub run: i64,
    pub key: Option<String>,
    pub state: String,
    pub reason: Option<String>,
    pub message: String,
    pub parameters: serde_json::Value,
    /// The best value of the objective's metric that is a finite number, and the step of it.
    pub best: Option<f64>,
    pub step: Option<i64>,
    /// The newest value.
    #[serde(with = "crate::domain::number::optional")]
    pub last: Option<f64>,
    /// The newest value of each metric.
    #[serde(with = "crate::domain::number::by_name")]
    pub metrics: BTreeMap<String, f64>,
    pub elapsed_seconds: f64,
    pub node_hours: f64,
    /// None where its class has no rate.
    pub charge: Option<f64>,
}

impl EndedPointView {
    /// `metric` is the one by which the sweep's points are compared.
    pub fn of(ended: EndedPoint, run: RunView, metric: Option<&str>) -> Self {
        let EndedPoint { result, told: ToldPoint { run: id, point, key, parameters }, best } =
            ended;
        let newest = run.metrics.into_iter().map(|(name, metric)| (name, metric.last));
        let metrics: BTreeMap<String, f64> = newest.collect();
        Self {
            result,
            point,
            run: id.0,
            key,
            state: run.state,
            reason: run.reason,
            message: run.message,
            parameters,
            best: best.map(|(value, _)| value),
            step: best.map(|(_, step)| step),
            last: metric.and_then(|name| metrics.get(name).copied()),
            metrics,
            elapsed_seconds: run.elapsed_seconds,
            node_hours: run.node_hours,
            charge: run.charge,
        }
    }
}
