//! The world that the daemon lives in: what is true, whatever anybody is told of it.
//!
//! Times are seconds since the history began. Slurm's and the nodes' clock shows them as they are; the daemon's clock may be
//! set. Everything happens in the order of its time.

use jiff::{SignedDuration, Timestamp};

use trainyard::domain::ids::{JobKey, SubmissionId, Token};

use crate::sim::calls::Call;
use crate::sim::chance::{Chance, Draw, Fault, Plan};
use crate::sim::files::Files;
use crate::sim::jobs::Job;
use crate::sim::truth::{Rule, Violation};

/// How long after its call an orphan is waited for when it was called on another machine.
pub(super) const ELSEWHERE_SECONDS: i64 = 180;

/// When nothing is going to happen.
pub(super) const NEVER: i64 = i64::MAX;

/// A moment of a history, by the true clock.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::constant(1_790_000_000, 0) + SignedDuration::from_secs(second)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ctld {
    Up,
    /// It answers nobody; what it was sent it does when it goes on.
    Frozen {
        until: i64,
    },
    Dead {
        until: i64,
    },
}

/// A submission that the daemon recorded, and the claim on it.
#[derive(Debug, Clone)]
pub(super) struct Submitted {
    pub(super) run: usize,
    pub(super) id: SubmissionId,
    pub(super) token: Token,
    pub(super) attempt_base: u32,
    pub(super) claim: Claim,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    Free,
    Revoked,
    Of(JobKey),
}

/// What is true of a run.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a truth of its own")]
pub(super) struct RunTruth {
    /// The job that trains it now.
    pub(super) trained_by: Option<usize>,
    /// A training came to its end by itself, with exit code 0, and nobody asked for another one since.
    pub(super) is_trained: bool,
    /// The model itself lets it be trained twice: an administrator started it again, or its end could not be told.
    pub(super) may_train_again: bool,
    pub(super) is_final: bool,
    /// The model itself has let its job vanish, so that it may be given up while that lives.
    pub(super) lost_a_job: bool,
    /// A job of it found its claim taken, and only its script can tell that this is why it failed.
    pub(super) gave_way: bool,
    pub(super) was_refused: bool,
    pub(super) admins_cancelled: bool,
    /// What allows one more submission beside the first and the restarts.
    pub(super) more: u32,
    pub(super) submissions: u32,
    pub(super) is_cancelled: bool,
    /// Whether it saves checkpoints that tell how far it came.
    pub(super) saves: bool,
    /// The step of its newest complete checkpoint.
    pub(super) saved: i64,
    /// What that was when the run was begun, or was brought back the last two times.
    pub(super) saved_before: [i64; 2],
}

pub(super) struct Model {
    pub(super) chance: Chance,
    pub(super) t: i64,
    /// By how much the daemon's clock is ahead.
    pub(super) ahead: i64,
    /// After this nothing goes wrong any more.
    pub(super) calm_at: i64,
    pub(super) cluster: String,
    pub(super) has_accounting: bool,
    pub(super) min_job_age: i64,
    pub(super) ctld: Ctld,
    pub(super) dbd_away_until: i64,
    pub(super) next_id: u64,
    /// Ids that somebody else's jobs have, and since when.
    pub(super) strangers: Vec<(u64, i64)>,
    pub(super) jobs: Vec<Job>,
    pub(super) calls: Vec<Call>,
    pub(super) submitted: Vec<Submitted>,
    pub(super) runs: Vec<RunTruth>,
    pub(super) files: Files,
    next_trouble: i64,
    /// The history in words, where somebody wants to read it.
    pub(super) told: Option<Vec<String>>,
    pub(super) violation: Option<Violation>,
}

impl Model {
    pub(super) fn new(plan: &Plan, is_told: bool) -> Self {
        let mut chance = Chance::new(plan);
        let calm_at = 300 + chance.to(Draw::Scene, 2_700);
        let runs = 1 + usize::try_from(chance.to(Draw::Scene, 2)).unwrap_or(0);
        let has_accounting = !chance.strikes(Fault::NoAccounting);
        let is_local = chance.to(Draw::Scene, 3) == 0;
        let min_job_age = [60, 120, 300][usize::try_from(chance.to(Draw::Scene, 2)).unwrap_or(0)];
        Self {
            chance,
            t: 0,
            ahead: 0,
            calm_at,
            cluster: if is_local { "local" } else { "main" }.to_owned(),
            has_accounting,
            min_job_age,
            ctld: Ctld::Up,
            dbd_away_until: 0,
            next_id: 100,
            strangers: Vec::new(),
            jobs: Vec::new(),
            calls: Vec::new(),
            submitted: Vec::new(),
            runs: vec![RunTruth::default(); runs.min(plan.runs_max)],
            files: Files::default(),
            next_trouble: 5,
            told: is_told.then(Vec::new),
            violation: None,
        }
    }

