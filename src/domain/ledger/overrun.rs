//! Which starts are stopped when more is spent and held than there is: a budget was lowered, or starts cost more than was
//! set aside for them.

use std::cmp::Reverse;

use crate::domain::ids::RunId;
use crate::domain::ledger::Amount;

/// A start that something is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoesOn {
    pub run: RunId,
    pub stage: Stage,
    pub held: Amount,
    /// What it has cost so far.
    pub used: Amount,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The scheduler has it, and it has not started.
    Queued,
    Running,
    /// It is being ended: what it does not use comes back by itself.
    Ending,
}

impl GoesOn {
    /// What comes back where it ends now.
    fn frees(&self) -> Amount {
        self.held.less(self.used).max(Amount::ZERO)
    }

    /// What it has cost beyond what is held.
    fn exceeds(&self) -> Amount {
        self.used.less(self.held).max(Amount::ZERO)
    }
}

/// As few as bring an account back into its bounds: first those that cost more than was set aside for them, then those that
/// have not started, then the newest. `available` is what is neither spent nor held.
pub fn to_stop(available: Amount, starts: &[GoesOn]) -> Vec<RunId> {
    let (ending, mut others): (Vec<GoesOn>, Vec<GoesOn>) =
        starts.iter().partition(|start| start.stage == Stage::Ending);
    let mut left = starts.iter().fold(available, |left, start| left.less(start.exceeds()));
    let free = |left: Amount, start: &GoesOn| left.plus(start.frees()).unwrap_or(left);
    left = ending.iter().fold(left, free);
    others.sort_by_key(|start| (start.exceeds() == Amount::ZERO, start.stage, Reverse(start.run)));
    let mut stop = Vec::new();
    for start in &others {
        if left >= Amount::ZERO {
            break;
        }
        left = free(left, start);
        stop.push(start.run);
    }
    stop
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_few_starts_are_stopped_as_it_takes() {
        let units = |units: f64| {
            Amount::ZERO.less(Amount::clamped(-units)).plus(Amount::clamped(units)).unwrap()
        };
        let start = |run, stage, held, used| GoesOn {
            run: RunId(run),
            stage,
            held: Amount::clamped(held),
            used: Amount::clamped(used),
        };
        let check = |available: f64, starts: &[GoesOn], expected: &[i64]| {
            let runs: Vec<i64> =
                to_stop(units(available), starts).into_iter().map(|run| run.0).collect();
            assert_eq!(runs, expected, "{available}: {starts:?}");
        };
        let (queued, running) = (Stage::Queued, Stage::Running);
        let all = [
            start(1, running, 10.0, 2.0),
            start(2, running, 10.0, 9.0),
            start(3, queued, 5.0, 0.0),
        ];
        check(0.0, &all, &[]);
        check(-5.0, &all, &[3]);
        check(-6.0, &all, &[3, 2]);
        check(-7.0, &all, &[3, 2, 1]);
        // What is being ended is waited for.
        let ending = [start(4, Stage::Ending, 6.0, 1.0), all[0]];
        check(-5.0, &ending, &[]);
        check(-5.1, &ending, &[1]);
        // One that outgrew what was set aside for it goes first, where nothing is left for it.
        let outgrown = [start(5, running, 1.0, 1.5), start(6, running, 1.0, 0.2)];
        check(0.5, &outgrown, &[]);
        check(0.4, &outgrown, &[5, 6]);
        check(-9.0, &[], &[]);
    }
}
