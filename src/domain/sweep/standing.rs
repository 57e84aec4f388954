//! How far a sweep is: what its points took so far, which is the best, and when all may be over.

use serde::{Deserialize, Serialize};

use crate::domain::sweep::compare::{ComparedPoint, total_charge};
use crate::domain::sweep::view::{is_over, is_under_way};

/// What points of a sweep come to together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    pub node_hours: f64,
    /// None where no class has a rate.
    pub charge: Option<f64>,
    pub charge_unit: String,
    /// None where nothing completed so far, or nothing runs.
    pub seconds_left: Option<f64>,
    /// By the objective; none without one, or while no point has reported its metric.
    pub best: Option<ComparedPoint>,
}

impl Standing {
    /// Of points that are in order, the best one first.
    pub fn of(points: &[ComparedPoint], charge_unit: &str) -> Self {
        let took = |is: fn(&str) -> bool| -> Vec<f64> {
            let those = points.iter().filter(|point| is(&point.state));
            those.map(|point| point.elapsed_seconds).collect()
        };
        let (completed, running) = (took(|state| state == "completed"), took(is_under_way));
        let waiting = took(|state| !is_over(state) && !is_under_way(state)).len();
        Self {
            node_hours: points.iter().map(|point| point.node_hours).sum(),
            charge: total_charge(points.iter()),
            charge_unit: charge_unit.to_owned(),
            seconds_left: seconds_left(&completed, &running, waiting),
            best: points.first().filter(|point| point.best.is_some()).cloned(),
        }
    }
}

/// In how many seconds all points may be over, if each takes as long as those that completed and as many run as now.
fn seconds_left(completed: &[f64], running: &[f64], waiting: usize) -> Option<f64> {
    if completed.is_empty() || running.is_empty() {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a sweep has at most 100,000 points")]
    let float = |count: usize| count as f64;
    let mean = completed.iter().sum::<f64>() / float(completed.len());
    let left = |elapsed: &f64| (mean - elapsed).max(0.0);
    let longest = running.iter().map(left).fold(0.0, f64::max);
    let of_all = running.iter().map(left).sum::<f64>() + float(waiting) * mean;
    Some(longest.max(of_all / float(running.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_follows_from_what_completed_and_how_many_run() {
        let check = |completed: &[f64], running: &[f64], waiting, expected: Option<f64>| {
            let left = seconds_left(completed, running, waiting);
            assert_eq!(left, expected, "{completed:?} {running:?} {waiting}");
        };
        check(&[], &[5.0], 3, None);
        check(&[100.0], &[], 3, None);
        // Two places: 40 + 70 seconds are left of what runs, and 3 × 100 of what waits.
        check(&[80.0, 120.0], &[60.0, 30.0], 3, Some(205.0));
        // Nothing waits: the last one decides.
        check(&[100.0], &[90.0, 20.0], 0, Some(80.0));
        check(&[100.0], &[150.0], 0, Some(0.0));
        check(&[100.0], &[150.0], 1, Some(100.0));
    }
}
