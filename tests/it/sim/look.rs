//! What squeue and sacct show, put together as src/slurm does it: `Queue` and `Seer` there are what this follows.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;

use trainyard::domain::ids::Token;
use trainyard::domain::run::{Digest, Granted, JobEnd, Phase as Shown, Sighting};
use trainyard::ports::{Asked, LookAnswer, Silence};

use crate::sim::chance::Fault;
use crate::sim::jobs::{Job, Phase, Record};
use crate::sim::model::{Ctld, Model, at};

/// By how much the clocks of Slurm and of the daemon may differ, and how long accounting may take to tell of an earlier start.
const SKEW: i64 = 300;
const LATE: i64 = 20;

fn silence(who: &str) -> Silence {
    Silence { who: who.to_owned(), why: "no answer".to_owned() }
}

/// A record with the number that it is taken for.
struct Numbered<'a> {
    restart: u32,
    record: &'a Record,
}

impl Model {
    /// One poll.
    pub(super) fn look(&mut self, asked: &[Asked]) -> Result<LookAnswer, Silence> {
        if self.ctld != Ctld::Up || self.chance.strikes(Fault::SqueueFails) {
            return Err(silence("squeue"));
        }
        let (mut missing, mut grown, mut sightings, mut unsure) = (vec![], vec![], vec![], vec![]);
        for asked in asked {
            let found = self.in_queue(asked);
            let news = |n: &usize| self.jobs[*n].restart > asked.restart;
            let is_clearing = |n: &usize| news(n) && self.jobs[*n].phase == Phase::Completing;
            if found.is_empty() {
                missing.push(asked);
            } else if found.iter().any(is_clearing) {
                unsure.push(asked.token.clone());
            } else if found.iter().any(news) {
                grown.push((asked, found));
            } else {
                for n in found {
                    sightings.push(self.of_row(asked, n));
                }
            }
        }
        let nobody_to_ask = missing.is_empty() && grown.is_empty();
        if !self.has_accounting || nobody_to_ask {
            for (asked, found) in grown {
                sightings.extend(found.into_iter().map(|n| self.of_row(asked, n)));
            }
            return Ok(told(asked, sightings, unsure, None));
        }
        if self.t < self.dbd_away_until {
            unsure.extend(missing.iter().map(|asked| asked.token.clone()));
            for (asked, found) in grown {
                if found.iter().all(|n| self.is_old(*n)) {
                    sightings.extend(found.into_iter().map(|n| self.of_row(asked, n)));
                } else {
                    unsure.push(asked.token.clone());
                }
            }
            return Ok(told(asked, sightings, unsure, Some(silence("sacct"))));
        }
        for asked in missing {
            self.in_accounts(asked, &mut sightings);
        }
        for (asked, found) in grown {
            let mut told = Vec::new();
            for n in &found {
                self.before(asked, *n, &mut told);
            }
            let due = |n: &usize| self.jobs[*n].restart.saturating_sub(asked.restart);
            let due: u32 = found.iter().map(due).sum();
            let is_whole = told.len() >= due as usize;
            if is_whole || found.iter().all(|n| self.is_old(*n)) {
                sightings.append(&mut told);
                sightings.extend(found.into_iter().map(|n| self.of_row(asked, n)));
            } else {
                unsure.push(asked.token.clone());
            }
        }
        Ok(told(asked, sightings, unsure, None))
    }

    fn is_old(&self, n: usize) -> bool {
        self.now().duration_since(at(self.jobs[n].submitted_at)).as_secs() > LATE
    }

    fn is_of(&self, job: &Job, asked: &Asked) -> bool {
        self.submitted[job.submitted].id == asked.submission
    }

    fn is_new_enough(submitted_at: i64, intent_at: Timestamp) -> bool {
        at(submitted_at).duration_since(intent_at).as_secs() >= -SKEW
    }

    /// The jobs of a submission that squeue shows.
    fn in_queue(&self, asked: &Asked) -> Vec<usize> {
        let is_shown = |job: &Job| {
            let is_kept = job.ended.is_none_or(|(.., ended)| ended + self.min_job_age > self.t);
            self.is_of(job, asked)
                && !job.is_forgotten
                && job.phase != Phase::Gone
                && is_kept
                && Self::is_new_enough(job.submitted_at, asked.intent_at)
        };
        (0..self.jobs.len()).filter(|n| is_shown(&self.jobs[*n])).collect()
    }

    fn of_row(&mut self, asked: &Asked, n: usize) -> Sighting {
        let is_unknown = self.chance.strikes(Fault::UnknownWord);
        let job = &self.jobs[n];
        let (word, phase) = match (job.phase, job.ended) {
            _ if is_unknown => ("FROBNICATING", Shown::Unknown),
            (_, Some((end, code, _))) => ("ENDED", ended(end, code)),
            (Phase::Waiting, None) => ("PENDING", Shown::Waiting { why: None }),
            (Phase::Completing, None) => ("COMPLETING", Shown::Running),
            _ => ("RUNNING", Shown::Running),
        };
        let is_waiting = matches!(phase, Shown::Waiting { .. });
        let row = Sighting {
            job: self.key(job.id),
            token: asked.token.clone(),
            word: word.to_owned(),
            restart: job.restart,
            submitted_at: Some(at(job.submitted_at)),
            eligible_at: None,
            started_at: job.started_at.filter(|_| !is_waiting).map(at),
            ended_at: job.ended.map(|(.., ended)| at(ended)),
            nodes: Vec::new(),
            granted: Granted::default(),
            elapsed_seconds: None,
            phase,
            digest: None,
        };
        Sighting { digest: Some(digest(&row)), ..row }
    }

