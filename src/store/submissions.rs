//! Submissions: the intent is on disk before the act, the answer before it is taken.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use crate::domain::bad_nodes::Avoided;
use crate::domain::ids::{JobName, RunId, SubmissionId, Token};
use crate::domain::ledger::{Asked, Refusal, StartId};
use crate::domain::nodelist::NodeName;
use crate::domain::run::{Answer, Decision, Event, Policy, Run, Seen, State, decide, step};
use crate::fault::point;
use crate::store::books::Books;
use crate::store::handle::{During, Store, StoreError, change};
use crate::store::ledger;
use crate::store::runs::{json, time, to_json, write};
use crate::store::writer::begin;

/// A recorded intent: what is to be submitted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub submission: SubmissionId,
    pub job_name: JobName,
    /// Nodes that failed, and that it keeps away from.
    pub avoided: Vec<NodeName>,
}

/// What is about to be submitted.
#[derive(Debug, Clone)]
pub struct Intending {
    pub run: Run,
    pub run_dir: PathBuf,
    pub owner: String,
    pub start: Start,
}

/// Where a run is submitted, and as what.
#[derive(Debug, Clone)]
pub struct Start {
    pub cluster: String,
    pub token: Token,
    /// The machine that the daemon is on.
    pub host: String,
    pub policy: Policy,
    pub avoided: Avoided,
    /// What its project's budget has to hold for it.
    pub asked: Option<Asked>,
}

/// Who calls sbatch, for which cluster and on which machine.
#[derive(Debug, Clone)]
pub struct Calling {
    pub cluster: String,
    pub owner: String,
    pub host: String,
}

/// A call of sbatch, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// `None` while there is none.
    pub answer: Option<Answer>,
    /// Where it was called; unknown in old records.
    pub host: Option<String>,
    pub called_at: Timestamp,
}

impl Store {
    /// Records the intent to submit a run: submission, element, hold and the run's state in one durable transaction; or says
    /// why its project's budget does not let it in, and records nothing.
    pub async fn intend(
        &self,
        intending: Intending,
        now: Timestamp,
    ) -> Result<Result<(Decision, Intent), Refusal>, StoreError> {
        let books = self.books.clone();
        self.call(move |connection| {
            let tx = begin(connection)?;
            let intended = intend(&tx, &books, intending, now)?;
            point("intent_written");
            tx.commit().during("record an intent")?;
            Ok(intended)
        })
        .await
    }

    /// Records that sbatch is called again for the run's submission, which did not reach the scheduler. `false`, and nothing
    /// is recorded, when the run stands elsewhere by now.
    pub async fn intend_again(
        &self,
        run: RunId,
        host: String,
        policy: Policy,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.call(move |connection| {
            let tx = begin(connection)?;
            let run = machine(&tx, run)?;
            let decision = step(&run, &Event::CalledAgain, &policy, now);
            let Some(submission) = decision.run.submission.as_ref().filter(|_| decision.run != run)
            else {
                return Ok(false);
            };
            change(
                &tx,
                "record a submission",
                "UPDATE submission SET outcome = 'intent', answer = NULL, host = ?2, called_at = ?3 WHERE id = ?1",
                params![submission.id.0, host, now.as_millisecond()],
            )?;
            write(&tx, &decision, now)?;
            tx.commit().during("record an intent")?;
            Ok(true)
        })
        .await
    }

    /// Records how a submission was answered. One that a power cut takes back was lost, as others are, and nobody was told
    /// of it yet: that comes with the decision that takes it.
    pub async fn answered(
        &self,
        submission: SubmissionId,
        answer: Answer,
    ) -> Result<(), StoreError> {
        self.call_unsynced(move |connection| {
            let tx = begin(connection)?;
            write_answer(&tx, submission, &answer)?;
            tx.commit().during("record an answer")
        })
        .await
    }

    /// Records how a submission was answered and what that makes of its run, where the run still waits for that: no act
    /// comes of it then. A power cut may take both back: the answer was lost then, and the job is found by its token.
    pub async fn heard(
        &self,
        run: RunId,
        submission: SubmissionId,
        answer: Answer,
        (policy, now): (Policy, Timestamp),
    ) -> Result<Option<Decision>, StoreError> {
        self.call_unsynced(move |connection| {
            let tx = begin(connection)?;
            write_answer(&tx, submission, &answer)?;
            let run = machine(&tx, run)?;
            let waits = matches!(run.state, State::Submitting { .. })
                && run.submission.as_ref().is_some_and(|known| known.id == submission);
            let decision = waits.then(|| {
                let seen = Seen { answer: Some(answer), ..Seen::default() };
                decide(&run, &seen, &policy, now)
            });
            if let Some(decision) = &decision {
                write(&tx, decision, now)?;
            }
            tx.commit().during("record an answer")?;
            Ok(decision)
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
                    .query_row([token.whole()], |row| row.get(0))
                    .during("look up tokens")?;
                if is_known {
                    known.insert(token);
                }
            }
            Ok(known)
        })
        .await
    }

    /// How these submissions were called and answered, in the order asked; `None` for one that is not recorded.
    pub async fn calls(
        &self,
        submissions: Vec<SubmissionId>,
    ) -> Result<Vec<Option<CallRecord>>, StoreError> {
        self.call(move |connection| {
            let sql =
                "SELECT answer, host, coalesce(called_at, intent_at) FROM submission WHERE id = ?1";
            let mut statement = connection.prepare_cached(sql).during("read answers")?;
            submissions
                .into_iter()
                .map(|id| {
                    let found: Option<(Option<String>, Option<String>, i64)> = statement
                        .query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                        .optional()
                        .during("read answers")?;
                    let Some((answer, host, called_at)) = found else { return Ok(None) };
                    let answer = answer_of(id, answer)?;
                    Ok(Some(CallRecord { answer, host, called_at: time(called_at) }))
                })
                .collect()
        })
        .await
    }
}

