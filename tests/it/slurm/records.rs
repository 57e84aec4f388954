//! What Slurm itself remembers of jobs that are over: accounting, and on a cluster without it slurmctld's own log of
//! ended jobs, which `tests/cluster` lets it write.

use std::collections::HashMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::env::wait_until;
use crate::slurm::cluster::Cluster;

impl Cluster {
    /// What Slurm's records say about a job, once it is over: a row for each of its starts, with these columns of sacct.
    pub(super) fn recorded(&self, job: i64, columns: &str) -> Vec<Vec<String>> {
        if self.has_accounting() { self.accounted(job, columns) } else { self.logged(job, columns) }
    }

    /// The first records of accounting are half empty for some seconds: without a partition one is not whole. 20.11 leaves
    /// that of a start so which was followed by another one at once.
    fn accounted(&self, job: i64, columns: &str) -> Vec<Vec<String>> {
        let job = job.to_string();
        let mut rows: Vec<Vec<String>> = Vec::new();
        wait_until(&format!("accounting knows the end of job {job}"), || {
            let format = format!("--format=End,Partition,{columns}");
            let text = self.ask("sacct", &["-D", "-X", "-n", "-P", "-j", &job, &format]);
            rows = text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect();
            rows.iter().all(|row| row[0].parse::<i64>().is_ok())
                && rows.last().is_some_and(|row| !row[1].is_empty())
        });
        rows.into_iter().map(|row| row[2..].to_vec()).collect()
    }

    fn logged(&self, job: i64, columns: &str) -> Vec<Vec<String>> {
        let path = format!("{}/log/jobcomp.log", self.variable("TRAINYARD_CLUSTER_DIR"));
        let job = job.to_string();
        let mut ends: Vec<HashMap<String, String>> = Vec::new();
        wait_until(&format!("slurmctld has logged the end of job {job}"), || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            // The last line may still be on its way.
            let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            ends = whole.map(end).filter(|end| end["JobId"] == job).collect();
            // A start after which another one follows ends as one that waits.
            ends.last().is_some_and(|end| end["JobState"] != "PENDING")
        });
        let row =
            |end: &HashMap<String, String>| columns.split(',').map(|c| column(end, c)).collect();
        ends.iter().map(row).collect()
    }
}

/// A line of the log: `JobId=7 UserId=root(0) … `.
fn end(line: &str) -> HashMap<String, String> {
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The value of a column of sacct.
fn column(end: &HashMap<String, String>, name: &str) -> String {
    let time = |key: &str| {
        let time: DateTime = end[key].parse().unwrap();
        time.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second()
    };
    match name {
        "State" => end["JobState"].clone(),
        "Submit" => time("SubmitTime").to_string(),
        "Start" => time("StartTime").to_string(),
        "End" => time("EndTime").to_string(),
        "ElapsedRaw" => (time("EndTime") - time("StartTime")).to_string(),
        "NNodes" => end["NodeCnt"].clone(),
        "ReqCPUS" => end["ProcCnt"].clone(),
        "Partition" | "Account" | "ExitCode" => end[name].clone(),
        other => panic!("the log of ended jobs has no {other}"),
    }
}
