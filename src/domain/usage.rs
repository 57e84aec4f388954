//! Usage: what attempts took, summed by who, what and when.
//!
//! An attempt counts whole in the period, and the month, in which it started; node-hours, GPU-hours and charges are those
//! that `show` has for it. All times are UTC.

mod compared;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::keys::choice;
use crate::domain::view::{AttemptView, CHARGE_UNIT, RunView};

pub use compared::{Accounts, Compared, Difference, OurStart, Start, compare};

choice! {
    /// What is summed together.
    pub enum By {
        User = "user",
        Project = "project",
        /// The hardware class.
        Class = "class",
        /// The calendar month in which attempts started.
        Month = "month",
        /// The sweep; runs that are no points have none.
        Sweep = "sweep",
    }
    later {}
}

/// From a moment on, and until before another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

impl Period {
    fn holds(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}

/// Sums over attempts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sum {
    pub runs: u64,
    pub attempts: u64,
    pub node_hours: f64,
    pub gpu_hours: f64,
    /// None where no class has a rate.
    pub charge: Option<f64>,
    /// Node-hours of attempts that failed, or were ended so that the run had to start again.
    pub failed_node_hours: f64,
    /// The part of them since the newest complete checkpoint: what has to be, or had to be, trained again.
    pub lost_node_hours: f64,
    pub waiting_seconds: f64,
    /// Node-hours that the attempts that are over asked for by their time limits.
    pub requested_node_hours: f64,
    /// Node-hours that those attempts used.
    pub limited_node_hours: f64,
    /// The one as a fraction of the other; none where nothing that is over had a limit.
    pub efficiency: Option<f64>,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The user, project, class, month (`2026-05`) or sweep; none for what has none.
    pub key: Option<String>,
    #[serde(flatten)]
    pub sum: Sum,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    pub by: String,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub charge_unit: String,
    /// Months in order, others by their node-hours, most first.
    pub rows: Vec<Row>,
    pub total: Sum,
}

/// A report in the making: runs are added one after the other.
#[derive(Debug)]
pub struct Tally {
    by: By,
    period: Period,
    sums: BTreeMap<Option<String>, Sum>,
    total: Sum,
}

impl Tally {
    pub fn new(by: By, period: Period) -> Self {
        Self { by, period, sums: BTreeMap::new(), total: Sum::default() }
    }

    /// Adds what the run's attempts took in the period.
    pub fn add(&mut self, run: &RunView) {
        let mut known: Vec<Option<String>> = Vec::new();
        for attempt in run.attempts.iter().flatten() {
            let Some(started) = attempt.started_at.filter(|at| self.period.holds(*at)) else {
                continue;
            };
            let key = self.key(run, started);
            let is_first = known.is_empty();
            let sum = self.sums.entry(key.clone()).or_default();
            sum.runs += u64::from(!known.contains(&key));
            sum.add(attempt);
            self.total.runs += u64::from(is_first);
            self.total.add(attempt);
            known.push(key);
        }
    }

    fn key(&self, run: &RunView, started: Timestamp) -> Option<String> {
        match self.by {
            By::User => Some(run.owner.clone()),
            By::Project => run.project.clone(),
            By::Class => Some(run.class.clone()),
            By::Sweep => run.sweep.map(|sweep| sweep.to_string()),
            By::Month => Some(started.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string()),
        }
    }

    pub fn report(self) -> Usage {
        let mut rows: Vec<Row> = self.sums.into_iter().map(|(key, sum)| Row { key, sum }).collect();
        if self.by != By::Month {
            rows.sort_by(|one, other| other.sum.node_hours.total_cmp(&one.sum.node_hours));
        }
        Usage {
            by: self.by.as_str().to_owned(),
            since: self.period.since,
            until: self.period.until,
            charge_unit: CHARGE_UNIT.to_owned(),
            rows,
            total: self.total,
        }
    }
}

impl Sum {
    fn add(&mut self, attempt: &AttemptView) {
        self.attempts += 1;
        self.node_hours += attempt.node_hours;
        self.gpu_hours += attempt.gpu_hours;
        self.charge = match (self.charge, attempt.charge) {
            (None, None) => None,
            (sum, charge) => Some(sum.unwrap_or_default() + charge.unwrap_or_default()),
        };
        if attempt.has_failed() {
            self.failed_node_hours += attempt.node_hours;
            self.lost_node_hours += attempt.lost_node_hours;
        }
        self.waiting_seconds += attempt.queue_seconds.unwrap_or_default();
        let limit = attempt.time_limit_seconds.filter(|_| attempt.ended_at.is_some());
        if let Some(limit) = limit.filter(|limit| *limit > 0 && attempt.elapsed_seconds > 0.0) {
            #[expect(clippy::cast_precision_loss, reason = "time limits are below 2^52 seconds")]
            let part = attempt.elapsed_seconds / limit as f64;
            self.requested_node_hours += attempt.node_hours / part;
            self.limited_node_hours += attempt.node_hours;
            self.efficiency = Some(self.limited_node_hours / self.requested_node_hours);
        }
    }
}
