//! What the first driver sees in a pass: src/daemon/observe.rs and src/daemon/claims.rs, in memory.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use trainyard::domain::checkpoint::{Mark, Saved};
use trainyard::domain::ids::{SubmissionId, Token};
use trainyard::domain::run::{
    Answer, Call, Look, Phase, Revocation, Run, Seen, Sighting, State, Submission, are_of_others,
    has_others, is_end_of_anybody, sort_out, unheard_end,
};
use trainyard::ports::{Asked, LookAnswer, Wants};

use crate::sim::chance::{Draw, Fault};
use crate::sim::core::{CallRecord, Looked, World};

/// How long after its call an orphan of another machine is waited for, and one of this machine at most.
const ELSEWHERE_SECONDS: i64 = 180;
const HANGS_SECONDS: i64 = 1_800;

impl World {
    /// What is seen of each run; nothing of one that is over.
    pub(super) fn observe(&mut self) -> Vec<Option<Seen>> {
        let mut seen: Vec<Option<Seen>> =
            (0..self.rows.len()).map(|n| self.is_live(n).then(Seen::default)).collect();
        self.look(&mut seen);
        self.read_inbox(&mut seen);
        self.read_answers(&mut seen);
        self.settle_claims(&mut seen);
        for (row, seen) in self.rows.iter().zip(&mut seen) {
            if let Some(seen) = seen {
                seen.wishes.clone_from(&row.wishes);
            }
        }
        seen
    }

    fn asked(&self) -> Vec<Asked> {
        let live = self.rows.iter().filter(|row| row.run.state.depends_on_scheduler());
        live.filter_map(|row| {
            let submission = row.run.submission.as_ref()?;
            if submission.job.is_none() && self.is_under_way(submission.id) {
                return None;
            }
            let attempt = row.run.open_attempt();
            Some(Asked {
                submission: submission.id,
                token: submission.token.clone(),
                job: submission.job.clone(),
                intent_at: submission.intent_at,
                wants: Wants::News,
                eager: false,
                unseen: false,
                provisional: row.run.submission.as_ref().is_some_and(|known| known.provisional),
                restart: row.run.known_restart(),
                submitted_at: attempt
                    .filter(|attempt| attempt.slurm_state.is_some())
                    .map(|attempt| attempt.submitted_at),
                shown: row.run.shown(),
            })
        })
        .collect()
    }

    fn look(&mut self, seen: &mut [Option<Seen>]) {
        if self.process.look.is_none() {
            let asked = self.asked();
            if asked.is_empty() {
                return;
            }
            let (asked_at, answer) = (self.model.now(), self.model.look(&asked));
            let late = if self.model.chance.strikes(Fault::LookTakesLong) {
                1 + self.model.chance.to(Draw::Pass, 60)
            } else {
                0
            };
            let asked = asked.into_iter().map(|asked| asked.token).collect();
            let told_at = self.model.t + late;
            self.process.look = Some(Looked { asked, asked_at, answer, told_at });
        }
        let is_there = self.process.look.as_ref().is_some_and(|look| look.told_at <= self.model.t);
        if let Some(looked) = self.process.look.take_if(|_| is_there) {
            self.hear(looked, seen);
        }
    }

    /// A look has been answered, perhaps some time after it was asked.
    fn hear(&mut self, looked: Looked, seen: &mut [Option<Seen>]) {
        let Looked { asked, asked_at, answer, .. } = looked;
        let (mut sightings, unchanged, unsure, silence) = match answer {
            Ok(LookAnswer::NotDue) => return,
            Ok(LookAnswer::Seen { sightings, unchanged, unsure, silence }) => {
                (sightings, unchanged, BTreeSet::from_iter(unsure), silence)
            }
            Err(silence) => (Vec::new(), BTreeSet::new(), asked.clone(), Some(silence)),
        };
        for (n, seen) in seen.iter_mut().enumerate() {
            let Some(seen) = seen else { continue };
            let Some(submission) = self.rows[n].run.submission.clone() else { continue };
            if !asked.contains(&submission.token) || unchanged.contains(&submission.token) {
                continue;
            }
            let (of_run, others): (Vec<Sighting>, Vec<Sighting>) =
                sightings.into_iter().partition(|sighting| sighting.token == submission.token);
            sightings = others;
            if unsure.contains(&submission.token) {
                seen.look = match &silence {
                    Some(silence) => Look::Silence { who: silence.to_string() },
                    None => Look::NotAsked,
                };
                self.model.tell(|_| format!("the look at run {}: {:?}", n + 1, seen.look));
                continue;
            }
            let is_found = !are_of_others(&of_run, submission.job.as_ref());
            if !of_run.is_empty() && is_found {
                self.found_jobs(n, &submission, of_run, seen);
            } else if !matches!(&self.rows[n].run.state,
                State::Submitting { call: Call::InDoubt(doubt) } if asked_at < doubt.since)
            {
                self.absent(n, &submission, seen);
            }
            self.see_saved(n, seen);
            self.model.tell(|_| {
                let shown = match &seen.look {
                    Look::Job(job) => format!(
                        "{} /{} is {} ({:?}), {} twins",
                        job.job,
                        job.restart,
                        job.word,
                        job.phase,
                        seen.twins.len()
                    ),
                    Look::NotAsked | Look::Silence { .. } | Look::Absent => {
                        format!("{:?}", seen.look)
                    }
                };
                format!("the look at run {}: {shown}", n + 1)
            });
        }
    }

    /// What a run has saved is looked at where an attempt of it has ended.
    fn see_saved(&self, n: usize, seen: &mut Seen) {
        let (truth, run) = (&self.model.runs[n], &self.rows[n].run);
        if truth.saves && run.is_end_of_attempt(&seen.look) {
            let step = Some(truth.saved).filter(|step| *step > 0);
            let path = format!("step-{}", truth.saved);
            let newest = step.map(|step| Mark { path, step: Some(step), modified: None });
            seen.saved = Some(Saved { newest, ..Saved::default() });
        }
    }

