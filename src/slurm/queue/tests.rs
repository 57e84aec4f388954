//! What is told of submissions and of the elements of arrays.

use super::*;
use crate::domain::ids::SubmissionId;

const SEER: Seer<'_> =
    Seer { cluster: "main", slurm_cluster: Some("priv"), user: "anna", uid: 1000 };

fn t(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_239_000 + second).unwrap()
}

fn asked(n: u64, shown: Option<Digest>) -> Asked {
    Asked {
        submission: SubmissionId(i64::try_from(n).unwrap()),
        token: Token::from_bits(n.into()),
        job: None,
        intent_at: t(0),
        wants: Wants::News,
        eager: false,
        unseen: false,
        provisional: false,
        restart: 0,
        submitted_at: Some(t(0)),
        shown,
    }
}

/// The row of a job whose name ends with the n-th token; `start` is when it started, or is expected to.
fn row(n: u64, state: &str, start: i64, nodes: &str) -> String {
    let (at, start) = (t(0).as_second(), t(start).as_second());
    let end = start + 600;
    let columns = format!("{at}|{at}|{start}|{end}|{nodes}|cpu=1|10:00|debug|normal|lab|1000|priv");
    let name = format!("4{n}-llama.1.{}", Token::from_bits(n.into()));
    format!("{n}|n0nce|{n}|N/A|{state}|0|0|{columns}|n0nce|None|n0nce|{name}|n0nce|\n")
}

/// What is told of the submissions: shown `+`, unchanged `=`, unsure `?`, missing `-`.
fn told(asked: &[Asked], text: &str) -> String {
    let LookAnswer::Seen { sightings, unchanged, unsure, .. } =
        Queue::of(asked, &SEER, text, "n0nce").alone()
    else {
        panic!("it was seen")
    };
    let sign = |asked: &Asked| {
        let is_shown = sightings.iter().any(|sighting| sighting.token == asked.token);
        let (same, open) = (unchanged.contains(&asked.token), unsure.contains(&asked.token));
        match (is_shown, same, open) {
            (true, false, false) => '+',
            (false, true, false) => '=',
            (false, false, true) => '?',
            (false, false, false) => '-',
            _ => panic!("it is told twice"),
        }
    };
    asked.iter().map(sign).collect()
}

fn digest_of(text: &str) -> Option<Digest> {
    let answer = Queue::of(&[asked(1, None)], &SEER, text, "n0nce").alone();
    let LookAnswer::Seen { sightings, .. } = answer else { panic!("it was seen") };
    sightings[0].digest
}

#[test]
fn a_job_that_completes_is_not_taken_for_one_on_the_nodes_that_it_still_has() {
    let seen = |nodes: &str| {
        let text = row(1, "COMPLETING", 10, nodes).replace("cpu=1", "cpu=2,node=2");
        let answer = Queue::of(&[asked(1, None)], &SEER, &text, "n0nce").alone();
        let LookAnswer::Seen { sightings, .. } = answer else { panic!("it was seen") };
        (sightings[0].nodes.clone(), sightings[0].started_at)
    };
    assert_eq!(seen("n[1-2]"), (vec!["n1".to_owned(), "n2".to_owned()], Some(t(10))));
    assert_eq!(seen("n2"), (Vec::new(), Some(t(10))));
}

#[test]
fn only_what_differs_from_what_was_shown_last_is_told() {
    let running = row(1, "RUNNING", 10, "n1");
    let known = digest_of(&running);
    let text = [row(3, "RUNNING", 10, "n1"), running.clone(), row(2, "PENDING", 90, "")].concat();
    let three = |first| [asked(1, first), asked(2, None), asked(4, None)];
    assert_eq!(told(&three(known), &text), "=+-");
    assert_eq!(told(&three(None), &text), "++-");
    assert_eq!(told(&three(known), &text.replace("|RUNNING|0|", "|COMPLETING|0|")), "++-");
    // One column less, as after a release that does not know it, and a line that breaks off.
    let cut = text.replace("|debug|normal|lab|", "|debug|lab|");
    assert_eq!(told(&three(known), &cut), "??-");
    let last = Token::from_bits(2);
    let endless = text.replace(&format!("{last}|n0nce|"), last.as_str());
    assert_eq!(told(&three(known), &endless), "=+-", "the name may go on in another line");
}

