//! A job's true life: it waits, starts, claims, trains, and ends or is started again.

use trainyard::domain::inbox::{ScriptEventKind, ScriptReason};
use trainyard::domain::run::JobEnd;

use crate::sim::chance::{Draw, Fault};
use crate::sim::model::{Claim, Model, NEVER};

/// What the script exits with when its claim is taken, and when the training cannot be started.
const SUPERSEDED: i32 = 76;
const LAUNCH_FAILED: i32 = 77;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Waiting,
    /// Its script runs and has not claimed yet.
    Starting,
    Training,
    /// Its script is over; slurmctld clears away.
    Completing,
    Ended,
    /// As if it had never been.
    Gone,
}

/// What comes next to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Start,
    Claim,
    /// The training ends by itself.
    Exit {
        code: i32,
    },
    /// Slurm or its node ends the start under way.
    Stop {
        end: JobEnd,
        is_requeued: bool,
    },
    /// slurmctld has cleared away after a start that was requeued.
    Requeued,
    Over {
        end: JobEnd,
        code: i32,
    },
    /// An administrator starts it again although it completed.
    StartAgain,
}

/// What accounting has of one start.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) submitted_at: i64,
    pub(super) started_at: Option<i64>,
    pub(super) shown_from: i64,
    /// Until then its name is not there yet.
    pub(super) named_from: i64,
    /// How it ended, and when accounting shows that.
    pub(super) end: Option<(JobEnd, i32, i64)>,
    pub(super) end_shown_from: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) run: usize,
    pub(super) submitted: usize,
    pub(super) phase: Phase,
    pub(super) restart: u32,
    pub(super) submitted_at: i64,
    pub(super) started_at: Option<i64>,
    pub(super) ended: Option<(JobEnd, i32, i64)>,
    /// When slurmctld saves that there is such a job, and that it started.
    pub(super) saved_at: i64,
    pub(super) start_saved_at: i64,
    /// slurmctld does not know it.
    pub(super) is_forgotten: bool,
    pub(super) has_trained: bool,
    /// An administrator has started it again after its end, whatever its run is doing by now.
    pub(super) is_started_again: bool,
    pub(super) records: Vec<Record>,
    pub(super) next_at: i64,
    pub(super) next: Next,
    /// When slurmd ends it because slurmctld does not know it, whatever it is doing by then.
    pub(super) kill_at: i64,
}

impl Job {
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.phase, Phase::Ended | Phase::Gone)
    }

    /// Whether slurmctld has it as one that is not over.
    pub(super) fn is_in_queue(&self) -> bool {
        self.is_alive() && !self.is_forgotten
    }

    pub(super) fn due_at(&self) -> i64 {
        if self.is_alive() { self.next_at.min(self.kill_at) } else { self.next_at }
    }

    pub(super) fn shown(&self) -> String {
        format!("job {}/{} of submission {}", self.id, self.restart, self.submitted + 1)
    }

    pub(super) fn then(&mut self, at: i64, next: Next) {
        (self.next_at, self.next) = (at, next);
    }
}

impl Model {
    /// slurmctld makes a job of a submission.
    pub(super) fn make_job(&mut self, submitted: usize) -> usize {
        let (t, run) = (self.t, self.submitted[submitted].run);
        // An id is not given to a submission twice: the claim could not tell its two jobs apart.
        let is_taken = |m: &Self, id| {
            let taken = m
                .jobs
                .iter()
                .any(|job| job.id == id && (job.submitted == submitted || !job.is_forgotten));
            taken || m.strangers.iter().any(|(stranger, _)| *stranger == id)
        };
        while is_taken(self, self.next_id) {
            self.next_id += 1;
        }
        let id = self.next_id;
        self.next_id += 1;
        let start = if self.chance.strikes(Fault::Held) {
            t + 200 + self.chance.to(Draw::Job, 2_000)
        } else {
            t + self.chance.to(Draw::Job, 40)
        };
        let job = Job {
            id,
            run,
            submitted,
            phase: Phase::Waiting,
            restart: 0,
            submitted_at: t,
            started_at: None,
            ended: None,
            saved_at: t + self.chance.to(Draw::Job, 5),
            start_saved_at: NEVER,
            is_forgotten: false,
            has_trained: false,
            is_started_again: false,
            records: vec![self.new_record()],
            next_at: start,
            next: Next::Start,
            kill_at: NEVER,
        };
        self.tell(|_| format!("slurmctld makes {} of run {}", job.shown(), run + 1));
        self.jobs.push(job);
        self.jobs.len() - 1
    }

    fn new_record(&mut self) -> Record {
        let lag = self.lag();
        let half = if self.chance.strikes(Fault::HalfEmpty) { 3 } else { 0 };
        let shown_from = if lag == NEVER { NEVER } else { self.t + lag };
        Record {
            submitted_at: self.t,
            started_at: None,
            shown_from,
            named_from: shown_from.saturating_add(half),
            end: None,
            end_shown_from: NEVER,
        }
    }

