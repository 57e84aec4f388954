//! The ledger: entries in any order come to the balance, and every start of a run is paid for once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use crate::domain::bad_nodes::Avoided;
use crate::domain::ids::{JobKey, RunId, SubmissionId, Token};
use crate::domain::ledger::{
    Account, Amount, Asked, Balance, Entry, Funds, Kind, Known, OnExhausted, Period, Share,
    StartId, balance, given_back, settle,
};
use crate::domain::run::{
    Attempt, AttemptState, Decision, End, Ending, Event, Policy, Reason, Run, State, step,
};
use crate::domain::units::Seconds;

fn units(units: i64) -> Amount {
    Amount::of_micros(units * 1_000_000)
}

#[test]
fn amounts_are_whole_millionths_within_bounds() {
    #[track_caller]
    fn check(units: f64, expected: Option<&str>) {
        let amount = Amount::of_units(units).map(|amount| amount.to_string());
        assert_eq!(amount.as_deref(), expected, "{units}");
    }
    check(0.0, Some("0"));
    check(0.1 + 0.2, Some("0.3"));
    check(12.5, Some("12.5"));
    check(5000.0, Some("5000"));
    check(0.000_000_4, Some("0"));
    check(1e9, Some("1000000000"));
    for wrong in [-0.1, 1.1e9, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        check(wrong, None);
    }
    assert_eq!(units(1).less(Amount::of_micros(1_500_000)).to_string(), "-0.5");
    assert_eq!(Amount::of_micros(i64::MAX).plus(Amount::of_micros(1)), None);
    assert_eq!(Amount::clamped(1e300), units(1_000_000_000));
}

#[test]
fn periods_are_those_of_the_calendar_in_utc() {
    #[track_caller]
    fn check(at: &str, month: &str, quarter: &str, year: &str) {
        let at: Timestamp = at.parse().unwrap();
        let labels = [Period::Month, Period::Quarter, Period::Year].map(|period| period.label(at));
        assert_eq!(labels, [month, quarter, year], "{at}");
        assert_eq!(Period::None.label(at), "none");
    }
    check("2026-01-01T00:00:00Z", "2026-01", "2026-Q1", "2026");
    check("2026-03-31T23:59:59Z", "2026-03", "2026-Q1", "2026");
    check("2026-04-01T00:30:00+02:00", "2026-03", "2026-Q1", "2026");
    check("2026-12-31T23:59:59.9Z", "2026-12", "2026-Q4", "2026");
}

fn account(n: u8) -> Account {
    Account { project: format!("p{n}"), period: "2026".into() }
}

fn start(submission: i64, restart: u32) -> StartId {
    StartId { submission: SubmissionId(submission), idx: 0, restart }
}

fn held(start: StartId, held: Amount) -> Known {
    Known {
        start,
        account: account(0),
        held,
        captured: Amount::ZERO,
        is_captured: false,
        has_attempt: false,
    }
}

/// A run whose job was accepted as submission 1.
fn queued() -> Run {
    let policy = Policy {
        max_restarts: 3,
        restart_on: Vec::new(),
        restart_exit_codes: Vec::new(),
        warn_before_end: Seconds(0),
        resume: None,
        backoff: Seconds(10),
        in_doubt_wait: Seconds(2),
        absent_grace: Seconds(5),
        stop_patience: Seconds(30),
        refused_wait: Seconds(60),
        unreachable_wait: Seconds(10),
        settled_after: Seconds(10),
    };
    let admitted = Event::Admitted {
        submission: SubmissionId(1),
        token: Token::from_bits(1),
        cluster: "main".into(),
        avoided: Avoided::default(),
    };
    let job = JobKey { cluster: "main".into(), job: 7, array_task: None };
    let events = [admitted, Event::Acknowledged { job, notices: String::new() }];
    events.iter().fold(Run::accepted(RunId(1)), |run, event| {
        step(&run, event, &policy, Timestamp::UNIX_EPOCH).run
    })
}

fn over(state: AttemptState, reason: Option<Reason>) -> Run {
    let mut run = queued();
    let attempt = run.attempt.as_mut().unwrap();
    (attempt.state, attempt.reason) = (state, reason);
    attempt.started_at = Some(Timestamp::UNIX_EPOCH);
    attempt.ended_at = attempt.started_at;
    let end =
        End { ending: Ending::Failed, reason, message: String::new(), at: Timestamp::UNIX_EPOCH };
    run.state = State::Final { end };
    run
}

/// What is entered when this is decided, as `kind captured held`.
fn entered(known: &[Known], decision: &Decision, cost: i64) -> Vec<String> {
    let entries = settle(known, decision, |_, _| units(cost));
    let shown = |entry: &Entry| {
        let Balance { captured, held, .. } = entry.adds;
        format!("{} {captured} {held}", entry.kind)
    };
    entries.iter().map(shown).collect()
}

