//! Who may start: the second pure decider, for all waiting runs together.
//!
//! [`crate::domain::run::decide`] knows one run; what depends on the others is decided here. Runs are looked at in turn
//! ([`Turns`]), and each passes the same gates ([`Room::why_not`]). What one is given is taken from the room before the
//! next is looked at; one that has to wait does not hold up those behind it, unless it waits for nodes of a quota.
//!
//! To add a rule: what it counts goes into [`Room`], its limit into [`Limits`], and its gate into [`Room::why_not`].
//! Sweep slots count submissions that are live and what was just given. What a budget has to hold for a start ([`Asked`]) is
//! recorded in the transaction that records the intent, which asks once more: others may have been let in meanwhile.
//! [`Limits::count`] tells whether any rule counts a run beside others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::domain::ids::RunId;
use crate::domain::ledger::{Account, Asked, Standing, may_start};
use crate::domain::quota::{Counted, Demand, Quotas};
use crate::domain::site::{LOCAL, Site};

/// A run in `pending`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub run: RunId,
    pub demand: Demand,
    /// Runs of the same name that must be final first and are not yet.
    pub waits_for: Vec<RunId>,
    /// Why it cannot be submitted now, whatever there is room for: the scheduler's words, while it is too soon to ask it
    /// again after a refusal that passes, or that there is no such cluster.
    pub refused: Option<String>,
    /// What its project's budget has to hold for it.
    pub asked: Option<Asked>,
}

/// What the site allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Local runs that may run at once.
    pub local_running_max: u32,
    pub quotas: Quotas,
}

impl Limits {
    pub fn of(site: &Site) -> Self {
        Self { local_running_max: site.local_running_max(), quotas: Quotas::of(site) }
    }

    /// Whether a run takes something that is given out here. Where none of them counts it, only runs it was queued behind
    /// can hold it up: it need not be looked at beside the others.
    #[must_use]
    pub fn count(&self, demand: &Demand) -> bool {
        demand.cluster == LOCAL || self.quotas.count(demand)
    }
}

/// How the accounts stand; one that nothing was entered in yet is left out.
pub type Ledger = BTreeMap<Account, Standing>;

/// Takes what a start asks for.
pub fn hold(ledger: &mut Ledger, asked: &Asked) {
    for share in &asked.shares {
        let balance = &mut ledger.entry(share.account.clone()).or_default().balance;
        balance.held = balance.held.plus(share.amount).unwrap_or(balance.held);
    }
}

/// The answer to one waiting run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Its intent is recorded now, with the hold in the same transaction.
    Start,
    /// `why` reads after "the run waits because".
    Wait { why: String },
}

/// Answers every waiting run, in the order in which they may start. `live` are the submissions under way, from the intent
/// to the end.
#[must_use]
pub fn admit(
    waiting: &[Waiting],
    live: &[Demand],
    limits: &Limits,
    ledger: Ledger,
) -> Vec<(RunId, Admission)> {
    let mut room = Room::left_by(live, limits, ledger);
    let mut turns = Turns::of(waiting, live);
    let mut answers = Vec::with_capacity(waiting.len());
    while let Some(waiting) = turns.next() {
        let admission = if let Some(why) = room.why_not(waiting) {
            Admission::Wait { why }
        } else {
            turns.started(waiting);
            room.give(waiting);
            Admission::Start
        };
        answers.push((waiting.run, admission));
    }
    answers
}

/// Whose turn it is: of the users who wait for a class, the one with the fewest submissions of it, and of two with as many
/// the one who came first. So a user with a hundred runs does not keep one with a single run out of what they share, and
/// each user's own runs are served as they came.
struct Turns<'a> {
    queues: BTreeMap<Line<'a>, VecDeque<&'a Waiting>>,
    submitted: BTreeMap<Line<'a>, usize>,
    /// One for each line that still waits: its submissions, the first run of it, and itself.
    heads: BTreeSet<(usize, RunId, Line<'a>)>,
}

/// A user and a class.
type Line<'a> = (&'a str, &'a str);

