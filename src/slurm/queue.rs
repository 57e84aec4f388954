//! One poll put together: what squeue shows, and what accounting has to be asked for beside it.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use crate::domain::ids::{JobKey, Token};
use crate::domain::run::{Digest, Sighting};
use crate::ports::{Asked, LookAnswer, Silence, Wants};
use crate::slurm::identity::Ours;
use crate::slurm::sacct::{self, JOBS_PER_CALL, Record, Which};
use crate::slurm::sighting::Seer;
use crate::slurm::squeue::{self, Line, Printed, Row, Tasks};

/// How long accounting may take to tell of a start that is over. Without its word the end of that start is a guess.
const LATE: SignedDuration = SignedDuration::from_secs(20);

/// A job that is being requeued shows its new restart count already while its old start is cleared away.
const COMPLETING: &str = "COMPLETING";

/// What squeue shows of the submissions that were asked for.
#[derive(Default)]
pub(super) struct Queue<'a> {
    /// Rows of jobs, ours and others.
    pub(super) rows: usize,
    /// Lines that are no rows.
    pub(super) dropped: usize,
    /// Nothing was found.
    missing: Vec<&'a Asked>,
    /// Why that nothing was found does not say that there is nothing.
    doubt: Option<Silence>,
    /// Found under a restart count that is not known yet.
    grown: Vec<(&'a Asked, Vec<Sighting>)>,
    shown: Vec<Sighting>,
    /// Of those that are missing: cancelled while they waited, as far as squeue can tell.
    cancelled: Vec<Sighting>,
    /// What was shown last is shown again.
    unchanged: BTreeSet<Token>,
    /// Nothing can be concluded about them yet.
    unsure: Vec<Token>,
    silence: Option<Silence>,
    /// Over: only accounting is asked about them.
    over: Vec<&'a Asked>,
}

/// What squeue printed of one submission, or of one element of an array.
#[derive(Default)]
struct Shown<'t> {
    rows: Vec<(Printed<'t>, Digest)>,
    /// A row of its job's cannot be read, of which nothing is known then.
    is_broken: bool,
    /// What is left of its array, all of whose tasks that waited were cancelled.
    cancelled: Option<(Printed<'t>, Digest)>,
}

/// What squeue printed of the jobs that have one token in their names.
#[derive(Default)]
struct Named<'t> {
    whole: Shown<'t>,
    /// Those that are asked for of an array.
    elements: HashMap<u32, Shown<'t>>,
}

impl<'t> Named<'t> {
    fn of(&mut self, asked: &Asked) -> &mut Shown<'t> {
        match asked.token.index() {
            Some(index) => self.elements.entry(index).or_default(),
            None => &mut self.whole,
        }
    }

    /// Sorts in a row. Tasks that wait stand in one row together.
    fn add(&mut self, row: Printed<'t>) {
        let shown = (row, row.digest());
        if self.elements.is_empty() {
            self.whole.rows.push(shown);
            return;
        }
        match row.tasks() {
            Tasks::One(task) => {
                self.elements.entry(task).and_modify(|element| element.rows.push(shown));
            }
            Tasks::Several(tasks) => {
                let of_row = self.elements.iter_mut().filter(|(task, _)| tasks.contains(**task));
                of_row.for_each(|(_, element)| element.rows.push(shown));
            }
            Tasks::None => {
                // Which those were, accounting tells, if there is any: else all that are not shown otherwise.
                let others = self.elements.values_mut();
                others.for_each(|element| element.cancelled = Some(shown));
            }
            Tasks::Unknown => self.is_broken(),
        }
    }

    fn is_broken(&mut self) {
        self.whole.is_broken = true;
        self.elements.values_mut().for_each(|element| element.is_broken = true);
    }
}

