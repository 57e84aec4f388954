//! Early stopping by asynchronous successive halving (ASHA; Li et al. 2020, "A System for Massively Parallel Hyperparameter
//! Tuning"), in the variant that stops: a point that comes to a rung is compared with all that came there before, and goes on
//! if it is among the best of them.
//!
//! Nobody is waited for. So the first at a rung goes on, whatever it has, and more go on than one in so many.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::checkpoint::Goal;
use crate::domain::number::word;
use crate::domain::problem::{At, Place, Problem};
use crate::domain::spec::{EarlyStopping, StoppingMethod};
use crate::domain::sweep::Objective;

/// Where points are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rungs {
    pub method: StoppingMethod,
    /// The step of the first.
    pub min_steps: u32,
    /// There is none from here on.
    pub max_steps: Option<u32>,
    /// Each is so many times as far as the one before, and of so many points one goes on.
    pub reduction_factor: u32,
}

impl Rungs {
    pub const FACTOR_DEFAULT: u32 = 3;

    /// The steps of the rungs, in their order.
    pub fn steps(self) -> impl Iterator<Item = i64> {
        let factor = i64::from(self.reduction_factor.max(2));
        let first = i64::from(self.min_steps.max(1));
        let most = self.max_steps.map_or(i64::MAX, i64::from);
        std::iter::successors(Some(first), move |step| step.checked_mul(factor))
            .take_while(move |step| *step < most)
    }
}

/// Refuses rungs that mean nothing.
pub(super) fn refuse(
    stopping: &At<EarlyStopping>,
    has_objective: bool,
    problems: &mut Vec<Problem>,
) {
    let At { value: said, place } = stopping;
    let mut refuse = |place: Place, message: String| problems.push(Problem::at(place, message));
    if !has_objective {
        let message = "`sweep.early_stopping` needs `sweep.objective`: by what points are compared";
        refuse(*place, message.to_owned());
    }
    let min_steps = said.min_steps.as_ref();
    match min_steps {
        None => refuse(
            *place,
            "`sweep.early_stopping` needs `min_steps`: at which step points are compared first"
                .to_owned(),
        ),
        Some(steps) if steps.value == 0 => {
            refuse(steps.place, "`sweep.early_stopping.min_steps` has to be at least 1".to_owned());
        }
        Some(_) => {}
    }
    if let Some(factor) = said.reduction_factor.as_ref().filter(|factor| factor.value < 2) {
        let message = "`sweep.early_stopping.reduction_factor` has to be at least 2";
        refuse(factor.place, message.to_owned());
    }
    if let (Some(most), Some(least)) = (&said.max_steps, min_steps)
        && most.value <= least.value
    {
        let message = "`sweep.early_stopping.max_steps` has to be more than `min_steps`: no point would be compared";
        refuse(most.place, message.to_owned());
    }
}

/// What the training of a point reported of the metric, by step. Only the last value at or before each rung's step has a
/// say, and the newest; others may be left out.
pub type Reported = BTreeMap<i64, f64>;

/// What points had at the rungs, and whether they went on: by rung, then by point.
pub type Passed = BTreeMap<u32, BTreeMap<u32, Past>>;

/// What a point had at a rung.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Past {
    pub value: f64,
    pub goes_on: bool,
}

/// What is decided about a point at a rung.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub point: u32,
    pub rung: u32,
    pub past: Past,
    /// Why, in one sentence.
    pub why: String,
}

/// Decides about each point once at each rung that it has come to since. Points that come to a rung at once are compared with
/// each other as well. One that was stopped is not looked at any more: who resumes it wants it to go on.
pub fn judge(
    (rungs, objective): (Rungs, &Objective),
    points: &BTreeMap<u32, Reported>,
    passed: &Passed,
) -> Vec<Verdict> {
    let mut stopped: BTreeSet<u32> = passed
        .values()
        .flatten()
        .filter(|(_, past)| !past.goes_on)
        .map(|(point, _)| *point)
        .collect();
    let newest = points.values().filter_map(|reported| Some(*reported.last_key_value()?.0)).max();
    let mut verdicts = Vec::new();
    for (rung, step) in (0..).zip(rungs.steps()) {
        if newest.is_none_or(|newest| newest < step) {
            break;
        }
        let known = passed.get(&rung);
        let come: Vec<(u32, f64)> = points
            .iter()
            .filter(|(point, _)| !stopped.contains(point))
            .filter(|(point, _)| known.is_none_or(|known| !known.contains_key(point)))
            .filter_map(|(point, reported)| Some((*point, value_at(reported, step)?)))
            .collect();
        let mut ranked: Vec<f64> =
            known.into_iter().flatten().map(|(_, past)| past.value).collect();
        ranked.extend(come.iter().map(|(_, value)| *value));
        ranked.sort_by(|one, other| order(objective.goal, *one, *other));
        for (point, value) in come {
            let rank = Rank { rungs, objective, place: (rung, step), ranked: &ranked, value };
            let past = Past { value, goes_on: rank.goes_on() };
            if !past.goes_on {
                stopped.insert(point);
            }
            verdicts.push(Verdict { point, rung, past, why: rank.to_string() });
        }
    }
    verdicts
}

/// What a point has at a step: its last value until then, once it has reported that step or a later one.
fn value_at(reported: &Reported, step: i64) -> Option<f64> {
    reported.range(step..).next()?;
    reported.range(..=step).next_back().map(|(_, value)| *value)
}

/// The better first; what is no finite number is the worst.
fn order(goal: Goal, one: f64, other: f64) -> Ordering {
    match (one.is_finite(), other.is_finite()) {
        (true, true) => match goal {
            Goal::Minimize => one.total_cmp(&other),
            Goal::Maximize => other.total_cmp(&one),
        },
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => Ordering::Equal,
    }
}

/// A value among those at its rung.
struct Rank<'a> {
    rungs: Rungs,
    objective: &'a Objective,
    place: (u32, i64),
    /// All at the rung, this one too; the best first.
    ranked: &'a [f64],
    value: f64,
}

impl Rank<'_> {
    /// How many of them go on.
    fn most(&self) -> usize {
        let factor = usize::try_from(self.rungs.reduction_factor.max(2)).unwrap_or(usize::MAX);
        (self.ranked.len() / factor).max(1)
    }

    /// The worst of those that go on.
    fn last(&self) -> f64 {
        self.ranked.get(self.most() - 1).copied().unwrap_or(self.value)
    }

    /// Whether it goes on: none of those that do is worse. What is no number was never good: that training has diverged.
    fn goes_on(&self) -> bool {
        self.value.is_finite() && order(self.objective.goal, self.value, self.last()).is_le()
    }
}

impl fmt::Display for Rank<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rung, step) = self.place;
        let (metric, value) = (&self.objective.metric, self.value);
        write!(f, "rung {rung} at step {step}: {metric} ")?;
        if let Some(word) = word(value) {
            return write!(f, "is {word}, which is no finite number and counts as the worst");
        }
        write!(f, "{value} ")?;
        let (most, all) = (self.most(), self.ranked.len());
        match (self.goes_on(), most) {
            (true, _) if all == 1 => f.write_str("is the first there and goes on"),
            (true, _) => write!(f, "is among the best {most} of {all} and goes on"),
            (false, 1) => {
                write!(f, "is not the best of {all} (which has {})", self.last())
            }
            (false, _) => write!(
                f,
                "is not among the best {most} of {all} (the worst of which has {})",
                self.last()
            ),
        }
    }
}

#[cfg(test)]
mod tests;
