//! One poll put together: what squeue shows, and what accounting has to be asked for beside it.

use jiff::{SignedDuration, Timestamp};

use crate::domain::ids::{JobKey, SubmissionId};
use crate::domain::run::Sighting;
use crate::ports::{Asked, LookAnswer, Silence};
use crate::slurm::identity::Ours;
use crate::slurm::sacct::{JOBS_PER_CALL, Record, Which};
use crate::slurm::sighting::Seer;
use crate::slurm::squeue::Answer;

/// How long accounting may take to tell of a start that is over. Without its word the end of that start is a guess.
const LATE: SignedDuration = SignedDuration::from_secs(20);

/// A job that is being requeued shows its new restart count already while its old start is cleared away.
const COMPLETING: &str = "COMPLETING";

/// What squeue shows of the submissions that were asked for.
pub(super) struct Queue<'a> {
    /// Nothing was found.
    missing: Vec<&'a Asked>,
    /// Found under a restart count that is not known yet.
    grown: Vec<(&'a Asked, Vec<Sighting>)>,
    shown: Vec<Sighting>,
    /// Nothing can be concluded about them yet.
    unsure: Vec<SubmissionId>,
    silence: Option<Silence>,
}

impl<'a> Queue<'a> {
    pub(super) fn of(asked: &'a [Asked], seer: &Seer<'_>, answer: &Answer) -> Self {
        let (missing, grown, shown, unsure) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut queue = Self { missing, grown, shown, unsure, silence: None };
        for asked in asked {
            let found = seer.in_queue(asked, answer);
            let grown = || found.iter().filter(|sighting| sighting.restart > asked.restart);
            if answer.unread.iter().any(|line| line.contains(asked.token.as_str())) {
                // A row of its job's, perhaps, of which nothing is known.
                queue.unsure.push(asked.submission);
                let why = "a row of its answer cannot be read".to_owned();
                queue.silence = Some(Silence { who: "squeue".to_owned(), why });
            } else if found.is_empty() {
                queue.missing.push(asked);
            } else if grown().any(|sighting| sighting.word == COMPLETING) {
                queue.unsure.push(asked.submission);
            } else if grown().next().is_some() {
                queue.grown.push((asked, found));
            } else {
                queue.shown.extend(found);
            }
        }
        queue
    }

    /// What accounting is to be asked: one call for known jobs, one for all doubts.
    pub(super) fn questions(&self, user: &str) -> Vec<Which> {
        let missing = self.missing.iter().filter_map(|asked| asked.job.as_ref());
        let grown = self.grown.iter().flat_map(|(_, found)| found).map(|sighting| &sighting.job);
        let known: Vec<JobKey> = missing.chain(grown).cloned().collect();
        let mut questions: Vec<Which> =
            known.chunks(JOBS_PER_CALL).map(|keys| Which::Jobs(keys.to_vec())).collect();
        let in_doubt = self.missing.iter().filter(|asked| asked.job.is_none());
        if let Some(oldest) = in_doubt.map(|asked| asked.intent_at).min() {
            questions.push(Which::Since { user: user.to_owned(), at: Ours::earliest(oldest) });
        }
        questions
    }

    /// There is nobody else to ask, or no need to.
    pub(super) fn alone(mut self) -> LookAnswer {
        self.shown.extend(self.grown.into_iter().flat_map(|(_, found)| found));
        LookAnswer::Seen { sightings: self.shown, unsure: self.unsure, silence: self.silence }
    }

    /// Accounting has answered.
    pub(super) fn with(
        mut self,
        records: &[Record],
        seer: &Seer<'_>,
        now: Timestamp,
    ) -> LookAnswer {
        for asked in &self.missing {
            self.shown.extend(seer.in_accounts(asked, records));
        }
        for (asked, found) in self.grown {
            let told: Vec<Sighting> =
                found.iter().flat_map(|sighting| seer.before(asked, sighting, records)).collect();
            let due: u32 = found.iter().map(|now| now.restart.saturating_sub(asked.restart)).sum();
            let is_whole = usize::try_from(due).is_ok_and(|due| told.len() >= due);
            if is_whole || found.iter().all(|sighting| is_old(sighting, now)) {
                self.shown.extend(told);
                self.shown.extend(found);
            } else {
                self.unsure.push(asked.submission);
            }
        }
        LookAnswer::Seen { sightings: self.shown, unsure: self.unsure, silence: self.silence }
    }

    /// Accounting is silent.
    pub(super) fn without(mut self, silence: Silence, now: Timestamp) -> LookAnswer {
        let mut unsure = self.unsure;
        unsure.extend(self.missing.iter().map(|asked| asked.submission));
        for (asked, found) in self.grown {
            if found.iter().all(|sighting| is_old(sighting, now)) {
                self.shown.extend(found);
            } else {
                unsure.push(asked.submission);
            }
        }
        LookAnswer::Seen { sightings: self.shown, unsure, silence: Some(silence) }
    }
}

/// Whether the job was requeued so long ago that accounting will not tell any more.
fn is_old(sighting: &Sighting, now: Timestamp) -> bool {
    sighting.submitted_at.is_none_or(|requeued| now.duration_since(requeued) > LATE)
}
