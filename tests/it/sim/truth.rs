//! What must hold in every history, judged by what is true and never by what the code under test believes.

use trainyard::domain::run::{Decision, Ending, Look, Note, Reason, Run, Seen, State};

use crate::sim::chance::Draw;
use crate::sim::model::{Claim, Model, RunTruth};

/// A promise that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// No two trainings of a run at one time.
    TwoTrainings,
    /// A run trains to its end once, unless the model itself took that away.
    TrainedAgain,
    /// No training begins once the run is over.
    TrainsAfterItsEnd,
    /// No run is over while a job of it lives that may train.
    OverWhileAlive,
    /// Two jobs of a submission passed its claim.
    TwoClaims,
    /// Only a recorded `reopened` leaves a final state.
    LeftItsEnd,
    /// Silence changed a state.
    SilenceDecided,
    /// More restarts than the policy allows, or more submissions than there were reasons for.
    TooManyRestarts,
    /// A run comes back although two attempts in a row have left nothing newer.
    GetsNowhere,
    /// Attempts out of order.
    AttemptOrder,
    /// The end that is recorded is not what happened.
    WrongEnd,
    /// Somebody else's job was cancelled.
    StrangerCancelled,
    /// A run was submitted although it had to wait, or was cancelled.
    StartedTooSoon,
    /// An act came before its record.
    UnrecordedAct,
    /// The history does not come to an end.
    NeverQuiet,
    /// The code under test found its own state impossible.
    Impossible,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    pub(super) words: String,
}

impl Model {
    /// A job has passed the claim of its submission.
    pub(super) fn begins_to_train(&mut self, job: usize) {
        let (run, sub) = (self.jobs[job].run, self.jobs[job].submitted);
        let shown = self.jobs[job].shown();
        let is_admins = |m: &Self, n: usize| m.jobs[n].is_started_again;
        if let Some(other) = self.runs[run].trained_by
            && !is_admins(self, job)
            && !is_admins(self, other)
        {
            let other = self.jobs[other].shown();
            self.accuse(Rule::TwoTrainings, |_| {
                format!("{shown} trains run {} while {other} does", run + 1)
            });
        }
        let others = self.jobs.iter().enumerate();
        let mut others = others.filter(|(n, other)| *n != job && other.submitted == sub);
        if others.any(|(_, other)| other.has_trained) {
            self.accuse(Rule::TwoClaims, |_| format!("{shown} is the second of its submission"));
        }
        let truth = &self.runs[run];
        let excused = truth.lost_a_job || truth.may_train_again || is_admins(self, job);
        if truth.is_final && !excused {
            self.accuse(Rule::TrainsAfterItsEnd, |_| {
                format!("{shown} trains run {}, which is over", run + 1)
            });
        }
        if self.runs[run].is_trained && !excused {
            self.accuse(Rule::TrainedAgain, |_| {
                format!("{shown} trains run {}, which was trained to its end", run + 1)
            });
        }
        if !is_admins(self, job) {
            self.runs[run].trained_by = Some(job);
        }
        self.jobs[job].has_trained = true;
    }

    pub(super) fn ends_training(&mut self, job: usize) {
        let run = self.jobs[job].run;
        // Many a training is ended before it has saved anything.
        self.runs[run].saved += self.chance.to(Draw::Saves, 1);
        if self.runs[run].trained_by == Some(job) {
            self.runs[run].trained_by = None;
        }
    }

    /// A decision is recorded.
    pub(super) fn recorded(&mut self, n: usize, before: &Run, decision: &Decision, most: u32) {
        let after = &decision.run;
        let said = |kind: &str| decision.notes.iter().any(|note| note.kind == kind);
        if before.state.is_final() && before.state != after.state && !said("reopened") {
            self.accuse(Rule::LeftItsEnd, |_| {
                format!("run {} is {} again", n + 1, after.state.as_str())
            });
        }
        if let Some(Note { message, .. }) =
            decision.notes.iter().find(|note| note.kind == "impossible")
        {
            self.accuse(Rule::Impossible, |_| format!("run {}: {message}", n + 1));
        }
        if said("reopened") {
            let truth = &mut self.runs[n];
            (truth.is_trained, truth.may_train_again, truth.is_cancelled) = (false, false, false);
            truth.is_final = false;
            truth.more += 1;
        }
        if said("restart") && matches!(after.state, State::Backoff { .. }) && after.restarts > most
        {
            self.accuse(Rule::TooManyRestarts, |_| {
                format!("run {} comes back for the {}th time of {most}", n + 1, after.restarts)
            });
        }
        if said("reopened") {
            self.runs[n].saved_before = [-1, self.runs[n].saved];
        }
        if said("restart") && matches!(after.state, State::Backoff { .. }) && self.runs[n].saves {
            let RunTruth { saved, saved_before, .. } = self.runs[n];
            if saved_before == [saved; 2] {
                self.accuse(Rule::GetsNowhere, |_| {
                    format!("run {} comes back, and is at step {saved} as before", n + 1)
                });
            }
            self.runs[n].saved_before = [saved_before[1], saved];
        }
        if decision.notes.iter().any(|note| note.message.contains("it is submitted again")) {
            self.none_may_train(n, "given up");
            // Its job was shut out, or ended and nobody could tell: that counts as no restart.
            self.runs[n].more += 1;
        }
        self.numbered(n, before, decision);
        let is_final = after.state.is_final();
        if is_final && !self.runs[n].is_final {
            self.is_over(n, after);
        }
        self.runs[n].is_final = is_final;
    }

