//! Our record of starts beside accounting's: what is not the same in both.
//!
//! Both sides count nodes × the time that Slurm counts, whole nodes and before any rate: what is compared is the record, not
//! what a site makes of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::JobKey;
use crate::domain::usage::Period;

/// One start of a job, as one side has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub job: JobKey,
    /// When it was submitted, or requeued: that tells the starts of a job apart.
    pub submitted_at: Timestamp,
    pub started_at: Timestamp,
    /// None while it runs.
    pub ended_at: Option<Timestamp>,
    pub nodes: u64,
    /// Without the time in which it was suspended.
    pub elapsed_seconds: u64,
}

/// A start of ours: which attempt of which run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurStart {
    pub run: i64,
    pub attempt: u32,
    /// Nobody but its script has told of it: the scheduler has no record.
    pub self_reported: bool,
    pub start: Start,
}

/// Starts as accounting keeps them, each with the name of its job; none where nobody keeps accounts.
pub type Accounts = Option<Vec<(String, Start)>>;

/// What is not the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// None where only accounting knows the start.
    pub run: Option<i64>,
    pub attempt: Option<u32>,
    pub job: String,
    pub submitted_at: Timestamp,
    pub node_hours: Option<f64>,
    pub accounted_node_hours: Option<f64>,
    pub message: String,
}

/// Both records of a period.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Starts that are over, in either record.
    pub starts: u64,
    /// Starts that run, of which neither side has the last word.
    pub running: u64,
    pub node_hours: f64,
    pub accounted_node_hours: f64,
    pub differences: Vec<Difference>,
    /// Clusters on which nobody keeps accounts, or which are not in the site config any more.
    pub without: Vec<String>,
}

/// Compares what started in the period and is over.
pub fn compare(ours: &[OurStart], theirs: &[Start], period: Period) -> Compared {
    let mut compared = Compared { since: period.since, until: period.until, ..Compared::default() };
    type Both<'a> = (Option<&'a OurStart>, Option<&'a Start>);
    let mut both: BTreeMap<(&JobKey, Timestamp), Both<'_>> = BTreeMap::new();
    for ours in ours {
        both.entry((&ours.start.job, ours.start.submitted_at)).or_default().0 = Some(ours);
    }
    for theirs in theirs {
        both.entry((&theirs.job, theirs.submitted_at)).or_default().1 = Some(theirs);
    }
    for ((job, submitted_at), (ours, theirs)) in both {
        let start = ours.map(|ours| &ours.start).or(theirs);
        if !start.is_some_and(|start| period.holds(start.started_at)) {
            continue;
        }
        let is_running = |start: &Start| start.ended_at.is_none();
        if ours.is_some_and(|ours| is_running(&ours.start)) || theirs.is_some_and(is_running) {
            compared.running += 1;
            continue;
        }
        compared.starts += 1;
        let hours = ours.map(|ours| node_hours(&ours.start));
        let accounted = theirs.map(node_hours);
        compared.node_hours += hours.unwrap_or_default();
        compared.accounted_node_hours += accounted.unwrap_or_default();
        let Some(message) = unlike(ours, theirs) else { continue };
        compared.differences.push(Difference {
            run: ours.map(|ours| ours.run),
            attempt: ours.map(|ours| ours.attempt),
            job: job.to_string(),
            submitted_at,
            node_hours: hours,
            accounted_node_hours: accounted,
            message,
        });
    }
    compared
}

/// In what the two records of a start differ, in words.
fn unlike(ours: Option<&OurStart>, theirs: Option<&Start>) -> Option<String> {
    let (ours, theirs) = match (ours, theirs) {
        (Some(ours), Some(theirs)) => (ours, theirs),
        (None, None) => return None,
        (None, Some(_)) => return Some("accounting alone has this start".to_owned()),
        (Some(ours), None) => {
            let why = if ours.self_reported { ": its script told of it" } else { "" };
            return Some(format!("accounting does not have this start{why}"));
        }
    };
    let mut unlike = Vec::new();
    let mut differs = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            unlike.push(format!("{what} {ours}, accounted {theirs}"));
        }
    };
    let start = &ours.start;
    differs("nodes", start.nodes.to_string(), theirs.nodes.to_string());
    let seconds = |start: &Start| format!("{} s", start.elapsed_seconds);
    differs("ran", seconds(start), seconds(theirs));
    differs("started", start.started_at.to_string(), theirs.started_at.to_string());
    let end = |start: &Start| start.ended_at.map(|at| at.to_string()).unwrap_or_default();
    differs("ended", end(start), end(theirs));
    (!unlike.is_empty()).then(|| unlike.join("; "))
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 node-seconds")]
fn node_hours(start: &Start) -> f64 {
    start.nodes.saturating_mul(start.elapsed_seconds) as f64 / 3600.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The n-th start of a job.
    fn start(job: u64, n: u32) -> Start {
        Start {
            job: JobKey { cluster: "main".into(), job, array_task: None },
            submitted_at: at(900 + i64::from(n)),
            started_at: at(1_000),
            ended_at: Some(at(4_600)),
            nodes: 2,
            elapsed_seconds: 3_600,
        }
    }

    fn ours(job: u64, n: u32) -> OurStart {
        OurStart { run: 1, attempt: n + 1, self_reported: false, start: start(job, n) }
    }

    #[track_caller]
    fn check(ours: &[OurStart], theirs: &[Start], expected: &[&str]) -> Compared {
        let compared = compare(ours, theirs, Period::default());
        let told: Vec<String> = compared
            .differences
            .iter()
            .map(|one| format!("{}: {}", one.job, one.message))
            .collect();
        assert_eq!(told, expected);
        compared
    }

    #[test]
    fn equal_records_have_no_difference() {
        let both = check(&[ours(7, 0), ours(7, 1)], &[start(7, 1), start(7, 0)], &[]);
        assert_eq!((both.starts, both.running), (2, 0));
        assert_eq!(both.node_hours.to_string(), "4");
        assert_eq!(both.accounted_node_hours.to_string(), "4");
    }

    #[test]
    fn every_difference_is_told() {
        let mut longer = start(7, 0);
        (longer.elapsed_seconds, longer.ended_at) = (3_601, Some(at(4_601)));
        let more = Start { nodes: 3, started_at: at(999), ..start(8, 0) };
        let mut told = ours(9, 0);
        told.self_reported = true;
        check(
            &[ours(7, 0), ours(8, 0), told, ours(10, 0)],
            &[longer, more, start(11, 2)],
            &[
                "main:7: ran 3600 s, accounted 3601 s; ended 1970-01-01T01:16:40Z, accounted 1970-01-01T01:16:41Z",
                "main:8: nodes 2, accounted 3; started 1970-01-01T00:16:40Z, accounted 1970-01-01T00:16:39Z",
                "main:9: accounting does not have this start: its script told of it",
                "main:10: accounting does not have this start",
                "main:11: accounting alone has this start",
            ],
        );
    }

    #[test]
    fn what_runs_or_started_at_another_time_is_not_compared() {
        let mut running = ours(7, 0);
        running.start.ended_at = None;
        let compared = check(&[running], &[Start { nodes: 9, ..start(7, 0) }], &[]);
        assert_eq!((compared.starts, compared.running), (0, 1));
        let period = Period { since: Some(at(1_001)), until: None };
        assert_eq!(compare(&[ours(7, 0)], &[], period).differences, []);
        let period = Period { since: Some(at(1_000)), until: Some(at(1_001)) };
        assert_eq!(compare(&[ours(7, 0)], &[], period).differences.len(), 1);
    }
}