impl<'a> Queue<'a> {
    pub(super) fn of(asked: &'a [Asked], seer: &Seer<'_>, answer: &str, nonce: &str) -> Self {
        let mut queue = Self::default();
        let mut by_token: HashMap<&str, Named<'_>> = HashMap::new();
        for asked in asked {
            by_token.entry(asked.token.whole()).or_default().of(asked);
        }
        let mut has_rows = false;
        for line in squeue::lines(answer, nonce) {
            has_rows |= matches!(line, Line::Row(_));
            let text = match line {
                Line::Row(printed) => printed.name,
                Line::Broken { text, is_nameless } => {
                    if is_nameless {
                        queue.doubt = Some(silence("a row of its answer has no name".to_owned()));
                    }
                    text
                }
                Line::Foreign => {
                    queue.dropped += 1;
                    continue;
                }
            };
            queue.rows += 1;
            for token in Token::all_in(text) {
                let Some(named) = by_token.get_mut(token) else { continue };
                match line {
                    Line::Row(printed) => named.add(printed),
                    Line::Broken { .. } | Line::Foreign => named.is_broken(),
                }
            }
        }
        if !has_rows && !answer.is_empty() {
            queue.doubt = Some(silence("no line of its answer is a row".to_owned()));
        }
        for asked in asked {
            if asked.wants == Wants::Accounts {
                queue.over.push(asked);
                continue;
            }
            let named = by_token.entry(asked.token.whole()).or_default();
            let shown = std::mem::take(named.of(asked));
            queue.sort_in(asked, &shown, seer);
        }
        queue
    }

    fn sort_in(&mut self, asked: &'a Asked, shown: &Shown<'_>, seer: &Seer<'_>) {
        if let ([(_, digest)], false, Some(known)) = (&*shown.rows, shown.is_broken, asked.shown)
            && *digest == known
        {
            self.unchanged.insert(asked.token.clone());
            return;
        }
        let rows: Option<Vec<(Row, Digest)>> =
            shown.rows.iter().map(|(printed, digest)| Some((printed.row()?, *digest))).collect();
        let Some(rows) = rows.filter(|_| !shown.is_broken) else {
            self.unsure.push(asked.token.clone());
            self.silence = Some(silence("a row of its answer cannot be read".to_owned()));
            return;
        };
        let found: Vec<Sighting> =
            rows.iter().filter_map(|(row, digest)| seer.in_row(asked, row, *digest)).collect();
        let grown = || found.iter().filter(|sighting| sighting.restart > asked.restart);
        if found.is_empty() {
            self.missing.push(asked);
            let rest = shown.cancelled.and_then(|(printed, digest)| Some((printed.row()?, digest)));
            let of_task =
                rest.map(|(row, digest)| (Row { task: asked.token.index(), ..row }, digest));
            let told = of_task.and_then(|(row, digest)| seer.in_row(asked, &row, digest));
            self.cancelled.extend(told);
        } else if grown().any(|sighting| sighting.word == COMPLETING) {
            self.unsure.push(asked.token.clone());
        } else if grown().next().is_some() {
            self.grown.push((asked, found));
        } else {
            self.shown.extend(found);
        }
    }