    /// How long accounting takes to learn something.
    fn lag(&mut self) -> i64 {
        if self.chance.strikes(Fault::RecordNever) {
            return NEVER;
        }
        if self.chance.strikes(Fault::DbdLags) {
            return 5 + self.chance.to(Draw::Records, 300);
        }
        self.chance.to(Draw::Records, 2)
    }

    /// What is due of a job happens.
    pub(super) fn live_on(&mut self, n: usize) {
        if self.jobs[n].is_alive() && self.jobs[n].kill_at <= self.t {
            self.kill(n);
            return;
        }
        let next = self.jobs[n].next;
        // What slurmctld does waits until it can.
        let is_ctlds =
            !matches!(next, Next::Claim | Next::Exit { .. }) && !self.jobs[n].is_forgotten;
        if let (true, Some(later)) = (is_ctlds, self.ctld_later()) {
            self.jobs[n].next_at = later;
            return;
        }
        match next {
            Next::Start => self.start(n),
            Next::Claim => self.claim(n),
            Next::Exit { code } => self.exit(n, code),
            Next::Stop { end, is_requeued } => self.stop(n, end, is_requeued),
            Next::Requeued => {
                let job = &mut self.jobs[n];
                job.phase = Phase::Waiting;
                let wait = 2 + self.chance.to(Draw::Job, 130);
                self.jobs[n].then(self.t + wait, Next::Start);
            }
            Next::Over { end, code } => self.over(n, end, code),
            Next::StartAgain => self.start_again(n),
        }
    }

    fn kill(&mut self, n: usize) {
        self.tell(|m| format!("slurmd ends {}, which nobody knows", m.jobs[n].shown()));
        self.ends_training(n);
        self.jobs[n].phase = Phase::Gone;
        self.jobs[n].then(NEVER, Next::Start);
    }

    fn start(&mut self, n: usize) {
        let (t, saved) = (self.t, self.t + self.chance.to(Draw::Job, 5));
        let slow = if self.chance.strikes(Fault::ClaimSlow) { 90 } else { 1 };
        let claim_at = t + self.chance.to(Draw::Job, slow);
        let job = &mut self.jobs[n];
        (job.phase, job.started_at, job.start_saved_at) = (Phase::Starting, Some(t), saved);
        if let Some(record) = job.records.last_mut() {
            record.started_at = Some(t);
        }
        job.then(claim_at, Next::Claim);
        self.tell(|m| format!("{} starts", m.jobs[n].shown()));
    }

    /// The script claims, as templates/sbatch/parts/identity.sh does, and trains if the claim is its own.
    fn claim(&mut self, n: usize) {
        if self.chance.strikes(Fault::NodeFiles) {
            self.tell(|m| format!("{} can neither make nor read its claim", m.jobs[n].shown()));
            let said = (Some(LAUNCH_FAILED), Some(ScriptReason::LaunchFailed));
            self.script_says(n, ScriptEventKind::Ended, said);
            self.complete(n, JobEnd::Failed, LAUNCH_FAILED);
            return;
        }
        let own = self.key(self.jobs[n].id);
        let claim = &mut self.submitted[self.jobs[n].submitted].claim;
        if *claim == Claim::Free {
            *claim = Claim::Of(own.clone());
        }
        if *claim != Claim::Of(own) {
            self.tell(|m| format!("{} finds its claim taken", m.jobs[n].shown()));
            let said = (Some(SUPERSEDED), Some(ScriptReason::Superseded));
            self.script_says(n, ScriptEventKind::Ended, said);
            self.complete(n, JobEnd::Failed, SUPERSEDED);
            let run = self.jobs[n].run;
            self.runs[run].gave_way = true;
            return;
        }
        self.tell(|m| format!("{} has its claim and trains", m.jobs[n].shown()));
        self.begins_to_train(n);
        self.jobs[n].phase = Phase::Training;
        self.script_says(n, ScriptEventKind::Started, (None, None));
        let long = 10 + self.chance.to(Draw::Job, 300);
        let early = self.t + self.chance.to(Draw::Job, long);
        let stop = |end, is_requeued| (early, Next::Stop { end, is_requeued });
        let (at, next) = if self.chance.strikes(Fault::Preempted) {
            stop(JobEnd::Preempted, self.chance.to(Draw::Job, 2) > 0)
        } else if self.chance.strikes(Fault::NodeFails) {
            stop(JobEnd::NodeFailure, self.chance.to(Draw::Job, 2) > 0)
        } else if self.chance.strikes(Fault::Requeued) {
            stop(JobEnd::Requeued, true)
        } else if self.chance.strikes(Fault::TimeLimit) {
            stop(JobEnd::TimeLimit, false)
        } else if self.chance.strikes(Fault::AdminCancels) {
            stop(JobEnd::Cancelled, false)
        } else if self.chance.strikes(Fault::TrainingFails) {
            (self.t + long, Next::Exit { code: 3 })
        } else if self.chance.strikes(Fault::AsksBack) {
            (self.t + long, Next::Exit { code: 75 })
        } else {
            (self.t + long, Next::Exit { code: 0 })
        };
        self.jobs[n].then(at, next);
    }