    /// What the daemon's clock shows.
    pub(super) fn now(&self) -> Timestamp {
        at(self.t + self.ahead)
    }

    pub(super) fn key(&self, id: u64) -> JobKey {
        JobKey { cluster: self.cluster.clone(), job: id, array_task: None }
    }

    /// A line of the history; the words are only put together where they are read.
    pub(super) fn tell(&mut self, words: impl FnOnce(&Self) -> String) {
        if self.told.is_some() {
            let line = format!("{:>6} s  {}", self.t, words(self));
            self.told.get_or_insert_default().push(line);
        }
    }

    /// A rule is broken; the first one counts.
    pub(super) fn accuse(&mut self, rule: Rule, words: impl FnOnce(&Self) -> String) {
        if self.violation.is_none() {
            let words = words(self);
            self.tell(|_| format!("VIOLATION {rule:?}: {words}"));
            self.violation = Some(Violation { rule, words });
        }
    }

    /// Lets time pass: everything that is due happens, in its order.
    pub(super) fn advance(&mut self, to: i64) {
        loop {
            let job = self.jobs.iter().enumerate().min_by_key(|(_, job)| job.due_at());
            let job = job.map_or((NEVER, 0), |(n, job)| (job.due_at(), n));
            let call = self.calls.iter().enumerate().min_by_key(|(_, call)| call.next_at());
            let call = call.map_or((NEVER, 0), |(n, call)| (call.next_at(), n));
            let back = self.ctld_until();
            let trouble = if self.chance.is_calm { NEVER } else { self.next_trouble };
            let due = job.0.min(call.0).min(back).min(trouble);
            if due > to {
                break;
            }
            self.t = self.t.max(due);
            if back == due {
                self.ctld = Ctld::Up;
                self.tell(|_| "slurmctld answers again".to_owned());
            } else if trouble == due {
                self.trouble();
            } else if call.0 == due {
                self.proceed(call.1);
            } else {
                self.live_on(job.1);
            }
        }
        self.t = self.t.max(to);
    }

    fn ctld_until(&self) -> i64 {
        match self.ctld {
            Ctld::Up => NEVER,
            Ctld::Frozen { until } | Ctld::Dead { until } => until,
        }
    }

    /// When slurmctld can do something that is due now; `None` when it can now.
    pub(super) fn ctld_later(&self) -> Option<i64> {
        (self.ctld != Ctld::Up).then(|| self.ctld_until() + 1)
    }

    /// Things that go wrong by themselves, every now and then.
    fn trouble(&mut self) {
        if self.t >= self.calm_at {
            self.chance.is_calm = true;
            self.tell(|_| "from here on nothing goes wrong any more".to_owned());
            return;
        }
        self.next_trouble = self.t + 5 + self.chance.to(Draw::Trouble, 60);
        if self.chance.strikes(Fault::ClockSteps) {
            self.ahead = self.chance.to(Draw::Trouble, 240) - 120;
            self.tell(|m| format!("the daemon's clock is set: it is {} s ahead", m.ahead));
        }
        if self.chance.strikes(Fault::DbdAway) {
            self.dbd_away_until = self.t + self.chance.to(Draw::Trouble, 400);
            self.tell(|m| format!("slurmdbd is away until {}", m.dbd_away_until));
        }
        if self.ctld != Ctld::Up {
            return;
        }
        if self.chance.strikes(Fault::CtldFreezes) {
            let until = self.t + 1 + self.chance.to(Draw::Trouble, 60);
            self.ctld = Ctld::Frozen { until };
            self.tell(|_| format!("slurmctld is frozen until {until}"));
        } else if self.chance.strikes(Fault::CtldDies) {
            self.die();
        }
    }

    /// slurmctld dies: what it had not saved it has never known.
    pub(super) fn die(&mut self) {
        let until = self.t + 1 + self.chance.to(Draw::Trouble, 120);
        self.ctld = Ctld::Dead { until };
        self.tell(|_| format!("slurmctld dies, and is away until {until}"));
        for job in 0..self.jobs.len() {
            self.forget_unsaved(job, until);
        }
    }
}
