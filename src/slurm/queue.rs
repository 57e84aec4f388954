//! One poll put together: what squeue shows, and what accounting has to be asked for beside it.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use crate::domain::ids::{JobKey, SubmissionId, Token};
use crate::domain::run::{Digest, Sighting};
use crate::ports::{Asked, LookAnswer, Silence, Wants};
use crate::slurm::identity::Ours;
use crate::slurm::sacct::{JOBS_PER_CALL, Record, Which};
use crate::slurm::sighting::Seer;
use crate::slurm::squeue::{self, Line, Printed, Row};

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
    /// What was shown last is shown again.
    unchanged: BTreeSet<SubmissionId>,
    /// Nothing can be concluded about them yet.
    unsure: Vec<SubmissionId>,
    silence: Option<Silence>,
    /// Over: only accounting is asked about them.
    over: Vec<&'a Asked>,
}

/// What squeue printed of one submission.
#[derive(Default)]
struct Shown<'t> {
    rows: Vec<Printed<'t>>,
    /// A row of its job's cannot be read, of which nothing is known then.
    is_broken: bool,
}

impl<'a> Queue<'a> {
    pub(super) fn of(asked: &'a [Asked], seer: &Seer<'_>, answer: &str, nonce: &str) -> Self {
        let mut queue = Self::default();
        let mut by_token: HashMap<&str, Shown<'_>> =
            asked.iter().map(|asked| (asked.token.as_str(), Shown::default())).collect();
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
                let Some(shown) = by_token.get_mut(token) else { continue };
                match line {
                    Line::Row(printed) => shown.rows.push(printed),
                    Line::Broken { .. } | Line::Foreign => shown.is_broken = true,
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
            let shown = by_token.remove(asked.token.as_str()).unwrap_or_default();
            queue.sort_in(asked, &shown, seer);
        }
        queue
    }

    fn sort_in(&mut self, asked: &'a Asked, shown: &Shown<'_>, seer: &Seer<'_>) {
        if let ([printed], false, Some(known)) = (&*shown.rows, shown.is_broken, asked.shown)
            && printed.digest() == known
        {
            self.unchanged.insert(asked.submission);
            return;
        }
        let rows: Option<Vec<(Row, Digest)>> =
            shown.rows.iter().map(|printed| Some((printed.row()?, printed.digest()))).collect();
        let Some(rows) = rows.filter(|_| !shown.is_broken) else {
            self.unsure.push(asked.submission);
            self.silence = Some(silence("a row of its answer cannot be read".to_owned()));
            return;
        };
        let found: Vec<Sighting> =
            rows.iter().filter_map(|(row, digest)| seer.in_row(asked, row, *digest)).collect();
        let grown = || found.iter().filter(|sighting| sighting.restart > asked.restart);
        if found.is_empty() {
            self.missing.push(asked);
        } else if grown().any(|sighting| sighting.word == COMPLETING) {
            self.unsure.push(asked.submission);
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
        asked.iter().filter(|asked| self.unchanged.contains(&asked.submission))
    }

    /// What accounting is to be asked: one call for known jobs, one for all doubts.
    pub(super) fn questions(&self, user: &str, now: Timestamp) -> Vec<Which> {
        let missing = self.missing.iter().chain(&self.over).filter_map(|asked| asked.job.as_ref());
        let grown = self.grown.iter().flat_map(|(_, found)| found).map(|sighting| &sighting.job);
        let known: Vec<JobKey> = missing.chain(grown).cloned().collect();
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
        if self.doubt.is_some() {
            self.unsure.extend(self.missing.iter().map(|asked| asked.submission));
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
                self.unsure.push(asked.submission);
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
                self.unsure.push(asked.submission);
            }
        }
        self.told()
    }

    /// Accounting is silent.
    pub(super) fn without(mut self, silence: Silence, now: Timestamp) -> LookAnswer {
        self.unsure.extend(self.missing.iter().chain(&self.over).map(|asked| asked.submission));
        for (asked, found) in std::mem::take(&mut self.grown) {
            if found.iter().all(|sighting| is_old(sighting, now)) {
                self.shown.extend(found);
            } else {
                self.unsure.push(asked.submission);
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
    by_token: HashMap<&'r str, Vec<&'r Record>>,
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
                records.by_token.entry(token).or_default().push(record);
            }
        }
        records
    }

    /// Those that may be a submission's.
    fn of_submission(&self, asked: &Asked) -> Vec<&'r Record> {
        let named = self.by_token.get(asked.token.as_str());
        let job = asked.job.as_ref().map(|job| (job.job, job.array_task));
        let nameless = job.and_then(|job| self.nameless.get(&job));
        named.into_iter().chain(nameless).flatten().copied().collect()
    }
}

fn silence(why: String) -> Silence {
    Silence { who: "squeue".to_owned(), why }
}