    fn found_jobs(
        &mut self,
        n: usize,
        submission: &Submission,
        found: Vec<Sighting>,
        seen: &mut Seen,
    ) {
        let mut owner = None;
        let known = submission.job.as_ref();
        if self.rows[n].run.state.depends_on_scheduler()
            && (has_others(&found, known) || is_end_of_anybody(&found, submission.claim))
        {
            match self.model.claim_owner(&submission.token) {
                Ok(found) => owner = found,
                Err(silence) => {
                    seen.look = Look::Silence { who: silence.to_string() };
                    return;
                }
            }
        }
        sort_out(found, owner.as_ref(), known, seen);
        if seen.look == Look::Absent {
            self.absent(n, submission, seen);
        }
        if let Some(attempt) = unheard_end(&self.rows[n].run, &seen.look) {
            match self.model.exit_marker(n, attempt, &submission.token) {
                Ok(marker) => seen.marker = marker,
                Err(silence) => seen.look = Look::Silence { who: silence.to_string() },
            }
        }
    }

    fn absent(&mut self, n: usize, submission: &Submission, seen: &mut Seen) {
        seen.look = Look::Absent;
        let Some(attempt) = self.rows[n].run.attempt.as_ref().map(|attempt| attempt.n) else {
            return;
        };
        match self.model.exit_marker(n, attempt, &submission.token) {
            Ok(marker) => seen.marker = marker,
            Err(silence) => seen.look = Look::Silence { who: silence.to_string() },
        }
    }

    fn read_inbox(&mut self, seen: &mut [Option<Seen>]) {
        let Ok(letters) = self.model.read_inbox() else { return };
        for letter in letters {
            if self.process.taken.contains(&letter.number) {
                continue;
            }
            let is_of = |token: &Token, run: &Run| {
                run.submission.as_ref().is_some_and(|known| known.token == *token)
            };
            let owner = self.rows.iter().position(|row| is_of(&letter.event.token, &row.run));
            let Some(n) = owner else { continue };
            let Some(seen) = &mut seen[n] else { continue };
            let run = &self.rows[n].run;
            if letter.event.restart > run.known_restart() && run.open_attempt().is_some() {
                continue;
            }
            self.process.taken.push(letter.number);
            seen.script.push(letter.event);
        }
    }

    fn read_answers(&mut self, seen: &mut [Option<Seen>]) {
        for (n, seen) in seen.iter_mut().enumerate() {
            let Some(seen) = seen else { continue };
            let run = &self.rows[n].run;
            let Some(submission) = &run.submission else { continue };
            let is_called = matches!(
                run.state,
                State::Submitting { call: Call::UnderWay | Call::Unreachable(_) }
            );
            let is_awaited = is_called
                || (matches!(run.state, State::Stopping { .. }) && submission.job.is_none());
            if !is_awaited {
                continue;
            }
            let record = self.calls.iter().find(|call| call.submission == submission.id);
            let answer = record.and_then(|record| {
                record.answer.clone().or_else(|| self.orphaned(submission.id, record))
            });
            if answer.is_none() && matches!(seen.look, Look::Absent) {
                seen.look = Look::NotAsked;
            }
            seen.answer = answer;
        }
    }

    fn orphaned(&self, id: SubmissionId, record: &CallRecord) -> Option<Answer> {
        if self.is_under_way(id) {
            return None;
        }
        let age = self.model.now().duration_since(record.called_at).as_secs();
        let may_still_submit = match record.is_here {
            true if age < HANGS_SECONDS => self.model.is_being_submitted(self.place_of(id)),
            true => false,
            false => age < ELSEWHERE_SECONDS,
        };
        (!may_still_submit).then(|| Answer::Lost { message: "the daemon ended".to_owned() })
    }

    fn is_settled(&self, n: usize, seen: &Seen) -> bool {
        let row = &self.rows[n];
        let (State::Stopping { stop, .. }, Some(submission)) =
            (&row.run.state, &row.run.submission)
        else {
            return true;
        };
        if self.is_under_way(submission.id) {
            return false;
        }
        if matches!(seen.answer, Some(Answer::Refused { .. } | Answer::Unreachable { .. })) {
            return true;
        }
        let wait = SignedDuration::from_secs(row.policy.in_doubt_wait.0.cast_signed());
        let waited = self.model.now().duration_since(stop.since);
        let waited = waited.is_negative() || waited >= wait;
        let has_ended = submission.job.is_some() || seen.answer.is_some();
        has_ended && waited && matches!(seen.look, Look::Absent | Look::Job(_))
    }

    fn settle_claims(&mut self, seen: &mut [Option<Seen>]) {
        for (n, seen) in seen.iter_mut().enumerate() {
            let Some(seen) = seen else { continue };
            let submission = self.rows[n].run.submission.as_ref();
            let Some(submission) = submission.filter(|known| known.revoking) else { continue };
            let is_over = match &seen.look {
                Look::Job(job) if !matches!(job.phase, Phase::Ended { .. }) => continue,
                Look::Job(_) => true,
                Look::NotAsked | Look::Silence { .. } | Look::Absent => false,
            };
            let token = submission.token.clone();
            match self.model.revoke(&token) {
                Ok(Revocation::Won) if !self.is_settled(n, seen) => {}
                Ok(revocation) => {
                    if is_over && revocation == Revocation::Won {
                        seen.look = Look::NotAsked;
                    }
                    seen.revocation = Some(revocation);
                }
                Err(_) => {}
            }
        }
    }
}
