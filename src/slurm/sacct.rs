//! What accounting remembers: asked only for jobs that left the queue and for submissions in doubt.
//!
//! A requeued job has one record per start, all under the same id; which start a record is of is told by its place in
//! the order of Submit. The delimiter is a nonce, since job names may hold anything. [`args`] and [`parse`] must change
//! together.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::domain::ids::JobKey;
use crate::domain::run::Phase;
use crate::domain::slurm_state::{JobWord, SlurmState};
use crate::domain::tres::Tres;
use crate::domain::usage::Start;
use crate::slurm::fields;
use crate::slurm::tasks::TaskSet;

/// Known to every release from 20.11 on; a single unknown one would fail the whole call.
const COLUMNS: [&str; 18] = [
    "JobIDRaw",
    "JobID",
    "State",
    "ExitCode",
    "Submit",
    "Eligible",
    "Start",
    "End",
    "ElapsedRaw",
    "AllocTRES",
    "NodeList",
    "Partition",
    "QOS",
    "Account",
    "Cluster",
    "User",
    "TimelimitRaw",
    "JobName",
];

/// Ids of one call: a single argument must stay under 128 KiB.
pub const JOBS_PER_CALL: usize = 500;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub job: u64,
    pub array_task: Option<u32>,
    /// Tasks that ended before they started: they have one record together.
    pub tasks: Option<TaskSet>,
    pub state: SlurmState,
    pub exit: (Option<i32>, Option<i32>),
    pub submitted_at: Option<Timestamp>,
    pub eligible_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Without the time in which it was suspended.
    pub elapsed_seconds: Option<u64>,
    pub tres: String,
    pub nodes: String,
    pub partition: Option<String>,
    pub qos: Option<String>,
    pub account: Option<String>,
    pub cluster: Option<String>,
    pub user: Option<String>,
    pub time_limit_seconds: Option<u64>,
    pub name: String,
    /// Slurm writes a record before it knows what the job is called, and mends it; 20.11 never mends that of a start that
    /// was followed by another one at once. Such a record has times, nodes and a state, and no name, partition and limit.
    pub is_named: bool,
    /// Which start of the job it is, from 0; told by its place among the others.
    pub restart: u32,
}

/// Whose records are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Those of these jobs, at most [`JOBS_PER_CALL`].
    Jobs(Vec<JobKey>),
    /// All of a user's since a moment.
    Since { user: String, at: Timestamp },
}

pub fn args(which: &Which, nonce: &str) -> Vec<String> {
    let mut args: Vec<String> = ["-D", "-X", "-n", "-P", "--noconvert"].map(str::to_owned).into();
    args.push(format!("--delimiter=|{nonce}|"));
    args.push(format!("--format={}", COLUMNS.join(",")));
    match which {
        Which::Jobs(keys) => {
            let ids: Vec<String> = keys.iter().take(JOBS_PER_CALL).map(id).collect();
            args.push(format!("--jobs={}", ids.join(",")));
        }
        Which::Since { user, at } => {
            args.push(format!("--user={user}"));
            // Read in the time zone of the call, which is UTC.
            args.push(format!("--starttime={}", at.strftime("%Y-%m-%dT%H:%M:%S")));
        }
    }
    args
}

/// A job, as Slurm's commands are told it.
pub(super) fn id(key: &JobKey) -> String {
    match key.array_task {
        Some(task) => format!("{}_{task}", key.job),
        None => key.job.to_string(),
    }
}

/// The records, and how many lines are none.
pub fn parse(bytes: &[u8], nonce: &str) -> (Vec<Record>, usize) {
    let text = String::from_utf8_lossy(bytes);
    let mark = format!("|{nonce}|");
    let mut dropped = 0;
    let mut records = Vec::new();
    for line in text.lines() {
        match record(line, &mark) {
            Some(record) => records.push(record),
            None => dropped += 1,
        }
    }
    (records, dropped)
}

fn record(line: &str, mark: &str) -> Option<Record> {
    let columns: Vec<&str> = line.split(mark).collect();
    let columns: [&str; COLUMNS.len()] = columns.try_into().ok()?;
    let [raw, shown, state, exit, submitted, eligible, started, ended, elapsed, tres, ..] = columns;
    let [.., nodes, partition, qos, account, cluster, user, limit, name] = columns;
    let (job, array_task, tasks) = match shown.split_once('_') {
        Some((array, task)) => {
            let array_task = task.parse().ok();
            let tasks = if array_task.is_some() { None } else { Some(TaskSet::parse(task)?) };
            (array.parse().ok()?, array_task, tasks)
        }
        None => (raw.parse().ok()?, None, None),
    };
    let record = Record {
        job,
        array_task,
        tasks,
        state: SlurmState::parse(state),
        exit: fields::exit(exit),
        submitted_at: fields::time(submitted),
        eligible_at: fields::time(eligible),
        started_at: fields::time(started),
        ended_at: fields::time(ended),
        elapsed_seconds: elapsed.parse().ok(),
        tres: tres.to_owned(),
        nodes: nodes.to_owned(),
        partition: fields::text(partition),
        qos: fields::text(qos),
        account: fields::text(account),
        cluster: fields::text(cluster),
        user: fields::text(user),
        time_limit_seconds: fields::minutes(limit),
        // What Slurm writes there itself; a job of that name is none of ours.
        is_named: name != "allocation",
        name: name.to_owned(),
        restart: 0,
    };
    // Left by a submission that was refused: it tells of no job.
    let ghost = state == "FAILED" && exit == "0:1" && elapsed == "0";
    // What is left of an array, `5_[3-9]`, is no record of a task as long as it waits.
    let is_over = matches!(record.state.phase(None, record.exit), Phase::Ended { .. });
    let waits = record.tasks.is_some() && !is_over;
    (!ghost && !waits).then_some(record)
}