#[test]
fn a_start_that_is_over_takes_what_it_cost_and_gives_back_the_rest() {
    let end = Decision::stay(&over(AttemptState::Completed, None));
    let known = [held(start(1, 0), units(10))];
    assert_eq!(entered(&known, &end, 3), ["capture 3 -3", "release 0 -7"]);
    assert_eq!(entered(&known, &end, 10), ["capture 10 -10"]);
    assert_eq!(entered(&known, &end, 12), ["capture 12 -10"], "it ran beyond its limit");
    assert_eq!(entered(&known, &end, 0), ["capture 0 0", "release 0 -10"]);
    assert_eq!(entered(&[], &end, 3), [""; 0], "nothing was held for it: it is of no project");
    let captured = |units_of| Known {
        is_captured: true,
        captured: units(units_of),
        ..held(start(1, 0), Amount::ZERO)
    };
    assert_eq!(entered(&[captured(3)], &end, 3), [""; 0], "once");
    assert_eq!(entered(&[captured(3)], &end, 5), ["adjustment 2 0"]);
    assert_eq!(entered(&[captured(3)], &end, 1), ["adjustment -2 0"]);
    let mut endless = end.clone();
    endless.run.attempt.as_mut().unwrap().ended_at = None;
    assert_eq!(entered(&[captured(3)], &endless, 5), [""; 0], "nobody knows when it ended");
}

#[test]
fn a_start_that_goes_on_keeps_what_is_held_for_it() {
    let known = [held(start(1, 0), units(10))];
    assert_eq!(entered(&known, &Decision::stay(&queued()), 3), [""; 0]);
    let mut submitting = queued();
    submitting.attempt = None;
    assert_eq!(entered(&known, &Decision::stay(&submitting), 3), [""; 0]);
}

#[test]
fn what_was_held_for_a_start_that_never_came_is_given_back() {
    let known = [held(start(1, 0), units(10))];
    let mut given_up = queued();
    given_up.attempt = None;
    given_up.state = State::Pending { why: None, not_before: None };
    assert_eq!(entered(&known, &Decision::stay(&given_up), 3), ["release 0 -10"]);
    // The next submission has a hold of its own.
    given_up.submission.as_mut().unwrap().id = SubmissionId(2);
    given_up.state = queued().state;
    let both = [known[0].clone(), held(start(2, 0), units(10))];
    assert_eq!(entered(&both, &Decision::stay(&given_up), 3), ["release 0 -10"]);
}

#[test]
fn each_start_of_a_job_that_was_requeued_is_paid_for() {
    let mut run = queued();
    let attempt = |restart, state| Attempt { restart, state, ..queued().attempt.unwrap() };
    run.attempt = Some(attempt(2, AttemptState::Queued));
    let mut decision = Decision::stay(&run);
    decision.closed = vec![attempt(0, AttemptState::Requeued), attempt(1, AttemptState::Requeued)];
    let known = [held(start(1, 0), units(10))];
    // Nobody had seen the second before it was over.
    assert_eq!(entered(&known, &decision, 3), ["capture 3 -3", "release 0 -7", "capture 3 0"]);
}

#[test]
fn what_started_before_there_was_a_budget_is_not_paid_for_later() {
    let attempt = |restart, state| Attempt { restart, state, ..queued().attempt.unwrap() };
    let mut run = queued();
    run.attempt = Some(attempt(3, AttemptState::Queued));
    let mut decision = Decision::stay(&run);
    decision.closed = [0, 1, 2].map(|n| attempt(n, AttemptState::Requeued)).to_vec();
    // The budget came when the second start was under way, and nobody had seen the third before it was over.
    let known = [held(start(1, 3), units(10)), held(start(1, 1), units(10))];
    assert_eq!(entered(&known, &decision, 3), ["capture 3 -3", "release 0 -7", "capture 3 0"]);
}

