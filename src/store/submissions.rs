//! Submissions: the intent is on disk before the act, the answer before it is taken.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use crate::domain::ids::{JobName, SubmissionId, Token};
use crate::domain::run::{Answer, Decision, Event, Policy, Run, step};
use crate::store::handle::{During, Store, StoreError};
use crate::store::runs::{begin, to_json, write};

/// A recorded intent: what is to be submitted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub submission: SubmissionId,
    pub job_name: JobName,
}

/// What is about to be submitted.
#[derive(Debug, Clone)]
pub struct Intending {
    pub run: Run,
    /// Name of the run directory below the run root.
    pub run_dir: String,
    pub owner: String,
    pub cluster: String,
    pub token: Token,
}

impl Store {
    /// Records the intent to submit a run: submission, element, hold and the run's state in one durable transaction.
    pub async fn intend(
        &self,
        intending: Intending,
        policy: Policy,
        now: Timestamp,
    ) -> Result<(Decision, Intent), StoreError> {
        self.call(move |connection| {
            let Intending { run, run_dir, owner, cluster, token } = intending;
            let tx = begin(connection)?;
            let attempt_base = run.attempts + 1;
            let job_name = JobName { run_dir, attempt_base, token: token.clone() };
            tx.execute(
                "INSERT INTO submission (cluster, token, job_name, kind, owner, intent_at, outcome) \
                 VALUES (?1, ?2, ?3, 'single', ?4, ?5, 'intent')",
                params![cluster, token.as_str(), job_name.to_string(), owner, now.as_millisecond()],
            )
            .during("record a submission")?;
            let submission = SubmissionId(tx.last_insert_rowid());
            tx.execute(
                "INSERT INTO element (submission, idx, run, attempt_base) VALUES (?1, 0, ?2, ?3)",
                params![submission.0, run.id.0, attempt_base],
            )
            .during("record an element")?;
            hold(&tx, submission);
            let decision = step(&run, &Event::Admitted { submission, token, cluster }, &policy, now);
            write(&tx, &decision, now)?;
            tx.commit().during("record an intent")?;
            Ok((decision, Intent { submission, job_name }))
        })
        .await
    }

    /// Records how a submission was answered.
    pub async fn answered(
        &self,
        submission: SubmissionId,
        answer: Answer,
    ) -> Result<(), StoreError> {
        self.call(move |connection| {
            let (outcome, job) = match &answer {
                Answer::Acknowledged { job, .. } => ("acked", i64::try_from(job.job).ok()),
                Answer::Refused { .. } => ("refused", None),
                Answer::Lost { .. } => ("lost", None),
            };
            connection
                .execute(
                    "UPDATE submission SET outcome = ?2, job_id = ?3, answer = ?4 WHERE id = ?1",
                    params![submission.0, outcome, job, to_json(&answer, "an answer")?],
                )
                .map(drop)
                .during("record an answer")
        })
        .await
    }

    /// Which of these tokens are of submissions of ours.
    pub async fn known_tokens(
        &self,
        tokens: BTreeSet<Token>,
    ) -> Result<BTreeSet<Token>, StoreError> {
        self.call(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM submission WHERE token = ?1)")
                .during("look up tokens")?;
            let mut known = BTreeSet::new();
            for token in tokens {
                let is_known: bool = statement
                    .query_row([token.as_str()], |row| row.get(0))
                    .during("look up tokens")?;
                if is_known {
                    known.insert(token);
                }
            }
            Ok(known)
        })
        .await
    }

    /// The recorded answers of these submissions, in the order asked.
    pub async fn answers(
        &self,
        submissions: Vec<SubmissionId>,
    ) -> Result<Vec<Option<Answer>>, StoreError> {
        self.call(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT answer FROM submission WHERE id = ?1")
                .during("read answers")?;
            submissions
                .into_iter()
                .map(|id| {
                    let text: Option<Option<String>> = statement
                        .query_row([id.0], |row| row.get(0))
                        .optional()
                        .during("read answers")?;
                    match text.flatten() {
                        None => Ok(None),
                        Some(text) => serde_json::from_str(&text).map(Some).map_err(|source| {
                            StoreError::Record {
                                what: format!("the answer to submission {id}"),
                                source,
                            }
                        }),
                    }
                })
                .collect()
        })
        .await
    }
}

/// Where the charge of one start is set aside, in the transaction that admits it. Budgets are not built yet: nothing is held.
fn hold(_tx: &rusqlite::Transaction<'_>, _submission: SubmissionId) {}
