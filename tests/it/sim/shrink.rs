//! Takes a failing history apart until nothing more can be left out of it.

use crate::sim::chance::Plan;
use crate::sim::core::{Decide, play};
use crate::sim::truth::{Rule, Violation};

/// A failing history, as small as it could be made.
pub(super) struct Smallest {
    pub(super) plan: Plan,
    pub(super) violation: Violation,
    pub(super) told: Vec<String>,
    pub(super) faults: usize,
}

/// Leaves out runs and, one by one, faults that struck, as long as the same rule is broken.
pub(super) fn shrink(plan: &Plan, decide: Decide) -> Option<Smallest> {
    let mut smallest = plan.clone();
    let (mut model, violation) = play(&smallest, decide, false);
    let rule = violation?.rule;
    let still = |plan: &Plan| {
        let (model, violation) = play(plan, decide, false);
        violation.filter(|found| found.rule == rule).map(|_| model)
    };
    for runs_max in 1..=2 {
        let plan = Plan { runs_max, ..smallest.clone() };
        if let Some(smaller) = still(&plan) {
            (smallest, model) = (plan, smaller);
            break;
        }
    }
    // One that is left out lets others strike in its place, so it is tried until all are needed.
    let mut tried = 0;
    'again: loop {
        for fault in model.chance.struck.clone().into_iter().rev() {
            const TRIES_MAX: u32 = 20_000;
            tried += 1;
            if tried > TRIES_MAX {
                break 'again;
            }
            let mut plan = smallest.clone();
            plan.without.insert(fault);
            let fewer = still(&plan).filter(|smaller| weight(smaller) < weight(&model));
            if let Some(smaller) = fewer {
                (smallest, model) = (plan, smaller);
                continue 'again;
            }
        }
        break;
    }
    let (model, violation) = play(&smallest, decide, true);
    let faults = model.chance.struck.len();
    Some(Smallest { plan: smallest, violation: violation?, told: model.told?, faults })
}

/// What makes a history hard to read: what went wrong in it, and then how long it is.
fn weight(model: &crate::sim::model::Model) -> (usize, usize, i64) {
    (model.chance.struck.len(), model.jobs.len(), model.t)
}

/// The smallest of several failing histories of one rule.
pub(super) fn smallest(seeds: &[(u64, Rule)], rule: Rule, decide: Decide) -> Option<Smallest> {
    const LOOKED_AT: usize = 12;
    let of_rule = seeds.iter().filter(|(_, found)| *found == rule).take(LOOKED_AT);
    let shrunk = of_rule.filter_map(|(seed, _)| shrink(&Plan::of(*seed), decide));
    shrunk.min_by_key(|smallest| (smallest.faults, smallest.told.len()))
}