#[test]
fn a_record_without_a_name_reaches_the_submission_whose_job_it_is_of() {
    let at = t(0).as_second();
    let text = format!(
        "1|n|1|n|NODE_FAIL|n|0:0|n|{at}|n|{at}|n|{at}|n|{at}|n|0|n||n|n1|n||n|Unknown|n|lab|n|priv|n|anna|n||n|allocation\n"
    )
    .replace("|n|", "|nonce|");
    let (records, _) = crate::slurm::sacct::parse(text.as_bytes(), "nonce");
    let job = "main:1".parse().ok();
    let both = [Asked { job, ..asked(1, None) }, asked(2, None)];
    let answer = Queue::of(&both, &SEER, "", "n0nce").with(&records, &SEER, t(9));
    let LookAnswer::Seen { sightings, .. } = answer else { panic!("it was seen") };
    let tokens: Vec<&Token> = sightings.iter().map(|sighting| &sighting.token).collect();
    assert_eq!(tokens, [&both[0].token]);
}

#[test]
fn of_what_is_over_accounting_alone_is_asked() {
    let job = "main:1".parse().ok();
    let over = [Asked { job, wants: Wants::Accounts, ..asked(1, None) }];
    let shown = row(1, "COMPLETED", 10, "n1");
    assert_eq!(Queue::of(&over, &SEER, &shown, "n0nce").questions("anna", t(9)).len(), 1);
    assert_eq!(told(&over, &shown), "-");
}

#[test]
fn a_second_job_of_a_submission_makes_both_of_them_news() {
    let running = row(1, "RUNNING", 10, "n1");
    let twin = running.replace("1|n0nce|1|", "9|n0nce|9|");
    assert_eq!(told(&[asked(1, digest_of(&running))], &[running, twin].concat()), "+");
}

#[test]
fn when_a_job_is_expected_to_start_is_no_news_and_when_it_started_is() {
    let (soon, late) = (row(1, "PENDING", 90, ""), row(1, "PENDING", 700, ""));
    assert_eq!(digest_of(&soon), digest_of(&late));
    let (first, second) = (row(1, "RUNNING", 90, "n1"), row(1, "RUNNING", 91, "n1"));
    assert_ne!(digest_of(&first), digest_of(&second));
    let why = soon.replace("|None|", "|Resources|");
    assert_ne!(digest_of(&soon), digest_of(&why));
    // Another nonce, the same row.
    assert_eq!(
        squeue::lines(&soon.replace("n0nce", "other"), "other").next().map(|line| match line {
            Line::Row(printed) => Some(printed.digest()),
            Line::Broken { .. } | Line::Foreign => None,
        }),
        Some(digest_of(&soon))
    );
}

/// Elements 0 to 3 of the array whose token is the n-th.
fn elements(n: u64, shown: Option<Digest>) -> Vec<Asked> {
    let of = |index| Asked { token: Token::from_bits(n.into()).element(index), ..asked(n, shown) };
    (0..4).map(of).collect()
}

/// The row of a task of the first array, or of several.
fn task(raw: u64, task: &str, state: &str) -> String {
    row(1, state, 10, if state == "PENDING" { "" } else { "n1" }).replacen(
        "1|n0nce|1|N/A|",
        &format!("{raw}|n0nce|1|{task}|"),
        1,
    )
}

