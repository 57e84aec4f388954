//! What accounting tells of starts, numbered and sorted.

use super::*;
use crate::domain::ids::{SubmissionId, Token};
use crate::ports::Wants;
use crate::slurm::sacct::parse;

const SEER: Seer<'_> =
    Seer { cluster: "main", slurm_cluster: Some("priv"), user: "anna", uid: 1000 };

fn t(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_239_000 + second).unwrap()
}

/// Job 7, as it is known: under this restart count, submitted then.
fn asked(restart: u32, submitted_at: i64) -> Asked {
    Asked {
        submission: SubmissionId(1),
        token: Token::from_bits(1),
        job: Some("main:7".parse().unwrap()),
        intent_at: t(0),
        wants: Wants::News,
        eager: false,
        unseen: false,
        provisional: false,
        restart,
        submitted_at: Some(t(submitted_at)),
        shown: None,
    }
}

/// Records of job 7: a state and when that start was submitted.
fn records(starts: &[(&str, i64)]) -> Vec<Record> {
    let name = format!("42-llama.1.{}", Token::from_bits(1));
    let line = |(state, submit): &(&str, i64)| {
        let at = t(*submit).as_second().to_string();
        let end = t(*submit + 9).as_second().to_string();
        let columns = ["7", "7", state, "0:0", &at, &at, &at, &end, "9", "cpu=1", "p1"];
        let more = ["debug", "normal", "lab", "priv", "anna", "10", &name];
        columns.into_iter().chain(more).collect::<Vec<_>>().join("|n|") + "\n"
    };
    parse(starts.iter().map(line).collect::<String>().as_bytes(), "n").0
}

fn each(records: &[Record]) -> Vec<Cow<'_, Record>> {
    records.iter().map(Cow::Borrowed).collect()
}

/// A record that 20.11 leaves of a start after which another one followed at once: without name, partition and limit.
fn nameless(state: &str, submit: i64) -> Record {
    let [record] = records(&[(state, submit)]).try_into().unwrap();
    let (name, partition) = ("allocation".to_owned(), None);
    Record { name, is_named: false, partition, qos: None, time_limit_seconds: None, ..record }
}

fn short(sightings: &[Sighting]) -> Vec<String> {
    let word = |sighting: &Sighting| match sighting.phase {
        Phase::Ended { end, .. } => format!("{} {end:?}", sighting.restart),
        Phase::Waiting { .. } | Phase::Running | Phase::Unknown => {
            format!("{} goes on", sighting.restart)
        }
    };
    sightings.iter().map(word).collect()
}

#[track_caller]
fn check(known: (u32, i64), starts: &[(&str, i64)], expected: &[&str]) {
    let (restart, submitted_at) = known;
    let found = SEER.in_accounts(&asked(restart, submitted_at), &each(&records(starts)));
    assert_eq!(short(&found), expected, "{known:?} {starts:?}");
}

#[test]
fn what_left_the_queue_ended_as_its_last_record_says() {
    check((0, 0), &[("COMPLETED", 10)], &["0 Completed"]);
    check((0, 10), &[("PREEMPTED", 10), ("COMPLETED", 50)], &["0 Preempted", "1 Completed"]);
    check((0, 10), &[("REQUEUED", 10), ("FAILED", 50)], &["0 Requeued", "1 Failed"]);
    check((1, 50), &[("REQUEUED", 10), ("FAILED", 50)], &["1 Failed"]);
    // It is late, or it will never be ended.
    check((0, 10), &[("RUNNING", 10)], &[]);
    check((0, 10), &[("REQUEUED", 10)], &[]);
    check((0, 10), &[("PREEMPTED", 10), ("RUNNING", 50)], &[]);
    check((0, 0), &[], &[]);
}

#[test]
fn starts_are_numbered_from_the_one_that_is_known() {
    // The record of the first start never came.
    check((1, 50), &[("COMPLETED", 50)], &["1 Completed"]);
    check((1, 50), &[("PREEMPTED", 50), ("COMPLETED", 90)], &["1 Preempted", "2 Completed"]);
    // The record of the known start is not there yet: how the one before ended is no news.
    check((1, 50), &[("PREEMPTED", 10)], &[]);
}

#[test]
fn a_job_that_ended_before_it_was_ever_shown_ended_as_its_record_says() {
    // It was intended at a fraction of the second in which it was submitted, or by a clock that is ahead of Slurm's.
    let unseen = |restart| Asked {
        submitted_at: None,
        intent_at: t(10) + jiff::SignedDuration::from_millis(300),
        ..asked(restart, 0)
    };
    let found =
        |restart, starts| short(&SEER.in_accounts(&unseen(restart), &each(&records(starts))));
    assert_eq!(found(0, &[("COMPLETED", 10)]), ["0 Completed"]);
    assert_eq!(found(0, &[("FAILED", 4)]), ["0 Failed"]);
    let requeued = [("PREEMPTED", 10), ("COMPLETED", 50)];
    assert_eq!(found(0, &requeued), ["0 Preempted", "1 Completed"]);
    // Its script has told of the second start, which nobody had seen.
    assert_eq!(found(1, &requeued), ["1 Completed"]);
    // A record of years before is a broken one, and no start of the job; the clock may have been set in between.
    let years_ago = [("COMPLETED", -9 * 366 * 86_400), ("COMPLETED", 10)];
    assert_eq!(found(0, &years_ago), ["0 Completed"]);
    assert_eq!(found(0, &[("FAILED", -86_400)]), ["0 Failed"]);
}

