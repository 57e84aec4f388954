//! From what squeue and sacct show to what is seen of a submission.

#[cfg(test)]
mod tests;

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
        let shown = nodelist::expand(&row.nodes).unwrap_or_default();
        // One that was cancelled while it waited shows that moment as its start, and no nodes.
        let started_at = row.started_at.filter(|_| !shown.is_empty());
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
            started_at,
            ended_at: row.ended_at.filter(|_| is_over(&phase)),
            // While a job completes squeue shows those of its nodes only that are not given back yet.
            nodes: if granted.has_all(&shown) { shown } else { Vec::new() },
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
        let shown = nodelist::expand(&record.nodes).unwrap_or_default();
        let granted = Granted {
            partition: record.partition.clone(),
            qos: record.qos.clone(),
            account: record.account.clone(),
            time_limit_seconds: record.time_limit_seconds,
            cpus: tres.cpus,
            memory: tres.memory,
            gpus: tres.gpus,
            nodes: tres.nodes,
            billing: tres.billing,
        };
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
            started_at: record.started_at.filter(|_| !shown.is_empty()),
            ended_at: record.ended_at,
            // A start that 20.11 records only after its end has those that were not given back by then.
            nodes: if granted.has_all(&shown) { shown } else { Vec::new() },
            granted,
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
