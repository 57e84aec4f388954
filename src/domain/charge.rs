//! What runs use and what that costs.
//!
//! An attempt uses the nodes that it was given, for as long as it ran, in the share of them that was its own:
//! node-hours = nodes × elapsed ÷ 3600 × share. What it costs follows from the [`Terms`] of its class, which are kept with
//! the run as they were when it was submitted: a price that changes later changes nothing of the past.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::keys::choice;
use crate::domain::ledger::Resource;
use crate::domain::resolved::{Compute, Resolved};
use crate::domain::run::Attempt;
use crate::domain::units::Seconds;

const HOUR: f64 = 3600.0;

choice! {
    /// What is counted and multiplied with the rate.
    #[derive(Default)]
    pub enum Formula {
        /// Nodes, in the share of them that was allocated.
        #[default]
        NodeHours = "node_hours",
        /// GPUs.
        GpuHours = "gpu_hours",
        /// CPUs, as Slurm counts them.
        CoreHours = "core_hours",
        /// Slurm's own `billing`, which its `TRESBillingWeights` make.
        Billing = "billing",
    }
    later {}
}

/// What a class costs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    #[serde(default)]
    pub by: Formula,
    /// Rates that begin at a moment, oldest first; before the first of them [`Compute::rate`] counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<DatedRate>,
    /// What an attempt that started costs at least.
    #[serde(default)]
    pub minimum: f64,
    /// Time is charged in whole multiples of this, up; none: to the second.
    #[serde(default)]
    pub round_up_to: Option<Seconds>,
    /// Whether the time counts in which Slurm had suspended the job.
    #[serde(default)]
    pub suspended: bool,
    /// Whether nobody else is on its nodes.
    #[serde(default)]
    pub exclusive: bool,
    /// What the class has on each node.
    #[serde(default)]
    pub node: Size,
}

/// A rate, and since when it counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DatedRate {
    pub from: Timestamp,
    pub rate: f64,
}

/// CPUs, memory and GPUs; none where they are not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub cpus: Option<u64>,
    /// MiB.
    pub memory: Option<u64>,
    pub gpus: Option<u64>,
}

impl Size {
    /// The parts of it, in one order.
    fn parts(self) -> [Option<f64>; 3] {
        [self.cpus, self.memory, self.gpus].map(|part| part.map(float))
    }
}

/// What an attempt has used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    /// Without the time in which it was suspended, as far as that is known.
    pub elapsed_seconds: f64,
    pub suspended_seconds: f64,
    pub node_hours: f64,
    pub gpu_hours: f64,
    /// None where its class has no rate.
    pub charge: Option<f64>,
}

impl Used {
    /// Adds what another attempt has used.
    pub fn add(&mut self, other: Self) {
        self.elapsed_seconds += other.elapsed_seconds;
        self.suspended_seconds += other.suspended_seconds;
        self.node_hours += other.node_hours;
        self.gpu_hours += other.gpu_hours;
        let charges = [self.charge, other.charge].into_iter().flatten();
        self.charge = charges.reduce(|one, other| one + other);
    }
}

/// What an attempt has used until `now`, or its end.
pub fn used(attempt: &Attempt, resolved: &Resolved, now: Timestamp) -> Used {
    in_compute(attempt, &resolved.compute, now)
}

fn in_compute(attempt: &Attempt, compute: &Compute, now: Timestamp) -> Used {
    let Some(started_at) = attempt.started_at else {
        // What never started costs nothing.
        let charge = rate(compute, now).map(|_| 0.0);
        return Used { charge, ..Used::default() };
    };
    let clock = seconds(started_at, attempt.ended_at.unwrap_or(now));
    let elapsed_seconds = attempt.elapsed_seconds.map_or(clock, float);
    let suspended_seconds = (clock - elapsed_seconds).max(0.0);
    let share = Share::of(attempt, compute);
    Used {
        elapsed_seconds,
        suspended_seconds,
        node_hours: share.nodes * share.part * elapsed_seconds / HOUR,
        gpu_hours: share.gpus * elapsed_seconds / HOUR,
        charge: share.charge(elapsed_seconds, suspended_seconds, started_at, compute),
    }
}

/// What a start of that many seconds would cost at most; none where the class has no rate.
pub fn of_start(resolved: &Resolved, seconds: u64, at: Timestamp) -> Option<f64> {
    of_compute(&resolved.compute, seconds, at)
}

fn of_compute(compute: &Compute, seconds: u64, at: Timestamp) -> Option<f64> {
    Share::asked(compute).charge(float(seconds), 0.0, at, compute)
}

/// What Slurm counts of an attempt until `now`, or its end, in hours: as it was granted, in whole nodes.
pub fn counted(attempt: &Attempt, resolved: &Resolved, what: Resource, now: Timestamp) -> f64 {
    let Some(started_at) = attempt.started_at else { return 0.0 };
    let clock = seconds(started_at, attempt.ended_at.map_or(now, |ended| ended.min(now)));
    let elapsed = attempt.elapsed_seconds.map_or(clock, float);
    Share::of(attempt, &resolved.compute).counted(what) * elapsed / HOUR
}

/// What Slurm would count of a start of that many seconds at most, in hours.
pub fn counted_of_start(resolved: &Resolved, what: Resource, seconds: u64) -> f64 {
    Share::asked(&resolved.compute).counted(what) * float(seconds) / HOUR
}