#[test]
fn a_record_of_some_of_its_nodes_tells_of_none() {
    let of = |tres: &str| {
        let [record] = records(&[("NODE_FAIL", 10)]).try_into().unwrap();
        let record = Record { tres: tres.to_owned(), ..record };
        let found = SEER.in_accounts(&asked(0, 10), &each(&[record]));
        (found[0].nodes.clone(), found[0].started_at)
    };
    assert_eq!(of("cpu=1,node=1"), (vec!["p1".to_owned()], Some(t(10))));
    assert_eq!(of("cpu=4,node=4"), (Vec::new(), Some(t(10))));
}

#[test]
fn what_a_slurmctld_without_a_memory_swept_away_was_not_cancelled() {
    let young = Asked { provisional: true, ..asked(0, 10) };
    let found =
        |asked: &Asked, state| short(&SEER.in_accounts(asked, &each(&records(&[(state, 10)]))));
    assert_eq!(found(&young, "CANCELLED"), Vec::<String>::new());
    assert_eq!(found(&young, "CANCELLED by 0"), ["0 Cancelled"]);
    assert_eq!(found(&young, "COMPLETED"), ["0 Completed"]);
    // It was saved: who swept it away meant it.
    assert_eq!(found(&asked(0, 10), "CANCELLED"), ["0 Cancelled"]);
}

#[test]
fn a_job_that_is_known_to_nobody_yet_is_told_of_in_any_case() {
    let in_doubt = Asked { job: None, ..asked(0, 0) };
    let found = |starts| short(&SEER.in_accounts(&in_doubt, &each(&records(starts))));
    assert_eq!(found(&[("RUNNING", 10)]), ["0 goes on"]);
    assert_eq!(found(&[("REQUEUED", 10), ("PENDING", 50)]), ["0 Requeued", "1 goes on"]);
}

#[test]
fn the_starts_before_a_requeued_one_are_told_by_its_submit() {
    let now = |restart, submit| {
        let in_doubt = Asked { job: None, ..asked(0, 0) };
        let shown = SEER.in_accounts(&in_doubt, &each(&records(&[("RUNNING", submit)])));
        Sighting { restart, ..shown.into_iter().next().unwrap() }
    };
    let before = |known, now: &Sighting, starts| {
        short(&SEER.before(&asked(known, 10), now, &each(&records(starts))))
    };
    let requeued = now(1, 50);
    assert_eq!(before(0, &requeued, &[("NODE_FAIL", 10), ("RUNNING", 50)]), ["0 NodeFailure"]);
    assert_eq!(before(0, &requeued, &[("REQUEUED", 10)]), ["0 Requeued"]);
    // Its own record is none of a start before, whatever is missing.
    assert_eq!(before(0, &requeued, &[("COMPLETED", 50)]), Vec::<String>::new());
    let thrice = now(2, 90);
    let starts = [("PREEMPTED", 10), ("NODE_FAIL", 50), ("RUNNING", 90)];
    assert_eq!(before(0, &thrice, &starts), ["0 Preempted", "1 NodeFailure"]);
    assert_eq!(before(0, &thrice, &starts[1..]), ["1 NodeFailure"]);
    assert_eq!(before(1, &thrice, &starts), ["1 NodeFailure"]);
}

#[test]
fn a_record_without_a_name_counts_for_the_very_start_that_is_known() {
    let [mut requeued] = SEER
        .in_accounts(&Asked { job: None, ..asked(0, 0) }, &each(&records(&[("RUNNING", 50)])))
        .try_into()
        .unwrap();
    requeued.restart = 1;
    let told = |asked: &Asked, submit| {
        let records = [nameless("NODE_FAIL", submit), records(&[("RUNNING", 50)]).remove(0)];
        short(&SEER.before(asked, &requeued, &each(&records)))
    };
    assert_eq!(told(&asked(0, 10), 10), ["0 NodeFailure"]);
    // Another second, another id, or none that is known: it may be anybody's.
    assert_eq!(told(&asked(0, 10), 11), Vec::<String>::new());
    let other = Some("main:8".parse().unwrap());
    assert_eq!(told(&Asked { job: other, ..asked(0, 10) }, 10), Vec::<String>::new());
    assert_eq!(told(&Asked { job: None, ..asked(0, 10) }, 10), Vec::<String>::new());
    // What it does not say stays as it is known.
    let known = SEER.in_accounts(&asked(0, 10), &each(&[nameless("NODE_FAIL", 10)]));
    assert_eq!(
        (short(&known), &known[0].granted.partition),
        (vec!["0 NodeFailure".to_owned()], &None)
    );
}
