//! What a decision about a run means for what is held for its starts.

use crate::domain::ids::RunId;
use crate::domain::ledger::{Account, Amount, Balance, Entry, Kind, StartId, TRAINYARD};
use crate::domain::run::{Attempt, AttemptState, Decision, Reason, Run};

/// What the ledger knows of one start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub start: StartId,
    pub account: Account,
    pub held: Amount,
    pub captured: Amount,
    pub is_captured: bool,
    /// An attempt of it is recorded.
    pub has_attempt: bool,
}

/// The entries that belong into the transaction of a decision: for each start that is over, what it did cost and the rest
/// of what was held for it. `known` are the starts of the run that the ledger knows.
pub fn settle(
    known: &[Known],
    decision: &Decision,
    cost: impl Fn(&Account, &Attempt) -> Amount,
) -> Vec<Entry> {
    let run = &decision.run;
    let mut entries = Vec::new();
    let attempts = || decision.closed.iter().chain(&run.attempt);
    for attempt in attempts().filter(|attempt| is_over(attempt, run) && !keeps_hold(attempt, run)) {
        for known in known_of(known, StartId::of(attempt)) {
            let cost = cost(&known.account, attempt);
            entries.extend(paid(&known, run.id, attempt, cost));
        }
    }
    for known in known.iter().filter(|known| known.held > Amount::ZERO && !known.has_attempt) {
        let is_told = attempts().any(|attempt| StartId::of(attempt) == known.start);
        if !is_told && !goes_on(known.start, run) {
            let why = "given up before it started";
            entries.push(known.release(run.id, known.held, (TRAINYARD, why)));
        }
    }
    entries
}

/// What gives back what is held for starts of a run that nobody waits for: those that were lost.
pub fn given_back(known: &[Known], run: &Run, who: &str) -> Vec<Entry> {
    let held = known.iter().filter(|known| known.held > Amount::ZERO && !goes_on(known.start, run));
    held.map(|known| known.release(run.id, known.held, (who, "given back by hand"))).collect()
}

/// The start in each account that it is in. A restart may have come and gone unseen: nothing is held for it, and what it did
/// cost is due all the same, where the first start of its submission is. What is from before the first start that was held,
/// is from before its project had a budget: nothing is due for that.
fn known_of(known: &[Known], start: StartId) -> Vec<Known> {
    let of = |start: StartId| known.iter().filter(move |known| known.start == start);
    if of(start).next().is_some() {
        return of(start).cloned().collect();
    }
    let of_submission = known.iter().filter(|known| known.start.submission == start.submission);
    let first = of_submission.map(|known| known.start).min().filter(|first| *first < start);
    let none = Amount::ZERO;
    let unheld = |first: &Known| Known {
        start,
        account: first.account.clone(),
        held: none,
        captured: none,
        is_captured: false,
        has_attempt: true,
    };
    first.into_iter().flat_map(of).map(unheld).collect()
}

/// What a start that is over did cost, and the rest of what was held for it; or in what that differs from what is entered.
fn paid(known: &Known, run: RunId, attempt: &Attempt, cost: Amount) -> Vec<Entry> {
    if known.is_captured {
        let adds = Balance { captured: cost.less(known.captured), ..Balance::default() };
        let why = "what the scheduler records of it changed";
        let adjustment = known.entry(run, Kind::Adjustment, adds, (TRAINYARD, why));
        // Until it is known when it ended, what it cost is no news.
        let is_news = attempt.ended_at.is_some() && cost != known.captured;
        return if is_news { vec![adjustment] } else { Vec::new() };
    }
    let taken = known.held.min(cost);
    let rest = known.held.less(taken);
    let why = format!("attempt {} is over", attempt.n);
    let adds = Balance { captured: cost, held: Amount::ZERO.less(taken), ..Balance::default() };
    let mut entries = vec![known.entry(run, Kind::Capture, adds, (TRAINYARD, &why))];
    if rest > Amount::ZERO {
        entries.push(known.release(run, rest, (TRAINYARD, &why)));
    }
    entries
}

impl Known {
    fn entry(&self, run: RunId, kind: Kind, adds: Balance, (who, why): (&str, &str)) -> Entry {
        Entry {
            account: self.account.clone(),
            kind,
            adds,
            of: Some((run, self.start)),
            who: who.to_owned(),
            why: why.to_owned(),
        }
    }

    fn release(&self, run: RunId, amount: Amount, by: (&str, &str)) -> Entry {
        let adds = Balance { held: Amount::ZERO.less(amount), ..Balance::default() };
        self.entry(run, Kind::Release, adds, by)
    }
}

/// Whether a start may still cost something: it is the one that the run waits for.
fn goes_on(start: StartId, run: &Run) -> bool {
    let is_current = run.submission.as_ref().is_some_and(|known| known.id == start.submission);
    is_current && run.state.depends_on_scheduler() && start.restart >= run.known_restart()
}

fn is_over(attempt: &Attempt, run: &Run) -> bool {
    match attempt.state {
        AttemptState::Completed
        | AttemptState::Failed
        | AttemptState::Cancelled
        | AttemptState::Requeued => true,
        AttemptState::Queued | AttemptState::Running | AttemptState::Finishing => {
            !goes_on(StartId::of(attempt), run)
        }
    }
}

/// Whether nobody knows what a start did cost, or whether its job is over at all: it was lost after it had started. Where it
/// was given up before that, its submission is not the run's any more. Accounting may tell later.
fn keeps_hold(attempt: &Attempt, run: &Run) -> bool {
    let is_current = run.submission.as_ref().is_some_and(|known| known.id == attempt.submission);
    let is_lost = attempt.reason == Some(Reason::Lost) && attempt.elapsed_seconds.is_none();
    is_lost && (attempt.started_at.is_some() || is_current)
}
