//! Builds of environments that are jobs: which call of sbatch each of them is, until it is over.

use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::params;

use crate::domain::ids::{JobName, SubmissionId, Token};
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::runs::time;
use crate::store::submissions::{CallRecord, Calling, answer_of, insert};
use crate::store::writer::begin;

/// A build that is a job, or is about to be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildJob {
    pub key: String,
    pub submission: SubmissionId,
    pub cluster: String,
    pub token: Token,
    pub run_root: PathBuf,
    /// In whose run directory it happens.
    pub run_dir: PathBuf,
    pub intent_at: Timestamp,
    pub call: CallRecord,
}

impl BuildJob {
    /// Nobody waits for it: see [`Store::abandon_build`].
    pub fn is_abandoned(&self) -> bool {
        self.key.starts_with("abandoned ")
    }
}

/// A build that is to be submitted.
#[derive(Debug, Clone)]
pub struct NewBuildJob {
    pub key: String,
    pub run_root: PathBuf,
    pub run_dir: PathBuf,
    pub calling: Calling,
    pub job_name: JobName,
}

impl Store {
    /// Records the intent to submit a build. It takes the place of an earlier one of the same key.
    pub async fn intend_build(
        &self,
        new: NewBuildJob,
        now: Timestamp,
    ) -> Result<SubmissionId, StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            let submission = insert(&tx, &new.calling, &new.job_name, now)?;
            let sql = "INSERT INTO build_job (key, submission, run_root, run_dir) VALUES (?1, ?2, ?3, ?4) \
                       ON CONFLICT (key) DO UPDATE SET submission = excluded.submission, \
                       run_root = excluded.run_root, run_dir = excluded.run_dir";
            let (root, dir) = (new.run_root.display().to_string(), new.run_dir.display().to_string());
            change(&tx, "record a build", sql, params![new.key, submission.0, root, dir])?;
            tx.commit().during("record a build")?;
            Ok(submission)
        })
        .await
    }

    /// All builds that are jobs, by key.
    pub async fn build_jobs(&self) -> Result<Vec<BuildJob>, StoreError> {
        self.call(|connection| {
            let what = "list builds";
            let sql = "SELECT key, submission, run_root, run_dir, cluster, token, intent_at, answer, host, \
                       coalesce(called_at, intent_at) FROM build_job \
                       JOIN submission ON submission.id = build_job.submission ORDER BY key";
            let mut statement = connection.prepare_cached(sql).during(what)?;
            let mut rows = statement.query([]).during(what)?;
            let mut jobs = Vec::new();
            while let Some(row) = rows.next().during(what)? {
                let text = |index: usize| row.get::<_, String>(index).during(what);
                let number = |index: usize| row.get::<_, i64>(index).during(what);
                let submission = SubmissionId(number(1)?);
                // One that this program did not write names no job.
                let Ok(token) = text(5)?.parse() else { continue };
                jobs.push(BuildJob {
                    key: text(0)?,
                    submission,
                    cluster: text(4)?,
                    token,
                    run_root: PathBuf::from(text(2)?),
                    run_dir: PathBuf::from(text(3)?),
                    intent_at: time(number(6)?),
                    call: CallRecord {
                        answer: answer_of(submission, row.get(7).during(what)?)?,
                        host: row.get(8).during(what)?,
                        called_at: time(number(9)?),
                    },
                });
            }
            Ok(jobs)
        })
        .await
    }

    /// Nobody waits for a build any more: its job is to end, and who asks for the same build gets another.
    pub async fn abandon_build(&self, submission: SubmissionId) -> Result<(), StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            let sql = "UPDATE build_job SET key = 'abandoned ' || submission WHERE submission = ?1";
            change(&tx, "abandon a build", sql, params![submission.0])?;
            tx.commit().during("abandon a build")
        })
        .await
    }

    /// The job of a build is over, or another will be submitted.
    pub async fn forget_build(&self, submission: SubmissionId) -> Result<(), StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            let sql = "DELETE FROM build_job WHERE submission = ?1";
            change(&tx, "forget a build", sql, params![submission.0])?;
            tx.commit().during("forget a build")
        })
        .await
    }
}
