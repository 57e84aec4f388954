//! [`Scheduler`] over one cluster's commands.

mod args;
mod polling;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::domain::bad_nodes::Node;
use crate::domain::ids::{JobKey, SubmissionId, Token};
use crate::domain::ledger::AccountFigures;
use crate::domain::nodelist::NodeName;
use crate::domain::resolved::SbatchOption;
use crate::domain::run::{Answer, Sighting};
use crate::domain::run_files::RunFiles;
use crate::domain::site::Cluster;
use crate::domain::units::Seconds;
use crate::domain::usage::Accounts;
use crate::fault::point;
use crate::ports::{
    ArrayLimits, Asked, Clock, Hands, Held, LookAnswer, Orphan, Program, Reckoned, Scheduler,
    Silence, SubmitOrder,
};
use crate::slurm::answer::judge;
use crate::slurm::commands::{Account, Commands, Query, Tools};
use crate::slurm::config::{self, ClusterConfig};
use crate::slurm::poll::{Pace, Poll, SETTLED_SECONDS};
use crate::slurm::sacct::{self, JOBS_PER_CALL, Which};
use crate::slurm::scheduler::args::{is_still_of, sbatch_args};
use crate::slurm::sighting::Seer;
use crate::slurm::witnesses::Witnesses;
use crate::slurm::{nodes, squeue, tasks, would_start};

/// Submits to, looks at and cancels on one cluster. What it keeps in memory is a cache and the bucket of polls; a
/// restarted daemon needs none of it.
pub struct SlurmScheduler {
    clock: Arc<dyn Clock>,
    /// What the site calls the cluster.
    name: String,
    account: Account,
    commands: Commands,
    /// Whose turn it is to submit; holds when Slurm could not be reached, if the last one could not reach it.
    submitting: tokio::sync::Mutex<Option<(Instant, Answer)>>,
    poll: Mutex<Poll>,
    /// As last asked; `None` at the start and after trouble.
    config: Mutex<Option<ClusterConfig>>,
    /// What the last poll told, to tell whether anything has changed.
    last: Mutex<HashMap<Token, Sighting>>,
    witnesses: Mutex<Witnesses>,
    /// The accounts above those that were asked about.
    above: Mutex<BTreeSet<String>>,
}

impl SlurmScheduler {
    /// `variables` are the daemon's own; see [`Tools::new`].
    pub fn new(
        hands: Arc<dyn Hands>,
        clock: Arc<dyn Clock>,
        (name, settings): (&str, &Cluster),
        account: Account,
        variables: &[(String, String)],
    ) -> Self {
        let tools = Tools::new(settings, &account, variables);
        Self {
            clock,
            name: name.to_owned(),
            account,
            commands: Commands::new(hands, tools),
            submitting: tokio::sync::Mutex::default(),
            poll: Mutex::new(Poll::new(Pace::of(settings))),
            config: Mutex::default(),
            last: Mutex::default(),
            witnesses: Mutex::default(),
            above: Mutex::default(),
        }
    }

    /// The cluster's settings; asked for when they are not known.
    async fn config(&self) -> Result<ClusterConfig, Silence> {
        match self.known_config() {
            Some(config) => Ok(config),
            None => self.config_anew().await,
        }
    }

    /// The same, asked again. What was known counts until it is answered.
    async fn config_anew(&self) -> Result<ClusterConfig, Silence> {
        let answer = self.commands.ask(Query::Scontrol, config::args()).await?;
        let config = config::parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| Silence {
            who: self.name.clone(),
            why: "`scontrol show config` shows no config".to_owned(),
        })?;
        info!(cluster.name = %self.name, "cluster `{}`: {config:?}", self.name);
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Some(config.clone());
        Ok(config)
    }

    /// The call of sbatch; none where the run directory's path cannot be told to it.
    fn sbatch(&self, order: &SubmitOrder) -> Option<Program> {
        let script = RunFiles::of(&order.run_dir).script(order.set);
        Some(self.commands.sbatch(sbatch_args(order)?, script, order.umask))
    }

    fn known_config(&self) -> Option<ClusterConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn forget_config(&self) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A word that nobody can have written into a job's name.
    fn nonce(&self) -> String {
        format!("{:032x}", self.clock.random_bits())
    }

    /// Whether a job is of the submission with that token, at this moment. A queue that does not show the job says nothing.
    async fn is_still_of(&self, job: &JobKey, id: &str, token: &Token) -> Result<bool, Silence> {
        let nonce = self.nonce();
        let answer = self.commands.ask(Query::Squeue, squeue::args_of(id, &nonce)).await?;
        let rows = squeue::parse(&answer, &nonce).rows;
        is_still_of(job, token, &rows, &self.seer(None)).ok_or_else(|| Silence {
            who: "squeue".to_owned(),
            why: format!("it does not show job {job}"),
        })
    }

    /// The same of an array, of which at least one task has to be shown.
    async fn is_array_still_of(&self, array: &JobKey, token: &Token) -> Result<bool, Silence> {
        let nonce = self.nonce();
        let args = squeue::args_of(&array.job.to_string(), &nonce);
        let answer = self.commands.ask(Query::Squeue, args).await?;
        let rows = squeue::parse(&answer, &nonce).rows;
        let mut of_array = rows.iter().filter(|row| row.array == array.job).peekable();
        if of_array.peek().is_none() {
            let why = format!("it does not show array {array}");
            return Err(Silence { who: "squeue".to_owned(), why });
        }
        let seer = self.seer(None);
        Ok(of_array.all(|row| seer.shows(token, row)))
    }

    fn seer<'a>(&'a self, slurm_cluster: Option<&'a str>) -> Seer<'a> {
        let (cluster, user, uid) = (&self.name, &self.account.user, self.account.uid);
        Seer { cluster, slurm_cluster, user, uid }
    }

    /// Notes for the pace whether a poll has shown anything new.
    fn compare(&self, answer: &Result<LookAnswer, Silence>) {
        let mut changed = false;
        if let Ok(LookAnswer::Seen { sightings, .. }) = answer {
            let shown: HashMap<Token, Sighting> =
                sightings.iter().map(|shown| (shown.token.clone(), shown.clone())).collect();
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            changed = shown.iter().any(|(token, shown)| last.get(token) != Some(shown));
            *last = shown;
        }
        self.poll.lock().unwrap_or_else(PoisonError::into_inner).answered(changed);
    }
}

