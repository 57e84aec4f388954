//! Many histories, one after the other and on two cores, and what is told of those that break a rule.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::sim::chance::{Fault, Plan};
use crate::sim::core::{Decide, play};
use crate::sim::shrink::smallest;
use crate::sim::truth::Rule;

/// Lives of the everyday round; `TRAINYARD_SIM_LIVES=10000000` makes it the campaign, `TRAINYARD_SIM_SEED` another one.
pub(super) const LIVES: u64 = 100_000;
pub(super) const SEED: u64 = 1;
/// Enough of one kind to find a short one among them.
pub(super) const FOUND_MAX: usize = 200;

#[expect(
    clippy::disallowed_methods,
    reason = "how long the campaign is, is told to the test itself"
)]
pub(super) fn told(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// What came of some histories.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) histories: u64,
    pub(super) lives: u64,
    pub(super) jobs: u64,
    pub(super) struck: BTreeMap<Fault, u64>,
    pub(super) found: Vec<(u64, Rule)>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.histories += other.histories;
        self.lives += other.lives;
        self.jobs += other.jobs;
        self.found.extend(other.found);
        for (fault, count) in other.struck {
            *self.struck.entry(fault).or_default() += count;
        }
    }
}

/// Plays histories from `seed` on, every `stride`th, until `lives` runs have lived or enough has been found.
pub(super) fn histories(
    seed: u64,
    stride: u64,
    lives: u64,
    (decide, found_max): (Decide, usize),
) -> Tally {
    let mut tally = Tally::default();
    for seed in (seed..).step_by(usize::try_from(stride).unwrap_or(1)) {
        if tally.lives >= lives || tally.found.len() >= found_max {
            break;
        }
        let (model, violation) = play(&Plan::of(seed), decide, false);
        tally.histories += 1;
        tally.lives += model.runs.len() as u64;
        tally.jobs += model.jobs.len() as u64;
        for (fault, _) in model.chance.struck {
            *tally.struck.entry(fault).or_default() += 1;
        }
        tally.found.extend(violation.map(|violation| (seed, violation.rule)));
    }
    tally
}

/// The same on two cores.
pub(super) fn on_two_cores(seed: u64, lives: u64, decide: Decide, found_max: usize) -> Tally {
    std::thread::scope(|scope| {
        let one = scope.spawn(|| histories(seed, 2, lives / 2, (decide, found_max)));
        let mut tally = histories(seed + 1, 2, lives / 2, (decide, found_max));
        tally.add(one.join().unwrap());
        tally
    })
}

/// Every broken rule with its shortest history; nothing when none is broken.
pub(super) fn report(tally: &Tally, decide: Decide) -> String {
    let mut counts: BTreeMap<Rule, u64> = BTreeMap::new();
    tally.found.iter().for_each(|(_, rule)| *counts.entry(*rule).or_default() += 1);
    let mut report = String::new();
    for (rule, count) in counts {
        let Some(smallest) = smallest(&tally.found, rule, decide) else { continue };
        let (plan, words) = (&smallest.plan, &smallest.violation.words);
        writeln!(
            report,
            "{rule:?} in {count} histories: {words}\n  seed {}, at most {} runs, {} faults; without {:?}",
            plan.seed, plan.runs_max, smallest.faults, plan.without
        )
        .unwrap();
        smallest.told.iter().for_each(|line| writeln!(report, "  {line}").unwrap());
    }
    report
}
