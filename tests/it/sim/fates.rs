//! What happens to jobs from outside: slurmctld forgets them, and people cancel them.

use trainyard::domain::ids::{JobKey, Token};
use trainyard::domain::inbox::ScriptEventKind;
use trainyard::domain::run::JobEnd;

use crate::sim::chance::{Draw, Fault};
use crate::sim::jobs::{Job, Next, Phase};
use crate::sim::model::{Ctld, Model, NEVER};
use crate::sim::truth::Rule;

impl Model {
    /// slurmctld has died: does it still know the job, and that it started?
    pub(super) fn forget_unsaved(&mut self, n: usize, back_at: i64) {
        let t = self.t;
        let job = &self.jobs[n];
        if job.is_forgotten || !job.is_alive() {
            return;
        }
        if job.saved_at > t {
            let (id, run, waits) = (job.id, job.run, job.phase == Phase::Waiting);
            self.tell(|m| format!("{} is forgotten", m.jobs[n].shown()));
            self.jobs[n].is_forgotten = true;
            self.runs[run].lost_a_job = true;
            self.next_id = self.next_id.min(id);
            if waits {
                self.jobs[n].phase = Phase::Gone;
                self.jobs[n].then(NEVER, Next::Start);
            } else if self.jobs[n].phase != Phase::Completing {
                // The nodes tell a slurmctld that is back of their jobs at once, and are told to end what it does not know.
                self.jobs[n].kill_at = back_at + self.chance.to(Draw::Job, 60);
            }
            if self.chance.strikes(Fault::IdGivenAway) {
                let since = back_at + self.chance.to(Draw::Job, 30);
                self.tell(|_| format!("id {id} is somebody else's from {since} s on"));
                self.strangers.push((id, since));
            }
        } else if matches!(job.phase, Phase::Starting | Phase::Training) && job.start_saved_at > t {
            // It waits, says slurmctld, and slurmd ends what it does not expect.
            self.tell(|m| format!("the start of {} is forgotten", m.jobs[n].shown()));
            self.ends_training(n);
            let job = &mut self.jobs[n];
            (job.phase, job.started_at) = (Phase::Waiting, None);
            job.then(back_at + 20, Next::Start);
        }
    }

    /// A job is looked up, and cancelled by its id if it is still of that token; with grace it is only warned.
    pub(super) fn cancel(&mut self, job: &JobKey, token: &Token, grace: bool) -> Result<(), ()> {
        let id = job.job;
        if self.ctld != Ctld::Up || self.chance.strikes(Fault::ScancelFails) {
            self.tell(|_| format!("scancel {id} gets no answer"));
            return Err(());
        }
        let is_its = |job: &Job| job.id == id && self.submitted[job.submitted].token == *token;
        if !self.jobs.iter().any(is_its) {
            self.accuse(Rule::StrangerCancelled, |_| format!("{id} never was a job of {token}"));
        }
        let known = self.jobs.iter().position(|job| job.id == id && job.is_in_queue());
        let Some(n) = known else { return Ok(()) };
        if self.submitted[self.jobs[n].submitted].token != *token {
            self.tell(|m| format!("{} is left alone: it is another's", m.jobs[n].shown()));
            return Ok(());
        }
        if grace {
            return self.warn(n);
        }
        self.tell(|m| format!("{} is told to end", m.jobs[n].shown()));
        match self.jobs[n].phase {
            Phase::Waiting => self.over(n, JobEnd::Cancelled, 0),
            Phase::Starting | Phase::Training => {
                // Its state is CANCELLED from now on, whatever its script still does.
                let at = self.t + self.chance.to(Draw::Job, 30);
                let stop = Next::Stop { end: JobEnd::Cancelled, is_requeued: false };
                self.jobs[n].then(at, stop);
            }
            Phase::Completing => {
                // One that is being requeued does not come back.
                if self.jobs[n].next == Next::Requeued {
                    let over = Next::Over { end: JobEnd::Cancelled, code: 0 };
                    self.jobs[n].next = over;
                }
            }
            Phase::Ended | Phase::Gone => {}
        }
        Ok(())
    }

    /// The script is warned. Its training may save and exit, or end otherwise, or go on; or it is deaf to it.
    fn warn(&mut self, n: usize) -> Result<(), ()> {
        self.tell(|m| format!("{} is warned", m.jobs[n].shown()));
        match self.jobs[n].phase {
            // There is no script yet.
            Phase::Waiting => return Err(()),
            Phase::Training => {}
            Phase::Starting | Phase::Completing | Phase::Ended | Phase::Gone => return Ok(()),
        }
        self.script_says(n, ScriptEventKind::Warned, (None, None));
        match self.chance.to(Draw::Warned, 4) {
            0 => {
                self.script_says(n, ScriptEventKind::Unheard, (None, None));
            }
            1 => {}
            heard => {
                let code = [75, 3, 0][usize::try_from(heard - 2).unwrap_or(0)];
                let at = self.t + self.chance.to(Draw::Warned, 90);
                if at < self.jobs[n].next_at {
                    self.jobs[n].then(at, Next::Exit { code });
                }
            }
        }
        Ok(())
    }
}