/// Whether the job was requeued so long ago that accounting will not tell any more.
fn is_old(sighting: &Sighting, now: Timestamp) -> bool {
    sighting.submitted_at.is_none_or(|requeued| now.duration_since(requeued) > LATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEER: Seer<'_> =
        Seer { cluster: "main", slurm_cluster: Some("priv"), user: "anna", uid: 1000 };

    fn t(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_239_000 + second).unwrap()
    }

    fn asked(n: u64, shown: Option<Digest>) -> Asked {
        Asked {
            submission: SubmissionId(i64::try_from(n).unwrap()),
            token: Token::from_bits(n.into()),
            job: None,
            intent_at: t(0),
            wants: Wants::News,
            eager: false,
            unseen: false,
            provisional: false,
            restart: 0,
            submitted_at: Some(t(0)),
            shown,
        }
    }

    /// The row of a job whose name ends with the n-th token; `start` is when it started, or is expected to.
    fn row(n: u64, state: &str, start: i64, nodes: &str) -> String {
        let (at, start) = (t(0).as_second(), t(start).as_second());
        let end = start + 600;
        let columns =
            format!("{at}|{at}|{start}|{end}|{nodes}|cpu=1|10:00|debug|normal|lab|1000|priv");
        let name = format!("4{n}-llama.1.{}", Token::from_bits(n.into()));
        format!("{n}|n0nce|{n}|N/A|{state}|0|0|{columns}|n0nce|None|n0nce|{name}|n0nce|\n")
    }

    /// What is told of the submissions: shown `+`, unchanged `=`, unsure `?`, missing `-`.
    fn told(asked: &[Asked], text: &str) -> String {
        let LookAnswer::Seen { sightings, unchanged, unsure, .. } =
            Queue::of(asked, &SEER, text, "n0nce").alone()
        else {
            panic!("it was seen")
        };
        let sign = |asked: &Asked| {
            let is_shown = sightings.iter().any(|sighting| sighting.token == asked.token);
            let (same, open) =
                (unchanged.contains(&asked.submission), unsure.contains(&asked.submission));
            match (is_shown, same, open) {
                (true, false, false) => '+',
                (false, true, false) => '=',
                (false, false, true) => '?',
                (false, false, false) => '-',
                _ => panic!("it is told twice"),
            }
        };
        asked.iter().map(sign).collect()
    }

    fn digest_of(text: &str) -> Option<Digest> {
        let answer = Queue::of(&[asked(1, None)], &SEER, text, "n0nce").alone();
        let LookAnswer::Seen { sightings, .. } = answer else { panic!("it was seen") };
        sightings[0].digest
    }

    #[test]
    fn only_what_differs_from_what_was_shown_last_is_told() {
        let running = row(1, "RUNNING", 10, "n1");
        let known = digest_of(&running);
        let text =
            [row(3, "RUNNING", 10, "n1"), running.clone(), row(2, "PENDING", 90, "")].concat();
        let three = |first| [asked(1, first), asked(2, None), asked(4, None)];
        assert_eq!(told(&three(known), &text), "=+-");
        assert_eq!(told(&three(None), &text), "++-");
        assert_eq!(told(&three(known), &text.replace("|RUNNING|0|", "|COMPLETING|0|")), "++-");
        // One column less, as after a release that does not know it, and a line that breaks off.
        let cut = text.replace("|debug|normal|lab|", "|debug|lab|");
        assert_eq!(told(&three(known), &cut), "??-");
        let last = Token::from_bits(2);
        let endless = text.replace(&format!("{last}|n0nce|"), last.as_str());
        assert_eq!(told(&three(known), &endless), "=+-", "the name may go on in another line");
    }

    #[test]
    fn a_record_without_a_name_reaches_the_submission_whose_job_it_is_of() {
        let at = t(0).as_second();
        let text = format!(
            "1|n|1|n|NODE_FAIL|n|0:0|n|{at}|n|{at}|n|{at}|n|{at}|n|0|n||n|n1|n||n|Unknown|n|lab|n|priv|n|anna|n||n|allocation\n"
        )
        .replace("|n|", "|nonce|");
        let (records, _) = crate::slurm::sacct::parse(text.as_bytes(), "nonce");
        let job = "main:1".parse().ok();
        let both = [Asked { job, ..asked(1, None) }, asked(2, None)];
        let answer = Queue::of(&both, &SEER, "", "n0nce").with(&records, &SEER, t(9));
        let LookAnswer::Seen { sightings, .. } = answer else { panic!("it was seen") };
        let tokens: Vec<&Token> = sightings.iter().map(|sighting| &sighting.token).collect();
        assert_eq!(tokens, [&both[0].token]);
    }

    #[test]
    fn of_what_is_over_accounting_alone_is_asked() {
        let job = "main:1".parse().ok();
        let over = [Asked { job, wants: Wants::Accounts, ..asked(1, None) }];
        let shown = row(1, "COMPLETED", 10, "n1");
        assert_eq!(Queue::of(&over, &SEER, &shown, "n0nce").questions("anna", t(9)).len(), 1);
        assert_eq!(told(&over, &shown), "-");
    }

    #[test]
    fn a_second_job_of_a_submission_makes_both_of_them_news() {
        let running = row(1, "RUNNING", 10, "n1");
        let twin = running.replace("1|n0nce|1|", "9|n0nce|9|");
        assert_eq!(told(&[asked(1, digest_of(&running))], &[running, twin].concat()), "+");
    }

    #[test]
    fn when_a_job_is_expected_to_start_is_no_news_and_when_it_started_is() {
        let (soon, late) = (row(1, "PENDING", 90, ""), row(1, "PENDING", 700, ""));
        assert_eq!(digest_of(&soon), digest_of(&late));
        let (first, second) = (row(1, "RUNNING", 90, "n1"), row(1, "RUNNING", 91, "n1"));
        assert_ne!(digest_of(&first), digest_of(&second));
        let why = soon.replace("|None|", "|Resources|");
        assert_ne!(digest_of(&soon), digest_of(&why));
        // Another nonce, the same row.
        assert_eq!(
            squeue::lines(&soon.replace("n0nce", "other"), "other").next().map(|line| match line {
                Line::Row(printed) => Some(printed.digest()),
                Line::Broken { .. } | Line::Foreign => None,
            }),
            Some(digest_of(&soon))
        );
    }
}
