//! What became of a local job.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::{JobKey, SubmissionId, Token};
use crate::domain::run::{Granted, JobEnd, Phase, Sighting};
use crate::domain::units::Seconds;
use crate::files::process::ProcessId;
use crate::local::order::Order;

/// `job.json`: written by the supervisor only, as RUNNING before the script starts and once more at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub submission: SubmissionId,
    pub token: Token,
    pub job_name: String,
    pub run_dir: PathBuf,
    /// The supervisor.
    pub process: ProcessId,
    pub host: String,
    /// CPUs that the supervisor may use.
    pub cpus: u64,
    pub time_limit: Option<Seconds>,
    pub state: JobState,
    pub submitted_at: Timestamp,
    pub started_at: Timestamp,
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    #[serde(default)]
    pub exit_code: Option<i32>,
    #[serde(default)]
    pub signal: Option<i32>,
    /// Why the script could not be started, if that is what happened.
    #[serde(default)]
    pub message: String,
}

/// In Slurm's words, so that both targets read alike. A job killed for lack of memory is FAILED by signal 9: who sent
/// it cannot be known here, and is not guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    Running,
    Completed,
    Failed,
    Cancelled,
    Timeout,
    /// A word of a newer version.
    #[serde(other)]
    Unknown,
}

impl JobState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Timeout => "TIMEOUT",
            Self::Unknown => "UNKNOWN",
        }
    }

    fn end(self) -> Option<JobEnd> {
        match self {
            Self::Running | Self::Unknown => None,
            Self::Completed => Some(JobEnd::Completed),
            Self::Failed => Some(JobEnd::Failed),
            Self::Cancelled => Some(JobEnd::Cancelled),
            Self::Timeout => Some(JobEnd::TimeLimit),
        }
    }
}

/// How a script ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) state: JobState,
    pub(super) exit_code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) message: String,
}

impl Record {
    /// The record of a job that is about to start.
    pub(super) fn running(
        order: &Order,
        process: ProcessId,
        (host, cpus): (String, u64),
        now: Timestamp,
    ) -> Self {
        Self {
            submission: order.submission,
            token: order.token.clone(),
            job_name: order.job_name.clone(),
            run_dir: order.run_dir.clone(),
            process,
            host,
            cpus,
            time_limit: order.time_limit,
            state: JobState::Running,
            submitted_at: order.submitted_at,
            started_at: now,
            ended_at: None,
            exit_code: None,
            signal: None,
            message: String::new(),
        }
    }

    pub(super) fn ended(self, outcome: Outcome, now: Timestamp) -> Self {
        let Outcome { state, exit_code, signal, message } = outcome;
        // The wall clock may have been set back meanwhile.
        let ended_at = Some(now.max(self.started_at));
        Self { state, ended_at, exit_code, signal, message, ..self }
    }

    /// As every scheduler shows its jobs. A RUNNING record is shown as it stands: whether it still runs is the caller's
    /// to know.
    pub(super) fn sighting(&self, job: JobKey) -> Sighting {
        let phase = match (self.state, self.state.end()) {
            (JobState::Running, _) => Phase::Running,
            (_, None) => Phase::Unknown,
            (_, Some(end)) => Phase::Ended { end, exit_code: self.exit_code, signal: self.signal },
        };
        Sighting {
            job,
            token: self.token.clone(),
            phase,
            word: self.state.as_str().to_owned(),
            restart: 0,
            submitted_at: Some(self.submitted_at),
            eligible_at: Some(self.submitted_at),
            started_at: Some(self.started_at),
            ended_at: self.ended_at,
            nodes: vec![self.host.clone()],
            granted: Granted {
                cpus: Some(self.cpus),
                time_limit_seconds: self.time_limit.map(|limit| limit.0),
                ..Granted::default()
            },
            elapsed_seconds: None,
            digest: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let order = Order {
            submission: SubmissionId(7),
            token: Token::from_bits(1),
            job_name: "1-x.1.tybaaaaaaaaaaaaaaaaaaa".to_owned(),
            run_dir: PathBuf::from("/runs/1-x"),
            set: 0,
            time_limit: Some(Seconds(60)),
            warn_before_end: Seconds(0),
            kill_wait: Seconds(30),
            environment: Vec::new(),
            submitted_at: Timestamp::from_second(90).unwrap(),
        };
        let process = ProcessId { pid: 5, start_ticks: 6, boot_id: "boot".to_owned() };
        Record::running(&order, process, ("n1".to_owned(), 4), Timestamp::from_second(100).unwrap())
    }

    fn ended(state: JobState, exit_code: Option<i32>, signal: Option<i32>) -> Record {
        let outcome = Outcome { state, exit_code, signal, message: String::new() };
        record().ended(outcome, Timestamp::from_second(130).unwrap())
    }

    #[test]
    fn the_record_is_what_is_on_disk() {
        insta::assert_json_snapshot!(ended(JobState::Failed, Some(3), None), @r#"
        {
          "submission": 7,
          "token": "tybaaaaaaaaaaaaaaaaaaa",
          "job_name": "1-x.1.tybaaaaaaaaaaaaaaaaaaa",
          "run_dir": "/runs/1-x",
          "process": {
            "pid": 5,
            "start_ticks": 6,
            "boot_id": "boot"
          },
          "host": "n1",
          "cpus": 4,
          "time_limit": 60,
          "state": "FAILED",
          "submitted_at": "1970-01-01T00:01:30Z",
          "started_at": "1970-01-01T00:01:40Z",
          "ended_at": "1970-01-01T00:02:10Z",
          "exit_code": 3,
          "signal": null,
          "message": ""
        }
        "#);
        let old = r#"{"submission":7,"token":"tybaaaaaaaaaaaaaaaaaaa","job_name":"","run_dir":"/r",
            "process":{"pid":5,"start_ticks":6,"boot_id":"b"},"host":"n1","cpus":4,"time_limit":null,
            "state":"HIBERNATING","submitted_at":"1970-01-01T00:01:30Z","started_at":"1970-01-01T00:01:40Z",
            "a_newer_key":1}"#;
        let newer: Record = serde_json::from_str(old).unwrap();
        assert_eq!(newer.state, JobState::Unknown);
        assert_eq!(newer.sighting("local:7".parse().unwrap()).phase, Phase::Unknown);
    }

    #[test]
    fn every_state_is_seen_as_what_it_is() {
        #[track_caller]
        fn check(record: &Record, word: &str, phase: &Phase) {
            let sighting = record.sighting("local:7".parse().unwrap());
            assert_eq!((sighting.word.as_str(), &sighting.phase), (word, phase));
        }
        let phase = |end, exit_code, signal| Phase::Ended { end, exit_code, signal };
        check(&record(), "RUNNING", &Phase::Running);
        for (state, code, signal, word, end) in [
            (JobState::Completed, Some(0), None, "COMPLETED", JobEnd::Completed),
            (JobState::Failed, Some(3), None, "FAILED", JobEnd::Failed),
            (JobState::Failed, None, Some(9), "FAILED", JobEnd::Failed),
            (JobState::Cancelled, Some(0), None, "CANCELLED", JobEnd::Cancelled),
            (JobState::Timeout, None, Some(15), "TIMEOUT", JobEnd::TimeLimit),
        ] {
            check(&ended(state, code, signal), word, &phase(end, code, signal));
        }
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_end_a_job_before_its_start() {
        let outcome = Outcome {
            state: JobState::Completed,
            exit_code: Some(0),
            signal: None,
            message: String::new(),
        };
        let record = record().ended(outcome, Timestamp::from_second(50).unwrap());
        assert_eq!(record.ended_at, Some(record.started_at));
    }
}