    /// The records of a job that accounting shows as ours, in the order of Submit.
    fn records_of<'a>(&'a self, asked: &Asked, job: &'a Job) -> Vec<&'a Record> {
        let is_shown = |record: &&Record| {
            record.shown_from.max(record.named_from) <= self.t
                && Self::is_new_enough(record.submitted_at, asked.intent_at)
        };
        job.records.iter().filter(is_shown).collect()
    }

    /// A start whose number is known anchors the others: the records of some may never have come.
    fn in_order<'a>(records: &[&'a Record], known: Option<(Timestamp, u32)>) -> Vec<Numbered<'a>> {
        let (then, restart) = known.unwrap_or((Timestamp::MIN, 0));
        let earlier = records.iter().filter(|record| at(record.submitted_at) < then).count();
        let earlier = u32::try_from(earlier).unwrap_or(u32::MAX);
        let number = |place: u32| restart.saturating_add(place).checked_sub(earlier);
        let all = (0..).zip(records);
        all.filter_map(|(place, record)| Some(Numbered { restart: number(place)?, record }))
            .collect()
    }

    /// What accounting knows of a submission that squeue does not show.
    fn in_accounts(&self, asked: &Asked, found: &mut Vec<Sighting>) {
        for job in self.jobs.iter().filter(|job| self.is_of(job, asked)) {
            let is_known = asked.job.as_ref().is_some_and(|known| known.job == job.id);
            if asked.job.is_some() && !is_known {
                // It was asked for by its id.
                continue;
            }
            let known = asked.submitted_at.filter(|_| is_known).map(|at| (at, asked.restart));
            let starts = Self::in_order(&self.records_of(asked, job), known);
            let Some((last, before)) = starts.split_last() else { continue };
            let last_end = last.record.end.filter(|_| last.record.end_shown_from <= self.t);
            let is_over = last_end.is_some_and(|(end, ..)| end != JobEnd::Requeued);
            if is_known && (!is_over || last.restart < asked.restart) {
                continue;
            }
            let before = before.iter().filter(|start| start.restart >= asked.restart);
            found.extend(before.map(|start| self.of_record(asked, job, start, false)));
            found.push(self.of_record(asked, job, last, true));
        }
    }

    /// How the starts before the one that squeue shows ended, as far as accounting tells.
    fn before(&self, asked: &Asked, n: usize, told: &mut Vec<Sighting>) {
        let job = &self.jobs[n];
        let known = Some((at(job.submitted_at), job.restart));
        let starts = Self::in_order(&self.records_of(asked, job), known);
        let due =
            starts.iter().filter(|start| (asked.restart..job.restart).contains(&start.restart));
        let due = due.map(|start| self.of_record(asked, job, start, false));
        told.extend(due.filter(|start| matches!(start.phase, Shown::Ended { .. })));
    }

    fn of_record(&self, asked: &Asked, job: &Job, start: &Numbered<'_>, is_last: bool) -> Sighting {
        let record = start.record;
        let end = record.end.filter(|_| record.end_shown_from <= self.t);
        let phase = match end {
            // Final for this start, and only where another one followed.
            Some((JobEnd::Requeued, ..)) if is_last => Shown::Unknown,
            Some((end, code, _)) => ended(end, code),
            None => Shown::Unknown,
        };
        Sighting {
            job: self.key(job.id),
            token: asked.token.clone(),
            word: "RECORD".to_owned(),
            restart: start.restart,
            submitted_at: Some(at(record.submitted_at)),
            eligible_at: None,
            started_at: record.started_at.map(at),
            ended_at: end.map(|(.., ended)| at(ended)),
            nodes: Vec::new(),
            granted: Granted::default(),
            elapsed_seconds: None,
            phase,
            digest: None,
        }
    }
}

/// The answer, in which what was shown last is not told again.
fn told(
    asked: &[Asked],
    mut sightings: Vec<Sighting>,
    unsure: Vec<Token>,
    silence: Option<Silence>,
) -> LookAnswer {
    let mut unchanged = BTreeSet::new();
    for asked in asked.iter().filter(|asked| asked.shown.is_some()) {
        let mut of_run = sightings.iter().filter(|sighting| sighting.token == asked.token);
        if of_run.next().is_some_and(|one| one.digest == asked.shown) && of_run.next().is_none() {
            unchanged.insert(asked.token.clone());
            sightings.retain(|sighting| sighting.token != asked.token);
        }
    }
    LookAnswer::Seen { sightings, unchanged, unsure, silence }
}

fn digest(row: &Sighting) -> Digest {
    let mut hasher = DefaultHasher::new();
    format!("{row:?}").hash(&mut hasher);
    Digest(hasher.finish())
}

fn ended(end: JobEnd, code: i32) -> Shown {
    Shown::Ended { end, exit_code: Some(code), signal: None }
}
