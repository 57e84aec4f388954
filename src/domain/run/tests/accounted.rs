//! What accounting says when a run is over.

use crate::domain::ids::SubmissionId;
use crate::domain::run::tests::{ended, t};
use crate::domain::run::{Attempt, AttemptState, JobEnd, Sighting, settle};

/// The attempt of a start that was submitted then, and ran until the script said that it was over.
fn attempt(restart: u32, submitted: i64) -> Attempt {
    let job = "main:7".parse().unwrap();
    Attempt {
        state: AttemptState::Completed,
        started_at: Some(t(submitted + 1)),
        ended_at: Some(t(submitted + 10)),
        ..Attempt::new(restart + 1, SubmissionId(1), restart, job, t(submitted))
    }
}

/// The record of a start that was submitted then.
fn record(restart: u32, submitted: i64, elapsed: u64) -> Sighting {
    Sighting {
        restart,
        submitted_at: Some(t(submitted)),
        eligible_at: Some(t(submitted)),
        started_at: Some(t(submitted + 2)),
        ended_at: Some(t(submitted + 12)),
        elapsed_seconds: Some(elapsed),
        ..*ended(JobEnd::Failed, 1)
    }
}

#[test]
fn each_attempt_gets_the_times_of_its_own_start_and_keeps_its_end() {
    let attempts = [attempt(0, 100), attempt(1, 200)];
    let settled = settle(&attempts, &[record(0, 100, 10), record(1, 200, 7)]);
    let times = |attempt: &Attempt| (attempt.started_at, attempt.ended_at, attempt.elapsed_seconds);
    assert_eq!(times(&settled[0]), (Some(t(102)), Some(t(112)), Some(10)));
    assert_eq!(times(&settled[1]), (Some(t(202)), Some(t(212)), Some(7)));
    assert_eq!(settled[1].state, AttemptState::Completed);
    assert_eq!(settle(&settled, &[record(0, 100, 10), record(1, 200, 7)]), settled);
}

#[test]
fn a_start_is_known_by_its_submit_first_and_else_by_its_count() {
    // The record of the first start never came: the second one is counted as the first.
    let settled = settle(&[attempt(0, 100), attempt(1, 200)], &[record(0, 200, 7)]);
    assert_eq!(settled.iter().map(|a| a.elapsed_seconds).collect::<Vec<_>>(), [None, Some(7)]);
    // Only the script told of this one: its moment is not the one that Slurm calls Submit.
    let settled = settle(&[attempt(0, 104)], &[record(0, 100, 7)]);
    assert_eq!((settled[0].elapsed_seconds, settled[0].submitted_at), (Some(7), t(100)));
}

#[test]
fn what_accounting_does_not_know_stays() {
    let known = attempt(0, 100);
    let same = |record: &[Sighting]| {
        settle(std::slice::from_ref(&known), record) == std::slice::from_ref(&known)
    };
    assert!(same(&[]));
    let open = Sighting { elapsed_seconds: None, ..record(0, 100, 0) };
    assert!(same(&[open]));
    let other = Sighting { job: "main:8".parse().unwrap(), ..record(0, 100, 9) };
    assert!(same(&[other]));
    // It is said never to have run, and its script has told of its end.
    let ran = Attempt { self_reported: true, ..known };
    let swept = Sighting { started_at: None, ..record(0, 100, 0) };
    assert_eq!(settle(std::slice::from_ref(&ran), &[swept])[0].elapsed_seconds, None);
}
