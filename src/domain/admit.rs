//! Who may start: the second pure decider, for all waiting runs together.
//!
//! [`crate::domain::run::decide`] knows one run; what depends on the others is decided here. Runs are looked at in turn
//! ([`in_turn`]), and each passes the same gates ([`Room::why_not`]). What one is given is taken from the room before the
//! next is looked at; one that has to wait does not hold up those behind it.
//!
//! To add a rule: what it counts goes into [`Room`], its limit into [`Limits`], and its gate into [`Room::why_not`].
//! Quotas and sweep slots count runs in [`Live`] and in what was just given; fairness between users is another order in
//! [`in_turn`]; a budget is a gate that gives a [`Hold`], which is recorded in the transaction that records the intent.
//! [`takes_no_room`] tells of which runs no rule counts anything.

use crate::domain::ids::RunId;
use crate::domain::site::LOCAL;

/// A run in `pending`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub run: RunId,
    pub owner: String,
    /// Where it is to run; the local target counts as a cluster.
    pub cluster: String,
    /// Runs of the same name that must be final first and are not yet.
    pub waits_for: Vec<RunId>,
    /// The scheduler's words, while it is too soon to ask it again after a refusal that passes.
    pub refused: Option<String>,
}

/// A run whose submission is under way, from its intent to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    pub run: RunId,
    pub owner: String,
    pub cluster: String,
}

/// What the site allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Local runs that may run at once.
    pub local_running_max: u32,
}

/// What is set aside when a run starts, and captured or released when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// Nothing: no ledger is kept.
    None,
}

/// The answer to one waiting run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Its intent is recorded now, with the hold in the same transaction.
    Start { hold: Hold },
    /// `why` reads after "the run waits because".
    Wait { why: String },
}

/// Answers every waiting run, in the order in which they may start.
#[must_use]
pub fn admit(waiting: &[Waiting], live: &[Live], limits: &Limits) -> Vec<(RunId, Admission)> {
    let mut room = Room::left_by(live, limits);
    in_turn(waiting)
        .into_iter()
        .map(|waiting| {
            let admission = match room.why_not(waiting) {
                Some(why) => Admission::Wait { why },
                None => Admission::Start { hold: room.give(waiting) },
            };
            (waiting.run, admission)
        })
        .collect()
}

/// Whether a run of the cluster takes nothing that is given out here, so that only runs it was queued behind can hold it up:
/// it need not be looked at beside the others.
#[must_use]
pub fn takes_no_room(cluster: &str) -> bool {
    cluster != LOCAL
}

/// First come, first served.
fn in_turn(waiting: &[Waiting]) -> Vec<&Waiting> {
    let mut waiting: Vec<&Waiting> = waiting.iter().collect();
    waiting.sort_by_key(|waiting| waiting.run);
    waiting
}

/// What is left to give.
struct Room<'a> {
    limits: &'a Limits,
    local_running: usize,
}

impl<'a> Room<'a> {
    fn left_by(live: &[Live], limits: &'a Limits) -> Self {
        let local_running = live.iter().filter(|live| live.cluster == LOCAL).count();
        Self { limits, local_running }
    }

    /// The first gate that is closed to the run, in words.
    fn why_not(&self, waiting: &Waiting) -> Option<String> {
        Self::others_first(waiting)
            .or_else(|| waiting.refused.clone())
            .or_else(|| self.no_local_slot(waiting))
    }

    /// Takes what the run needs.
    fn give(&mut self, waiting: &Waiting) -> Hold {
        self.local_running += usize::from(waiting.cluster == LOCAL);
        Hold::None
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
        (waiting.cluster == LOCAL && self.local_running >= most).then(|| {
            let runs = if self.local_running == 1 { "run is" } else { "runs are" };
            format!(
                "{} local {runs} running, the most that this site allows at once",
                self.local_running
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(run: i64, cluster: &str, waits_for: &[i64]) -> Waiting {
        let waits_for = waits_for.iter().copied().map(RunId).collect();
        Waiting {
            run: RunId(run),
            owner: "anna".into(),
            cluster: cluster.into(),
            waits_for,
            refused: None,
        }
    }

    fn live(cluster: &str, count: i64) -> Vec<Live> {
        let run = |run| Live { run: RunId(run), owner: "bert".into(), cluster: cluster.into() };
        (1..=count).map(run).collect()
    }

    /// The answers as `run: start` or `run: why`.
    #[track_caller]
    fn check(waiting: &[Waiting], live: &[Live], local_running_max: u32, expected: &[&str]) {
        let answers = admit(waiting, live, &Limits { local_running_max });
        let shown: Vec<String> = answers
            .into_iter()
            .map(|(run, admission)| match admission {
                Admission::Start { hold: Hold::None } => format!("{run}: start"),
                Admission::Wait { why } => format!("{run}: {why}"),
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn nobody_waits_and_nobody_is_admitted() {
        check(&[], &[], 16, &[]);
        check(&[], &live("local", 99), 0, &[]);
    }

    #[test]
    fn a_run_waits_for_the_runs_it_was_queued_behind() {
        check(&[waiting(42, "local", &[])], &[], 16, &["42: start"]);
        check(&[waiting(42, "main", &[41])], &[], 16, &["42: waits for run 41"]);
        let two = [waiting(42, "local", &[41, 40])];
        check(&two, &[], 16, &["42: waits for run 40 and another one"]);
        let three = [waiting(42, "local", &[39, 40, 41])];
        check(&three, &[], 16, &["42: waits for run 39 and 2 others"]);
    }

    #[test]
    fn a_run_that_was_refused_for_now_keeps_the_schedulers_words() {
        let refused =
            |words: &str| Waiting { refused: Some(words.into()), ..waiting(42, "main", &[]) };
        check(
            &[refused("QOSMaxSubmitJobPerUserLimit")],
            &[],
            16,
            &["42: QOSMaxSubmitJobPerUserLimit"],
        );
        let behind = Waiting { waits_for: vec![RunId(41)], ..refused("no") };
        check(&[behind, waiting(43, "main", &[])], &[], 16, &["42: waits for run 41", "43: start"]);
    }

    #[test]
    fn local_runs_wait_for_a_slot_and_others_do_not() {
        let all = [waiting(50, "local", &[]), waiting(51, "main", &[]), waiting(52, "local", &[])];
        check(&all, &[], 16, &["50: start", "51: start", "52: start"]);
        let full = "16 local runs are running, the most that this site allows at once";
        let (first, last) = (format!("50: {full}"), format!("52: {full}"));
        check(&all, &live("local", 15), 16, &["50: start", "51: start", &last]);
        check(&all, &live("local", 16), 16, &[&first, "51: start", &last]);
        check(&all, &live("main", 99), 16, &["50: start", "51: start", "52: start"]);
        let over = "17 local runs are running, the most that this site allows at once";
        let only = [waiting(50, "local", &[])];
        check(&only, &live("local", 17), 16, &[&format!("50: {over}")]);
        let one = "50: 1 local run is running, the most that this site allows at once";
        check(&only, &live("local", 1), 1, &[one]);
    }

    #[test]
    fn the_first_comes_first_and_a_blocked_one_blocks_nobody() {
        let all =
            [waiting(44, "local", &[]), waiting(42, "local", &[41]), waiting(43, "local", &[])];
        check(
            &all,
            &live("local", 1),
            2,
            &[
                "42: waits for run 41",
                "43: start",
                "44: 2 local runs are running, the most that this site allows at once",
            ],
        );
    }
}
