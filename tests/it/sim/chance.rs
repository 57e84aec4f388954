//! What is left to chance: every fault and every length of time follows from the seed.
//!
//! Each kind has a stream of its own, so that switching one off leaves the draws of the others as they were: that is what
//! lets [`crate::sim::shrink`] take a history apart. The faults that struck are remembered, each by its kind and number.

use std::collections::BTreeSet;

/// Everything that can go wrong, and everything that people and Slurm may do beside the plain life of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The daemon dies before an effect.
    Crash,
    /// Its clock is set.
    ClockSteps,
    CtldFreezes,
    /// It dies, and forgets what it had not saved.
    CtldDies,
    /// An id that it forgot is given to somebody else.
    IdGivenAway,
    SqueueFails,
    LookTakesLong,
    UnknownWord,
    DbdAway,
    DbdLags,
    RecordNever,
    /// The first record of a job does not have its name yet.
    HalfEmpty,
    NoAccounting,
    LostWithJob,
    LostWithout,
    Refused,
    RefusedForNow,
    Unreachable,
    /// sbatch says that nothing was sent, and there is a job.
    UnreachableMade,
    Twice,
    SbatchSlow,
    /// The daemon comes back on another machine.
    OtherHost,
    ClaimSlow,
    /// A node cannot reach the run root.
    NodeFiles,
    EventLate,
    EventNever,
    /// The run root gives the daemon no answer.
    DaemonFiles,
    ScancelFails,
    Preempted,
    NodeFails,
    Requeued,
    TimeLimit,
    TrainingFails,
    AdminCancels,
    Held,
    /// The node fails when the training is over and its job is not yet.
    NodeFailsAfter,
    /// A job that completed is started again by an administrator.
    DoneRequeued,
    Cancel,
    Resume,
    /// The training has saved, and asks to be brought back.
    AsksBack,
}

use Fault::{
    AdminCancels, AsksBack, Cancel, ClaimSlow, ClockSteps, Crash, CtldDies, CtldFreezes,
    DaemonFiles, DbdAway, DbdLags, DoneRequeued, EventLate, EventNever, HalfEmpty, Held,
    IdGivenAway, LookTakesLong, LostWithJob, LostWithout, NoAccounting, NodeFails, NodeFailsAfter,
    NodeFiles, OtherHost, Preempted, RecordNever, Refused, RefusedForNow, Requeued, Resume,
    SbatchSlow, ScancelFails, SqueueFails, TimeLimit, TrainingFails, Twice, UnknownWord,
    Unreachable, UnreachableMade,
};

/// Every fault, with how often it strikes where it may, in thousandths.
pub(super) const FAULTS: &[(Fault, u64)] = &[
    (Crash, 20),
    (ClockSteps, 30),
    (CtldFreezes, 30),
    (CtldDies, 40),
    (IdGivenAway, 600),
    (SqueueFails, 150),
    (LookTakesLong, 150),
    (UnknownWord, 80),
    (DbdAway, 200),
    (DbdLags, 400),
    (RecordNever, 200),
    (HalfEmpty, 500),
    (NoAccounting, 300),
    (LostWithJob, 300),
    (LostWithout, 200),
    (Refused, 100),
    (RefusedForNow, 200),
    (Unreachable, 200),
    (UnreachableMade, 200),
    (Twice, 250),
    (SbatchSlow, 300),
    (OtherHost, 200),
    (ClaimSlow, 200),
    (NodeFiles, 60),
    (EventLate, 300),
    (EventNever, 200),
    (DaemonFiles, 100),
    (ScancelFails, 300),
    (Preempted, 250),
    (NodeFails, 150),
    (Requeued, 150),
    (TimeLimit, 80),
    (TrainingFails, 150),
    (AdminCancels, 80),
    (Held, 100),
    (NodeFailsAfter, 150),
    (DoneRequeued, 80),
    (Cancel, 400),
    (Resume, 300),
    (AsksBack, 100),
];

/// Lengths and choices that are no faults.
#[derive(Debug, Clone, Copy)]
pub(super) enum Draw {
    Scene,
    Pass,
    Sbatch,
    Job,
    Records,
    Files,
    People,
    Trouble,
    Bits,
    Warned,
    Saves,
}

const STREAMS: usize = FAULTS.len() + DRAWS;

/// Faults and draws that came later have their streams behind the others', so that a seed keeps its history.
const FIRST_FAULTS: usize = 39;
const DRAWS: usize = 11;

fn stream_of_fault(fault: Fault) -> usize {
    let place = fault as usize;
    if place < FIRST_FAULTS { place } else { place + DRAWS }
}

fn stream_of_draw(draw: Draw) -> usize {
    FIRST_FAULTS + draw as usize
}

/// What to play: the seed, and what of it is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) runs_max: usize,
    pub(super) without: BTreeSet<(Fault, u32)>,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        Self { seed, runs_max: usize::MAX, without: BTreeSet::new() }
    }
}

pub(super) struct Chance {
    seed: u64,
    drawn: [u32; STREAMS],
    /// Which faults this history has at all: a history with all of them would never come to its rarer turns.
    weather: u64,
    without: BTreeSet<(Fault, u32)>,
    /// What struck, in order.
    pub(super) struck: Vec<(Fault, u32)>,
    /// After this nothing goes wrong any more.
    pub(super) is_calm: bool,
}

/// splitmix64: every bit of the result depends on every bit of `x`.
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

impl Chance {
    pub(super) fn new(plan: &Plan) -> Self {
        let (one, other) = (mix(plan.seed ^ 0xA5A5), mix(plan.seed ^ 0x5A5A));
        // One in four histories has about half of the faults, the others about a quarter.
        let weather = if one.is_multiple_of(4) { other } else { one & other };
        Self {
            seed: mix(plan.seed),
            drawn: [0; STREAMS],
            weather,
            without: plan.without.clone(),
            struck: Vec::new(),
            is_calm: false,
        }
    }

    fn next(&mut self, stream: usize) -> (u32, u64) {
        let n = self.drawn[stream];
        self.drawn[stream] += 1;
        (n, mix(self.seed ^ mix(((stream as u64) << 32) | u64::from(n))))
    }

    /// Whether the fault strikes now.
    pub(super) fn strikes(&mut self, fault: Fault) -> bool {
        let (_, rate) = FAULTS[fault as usize];
        let (n, drawn) = self.next(stream_of_fault(fault));
        let is_on = !self.is_calm && self.weather >> (fault as u64) & 1 == 1;
        if !is_on || drawn % 1000 >= rate {
            return false;
        }
        if !self.without.is_empty() && self.without.contains(&(fault, n)) {
            return false;
        }
        self.struck.push((fault, n));
        true
    }

    /// A number from 0 to `most`.
    pub(super) fn to(&mut self, draw: Draw, most: i64) -> i64 {
        let (_, drawn) = self.next(stream_of_draw(draw));
        i64::try_from(drawn % (most.unsigned_abs() + 1)).unwrap_or(0)
    }

    pub(super) fn bits(&mut self) -> u128 {
        let (_, one) = self.next(stream_of_draw(Draw::Bits));
        let (_, other) = self.next(stream_of_draw(Draw::Bits));
        u128::from(one) << 64 | u128::from(other)
    }
}

#[test]
fn every_fault_stands_at_its_place() {
    for (place, (fault, _)) in FAULTS.iter().enumerate() {
        assert_eq!(*fault as usize, place);
    }
}
