//! A sweep as it is shown: its definition, and how its points stand.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::spec::SweepMethod;
use crate::domain::sweep::{About, Standing};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepView {
    pub id: i64,
    pub name: String,
    pub owner: String,
    pub project: Option<String>,
    pub experiment: Option<String>,
    pub created_at: Timestamp,
    /// What its points come to together: `pending`, `queued`, `running`, or how it ended; `waiting` of an open sweep that
    /// has no points which are not over.
    pub state: String,
    pub points: u32,
    /// How many points are in each state; those that nothing is in are left out.
    pub states: BTreeMap<String, u32>,
    pub sweep_dir: PathBuf,
    pub key: Option<String>,
    #[serde(flatten)]
    pub about: About,
    /// Since when an open sweep takes no more points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// What its points came to so far; only where one sweep is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

impl SweepView {
    /// How many of its points are over.
    pub fn over(&self) -> u32 {
        self.states.iter().filter(|(state, _)| is_over(state)).map(|(_, count)| count).sum()
    }

    /// Whether it may be told more points.
    pub fn is_open(&self) -> bool {
        self.about.method == SweepMethod::Open && self.closed_at.is_none()
    }

    /// Whether all of them are, and no more can come.
    pub fn is_over(&self) -> bool {
        is_over(&self.state)
    }
}

/// Whether a point in this state, or a sweep, is over.
pub(super) fn is_over(state: &str) -> bool {
    ["completed", "failed", "cancelled"].contains(&state)
}

const UNDER_WAY: &[&str] = &["running", "finishing", "evaluating", "stopping"];

/// Whether a point in this state takes one of the places in which points run.
pub(super) fn is_under_way(state: &str) -> bool {
    UNDER_WAY.contains(&state)
}

/// What points in these states are as a whole: the liveliest of them while one is not over; then completed only if all are,
/// where no more can come.
pub fn state(states: &BTreeMap<String, u32>, is_open: bool) -> &'static str {
    const ORDER: [(&str, &[&str]); 6] = [
        ("running", UNDER_WAY),
        ("queued", &["queued", "submitting"]),
        ("pending", &["pending", "preparing", "backoff"]),
        ("failed", &["failed"]),
        ("cancelled", &["cancelled"]),
        ("completed", &["completed"]),
    ];
    let has = |words: &[&str]| words.iter().any(|word| states.get(*word).is_some_and(|n| *n > 0));
    // A sweep without points is one that was closed before it was told any.
    let state = ORDER.iter().find(|(_, words)| has(words)).map_or("completed", |(state, _)| state);
    if is_open && is_over(state) { "waiting" } else { state }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_what_its_liveliest_point_is_and_then_what_the_worst_was() {
        let check = |states: &[&str], expected: &str| {
            let states = states.iter().map(|state| ((*state).to_owned(), 1)).collect();
            assert_eq!(state(&states, false), expected);
            let of_open = if is_over(expected) { "waiting" } else { expected };
            assert_eq!(state(&states, true), of_open);
        };
        check(&["pending", "queued", "completed"], "queued");
        check(&["pending", "finishing", "failed"], "running");
        check(&["backoff", "completed"], "pending");
        check(&["completed", "cancelled"], "cancelled");
        check(&["completed", "failed", "cancelled"], "failed");
        check(&["completed"], "completed");
        check(&[], "completed");
    }
}