/// What an attempt that runs will have cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    pub per_hour: f64,
    /// If it runs to its time limit; none without one.
    pub at_limit: Option<f64>,
}

/// What an attempt that runs will have cost; none for one that does not, or whose class has no rate.
pub fn outlook(attempt: &Attempt, resolved: &Resolved, now: Timestamp) -> Option<Outlook> {
    outlook_in(attempt, &resolved.compute, now)
}

fn outlook_in(attempt: &Attempt, compute: &Compute, now: Timestamp) -> Option<Outlook> {
    let started_at = attempt.started_at.filter(|_| attempt.ended_at.is_none())?;
    let share = Share::of(attempt, compute);
    let asked = || compute.time_limit.map(|limit| limit.0.0);
    let limit = attempt.granted.time_limit_seconds.or_else(asked).map(float);
    // Slurm lets some run on past their limit.
    let charge = |limit: f64| {
        let seconds = limit.max(seconds(started_at, now));
        share.charge(seconds, 0.0, started_at, compute)
    };
    Some(Outlook {
        per_hour: share.hourly(compute) * rate(compute, started_at)?,
        at_limit: limit.and_then(charge),
    })
}

/// What of its nodes is an attempt's own.
#[derive(Debug, Clone, Copy)]
struct Share {
    nodes: f64,
    /// Of each of them, from 0 to 1.
    part: f64,
    gpus: f64,
    cpus: f64,
    billing: f64,
}

impl Share {
    /// As it was granted; what is not known of that is as it was asked.
    fn of(attempt: &Attempt, compute: &Compute) -> Self {
        let asked = Self::asked(compute);
        let granted = &attempt.granted;
        // The script names only its first node.
        let named = u64::try_from(attempt.nodes.len()).unwrap_or(u64::MAX);
        let nodes = granted.nodes.map_or_else(|| asked.nodes.max(float(named)), float);
        let given = Size { cpus: granted.cpus, memory: granted.memory, gpus: granted.gpus };
        // Their own size is better known than that of the class, which may be less than a node.
        let there_is = match &attempt.hardware {
            Some(hardware) => hardware.size.parts(),
            None => compute.terms.node.parts().map(|part| part.map(|part| part * nodes)),
        };
        let part = if compute.terms.exclusive { 1.0 } else { largest(given.parts(), there_is) };
        let cpus = granted.cpus.map_or(asked.cpus, float);
        Self {
            nodes,
            part,
            gpus: granted.gpus.map_or(float(compute.gpus_per_node.into()) * nodes, float),
            cpus,
            // Slurm's own rule where no weights are set.
            billing: granted.billing.map_or(cpus, float),
        }
    }

    /// At most, as it is asked: nothing says yet which nodes it will be given.
    fn asked(compute: &Compute) -> Self {
        let nodes = f64::from(compute.nodes);
        let cpus = compute.terms.node.cpus.map_or(1.0, float) * nodes;
        let gpus = f64::from(compute.gpus_per_node) * nodes;
        Self { nodes, part: 1.0, gpus, cpus, billing: cpus }
    }

    fn counted(self, what: Resource) -> f64 {
        match what {
            Resource::Nodes => self.nodes,
            Resource::Cpus => self.cpus,
            Resource::Gpus => self.gpus,
            Resource::Billing => self.billing,
        }
    }

    fn charge(
        self,
        elapsed: f64,
        suspended: f64,
        started_at: Timestamp,
        compute: &Compute,
    ) -> Option<f64> {
        let terms = &compute.terms;
        let seconds = elapsed + if terms.suspended { suspended } else { 0.0 };
        let seconds = match terms.round_up_to.map(|unit| float(unit.0)) {
            Some(unit) if unit > 0.0 => (seconds / unit).ceil() * unit,
            Some(_) | None => seconds,
        };
        let hours = self.hourly(compute) * seconds / HOUR;
        Some((rate(compute, started_at)? * hours).max(terms.minimum))
    }

    /// What is multiplied with the rate for each hour.
    fn hourly(self, compute: &Compute) -> f64 {
        match compute.terms.by {
            Formula::NodeHours => self.nodes * self.part,
            Formula::GpuHours => self.gpus,
            Formula::CoreHours => self.cpus,
            Formula::Billing => self.billing,
        }
    }
}

/// The largest fraction of what there is that was given; 1 where nothing is known.
fn largest(given: [Option<f64>; 3], there_is: [Option<f64>; 3]) -> f64 {
    let fractions = given.into_iter().zip(there_is).filter_map(|(given, there_is)| {
        let there_is = there_is.filter(|there_is| *there_is > 0.0)?;
        Some(given? / there_is)
    });
    fractions.reduce(f64::max).unwrap_or(1.0).min(1.0)
}

/// The rate of a start at that moment.
pub fn rate(compute: &Compute, at: Timestamp) -> Option<f64> {
    let begun = compute.terms.rates.iter().rev().find(|dated| dated.from <= at);
    begun.map(|dated| dated.rate).or(compute.rate)
}

/// Seconds from one moment to another, never negative: clocks are stepped.
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53, which no cluster has of anything"
)]
fn float(number: u64) -> f64 {
    number as f64
}