#[test]
fn each_element_of_an_array_has_its_own_row_or_its_place_in_that_of_those_that_wait() {
    let text = task(1, "2-9%2", "PENDING") + &task(12, "0", "RUNNING");
    let asked = elements(1, None);
    assert_eq!(told(&asked, &text), "+-++");
    let LookAnswer::Seen { sightings, .. } = Queue::of(&asked, &SEER, &text, "n0nce").alone()
    else {
        panic!("it was seen")
    };
    let jobs: Vec<String> = sightings.iter().map(|shown| shown.job.to_string()).collect();
    assert_eq!(jobs, ["main:1_0", "main:1_2", "main:1_3"]);
    // One that is asked for as a whole is none of them, and a row that cannot be read may be any of them.
    assert_eq!(told(&elements(2, None), &text), "----");
    assert_eq!(told(&asked, &text.replace("|debug|normal|lab|", "|debug|lab|")), "?-??");
    assert_eq!(told(&asked, &task(1, "2,...", "PENDING")), "????");
    // What is left of it once those that waited were cancelled says nothing of which those were: accounting does.
    let rest = task(1, "N/A", "CANCELLED") + &task(12, "0", "RUNNING");
    assert_eq!(told(&asked, &rest), "++++");
    let answer = Queue::of(&asked, &SEER, &rest, "n0nce").with(&[], &SEER, t(9));
    let LookAnswer::Seen { sightings, .. } = answer else { panic!("it was seen") };
    assert_eq!(sightings.len(), 1);
    let answer = Queue::of(&asked, &SEER, &rest, "n0nce").alone();
    let LookAnswer::Seen { sightings, .. } = answer else { panic!("it was seen") };
    assert_eq!(sightings[3].job.to_string(), "main:1_3");
}

#[test]
fn that_others_have_left_the_row_is_no_news_to_those_that_still_wait() {
    let digest = |text: &str| {
        let answer = Queue::of(&elements(1, None), &SEER, text, "n0nce").alone();
        let LookAnswer::Seen { sightings, .. } = answer else { panic!("it was seen") };
        sightings[0].digest
    };
    let known = digest(&task(1, "0-9%2", "PENDING"));
    let text = task(7, "2-9%4", "PENDING") + &task(1, "0", "RUNNING");
    assert_eq!(told(&elements(1, known), &text), "+-==");
}

#[test]
fn tasks_that_never_started_are_found_in_the_record_that_they_share() {
    let at = t(5).as_second();
    let name = format!("42-lr@0.1.{}", Token::from_bits(1));
    let line = |shown: &str, state: &str, end: &str| {
        let columns = ["1", shown, state, "0:0"].join("|n|");
        let nodes = if shown == "1_0" { "n1" } else { "None assigned" };
        format!(
            "{columns}|n|{at}|n|{at}|n|{at}|n|{end}|n|0|n||n|{nodes}|n|debug|n|normal|n|lab|n|priv|n|anna|n|10|n|{name}\n"
        )
    };
    let over = at.to_string();
    let text = [
        line("1_0", "FAILED", &over),
        line("1_[1,3-9%2]", "CANCELLED by 7", &over),
        line("1_[2]", "PENDING", "Unknown"),
    ];
    let asked = elements(1, None);
    let told = |text: &str| -> Vec<String> {
        let (records, _) = crate::slurm::sacct::parse(text.as_bytes(), "n");
        let answer = Queue::of(&asked, &SEER, "", "n0nce").with(&records, &SEER, t(9));
        let LookAnswer::Seen { sightings, .. } = answer else { panic!("it was seen") };
        let short = |word: &str| word.split(' ').next().unwrap_or_default().to_owned();
        sightings.iter().map(|shown| format!("{} {}", shown.job, short(&shown.word))).collect()
    };
    let some = ["main:1_0 FAILED", "main:1_1 CANCELLED", "main:1_3 CANCELLED"];
    assert_eq!(told(&text.concat()), some);
    // Later it does not say any more which they were.
    let rest = line("1_0", "FAILED", &over) + &line("1", "CANCELLED by 7", &over);
    let all = ["main:1_0 FAILED", "main:1_1 CANCELLED", "main:1_2 CANCELLED", "main:1_3 CANCELLED"];
    assert_eq!(told(&rest), all);
}

#[test]
fn tasks_are_asked_about_as_their_array() {
    let tasks = |max: u32| -> Vec<JobKey> {
        (0..max)
            .map(|task| JobKey { cluster: "main".into(), job: 1, array_task: Some(task) })
            .collect()
    };
    assert_eq!(sacct::in_short(tasks(30).into_iter()), ["main:1".parse().unwrap()]);
}