    fn numbered(&mut self, n: usize, before: &Run, decision: &Decision) {
        let known = before.attempt.as_ref().map_or(0, |attempt| attempt.n);
        let closed = decision.closed.iter().map(|attempt| attempt.n);
        let all: Vec<u32> =
            closed.chain(decision.run.attempt.iter().map(|attempt| attempt.n)).collect();
        let in_order = all.windows(2).all(|pair| pair[0] < pair[1]);
        if !in_order || all.first().is_some_and(|first| *first < known) {
            self.accuse(Rule::AttemptOrder, |_| {
                format!("run {}: attempt {known} is followed by {all:?}", n + 1)
            });
        }
    }

    /// A run is given up, for good or for another submission: no job of it may still come to train.
    fn none_may_train(&mut self, n: usize, what: &str) {
        let may_train = |job: &&crate::sim::jobs::Job| {
            let is_the_runs = job.run == n && !job.is_forgotten && !job.is_started_again;
            is_the_runs && job.is_alive() && {
                match &self.submitted[job.submitted].claim {
                    Claim::Free => true,
                    Claim::Revoked => false,
                    Claim::Of(key) => key.job == job.id,
                }
            }
        };
        if let Some(job) = self.jobs.iter().find(may_train)
            && !self.runs[n].may_train_again
        {
            let shown = job.shown();
            self.accuse(Rule::OverWhileAlive, |_| {
                format!("run {} is {what}, and {shown} lives", n + 1)
            });
        }
    }

    /// The run is over, and its end is what happened.
    fn is_over(&mut self, n: usize, run: &Run) {
        let State::Final { end } = &run.state else { return };
        let truth = self.runs[n].clone();
        self.none_may_train(n, end.ending.as_str());
        let is_true = match (end.ending, end.reason) {
            (Ending::Completed, _) => truth.is_trained,
            (_, Some(Reason::CancelledByUser)) => truth.is_cancelled,
            // A second job that was told to end may be all that is left of a submission.
            (_, Some(Reason::CancelledByAdmin)) => truth.admins_cancelled || truth.lost_a_job,
            (_, Some(Reason::Rejected)) => truth.was_refused,
            // A training that came to its end was not lost, nor has it failed.
            (_, Some(Reason::ExitCode | Reason::Lost)) => {
                !truth.is_trained || truth.may_train_again || truth.gave_way
            }
            (Ending::Failed | Ending::Cancelled, _) => true,
        };
        if !is_true {
            self.accuse(Rule::WrongEnd, |_| {
                format!(
                    "run {} is {} {:?}: {}",
                    n + 1,
                    end.ending.as_str(),
                    end.reason,
                    end.message
                )
            });
        }
    }

    /// Silence alone changes nothing but who is said to be silent.
    pub(super) fn silence_held(&mut self, n: usize, (before, after): (&Run, &Run), seen: &Seen) {
        let is_told = seen.answer.is_some()
            || seen.revocation.is_some()
            || !seen.script.is_empty()
            || !seen.wishes.is_empty()
            || !matches!(seen.look, Look::Silence { .. } | Look::NotAsked);
        // Both have timers.
        let has_timer = matches!(before.state, State::Stopping { .. } | State::Backoff { .. });
        if is_told || has_timer {
            return;
        }
        let before = Run { stale: None, ..before.clone() };
        if before != (Run { stale: None, ..after.clone() }) {
            self.accuse(Rule::SilenceDecided, |_| {
                let (from, to) = (before.state.as_str(), after.state.as_str());
                format!("run {} was {from} and is {to}, and nobody said anything", n + 1)
            });
        }
    }

    /// A submission was recorded.
    pub(super) fn admitted(&mut self, n: usize, most: u32) {
        self.runs[n].submissions += 1;
        let truth = self.runs[n].clone();
        if truth.is_cancelled {
            self.accuse(Rule::StartedTooSoon, |_| format!("run {} was cancelled", n + 1));
        }
        let allowed = 1 + most + truth.more;
        if truth.submissions > allowed {
            self.accuse(Rule::TooManyRestarts, |_| {
                format!("submission {} of run {}, {allowed} allowed", truth.submissions, n + 1)
            });
        }
    }
}
