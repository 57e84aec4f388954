//! From what squeue and sacct show to what is seen of a submission.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::domain::ids::Token;
use crate::domain::nodelist;
use crate::domain::run::{Digest, Granted, JobEnd, Phase, Sighting};
use crate::domain::slurm_state::JobWord;
use crate::domain::tres::Tres;
use crate::ports::Asked;
use crate::slurm::identity::{Claimed, Ours};
use crate::slurm::sacct::Record;
use crate::slurm::squeue::Row;

/// Through whose eyes a cluster is seen.
#[derive(Debug, Clone, Copy)]
pub struct Seer<'a> {
    /// What the site calls it.
    pub cluster: &'a str,
    /// What it calls itself.
    pub slurm_cluster: Option<&'a str>,
    pub user: &'a str,
    pub uid: u32,
}

impl Seer<'_> {
    fn ours<'a>(&'a self, token: &'a Token) -> Ours<'a> {
        Ours { cluster: self.slurm_cluster, token }
    }

    /// Whether a row of squeue's shows a job of the submission with that token.
    pub fn shows(&self, token: &Token, row: &Row) -> bool {
        self.ours(token).is(&Claimed {
            cluster: row.cluster.as_deref(),
            is_our_user: row.uid == Some(self.uid),
            name: &row.name,
            submitted_at: row.submitted_at,
        })
    }

    /// The job of a submission that a row of squeue's shows; none where it is another's, or no job.
    pub fn in_row(&self, asked: &Asked, row: &Row, digest: Digest) -> Option<Sighting> {
        (self.shows(&asked.token, row) && !is_ghost(row))
            .then(|| Sighting { digest: Some(digest), ..self.of_row(asked, row) })
    }

    /// What accounting knows of a submission that squeue does not show.
    pub fn in_accounts(&self, asked: &Asked, records: &[Cow<'_, Record>]) -> Vec<Sighting> {
        let mut found = Vec::new();
        for of_job in self.ours_in(asked, records).chunk_by(Record::is_of_job) {
            let is_known =
                of_job.iter().any(|start| asked.job.as_ref() == Some(&start.key(self.cluster)));
            // Without a moment that Slurm has named the first record is of the first start.
            let known = asked.submitted_at.filter(|_| is_known).map(|at| (at, asked.restart));
            let starts = numbered(of_job, known);
            let Some((last, before)) = starts.split_last() else { continue };
            if asked.provisional && is_swept(last) {
                continue;
            }
            let last = self.of_record(asked, last, true);
            // A record that goes on although the queue does not show its job is late, or will never be ended; one of a start
            // before the known one is older news. What is known of the job stands. Where none is known, it is good to know
            // of one.
            if is_known && (!is_over(&last.phase) || last.restart < asked.restart) {
                continue;
            }
            let before = before.iter().filter(|start| start.restart >= asked.restart);
            found.extend(before.map(|start| self.of_record(asked, start, false)));
            found.push(last);
        }
        found
    }

    /// How the starts of a job before `now` ended, as far as accounting tells.
    pub fn before(
        &self,
        asked: &Asked,
        now: &Sighting,
        records: &[Cow<'_, Record>],
    ) -> Vec<Sighting> {
        let Some(submitted_at) = now.submitted_at else { return Vec::new() };
        let mut of_job = self.ours_in(asked, records);
        of_job.retain(|record| record.key(self.cluster) == now.job);
        numbered(&of_job, Some((submitted_at, now.restart)))
            .iter()
            .filter(|start| (asked.restart..now.restart).contains(&start.restart))
            .map(|start| self.of_record(asked, start, false))
            .filter(|start| is_over(&start.phase) && start.ended_at.is_some())
            .collect()
    }

    /// The records of a submission, by job and in the order of Submit.
    fn ours_in(&self, asked: &Asked, records: &[Cow<'_, Record>]) -> Vec<Record> {
        let in_time = |at: Timestamp| Ours::is_in_time(at, asked.intent_at);
        let is_ours = |record: &Record| {
            // One without a name is of the start that is known, if it was submitted in that very second under that id.
            let is_known_start = !record.is_named
                && asked.job.as_ref() == Some(&record.key(self.cluster))
                && asked.submitted_at.is_some()
                && record.submitted_at == asked.submitted_at;
            self.ours(&asked.token).is(&Claimed {
                cluster: record.cluster.as_deref(),
                is_our_user: record.user.as_deref() == Some(self.user),
                name: if is_known_start { asked.token.whole() } else { &record.name },
                submitted_at: record.submitted_at.filter(|at| in_time(*at)),
            })
        };
        let mut ours: Vec<Record> = records
            .iter()
            .filter(|record| is_ours(record))
            .map(|record| (**record).clone())
            .collect();
        ours.sort_by_key(|record| (record.job, record.array_task, record.submitted_at));
        // The same record may have been asked for twice, by its job and in a time.
        ours.dedup();
        ours
    }

    fn of_row(&self, asked: &Asked, row: &Row) -> Sighting {
        let tres = Tres::parse(&row.tres);
        let phase = row.state.phase(row.reason.clone(), row.exit);
        // One that was cancelled while it waited shows that moment as its start, and no nodes.
        let nodes = nodelist::expand(&row.nodes).unwrap_or_default();
        let granted = Granted {
            partition: row.partition.clone(),
            qos: row.qos.clone(),
            account: row.account.clone(),
            time_limit_seconds: row.time_limit_seconds,
            cpus: tres.cpus,
            memory: tres.memory,
            gpus: tres.gpus,
            nodes: tres.nodes,
            billing: tres.billing,
        };
        Sighting {
            job: row.key(self.cluster, asked.token.index()),
            token: asked.token.clone(),
            word: row.state.text.clone(),
            restart: row.restart,
            submitted_at: row.submitted_at,
            eligible_at: row.eligible_at,
            started_at: row.started_at.filter(|_| !nodes.is_empty()),
            ended_at: row.ended_at.filter(|_| is_over(&phase)),
            nodes,
            // For a waiting job these are what was asked, in several partitions perhaps.
            granted: if matches!(phase, Phase::Waiting { .. }) {
                Granted::default()
            } else {
                granted
            },
            elapsed_seconds: None,
            phase,
            digest: None,
        }
    }

    fn of_record(&self, asked: &Asked, record: &Record, is_last: bool) -> Sighting {
        let tres = Tres::parse(&record.tres);
        let nodes = nodelist::expand(&record.nodes).unwrap_or_default();
        let (exit_code, signal) = record.exit;
        let phase = match record.state.phase(None, record.exit) {
            ended @ Phase::Ended { .. } => ended,
            // Final for this start, and only where another one followed.
            _ if !is_last && record.state.word == Some(JobWord::Requeued) => {
                Phase::Ended { end: JobEnd::Requeued, exit_code, signal }
            }
            // squeue does not show it: a record that says so is late.
            Phase::Waiting { .. } | Phase::Running | Phase::Unknown => Phase::Unknown,
        };
        Sighting {
            job: record.key(self.cluster),
            token: asked.token.clone(),
            word: record.state.text.clone(),
            restart: record.restart,
            submitted_at: record.submitted_at,
            eligible_at: record.eligible_at,
            started_at: record.started_at.filter(|_| !nodes.is_empty()),
            ended_at: record.ended_at,
            nodes,
            granted: Granted {
                partition: record.partition.clone(),
                qos: record.qos.clone(),
                account: record.account.clone(),
                time_limit_seconds: record.time_limit_seconds,
                cpus: tres.cpus,
                memory: tres.memory,
                gpus: tres.gpus,
                nodes: tres.nodes,
                billing: tres.billing,
            },
            elapsed_seconds: record.elapsed_seconds.filter(|_| is_over(&phase)),
            phase,
            digest: None,
        }
    }
}

/// What a refused submission leaves behind: it has an id, and was never a job.
fn is_ghost(row: &Row) -> bool {
    row.state.word == Some(JobWord::Failed) && row.exit == (None, Some(1)) && row.nodes.is_empty()
}

/// Whether accounting calls a job cancelled whom nobody has cancelled: that is how a slurmctld which begins without what it
/// knew has its jobs closed. One that had never been saved is as good as never submitted.
fn is_swept(record: &Record) -> bool {
    record.state.word == Some(JobWord::Cancelled) && record.state.cancelled_by.is_none()
}

fn is_over(phase: &Phase) -> bool {
    matches!(phase, Phase::Ended { .. })
}

/// Numbers the starts of one job, which are in the order of Submit. A start whose number is known anchors the others: the
/// records of some may never have come.
pub(super) fn numbered(of_job: &[Record], known: Option<(Timestamp, u32)>) -> Vec<Record> {
    let (at, restart) = known.unwrap_or((Timestamp::MIN, 0));
    let earlier = of_job.iter().filter(|record| record.submitted_at.is_some_and(|then| then < at));
    let earlier = u32::try_from(earlier.count()).unwrap_or(u32::MAX);
    let number = |place: u32| restart.saturating_add(place).checked_sub(earlier);
    (0..)
        .zip(of_job)
        .filter_map(|(place, record)| Some(Record { restart: number(place)?, ..record.clone() }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{SubmissionId, Token};
    use crate::ports::Wants;
    use crate::slurm::sacct::parse;

    const SEER: Seer<'_> =
        Seer { cluster: "main", slurm_cluster: Some("priv"), user: "anna", uid: 1000 };

    fn t(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_239_000 + second).unwrap()
    }

    /// Job 7, as it is known: under this restart count, submitted then.
    fn asked(restart: u32, submitted_at: i64) -> Asked {
        Asked {
            submission: SubmissionId(1),
            token: Token::from_bits(1),
            job: Some("main:7".parse().unwrap()),
            intent_at: t(0),
            wants: Wants::News,
            eager: false,
            unseen: false,
            provisional: false,
            restart,
            submitted_at: Some(t(submitted_at)),
            shown: None,
        }
    }

    /// Records of job 7: a state and when that start was submitted.
    fn records(starts: &[(&str, i64)]) -> Vec<Record> {
        let name = format!("42-llama.1.{}", Token::from_bits(1));
        let line = |(state, submit): &(&str, i64)| {
            let at = t(*submit).as_second().to_string();
            let end = t(*submit + 9).as_second().to_string();
            let columns = ["7", "7", state, "0:0", &at, &at, &at, &end, "9", "cpu=1", "p1"];
            let more = ["debug", "normal", "lab", "priv", "anna", "10", &name];
            columns.into_iter().chain(more).collect::<Vec<_>>().join("|n|") + "\n"
        };
        parse(starts.iter().map(line).collect::<String>().as_bytes(), "n").0
    }

    fn each(records: &[Record]) -> Vec<Cow<'_, Record>> {
        records.iter().map(Cow::Borrowed).collect()
    }

    /// A record that 20.11 leaves of a start after which another one followed at once: without name, partition and limit.
    fn nameless(state: &str, submit: i64) -> Record {
        let [record] = records(&[(state, submit)]).try_into().unwrap();
        let (name, partition) = ("allocation".to_owned(), None);
        Record { name, is_named: false, partition, qos: None, time_limit_seconds: None, ..record }
    }

    fn short(sightings: &[Sighting]) -> Vec<String> {
        let word = |sighting: &Sighting| match sighting.phase {
            Phase::Ended { end, .. } => format!("{} {end:?}", sighting.restart),
            Phase::Waiting { .. } | Phase::Running | Phase::Unknown => {
                format!("{} goes on", sighting.restart)
            }
        };
        sightings.iter().map(word).collect()
    }

    #[track_caller]
    fn check(known: (u32, i64), starts: &[(&str, i64)], expected: &[&str]) {
        let (restart, submitted_at) = known;
        let found = SEER.in_accounts(&asked(restart, submitted_at), &each(&records(starts)));
        assert_eq!(short(&found), expected, "{known:?} {starts:?}");
    }

    #[test]
    fn what_left_the_queue_ended_as_its_last_record_says() {
        check((0, 0), &[("COMPLETED", 10)], &["0 Completed"]);
        check((0, 10), &[("PREEMPTED", 10), ("COMPLETED", 50)], &["0 Preempted", "1 Completed"]);
        check((0, 10), &[("REQUEUED", 10), ("FAILED", 50)], &["0 Requeued", "1 Failed"]);
        check((1, 50), &[("REQUEUED", 10), ("FAILED", 50)], &["1 Failed"]);
        // It is late, or it will never be ended.
        check((0, 10), &[("RUNNING", 10)], &[]);
        check((0, 10), &[("REQUEUED", 10)], &[]);
        check((0, 10), &[("PREEMPTED", 10), ("RUNNING", 50)], &[]);
        check((0, 0), &[], &[]);
    }

    #[test]
    fn starts_are_numbered_from_the_one_that_is_known() {
        // The record of the first start never came.
        check((1, 50), &[("COMPLETED", 50)], &["1 Completed"]);
        check((1, 50), &[("PREEMPTED", 50), ("COMPLETED", 90)], &["1 Preempted", "2 Completed"]);
        // The record of the known start is not there yet: how the one before ended is no news.
        check((1, 50), &[("PREEMPTED", 10)], &[]);
    }

    #[test]
    fn a_job_that_ended_before_it_was_ever_shown_ended_as_its_record_says() {
        // It was intended at a fraction of the second in which it was submitted, or by a clock that is ahead of Slurm's.
        let unseen = |restart| Asked {
            submitted_at: None,
            intent_at: t(10) + jiff::SignedDuration::from_millis(300),
            ..asked(restart, 0)
        };
        let found =
            |restart, starts| short(&SEER.in_accounts(&unseen(restart), &each(&records(starts))));
        assert_eq!(found(0, &[("COMPLETED", 10)]), ["0 Completed"]);
        assert_eq!(found(0, &[("FAILED", 4)]), ["0 Failed"]);
        let requeued = [("PREEMPTED", 10), ("COMPLETED", 50)];
        assert_eq!(found(0, &requeued), ["0 Preempted", "1 Completed"]);
        // Its script has told of the second start, which nobody had seen.
        assert_eq!(found(1, &requeued), ["1 Completed"]);
        // A record of years before is a broken one, and no start of the job; the clock may have been set in between.
        let years_ago = [("COMPLETED", -9 * 366 * 86_400), ("COMPLETED", 10)];
        assert_eq!(found(0, &years_ago), ["0 Completed"]);
        assert_eq!(found(0, &[("FAILED", -86_400)]), ["0 Failed"]);
    }

    #[test]
    fn what_a_slurmctld_without_a_memory_swept_away_was_not_cancelled() {
        let young = Asked { provisional: true, ..asked(0, 10) };
        let found =
            |asked: &Asked, state| short(&SEER.in_accounts(asked, &each(&records(&[(state, 10)]))));
        assert_eq!(found(&young, "CANCELLED"), Vec::<String>::new());
        assert_eq!(found(&young, "CANCELLED by 0"), ["0 Cancelled"]);
        assert_eq!(found(&young, "COMPLETED"), ["0 Completed"]);
        // It was saved: who swept it away meant it.
        assert_eq!(found(&asked(0, 10), "CANCELLED"), ["0 Cancelled"]);
    }

    #[test]
    fn a_job_that_is_known_to_nobody_yet_is_told_of_in_any_case() {
        let in_doubt = Asked { job: None, ..asked(0, 0) };
        let found = |starts| short(&SEER.in_accounts(&in_doubt, &each(&records(starts))));
        assert_eq!(found(&[("RUNNING", 10)]), ["0 goes on"]);
        assert_eq!(found(&[("REQUEUED", 10), ("PENDING", 50)]), ["0 Requeued", "1 goes on"]);
    }

    #[test]
    fn the_starts_before_a_requeued_one_are_told_by_its_submit() {
        let now = |restart, submit| {
            let in_doubt = Asked { job: None, ..asked(0, 0) };
            let shown = SEER.in_accounts(&in_doubt, &each(&records(&[("RUNNING", submit)])));
            Sighting { restart, ..shown.into_iter().next().unwrap() }
        };
        let before = |known, now: &Sighting, starts| {
            short(&SEER.before(&asked(known, 10), now, &each(&records(starts))))
        };
        let requeued = now(1, 50);
        assert_eq!(before(0, &requeued, &[("NODE_FAIL", 10), ("RUNNING", 50)]), ["0 NodeFailure"]);
        assert_eq!(before(0, &requeued, &[("REQUEUED", 10)]), ["0 Requeued"]);
        // Its own record is none of a start before, whatever is missing.
        assert_eq!(before(0, &requeued, &[("COMPLETED", 50)]), Vec::<String>::new());
        let thrice = now(2, 90);
        let starts = [("PREEMPTED", 10), ("NODE_FAIL", 50), ("RUNNING", 90)];
        assert_eq!(before(0, &thrice, &starts), ["0 Preempted", "1 NodeFailure"]);
        assert_eq!(before(0, &thrice, &starts[1..]), ["1 NodeFailure"]);
        assert_eq!(before(1, &thrice, &starts), ["1 NodeFailure"]);
    }

    #[test]
    fn a_record_without_a_name_counts_for_the_very_start_that_is_known() {
        let [mut requeued] = SEER
            .in_accounts(&Asked { job: None, ..asked(0, 0) }, &each(&records(&[("RUNNING", 50)])))
            .try_into()
            .unwrap();
        requeued.restart = 1;
        let told = |asked: &Asked, submit| {
            let records = [nameless("NODE_FAIL", submit), records(&[("RUNNING", 50)]).remove(0)];
            short(&SEER.before(asked, &requeued, &each(&records)))
        };
        assert_eq!(told(&asked(0, 10), 10), ["0 NodeFailure"]);
        // Another second, another id, or none that is known: it may be anybody's.
        assert_eq!(told(&asked(0, 10), 11), Vec::<String>::new());
        let other = Some("main:8".parse().unwrap());
        assert_eq!(told(&Asked { job: other, ..asked(0, 10) }, 10), Vec::<String>::new());
        assert_eq!(told(&Asked { job: None, ..asked(0, 10) }, 10), Vec::<String>::new());
        // What it does not say stays as it is known.
        let known = SEER.in_accounts(&asked(0, 10), &each(&[nameless("NODE_FAIL", 10)]));
        assert_eq!(
            (short(&known), &known[0].granted.partition),
            (vec!["0 NodeFailure".to_owned()], &None)
        );
    }
}
