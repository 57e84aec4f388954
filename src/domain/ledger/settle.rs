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
    cost: impl Fn(&Attempt) -> Amount,
) -> Vec<Entry> {
    let run = &decision.run;
    let mut entries = Vec::new();
    let attempts = || decision.closed.iter().chain(&run.attempt);
    for attempt in attempts().filter(|attempt| is_over(attempt, run) && !keeps_hold(attempt, run)) {
        let start = start_of(attempt);
        let of_start = known.iter().find(|known| known.start == start);
        // A restart may have come and gone unseen: what it did cost is due all the same.
        let of_submission = known.iter().find(|known| known.start.submission == start.submission);
        let Some(account) = of_start.or(of_submission).map(|known| &known.account) else {
            continue;
        };
        let held = of_start.map_or(Amount::ZERO, |known| known.held);
        let cost = cost(attempt);
        match of_start.filter(|known| known.is_captured) {
            Some(known) => entries.extend(adjusted(account, (run.id, start), known.captured, cost)),
            None => entries.extend(captured((account, run.id, start), held, cost, attempt)),
        }
    }
    for known in known.iter().filter(|known| known.held > Amount::ZERO && !known.has_attempt) {
        let is_told = attempts().any(|attempt| start_of(attempt) == known.start);
        if !is_told && !goes_on(known.start, run) {
            let why = "given up before it started";
            entries.push(released(
                (&known.account, run.id, known.start),
                known.held,
                TRAINYARD,
                why,
            ));
        }
    }
    entries
}

/// What gives back what is held for a start.
pub fn released(
    (account, run, start): (&Account, RunId, StartId),
    held: Amount,
    who: &str,
    why: &str,
) -> Entry {
    Entry {
        account: account.clone(),
        kind: Kind::Release,
        adds: Balance { held: Amount::ZERO.less(held), ..Balance::default() },
        of: Some((run, start)),
        who: who.to_owned(),
        why: why.to_owned(),
    }
}

fn captured(
    (account, run, start): (&Account, RunId, StartId),
    held: Amount,
    cost: Amount,
    attempt: &Attempt,
) -> impl Iterator<Item = Entry> {
    let taken = held.min(cost);
    let rest = held.less(taken);
    let why = format!("attempt {} is over", attempt.n);
    let capture = Entry {
        account: account.clone(),
        kind: Kind::Capture,
        adds: Balance { captured: cost, held: Amount::ZERO.less(taken), ..Balance::default() },
        of: Some((run, start)),
        who: TRAINYARD.to_owned(),
        why: why.clone(),
    };
    let release =
        (rest > Amount::ZERO).then(|| released((account, run, start), rest, TRAINYARD, &why));
    std::iter::once(capture).chain(release)
}

fn adjusted(
    account: &Account,
    of: (RunId, StartId),
    captured: Amount,
    cost: Amount,
) -> Option<Entry> {
    (cost != captured).then(|| Entry {
        account: account.clone(),
        kind: Kind::Adjustment,
        adds: Balance { captured: cost.less(captured), ..Balance::default() },
        of: Some(of),
        who: TRAINYARD.to_owned(),
        why: "what the scheduler records of it changed".to_owned(),
    })
}

fn start_of(attempt: &Attempt) -> StartId {
    StartId { submission: attempt.submission, idx: 0, restart: attempt.restart }
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
            !goes_on(start_of(attempt), run)
        }
    }
}

/// Whether nobody knows what a start did cost, or whether its job is over at all: it was lost after it had started. Where it
/// was given up before that, its submission is not the run's any more.
fn keeps_hold(attempt: &Attempt, run: &Run) -> bool {
    let is_current = run.submission.as_ref().is_some_and(|known| known.id == attempt.submission);
    attempt.reason == Some(Reason::Lost) && (attempt.started_at.is_some() || is_current)
}