/// Writes the intent to submit a run: submission, element, hold and the run's state. Nothing is written where its project's
/// budget does not let it in.
pub(super) fn intend(
    tx: &Transaction<'_>,
    books: &Books,
    intending: Intending,
    now: Timestamp,
) -> Result<Result<(Decision, Intent), Refusal>, StoreError> {
    let Intending { run, run_dir, owner, start } = intending;
    let Start { cluster, token, host, policy, avoided, asked } = start;
    let told = match &asked {
        Some(asked) => ledger::let_in(tx, books, asked, &[])?,
        None => Ok(None),
    };
    let told = match told {
        Ok(told) => told,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let attempt_base = run.attempts + 1;
    let job_name = JobName::of(&run_dir, attempt_base, token.clone());
    let calling = Calling { cluster: cluster.clone(), owner: owner.clone(), host };
    let submission = insert(tx, &calling, &job_name, now)?;
    change(
        tx,
        "record an element",
        "INSERT INTO element (submission, idx, run, attempt_base) VALUES (?1, 0, ?2, ?3)",
        params![submission.0, run.id.0, attempt_base],
    )?;
    if let Some(asked) = &asked {
        let start = StartId { submission, idx: 0, restart: 0 };
        ledger::hold(tx, asked, ((run.id, start), &owner), now)?;
    }
    let nodes = avoided.nodes.clone();
    let admitted = Event::Admitted { submission, token, cluster, avoided };
    let mut decision = step(&run, &admitted, &policy, now);
    if let Some(told) = told {
        decision = decision.note("budget", told);
    }
    write(tx, &decision, now)?;
    Ok(Ok((decision, Intent { submission, job_name, avoided: nodes })))
}

/// Writes the intent to call sbatch once.
pub(super) fn insert(
    tx: &Transaction<'_>,
    calling: &Calling,
    job_name: &JobName,
    now: Timestamp,
) -> Result<SubmissionId, StoreError> {
    let Calling { cluster, owner, host } = calling;
    let (token, name, at) = (job_name.token.as_str(), job_name.to_string(), now.as_millisecond());
    change(
        tx,
        "record a submission",
        "INSERT INTO submission (cluster, token, job_name, kind, owner, intent_at, outcome, host, called_at) \
         VALUES (?1, ?2, ?3, 'single', ?4, ?5, 'intent', ?6, ?5)",
        params![cluster, token, name, owner, at, host],
    )?;
    Ok(SubmissionId(tx.last_insert_rowid()))
}

/// An answer as it is recorded.
pub(super) fn answer_of(
    id: SubmissionId,
    answer: Option<String>,
) -> Result<Option<Answer>, StoreError> {
    let answer = answer.map(|text| serde_json::from_str(&text)).transpose();
    answer.map_err(|source| StoreError::Record {
        what: format!("the answer to submission {id}"),
        source,
    })
}

pub(super) fn write_answer(
    tx: &Transaction<'_>,
    submission: SubmissionId,
    answer: &Answer,
) -> Result<(), StoreError> {
    let (outcome, job) = match answer {
        Answer::Acknowledged { job, .. } => ("acked", i64::try_from(job.job).ok()),
        Answer::Refused { .. } => ("refused", None),
        // Nothing was submitted; the same submission will be called again.
        Answer::Unreachable { .. } => ("void", None),
        Answer::Lost { .. } => ("lost", None),
    };
    let sql = "UPDATE submission SET outcome = ?2, job_id = ?3, answer = ?4 WHERE id = ?1";
    let values = params![submission.0, outcome, job, to_json(answer, "an answer")?];
    change(tx, "record an answer", sql, values)
}

pub(super) fn machine(tx: &Transaction<'_>, run: RunId) -> Result<Run, StoreError> {
    tx.prepare_cached("SELECT machine FROM run WHERE id = ?1")
        .and_then(|mut statement| statement.query_row([run.0], |row| json(row, 0)))
        .during("find a run")
}
