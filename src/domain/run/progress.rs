//! Whether a run gets anywhere: an attempt that left no newer complete checkpoint than it began from is brought back only
//! where that was nobody's fault, and once.

use crate::domain::checkpoint::Held;
use crate::domain::run::policy::Policy;
use crate::domain::run::seen::{Look, Phase};
use crate::domain::run::state::{Attempt, Reason, Run};
use crate::domain::spec::Resume;

impl Run {
    /// Whether the scheduler tells that the attempt under way is over: then it matters what the run has saved. It may tell
    /// that of a job whose beginning nobody saw.
    pub fn is_end_of_attempt(&self, look: &Look) -> bool {
        if !self.state.depends_on_scheduler() {
            return false;
        }
        match look {
            Look::Job(shown) => {
                matches!(shown.phase, Phase::Ended { .. }) || shown.restart > self.known_restart()
            }
            Look::Absent => {
                self.open_attempt().is_some_and(|attempt| attempt.absent_since.is_some())
            }
            Look::NotAsked | Look::Silence { .. } => false,
        }
    }

    /// Checkpoints that the run may be going on from, or that a person chose.
    pub fn holds(&self) -> Held {
        let mut held = Held::new();
        if !self.state.is_final() {
            let began = self.attempt.as_ref().and_then(|attempt| attempt.began.as_ref());
            if let Some(from) = began.and_then(|began| began.from.clone()) {
                held.insert(from, "the newest attempt began from it".to_owned());
            }
            if let Some(before) = &self.before {
                let why = || "an attempt may be going on from it".to_owned();
                held.entry(before.path.clone()).or_insert_with(why);
            }
        }
        if let Some(branch) = &self.branch {
            held.insert(branch.path.clone(), "`resume --from` chose it".to_owned());
        }
        held
    }
}

/// Counts an attempt that has ended, by what the run has saved by now. Nothing is known of a run without checkpoints.
pub(super) fn count(run: &mut Run, attempt: Option<&Attempt>, policy: &Policy) {
    let Some(saved) = run.saved.as_ref().filter(|_| policy.resume.is_some()) else { return };
    let newest = saved.newest.clone();
    let began = attempt.and_then(|attempt| attempt.began.as_ref());
    let is_newer = newest.as_ref().is_some_and(|newest| {
        let known = run.before.as_ref().is_none_or(|before| newest.is_newer_than(before));
        match began.and_then(|began| Some((began.from.as_deref()?, began.step))) {
            // A file that is written again and again keeps its name.
            Some((from, _)) if from == newest.path => known && run.before.is_some(),
            Some((_, Some(step))) => newest.step.is_none_or(|own| own > step),
            Some(_) => true,
            None => known,
        }
    });
    run.fruitless = if is_newer { 0 } else { run.fruitless.saturating_add(1) };
    run.before = newest;
}

/// Why a run is not to be started again after an end with this reason.
pub(super) fn veto(run: &Run, reason: Reason, policy: &Policy) -> Option<(Reason, String)> {
    let (resume, saved) = (policy.resume?, run.saved.as_ref()?);
    let has_begun = run.attempt.as_ref().is_some_and(|attempt| attempt.began.is_some());
    if resume == Resume::Require && saved.newest.is_none() && has_begun {
        let why =
            "there is no complete checkpoint to go on from, and `checkpoint.resume` is `require`";
        return Some((Reason::NoCheckpoint, why.to_owned()));
    }
    // What the scheduler did to it is not the training's fault, once.
    let forgiven = match reason {
        Reason::Preempted
        | Reason::NodeFailure
        | Reason::Requeued
        | Reason::BootFailure
        | Reason::Lost => 1,
        Reason::ExitCode
        | Reason::Signal
        | Reason::OutOfMemory
        | Reason::TimeLimit
        | Reason::Deadline
        | Reason::LaunchFailed
        | Reason::Rejected
        | Reason::PreparationFailed
        | Reason::Hung
        | Reason::NoProgress
        | Reason::NoCheckpoint
        | Reason::DataChanged
        | Reason::StoppedEarly
        | Reason::StoppedByPolicy
        | Reason::BudgetExhausted
        | Reason::EvaluationFailed
        | Reason::CancelledByUser
        | Reason::CancelledByAdmin
        | Reason::Superseded => 0,
    };
    (run.fruitless > forgiven).then(|| {
        let attempts = match run.fruitless {
            1 => "the attempt".to_owned(),
            more => format!("{more} attempts in a row"),
        };
        let from = match &run.before {
            Some(mark) => format!("no newer complete checkpoint than {}", mark.path),
            None => "no complete checkpoint".to_owned(),
        };
        (Reason::NoProgress, format!("{attempts} left {from}"))
    })
}
