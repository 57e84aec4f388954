//! The run root: claims, the inbox, exit markers.

use trainyard::domain::ids::{JobKey, Token};
use trainyard::domain::inbox::{ScriptEvent, ScriptEventKind, ScriptReason};
use trainyard::domain::run::Revocation;
use trainyard::ports::Silence;

use crate::sim::chance::{Draw, Fault};
use crate::sim::model::{Claim, Model, NEVER};

/// An event file on its way.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) number: u32,
    pub(super) there_at: i64,
    pub(super) event: ScriptEvent,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    pub(super) inbox: Vec<Letter>,
    letters: u32,
    /// By run and attempt.
    markers: Vec<(usize, u32, ScriptEvent)>,
}

fn no_answer() -> Silence {
    Silence { who: "the run root".to_owned(), why: "no answer".to_owned() }
}

impl Model {
    /// What the daemon's file calls come to: nothing, at times.
    pub(super) fn daemon_reaches_files(&mut self) -> Result<(), Silence> {
        if self.chance.strikes(Fault::DaemonFiles) {
            self.tell(|_| "the run root is silent to the daemon".to_owned());
            return Err(no_answer());
        }
        Ok(())
    }

    /// Takes a claim with `revoked`, or finds who has it.
    pub(super) fn revoke(&mut self, token: &Token) -> Result<Revocation, Silence> {
        self.daemon_reaches_files()?;
        let Some(n) = self.submitted.iter().position(|known| known.token == *token) else {
            return Err(no_answer());
        };
        let result = match &self.submitted[n].claim {
            Claim::Of(key) => Revocation::ClaimedBy(key.clone()),
            Claim::Revoked => Revocation::Won,
            Claim::Free => {
                self.submitted[n].claim = Claim::Revoked;
                Revocation::Won
            }
        };
        self.tell(|_| format!("the claim of submission {}: {result:?}", n + 1));
        Ok(result)
    }

    pub(super) fn claim_owner(&mut self, token: &Token) -> Result<Option<JobKey>, Silence> {
        self.daemon_reaches_files()?;
        let known = self.submitted.iter().find(|known| known.token == *token);
        Ok(known.and_then(|known| match &known.claim {
            Claim::Of(key) => Some(key.clone()),
            Claim::Free | Claim::Revoked => None,
        }))
    }

    /// The marker of an attempt, or of the last start after it that left one.
    pub(super) fn exit_marker(
        &mut self,
        run: usize,
        attempt: u32,
        token: &Token,
    ) -> Result<Option<ScriptEvent>, Silence> {
        self.daemon_reaches_files()?;
        let of_run = self
            .files
            .markers
            .iter()
            .filter(|(of, n, marker)| *of == run && *n >= attempt && marker.token == *token);
        // Of several of one attempt the last one written is there.
        Ok(of_run.max_by_key(|(_, n, _)| *n).map(|(_, _, marker)| marker.clone()))
    }

    /// The marker of one attempt, as it is read from its file.
    pub(super) fn marker(
        &mut self,
        run: usize,
        attempt: u32,
    ) -> Result<Option<ScriptEvent>, Silence> {
        let of_attempt = |(of, n, _): &&(usize, u32, ScriptEvent)| (*of, *n) == (run, attempt);
        let found = self.files.markers.iter().rev().find(of_attempt).cloned();
        if found.is_some() {
            self.daemon_reaches_files()?;
        }
        Ok(found.map(|(.., marker)| marker))
    }

    /// The letters that have come, oldest first.
    pub(super) fn read_inbox(&mut self) -> Result<Vec<Letter>, Silence> {
        if self.files.inbox.iter().all(|letter| letter.there_at > self.t) {
            return Ok(Vec::new());
        }
        self.daemon_reaches_files()?;
        let t = self.t;
        let there = self.files.inbox.iter().filter(|letter| letter.there_at <= t);
        Ok(there.cloned().collect())
    }

    pub(super) fn remove_letters(&mut self, numbers: &[u32]) -> Result<(), Silence> {
        self.daemon_reaches_files()?;
        self.files.inbox.retain(|letter| !numbers.contains(&letter.number));
        Ok(())
    }

    /// A script tells something, if its node reaches the run root. The end of one with the claim leaves a marker, too.
    pub(super) fn script_says(
        &mut self,
        job: usize,
        kind: ScriptEventKind,
        (exit_code, reason): (Option<i32>, Option<ScriptReason>),
    ) -> bool {
        if self.chance.strikes(Fault::NodeFiles) {
            self.tell(|m| format!("the script of {} cannot write", m.jobs[job].shown()));
            return false;
        }
        let event = {
            let job = &self.jobs[job];
            let submitted = &self.submitted[job.submitted];
            ScriptEvent {
                token: submitted.token.clone(),
                job: self.key(job.id),
                index: 0,
                attempt: submitted.attempt_base + job.restart,
                restart: job.restart,
                event: kind,
                at: crate::sim::model::at(self.t).as_second(),
                host: "n1".to_owned(),
                exit_code,
                reason,
                message: String::new(),
                resumed_from_step: None,
            }
        };
        let run = self.jobs[job].run;
        let has_claim = reason.is_none();
        let is_there =
            |m: &Self| m.files.markers.iter().any(|(r, n, _)| (*r, *n) == (run, event.attempt));
        if kind == ScriptEventKind::Ended
            && reason != Some(ScriptReason::Superseded)
            && (has_claim || !is_there(self))
        {
            self.files.markers.push((run, event.attempt, event.clone()));
        }
        let there_at = if self.chance.strikes(Fault::EventNever) {
            NEVER
        } else if self.chance.strikes(Fault::EventLate) {
            self.t + 10 + self.chance.to(Draw::Files, 400)
        } else {
            self.t + self.chance.to(Draw::Files, 1)
        };
        self.tell(|m| {
            let (job, code) = (m.jobs[job].shown(), exit_code.unwrap_or(0));
            format!("the script of {job} says {kind:?} {code} {reason:?}")
        });
        if there_at < NEVER {
            self.files.letters += 1;
            self.files.inbox.push(Letter { number: self.files.letters, there_at, event });
        }
        true
    }
}