/// The jobs, and instead of tasks their array: what tasks share is told of the array alone.
pub fn in_short(jobs: impl Iterator<Item = JobKey>) -> Vec<JobKey> {
    let whole: BTreeSet<JobKey> = jobs.map(|job| JobKey { array_task: None, ..job }).collect();
    whole.into_iter().collect()
}

impl Record {
    /// Whether it is of tasks of an array that were cancelled while they waited. Which those were it says for a while; later
    /// only that it is of all that have no record of their own.
    pub fn is_shared(&self) -> bool {
        let is_cancelled = self.state.word == Some(JobWord::Cancelled);
        self.tasks.is_some()
            || (self.array_task.is_none() && is_cancelled && self.nodes.contains(' '))
    }

    /// The same of one of the tasks that share it.
    pub fn of_task(&self, task: u32) -> Option<Self> {
        let is_of_task = self.tasks.as_ref().is_none_or(|tasks| tasks.contains(task));
        is_of_task.then(|| Self { array_task: Some(task), tasks: None, ..self.clone() })
    }

    /// Whether they are starts of one job.
    pub fn is_of_job(&self, other: &Self) -> bool {
        (self.job, self.array_task) == (other.job, other.array_task)
    }

    /// What it took, and the name of its job; none of what never started.
    pub fn start(&self, cluster: &str) -> Option<(String, Start)> {
        let tres = Tres::parse(&self.tres);
        let start = Start {
            job: self.key(cluster),
            submitted_at: self.submitted_at?,
            started_at: self.started_at?,
            ended_at: self.ended_at,
            nodes: tres.nodes?,
            elapsed_seconds: self.elapsed_seconds?,
        };
        Some((self.name.clone(), start))
    }

    /// Its identity on the cluster that the site calls so.
    pub fn key(&self, cluster: &str) -> JobKey {
        JobKey { cluster: cluster.to_owned(), job: self.job, array_task: self.array_task }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, state: &str, exit: &str, submit: &str, name: &str) -> String {
        let elapsed = if exit == "0:1" { "0" } else { "30" };
        [
            id.split('_').next().unwrap(),
            id,
            state,
            exit,
            submit,
            submit,
            submit,
            "1795239300",
            elapsed,
            "billing=2,cpu=2,mem=8000M,node=2",
            "p[1-2]",
            "debug",
            "normal",
            "lab",
            "priv",
            "anna",
            "10",
            name,
        ]
        .join("|n|")
            + "\n"
    }

    const NAME: &str = "42-llama.1.tyaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn records_are_read_with_their_times() {
        let (records, dropped) =
            parse(line("7", "CANCELLED by 1000", "0:0", "1795239181", NAME).as_bytes(), "n");
        assert_eq!((records.len(), dropped), (1, 0));
        let record = &records[0];
        assert_eq!(record.state.cancelled_by, Some(1000));
        assert_eq!(
            (record.user.as_deref(), record.cluster.as_deref()),
            (Some("anna"), Some("priv"))
        );
        assert_eq!((record.time_limit_seconds, record.nodes.as_str()), (Some(600), "p[1-2]"));
        assert_eq!(record.ended_at.map(Timestamp::as_second), Some(1_795_239_300));
        assert_eq!(record.name, NAME);
    }

    #[test]
    fn what_tells_of_no_job_is_no_record() {
        let text = [
            line("8", "FAILED", "0:1", "1795239200", NAME),
            line("9_[3-6%2]", "PENDING", "0:0", "1795239200", NAME),
            line("10", "FAILED", "1:0", "1795239200", &format!("a\n11|{NAME}")),
            "\n|n|n|\nrubbish\n".to_owned(),
        ]
        .concat();
        let (records, dropped) = parse(text.as_bytes(), "n");
        let jobs: Vec<u64> = records.iter().map(|record| record.job).collect();
        assert_eq!((jobs, dropped), (vec![10], 6));
    }

    #[test]
    fn a_record_that_has_no_name_yet_says_so() {
        let early = line("7", "PENDING", "0:0", "1795239200", "allocation");
        let (records, dropped) =
            parse((early + &line("7", "FAILED", "1:0", "1795239300", NAME)).as_bytes(), "n");
        let named: Vec<bool> = records.iter().map(|record| record.is_named).collect();
        assert_eq!((named, dropped), (vec![false, true], 0));
    }

    #[test]
    fn the_call_names_jobs_or_a_time() {
        let keys = ["main:7", "main:8_1"].map(|key| key.parse().unwrap()).into();
        let args = args(&Which::Jobs(keys), "n");
        assert_eq!(args.last().map(String::as_str), Some("--jobs=7,8_1"));
        let at = Timestamp::from_second(1_795_239_181).unwrap();
        let args = super::args(&Which::Since { user: "anna".into(), at }, "n");
        assert_eq!(
            args[7..],
            ["--user=anna", "--starttime=2026-11-21T05:33:01"].map(str::to_owned)
        );
    }
}