impl Scheduler for SlurmScheduler {
    fn prepare(&self, order: &SubmitOrder) -> Option<Held> {
        self.commands.prepare(&self.sbatch(order)?)
    }

    fn submit(&self, order: SubmitOrder, prepared: Option<Held>) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let Some(sbatch) = self.sbatch(&order) else {
                let message = "the run directory's path is not UTF-8".to_owned();
                return Answer::Refused { message, for_now: false };
            };
            let asked_at = Instant::now();
            let turn = self.submitting.try_lock().ok();
            // Whoever has the turn may wait for what this one holds, and it would wait for as long as that takes.
            let prepared = prepared.filter(|_| turn.is_some());
            let mut unreachable = match turn {
                Some(turn) => turn,
                None => self.submitting.lock().await,
            };
            if let Some((failed_at, answer)) = unreachable.as_ref()
                && *failed_at > asked_at
            {
                // Whoever was before it in the line has just tried in vain, and took nine seconds to learn it.
                return answer.clone();
            }
            point("sbatch_next");
            let answer = judge(&self.name, &self.commands.submit(&sbatch, prepared).await);
            let failed = matches!(answer, Answer::Unreachable { .. });
            *unreachable = failed.then(|| (Instant::now(), answer.clone()));
            answer
        })
    }

    fn may_still_submit<'a>(&'a self, orphan: &'a Orphan) -> BoxFuture<'a, bool> {
        Box::pin(self.commands.may_still_submit(orphan, self.clock.now()))
    }

    fn look<'a>(&'a self, asked: &'a [Asked]) -> BoxFuture<'a, Result<LookAnswer, Silence>> {
        Box::pin(async move {
            let now = self.clock.now();
            let is_due = {
                let mut poll = self.poll.lock().unwrap_or_else(PoisonError::into_inner);
                // A short run is over before it is worth a call that only says that it is there.
                let is_fresh = |asked: &&Asked| asked.unseen && poll.is_fresh(asked.intent_at, now);
                let eager: BTreeSet<SubmissionId> = asked
                    .iter()
                    .filter(|asked| asked.eager && !is_fresh(asked))
                    .map(|asked| asked.submission)
                    .collect();
                let provisional = asked.iter().any(|asked| asked.provisional);
                !asked.iter().all(|asked| is_fresh(&asked)) && poll.is_due(eager, provisional, now)
            };
            if !is_due {
                return Ok(LookAnswer::NotDue);
            }
            let answer = self.poll(asked).await;
            if answer.is_err() {
                self.forget_config();
            }
            self.compare(&answer);
            answer
        })
    }

    /// The job is looked up right before, since scancel goes by the id alone: one that was given out again since the last
    /// look is left to whoever has it now. scancel's own `--name` would have Slurm compare, but wants the whole name, which
    /// plugins of the site may have changed, and before 23.11 loads all jobs for it.
    ///
    /// The script alone is warned. Without grace scancel asks first, and kills after the cluster's own `KillWait`.
    fn cancel<'a>(
        &'a self,
        job: &'a JobKey,
        token: &'a Token,
        grace: bool,
    ) -> BoxFuture<'a, Result<(), Silence>> {
        Box::pin(async move {
            let id = sacct::id(job);
            if self.is_still_of(job, &id, token).await? {
                let warn = ["--batch", "--signal=USR1"].map(str::to_owned);
                let args = warn.into_iter().filter(|_| grace).chain([id]).collect();
                return self.commands.ask(Query::Scancel, args).await.map(drop);
            }
            warn!(cluster.name = %self.name, "job {job} is another's by now: it is left alone");
            Ok(())
        })
    }

    /// Looked up once for all of them, as for [`Self::cancel`].
    fn cancel_tasks<'a>(
        &'a self,
        array: &'a JobKey,
        (tasks, token): (&'a [u32], &'a Token),
        grace: bool,
    ) -> BoxFuture<'a, Result<(), Silence>> {
        Box::pin(async move {
            if self.is_array_still_of(array, token).await? {
                let warn = ["--batch", "--signal=USR1"].map(str::to_owned);
                let ids = format!("{}_[{}]", array.job, tasks::spelled(tasks));
                let args = warn.into_iter().filter(|_| grace).chain([ids]).collect();
                return self.commands.ask(Query::Scancel, args).await.map(drop);
            }
            warn!(cluster.name = %self.name, "array {array} is another's by now: it is left alone");
            Ok(())
        })
    }

    fn arrays(&self) -> BoxFuture<'_, Result<Option<ArrayLimits>, Silence>> {
        Box::pin(async move {
            let limits = self.config().await?.arrays();
            if limits.is_none() {
                // Who is told to have it changed is not to wait for another daemon.
                self.forget_config();
            }
            Ok(limits)
        })
    }

    /// Looked up right before, as for [`Self::cancel`].
    fn limit<'a>(
        &'a self,
        array: &'a JobKey,
        token: &'a Token,
        at_once: u32,
    ) -> BoxFuture<'a, Result<(), Silence>> {
        Box::pin(async move {
            if self.is_array_still_of(array, token).await? {
                let words = [
                    "update".to_owned(),
                    format!("JobId={}", array.job),
                    format!("ArrayTaskThrottle={at_once}"),
                ];
                return self.commands.ask(Query::Scontrol, words.into()).await.map(drop);
            }
            let why = format!("array {array} is another's by now");
            Err(Silence { who: self.name.clone(), why })
        })
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Node>, Silence>> {
        Box::pin(async move {
            let answer = self.commands.ask(Query::Scontrol, nodes::args()).await?;
            Ok(nodes::parse(&String::from_utf8_lossy(&answer)))
        })
    }

    /// Looked up right before, as for [`Self::cancel`]: scontrol, too, goes by the id alone.
    fn exclude<'a>(
        &'a self,
        job: &'a JobKey,
        token: &'a Token,
        nodes: &'a [NodeName],
    ) -> BoxFuture<'a, Result<(), Silence>> {
        Box::pin(async move {
            let id = sacct::id(job);
            if self.is_still_of(job, &id, token).await? {
                let args = nodes::exclusion(&id, nodes);
                return self.commands.ask(Query::Scontrol, args).await.map(drop);
            }
            let why = format!("job {job} is another's by now");
            Err(Silence { who: self.name.clone(), why })
        })
    }

    /// Slurm forgets by itself.
    fn forget<'a>(&'a self, _job: &'a JobKey) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn settled_after(&self) -> Seconds {
        Seconds(SETTLED_SECONDS.into())
    }

    fn keeps_accounts(&self) -> bool {
        self.known_config().is_none_or(|config| config.has_accounting)
    }

    fn accounts<'a>(
        &'a self,
        jobs: &'a [JobKey],
        since: Timestamp,
    ) -> BoxFuture<'a, Result<Accounts, Silence>> {
        Box::pin(async move {
            if !self.config().await?.has_accounting {
                return Ok(None);
            }
            let jobs = sacct::in_short(jobs.iter().cloned());
            let of_jobs = jobs.chunks(JOBS_PER_CALL).map(|keys| Which::Jobs(keys.to_vec()));
            let of_user = Which::Since { user: self.account.user.clone(), at: since };
            let records = self.records(of_jobs.chain([of_user]).collect()).await?;
            let starts = records.iter().filter_map(|record| record.start(&self.name));
            Ok(Some(starts.collect()))
        })
    }

    fn would_start<'a>(
        &'a self,
        options: &'a [SbatchOption],
    ) -> BoxFuture<'a, Result<Reckoned, Silence>> {
        Box::pin(async move {
            let args = would_start::args(options);
            would_start::reckoned(self.commands.output(Query::Sbatch, args).await)
        })
    }

    fn figures<'a>(
        &'a self,
        accounts: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Option<AccountFigures>, Silence>> {
        Box::pin(async move {
            let now = self.clock.now();
            if !self.poll.lock().unwrap_or_else(PoisonError::into_inner).spare(now) {
                return Ok(None);
            }
            self.figures_of(accounts).await.map(Some)
        })
    }

    fn absent_grace(&self) -> Seconds {
        self.known_config().unwrap_or_default().absent_grace()
    }

    fn ends_late_by(&self) -> Seconds {
        self.known_config().unwrap_or_default().ends_late_by()
    }
}