    fn exit(&mut self, n: usize, code: i32) {
        self.tell(|m| format!("the training of {} ends with {code}", m.jobs[n].shown()));
        self.ends_training(n);
        let run = self.jobs[n].run;
        // What an administrator started again is none of the run's any more.
        self.runs[run].is_trained |= code == 0 && !self.jobs[n].is_started_again;
        if !self.script_says(n, ScriptEventKind::Ended, (Some(code), None)) {
            // Nobody may ever learn of it.
            self.runs[run].may_train_again = true;
        }
        let end = if code == 0 { JobEnd::Completed } else { JobEnd::Failed };
        let is_cut = self.chance.strikes(Fault::NodeFailsAfter);
        self.complete(n, if is_cut { JobEnd::NodeFailure } else { end }, code);
    }

    fn complete(&mut self, n: usize, end: JobEnd, code: i32) {
        self.jobs[n].phase = Phase::Completing;
        let at = self.t + self.chance.to(Draw::Job, 4);
        self.jobs[n].then(at, Next::Over { end, code });
    }

    /// The start under way is ended from outside.
    fn stop(&mut self, n: usize, end: JobEnd, is_requeued: bool) {
        self.tell(|m| {
            let again = if is_requeued { ", and will be started again" } else { "" };
            format!("{} ends: {end:?}{again}", m.jobs[n].shown())
        });
        let was_training = self.jobs[n].phase == Phase::Training;
        self.ends_training(n);
        if was_training && end != JobEnd::NodeFailure {
            self.script_says(n, ScriptEventKind::Ended, (Some(143), None));
        }
        if end == JobEnd::Cancelled {
            let run = self.jobs[n].run;
            self.runs[run].admins_cancelled = true;
        }
        if is_requeued && !self.jobs[n].is_forgotten {
            self.requeue(n, end);
        } else {
            self.complete(n, end, 0);
        }
    }

    /// The job keeps its id; its restart count grows at once, its Submit moves, and accounting gets a new record.
    fn requeue(&mut self, n: usize, end: JobEnd) {
        self.close_record(n, end, 0);
        let (t, record) = (self.t, self.new_record());
        let clearing = self.chance.to(Draw::Job, 6);
        let job = &mut self.jobs[n];
        job.records.push(record);
        job.restart += 1;
        (job.submitted_at, job.started_at) = (t, None);
        job.phase = Phase::Completing;
        job.then(t + clearing, Next::Requeued);
    }

    fn close_record(&mut self, n: usize, end: JobEnd, code: i32) {
        let (t, lag) = (self.t, self.lag());
        // Of a job that slurmctld does not know accounting learns nothing more.
        let is_known = !self.jobs[n].is_forgotten;
        if let Some(record) = self.jobs[n].records.last_mut().filter(|_| is_known) {
            record.end = Some((end, code, t));
            let shown = if lag == NEVER { NEVER } else { t + lag };
            record.end_shown_from = shown.max(record.shown_from);
        }
    }

    pub(super) fn over(&mut self, n: usize, end: JobEnd, code: i32) {
        self.close_record(n, end, code);
        let t = self.t;
        let job = &mut self.jobs[n];
        (job.phase, job.ended) = (Phase::Ended, Some((end, code, t)));
        job.then(NEVER, Next::Start);
        self.tell(|m| format!("{} is over: {end:?} {code}", m.jobs[n].shown()));
        let job = &self.jobs[n];
        let record = job.records.last();
        if job.restart > 0 && record.is_some_and(|record| record.end_shown_from > t + 5) {
            // Accounting may go on telling of the start before as if it were the last.
            self.runs[job.run].may_train_again = true;
        }
        let is_known = !self.jobs[n].is_forgotten;
        if is_known && end == JobEnd::Completed && self.chance.strikes(Fault::DoneRequeued) {
            let at = t + self.chance.to(Draw::Job, 40);
            self.jobs[n].then(at, Next::StartAgain);
        }
    }

    fn start_again(&mut self, n: usize) {
        self.tell(|m| format!("an administrator starts {} again", m.jobs[n].shown()));
        let run = self.jobs[n].run;
        self.runs[run].may_train_again = true;
        (self.jobs[n].ended, self.jobs[n].is_started_again) = (None, true);
        self.requeue(n, JobEnd::Requeued);
    }
}
