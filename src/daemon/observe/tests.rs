//! Which runs are asked about soon.

use jiff::SignedDuration;

use super::*;
use crate::domain::bad_nodes::Avoided;
use crate::domain::ids::{JobKey, SubmissionId};
use crate::domain::run::{Event, Granted, Phase, Policy, step};
use crate::domain::units::Seconds;

#[test]
fn a_job_that_was_seen_is_not_urgent_although_it_may_be_forgotten() {
    let now = Timestamp::constant(1_790_000_000, 0);
    let (token, cluster, wait) = (Token::from_bits(1), "main".to_owned(), Seconds(10));
    let job = JobKey { cluster: cluster.clone(), job: 7, array_task: None };
    let policy = Policy {
        max_restarts: 0,
        restart_on: Vec::new(),
        restart_exit_codes: Vec::new(),
        warn_before_end: Seconds(0),
        resume: None,
        backoff: wait,
        in_doubt_wait: wait,
        absent_grace: wait,
        stop_patience: wait,
        refused_wait: wait,
        unreachable_wait: wait,
        settled_after: wait,
    };
    let sighting = |age: i64| Sighting {
        job: job.clone(),
        token: token.clone(),
        phase: Phase::Waiting { why: None },
        word: "PENDING".to_owned(),
        restart: 0,
        submitted_at: now.checked_sub(SignedDuration::from_secs(age)).ok(),
        eligible_at: None,
        started_at: None,
        ended_at: None,
        nodes: Vec::new(),
        granted: Granted::default(),
        elapsed_seconds: None,
        digest: None,
    };
    let (submission, avoided) = (SubmissionId(1), Avoided::default());
    let admitted = Event::Admitted { submission, token: token.clone(), cluster, avoided };
    let events = [
        (admitted, true),
        (Event::Acknowledged { job: job.clone(), notices: String::new() }, true),
        (Event::Found(Box::new(sighting(3))), false),
    ];
    let mut run = Run::accepted(RunId(1));
    for (event, expected) in events {
        run = step(&run, &event, &policy, now).run;
        assert_eq!(expects_news(&run), expected, "{event:?}");
    }
    assert!(run.is_provisional());
}
