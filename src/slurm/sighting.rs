//! From what squeue and sacct show to what is seen of a submission.

use crate::domain::ids::JobKey;
use crate::domain::nodelist;
use crate::domain::run::{Granted, JobEnd, Phase, Sighting};
use crate::domain::slurm_state::JobWord;
use crate::domain::tres::Tres;
use crate::ports::Asked;
use crate::slurm::identity::{Claimed, Ours};
use crate::slurm::sacct::{Record, in_order};
use crate::slurm::squeue::{Answer, Row};

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
    fn ours<'a>(&'a self, asked: &'a Asked) -> Ours<'a> {
        Ours { cluster: self.slurm_cluster, token: &asked.token, intent_at: asked.intent_at }
    }

    /// The jobs of a submission that squeue shows.
    pub fn in_queue(&self, asked: &Asked, answer: &Answer) -> Vec<Sighting> {
        let is_ours = |row: &&Row| {
            !is_ghost(row)
                && self.ours(asked).is(&Claimed {
                    cluster: row.cluster.as_deref(),
                    is_our_user: row.uid == Some(self.uid),
                    name: &row.name,
                    submitted_at: row.submitted_at,
                })
        };
        let mut found: Vec<Sighting> =
            answer.rows.iter().filter(is_ours).map(|row| self.of_row(asked, row)).collect();
        // A row that cannot be read may be its job: then it is in sight, and nothing is known of it.
        let unread = answer.unread.iter().any(|line| line.contains(asked.token.as_str()));
        if found.is_empty()
            && unread
            && let Some(job) = &asked.job
        {
            found.push(unreadable(job.clone(), asked));
        }
        found
    }

    /// What accounting knows of a submission that squeue does not show.
    pub fn in_accounts(&self, asked: &Asked, records: &[Record]) -> Vec<Sighting> {
        let starts = self.starts(asked, records);
        let mut found = Vec::new();
        for of_job in starts.chunk_by(Record::is_of_job) {
            let Some((last, before)) = of_job.split_last() else { continue };
            let last = self.of_record(asked, last, true);
            // A record that goes on although the queue does not show its job is late, or will never be ended: what is known
            // of the job stands. Where none is known, it is good to know of one.
            if !is_over(&last.phase) && asked.job.as_ref() == Some(&last.job) {
                continue;
            }
            let before = before.iter().filter(|start| start.restart >= asked.restart);
            found.extend(before.map(|start| self.of_record(asked, start, false)));
            found.push(last);
        }
        found
    }

    /// How the starts of a job before `now` ended, as far as accounting tells.
    pub fn before(&self, asked: &Asked, now: &Sighting, records: &[Record]) -> Vec<Sighting> {
        self.starts(asked, records)
            .iter()
            .filter(|start| (asked.restart..now.restart).contains(&start.restart))
            .map(|start| self.of_record(asked, start, false))
            .filter(|start| {
                start.job == now.job && is_over(&start.phase) && start.ended_at.is_some()
            })
            .collect()
    }

    fn starts(&self, asked: &Asked, records: &[Record]) -> Vec<Record> {
        let is_ours = |record: &&Record| {
            self.ours(asked).is(&Claimed {
                cluster: record.cluster.as_deref(),
                is_our_user: record.user.as_deref() == Some(self.user),
                name: &record.name,
                submitted_at: record.submitted_at,
            })
        };
        let mut ours: Vec<Record> = records.iter().filter(is_ours).cloned().collect();
        // The same record may have been asked for twice, by its job and in a time.
        ours.sort_by_key(|record| (record.job, record.array_task, record.submitted_at));
        ours.dedup();
        in_order(ours)
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
        };
        Sighting {
            job: row.key(self.cluster),
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
            phase,
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
            },
            phase,
        }
    }
}

/// What a refused submission leaves behind: it has an id, and was never a job.
fn is_ghost(row: &Row) -> bool {
    row.state.word == Some(JobWord::Failed) && row.exit == (None, Some(1)) && row.nodes.is_empty()
}

fn is_over(phase: &Phase) -> bool {
    matches!(phase, Phase::Ended { .. })
}

fn unreadable(job: JobKey, asked: &Asked) -> Sighting {
    Sighting {
        job,
        token: asked.token.clone(),
        phase: Phase::Unknown,
        word: "UNREADABLE".to_owned(),
        restart: 0,
        submitted_at: None,
        eligible_at: None,
        started_at: None,
        ended_at: None,
        nodes: Vec::new(),
        granted: Granted::default(),
    }
}
