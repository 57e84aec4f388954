//! Calls of sbatch: every way in which they end.

use trainyard::domain::run::Answer;

use crate::sim::chance::{Draw, Fault};
use crate::sim::model::{Ctld, Model, NEVER};

/// sbatch gives up after so long without an answer, and after so long without anybody to ask.
const ANSWER_SECONDS: i64 = 10;
const CONNECT_SECONDS: i64 = 9;

/// How a call is going to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Yes,
    No { for_now: bool },
    Unreachable,
    Lost,
}

/// One process of sbatch.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) submitted: usize,
    /// When slurmctld makes a job of it.
    makes: Vec<i64>,
    /// When the process ends.
    pub(super) ends_at: i64,
    word: Word,
    job: Option<usize>,
    /// What it said, once it ended.
    pub(super) answer: Option<Answer>,
}

impl Call {
    pub(super) fn next_at(&self) -> i64 {
        let makes = self.makes.first().copied().unwrap_or(NEVER);
        if self.answer.is_some() { makes } else { makes.min(self.ends_at) }
    }
}

impl Model {
    /// The daemon calls sbatch for a submission. Gives the number of the call.
    pub(super) fn sbatch(&mut self, submitted: usize) -> usize {
        let t = self.t;
        let (word, makes, ends_at) = match self.ctld {
            Ctld::Dead { .. } => (Word::Unreachable, vec![], t + CONNECT_SECONDS),
            Ctld::Frozen { until } if until > t + ANSWER_SECONDS => {
                // What lies in its socket is done when it goes on, unless that was dropped.
                let made = until + self.chance.to(Draw::Sbatch, 3);
                let makes = if self.chance.to(Draw::Sbatch, 3) > 0 { vec![made] } else { vec![] };
                (Word::Lost, makes, t + ANSWER_SECONDS)
            }
            Ctld::Frozen { until } => (Word::Yes, vec![until + 1], until + 2),
            Ctld::Up => self.answered_call(),
        };
        self.tell(|m| {
            let run = m.submitted[submitted].run + 1;
            format!(
                "sbatch for submission {} of run {run}: {word:?} at {ends_at} s, jobs at {makes:?}",
                submitted + 1
            )
        });
        let (job, answer) = (None, None);
        self.calls.push(Call { submitted, makes, ends_at, word, job, answer });
        self.calls.len() - 1
    }

    fn answered_call(&mut self) -> (Word, Vec<i64>, i64) {
        let long = if self.chance.strikes(Fault::SbatchSlow) { 110 } else { 2 };
        let made = self.t + self.chance.to(Draw::Sbatch, long);
        let ends = made + self.chance.to(Draw::Sbatch, 2);
        if self.chance.strikes(Fault::Refused) {
            return (Word::No { for_now: false }, vec![], ends);
        }
        if self.chance.strikes(Fault::RefusedForNow) {
            return (Word::No { for_now: true }, vec![], ends);
        }
        if self.chance.strikes(Fault::Unreachable) {
            return (Word::Unreachable, vec![], ends + CONNECT_SECONDS);
        }
        if self.chance.strikes(Fault::UnreachableMade) {
            return (Word::Unreachable, vec![made], ends + CONNECT_SECONDS);
        }
        if self.chance.strikes(Fault::LostWithJob) {
            return (Word::Lost, vec![made], ends + ANSWER_SECONDS);
        }
        if self.chance.strikes(Fault::LostWithout) {
            return (Word::Lost, vec![], ends + ANSWER_SECONDS);
        }
        if self.chance.strikes(Fault::Twice) {
            // By a plug-in, or because it was sent twice: at once.
            return (Word::Yes, vec![made, made], ends);
        }
        (Word::Yes, vec![made], ends)
    }

    /// What is due of a call happens.
    pub(super) fn proceed(&mut self, n: usize) {
        let t = self.t;
        if self.calls[n].makes.first().is_some_and(|at| *at <= t) {
            self.make(n);
            return;
        }
        let call = &self.calls[n];
        let (word, job, submitted) = (call.word, call.job, call.submitted);
        let message = || "words of sbatch".to_owned();
        let answer = match (word, job) {
            (Word::Yes, Some(job)) => {
                Answer::Acknowledged { job: self.key(self.jobs[job].id), notices: String::new() }
            }
            (Word::Yes, None) | (Word::Lost, _) => Answer::Lost { message: message() },
            (Word::No { for_now }, _) => Answer::Refused { message: message(), for_now },
            (Word::Unreachable, _) => Answer::Unreachable { message: message() },
        };
        let run = self.submitted[submitted].run;
        match word {
            Word::No { for_now: true } => self.runs[run].more += 1,
            Word::No { for_now: false } => self.runs[run].was_refused = true,
            Word::Yes | Word::Unreachable | Word::Lost => {}
        }
        self.tell(|_| format!("sbatch for submission {} ends: {answer:?}", submitted + 1));
        self.calls[n].answer = Some(answer);
    }

    fn make(&mut self, n: usize) {
        match self.ctld {
            Ctld::Up => {
                self.calls[n].makes.remove(0);
                let job = self.make_job(self.calls[n].submitted);
                self.calls[n].job.get_or_insert(job);
            }
            Ctld::Frozen { until } => {
                // It is done when slurmctld goes on; sbatch waits so long and no longer.
                let call = &mut self.calls[n];
                call.makes[0] = until + 1;
                if call.word == Word::Yes && until + 1 > call.ends_at {
                    if until + 1 - call.ends_at > ANSWER_SECONDS {
                        (call.word, call.ends_at) = (Word::Lost, call.ends_at + ANSWER_SECONDS);
                    } else {
                        call.ends_at = until + 2;
                    }
                }
            }
            Ctld::Dead { .. } => {
                self.calls[n].makes.remove(0);
            }
        }
    }

    /// Whether an sbatch of the submission still runs.
    pub(super) fn is_being_submitted(&self, submitted: usize) -> bool {
        let mut calls = self.calls.iter().filter(|call| call.submitted == submitted);
        calls.any(|call| call.answer.is_none())
    }
}