#[test]
fn a_start_that_was_lost_keeps_what_is_held_for_it() {
    let lost = over(AttemptState::Failed, Some(Reason::Lost));
    let known = [held(start(1, 0), units(10))];
    assert_eq!(entered(&known, &Decision::stay(&lost), 3), [""; 0]);
    // Also when the run has gone on since.
    let mut resumed = Decision::stay(&lost);
    resumed.closed.extend(resumed.run.attempt.take());
    resumed.run.submission = None;
    resumed.run.state = State::Pending { why: None, not_before: None };
    assert_eq!(entered(&known, &resumed, 3), [""; 0]);
    let later = [Known { has_attempt: true, ..known[0].clone() }];
    resumed.closed.clear();
    assert_eq!(entered(&later, &resumed, 3), [""; 0]);
    // An administrator gives it back; what is held for a start that goes on is not theirs to give.
    let by_hand = given_back(&later, &lost, "root");
    assert_eq!((by_hand.len(), by_hand[0].who.as_str()), (1, "root"));
    assert_eq!(by_hand[0].amount(), units(10));
    assert_eq!(given_back(&known, &queued(), "root"), []);
    // A record of it appears after all.
    let mut found = Decision::stay(&lost);
    found.run.attempt.as_mut().unwrap().elapsed_seconds = Some(3);
    assert_eq!(entered(&later, &found, 3), ["capture 3 -3", "release 0 -7"]);
}

/// Something that happens to one of many starts: what, which, and how much of it.
type Happening = (u8, i64, i64);

/// What entries come to, kept as the database keeps it, and what is known of each start.
#[derive(Default)]
struct Books {
    entries: Vec<Entry>,
    balances: BTreeMap<Account, Balance>,
    known: BTreeMap<StartId, Known>,
    /// What should be spent and held, by a count of its own.
    expected: BTreeMap<StartId, (Amount, Amount)>,
}

impl Books {
    fn enter(&mut self, entry: Entry) {
        let balance = self.balances.entry(entry.account.clone()).or_default();
        *balance = balance.plus(entry.adds).unwrap();
        if let Some((_, start)) = entry.of {
            let known = self.known.entry(start).or_insert_with(|| Known {
                account: entry.account.clone(),
                ..held(start, Amount::ZERO)
            });
            known.held = known.held.plus(entry.adds.held).unwrap();
            known.captured = known.captured.plus(entry.adds.captured).unwrap();
            known.is_captured |= entry.kind == Kind::Capture;
        }
        self.entries.push(entry);
    }

    fn enter_all(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            self.enter(entry);
        }
    }

    fn happens(&mut self, (what, which, amount): Happening) {
        let id = start(which, 0);
        let of = account(u8::try_from(which % 3).unwrap());
        let amount = Amount::of_micros(amount);
        let known = self.known.get(&id).cloned();
        match (what, known) {
            (0, _) => {
                let before = self.balances.get(&of).copied().unwrap_or_default().budget;
                self.enter_all(Entry::grant(&of, before, amount));
                assert_eq!(self.balances.get(&of).copied().unwrap_or_default().budget, amount);
            }
            (1, None) => {
                let asked = Asked {
                    shares: vec![Share {
                        account: of,
                        amount,
                        budget: Funds::Granted(Amount::ZERO),
                    }],
                    on_exhausted: OnExhausted::Warn,
                    what: String::new(),
                    unknown: None,
                };
                self.enter_all(Entry::holds(&asked, (RunId(which), id), "ada"));
                self.expected.insert(id, (amount, Amount::ZERO));
            }
            // It ends, or what it cost becomes known better.
            (2, Some(known)) if known.is_captured || known.held > Amount::ZERO => {
                let mut run = over(AttemptState::Completed, None);
                run.attempt.as_mut().unwrap().submission = SubmissionId(which);
                self.enter_all(settle(&[known], &Decision::stay(&run), |_, _| amount));
                self.expected.insert(id, (Amount::ZERO, amount));
            }
            (3, Some(known)) if !known.is_captured => {
                let run = Run::accepted(RunId(which));
                self.enter_all(settle(&[known], &Decision::stay(&run), |_, _| amount));
                self.expected.insert(id, (Amount::ZERO, Amount::ZERO));
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    /// After 10,000 of anything each account has what its starts hold and did cost, and its entries, from the first on,
    /// come to the same.
    #[test]
    fn entries_come_to_the_balance(
        all in prop::collection::vec((0..4_u8, 0..2_000_i64, 0..1_000_000_000_000_i64), 10_000)
    ) {
        let mut books = Books::default();
        for happening in all {
            books.happens(happening);
        }
        for n in 0..3 {
            let of = account(n);
            let kept = books.balances.get(&of).copied().unwrap_or_default();
            let again = balance(books.entries.iter().filter(|entry| entry.account == of));
            prop_assert_eq!(again, Some(kept));
            let own = books.expected.iter().filter(|(id, _)| id.submission.0 % 3 == i64::from(n));
            let (held, captured) = own.fold((0, 0), |(held, captured), (_, expected)| {
                (held + expected.0.micros(), captured + expected.1.micros())
            });
            prop_assert_eq!((kept.held.micros(), kept.captured.micros()), (held, captured));
        }
        prop_assert!(books.entries.len() > 2_000, "{}", books.entries.len());
    }
}