    /// What is not shown.
    pub(super) fn missing(&self) -> impl Iterator<Item = &'a Asked> {
        self.missing.iter().copied()
    }

    /// The answer cannot be whole, and says nothing of what it does not show.
    pub(super) fn is_not_whole(&mut self, why: String) {
        self.doubt.get_or_insert_with(|| silence(why));
    }

    /// What is shown and is news.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Sighting> {
        self.shown.iter().chain(self.grown.iter().flat_map(|(_, found)| found))
    }

    /// Those of the submissions of which the same is shown as before.
    pub(super) fn unchanged(&self, asked: &'a [Asked]) -> impl Iterator<Item = &'a Asked> {
        asked.iter().filter(|asked| self.unchanged.contains(&asked.token))
    }

    /// What accounting is to be asked: one call for known jobs, one for all doubts.
    pub(super) fn questions(&self, user: &str, now: Timestamp) -> Vec<Which> {
        let missing = self.missing.iter().chain(&self.over).filter_map(|asked| asked.job.as_ref());
        let grown = self.grown.iter().flat_map(|(_, found)| found).map(|sighting| &sighting.job);
        let known: Vec<JobKey> = sacct::in_short(missing.chain(grown).cloned());
        let mut questions: Vec<Which> =
            known.chunks(JOBS_PER_CALL).map(|keys| Which::Jobs(keys.to_vec())).collect();
        let in_doubt = self.missing.iter().filter(|asked| asked.job.is_none());
        if let Some(oldest) = in_doubt.map(|asked| asked.intent_at).min() {
            // An intent of the future is one of a clock that was set back since.
            questions
                .push(Which::Since { user: user.to_owned(), at: Ours::earliest(oldest.min(now)) });
        }
        questions
    }

    /// There is nobody else to ask, or no need to.
    pub(super) fn alone(mut self) -> LookAnswer {
        let grown = std::mem::take(&mut self.grown);
        self.shown.extend(grown.into_iter().flat_map(|(_, found)| found));
        self.shown.append(&mut self.cancelled);
        if self.doubt.is_some() {
            self.unsure.extend(self.missing.iter().map(|asked| asked.token.clone()));
        }
        self.told()
    }

    /// Accounting has answered.
    pub(super) fn with(
        mut self,
        records: &[Record],
        seer: &Seer<'_>,
        now: Timestamp,
    ) -> LookAnswer {
        let records = Records::of(records);
        for asked in &self.missing {
            let told = seer.in_accounts(asked, &records.of_submission(asked));
            if told.is_empty() && self.doubt.is_some() {
                self.unsure.push(asked.token.clone());
            }
            self.shown.extend(told);
        }
        for asked in &self.over {
            self.shown.extend(seer.in_accounts(asked, &records.of_submission(asked)));
        }
        for (asked, found) in std::mem::take(&mut self.grown) {
            let records = records.of_submission(asked);
            let told: Vec<Sighting> =
                found.iter().flat_map(|sighting| seer.before(asked, sighting, &records)).collect();
            let due: u32 = found.iter().map(|now| now.restart.saturating_sub(asked.restart)).sum();
            let is_whole = usize::try_from(due).is_ok_and(|due| told.len() >= due);
            if is_whole || found.iter().all(|sighting| is_old(sighting, now)) {
                self.shown.extend(told);
                self.shown.extend(found);
            } else {
                self.unsure.push(asked.token.clone());
            }
        }
        self.told()
    }

    /// Accounting is silent.
    pub(super) fn without(mut self, silence: Silence, now: Timestamp) -> LookAnswer {
        self.unsure.extend(self.missing.iter().chain(&self.over).map(|asked| asked.token.clone()));
        for (asked, found) in std::mem::take(&mut self.grown) {
            if found.iter().all(|sighting| is_old(sighting, now)) {
                self.shown.extend(found);
            } else {
                self.unsure.push(asked.token.clone());
            }
        }
        self.silence = Some(silence);
        self.told()
    }

    fn told(self) -> LookAnswer {
        let Self { shown: sightings, unchanged, unsure, silence, doubt, .. } = self;
        let silence = silence.or(doubt);
        LookAnswer::Seen { sightings, unchanged, unsure, silence }
    }
}

/// Records of accounting by the tokens in their names, and those that have none by their jobs.
#[derive(Default)]
struct Records<'r> {
    by_token: HashMap<(&'r str, Option<u32>), Vec<&'r Record>>,
    /// Of tasks that share one.
    together: HashMap<&'r str, Vec<&'r Record>>,
    nameless: HashMap<(u64, Option<u32>), Vec<&'r Record>>,
}

impl<'r> Records<'r> {
    fn of(all: &'r [Record]) -> Self {
        let mut records = Self::default();
        for record in all {
            if !record.is_named {
                let job = (record.job, record.array_task);
                records.nameless.entry(job).or_default().push(record);
            }
            for token in Token::all_in(&record.name) {
                if record.is_shared() {
                    records.together.entry(token).or_default().push(record);
                }
                // A job of a submission that is no array is whatever has its token.
                records.by_token.entry((token, None)).or_default().push(record);
                if record.array_task.is_some() {
                    records.by_token.entry((token, record.array_task)).or_default().push(record);
                }
            }
        }
        records
    }

    /// Those that may be a submission's.
    fn of_submission(&self, asked: &Asked) -> Vec<Cow<'r, Record>> {
        let index = asked.token.index();
        let named = self.by_token.get(&(asked.token.whole(), index));
        let job = asked.job.as_ref().map(|job| (job.job, job.array_task));
        let nameless = job.and_then(|job| self.nameless.get(&job));
        let mut told: Vec<_> =
            named.into_iter().chain(nameless).flatten().map(|it| Cow::Borrowed(*it)).collect();
        // Tasks that ended together before they started have one record together.
        if let Some(index) = index.filter(|_| told.is_empty()) {
            let together = self.together.get(asked.token.whole());
            let of_task = together.into_iter().flatten().filter_map(|it| it.of_task(index));
            told.extend(of_task.map(Cow::Owned));
        }
        told
    }
}

fn silence(why: String) -> Silence {
    Silence { who: "squeue".to_owned(), why }
}

/// Whether the job was requeued so long ago that accounting will not tell any more.
fn is_old(sighting: &Sighting, now: Timestamp) -> bool {
    sighting.submitted_at.is_none_or(|requeued| now.duration_since(requeued) > LATE)
}