impl<'a> Turns<'a> {
    fn of(waiting: &'a [Waiting], live: &'a [Demand]) -> Self {
        let mut sorted: Vec<&Waiting> = waiting.iter().collect();
        sorted.sort_by_key(|waiting| waiting.run);
        let (mut queues, mut submitted) = (BTreeMap::<_, VecDeque<_>>::new(), BTreeMap::new());
        for waiting in sorted {
            queues.entry(line(&waiting.demand)).or_default().push_back(waiting);
        }
        for demand in live {
            *submitted.entry(line(demand)).or_default() += 1;
        }
        let mut turns = Self { queues, submitted, heads: BTreeSet::new() };
        let lines: Vec<Line<'a>> = turns.queues.keys().copied().collect();
        for line in lines {
            turns.stand(line);
        }
        turns
    }

    /// Puts the first of a line among those whose turn it may be.
    fn stand(&mut self, line: Line<'a>) {
        let first = self.queues.get(&line).and_then(|queue| queue.front());
        let count = self.submitted.get(&line).copied().unwrap_or_default();
        self.heads.extend(first.map(|first| (count, first.run, line)));
    }

    fn next(&mut self) -> Option<&'a Waiting> {
        let (_, _, line) = self.heads.pop_first()?;
        let waiting = self.queues.get_mut(&line)?.pop_front()?;
        self.stand(line);
        Some(waiting)
    }

    fn started(&mut self, waiting: &'a Waiting) {
        let line = line(&waiting.demand);
        let count = self.submitted.entry(line).or_default();
        let before = *count;
        *count += 1;
        if let Some(next) = self.queues.get(&line).and_then(|queue| queue.front()) {
            self.heads.remove(&(before, next.run, line));
            self.stand(line);
        }
    }
}

fn line(demand: &Demand) -> Line<'_> {
    (&demand.owner, &demand.class)
}

/// What is left to give.
struct Room<'a> {
    limits: &'a Limits,
    local_running: usize,
    counted: Counted,
    ledger: Ledger,
}

impl<'a> Room<'a> {
    fn left_by(live: &[Demand], limits: &'a Limits, ledger: Ledger) -> Self {
        let mut room = Self { limits, local_running: 0, counted: Counted::default(), ledger };
        for demand in live {
            room.take(demand);
        }
        room
    }

    fn take(&mut self, demand: &Demand) {
        self.local_running += usize::from(demand.cluster == LOCAL);
        self.counted.add(demand);
    }

    /// The first gate that is closed to the run, in words.
    fn why_not(&mut self, waiting: &Waiting) -> Option<String> {
        Self::others_first(waiting)
            .or_else(|| waiting.refused.clone())
            .or_else(|| self.no_local_slot(waiting))
            .or_else(|| self.no_credit(waiting))
            .or_else(|| self.counted.why_not(&waiting.demand, &self.limits.quotas))
    }

    /// Takes what the run needs.
    fn give(&mut self, waiting: &Waiting) {
        self.take(&waiting.demand);
        waiting.asked.iter().for_each(|asked| hold(&mut self.ledger, asked));
    }

    fn no_credit(&self, waiting: &Waiting) -> Option<String> {
        let asked = waiting.asked.as_ref()?;
        let standing = |account: &Account| self.ledger.get(account).cloned().unwrap_or_default();
        may_start(standing, asked).err().map(|refusal| asked.waits(&refusal))
    }

    fn others_first(waiting: &Waiting) -> Option<String> {
        let first = waiting.waits_for.iter().min()?;
        Some(match waiting.waits_for.len() - 1 {
            0 => format!("waits for run {first}"),
            1 => format!("waits for run {first} and another one"),
            others => format!("waits for run {first} and {others} others"),
        })
    }

    fn no_local_slot(&self, waiting: &Waiting) -> Option<String> {
        let most = usize::try_from(self.limits.local_running_max).unwrap_or(usize::MAX);
        (waiting.demand.cluster == LOCAL && self.local_running >= most).then(|| {
            let runs = if self.local_running == 1 { "run is" } else { "runs are" };
            format!(
                "{} local {runs} running, the most that this site allows at once",
                self.local_running
            )
        })
    }
}

#[cfg(test)]
mod tests;
