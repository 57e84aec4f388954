//! [`Scheduler`] over one cluster's commands.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::domain::bad_nodes::Node;
use crate::domain::ids::{JobKey, SubmissionId, Token};
use crate::domain::nodelist::{NodeName, joined};
use crate::domain::run::{Answer, Sighting};
use crate::domain::site::Cluster;
use crate::domain::units::Seconds;
use crate::domain::usage::Accounts;
use crate::fault::point;
use crate::ports::{Asked, Clock, Hands, LookAnswer, Orphan, Scheduler, Silence, SubmitOrder};
use crate::slurm::answer::judge;
use crate::slurm::commands::{Account, Commands, JOB_NAME, Query, Tools};
use crate::slurm::config::{self, ClusterConfig};
use crate::slurm::identity::Ours;
use crate::slurm::poll::{Pace, Poll, SETTLED_SECONDS};
use crate::slurm::queue::Queue;
use crate::slurm::sacct::{self, JOBS_PER_CALL, Record, Which};
use crate::slurm::sighting::Seer;
use crate::slurm::witnesses::{Missed, Witnesses};
use crate::slurm::{nodes, squeue};

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
        }
    }

    /// The cluster's settings; asked for when they are not known.
    async fn config(&self) -> Result<ClusterConfig, Silence> {
        if let Some(config) = self.known_config() {
            return Ok(config);
        }
        let answer = self.commands.ask(Query::Scontrol, config::args()).await?;
        let config = config::parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| Silence {
            who: self.name.clone(),
            why: "`scontrol show config` shows no config".to_owned(),
        })?;
        info!(cluster.name = %self.name, "cluster `{}`: {config:?}", self.name);
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Some(config.clone());
        Ok(config)
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

    async fn poll(&self, asked: &[Asked]) -> Result<LookAnswer, Silence> {
        let config = self.config().await?;
        let cluster = self.commands.tools.clusters.clone().or_else(|| config.cluster_name.clone());
        let seer = self.seer(cluster.as_deref());
        let nonce = self.nonce();
        let asked_at = Instant::now();
        let answer = self.commands.ask(Query::Squeue, squeue::args(&nonce)).await?;
        let told_at = Instant::now();
        let mut queue = Queue::of(asked, &seer, &String::from_utf8_lossy(&answer), &nonce);
        debug!(
            cluster.name = %self.name,
            rows = queue.rows,
            output_bytes = answer.len(),
            squeue_us = (told_at - asked_at).as_micros(),
            read_us = told_at.elapsed().as_micros(),
            "squeue showed {} jobs in {} ms",
            queue.rows,
            (told_at - asked_at).as_millis()
        );
        if queue.dropped > 0 {
            warn!(cluster.name = %self.name, "squeue printed {} lines that are no rows", queue.dropped);
        }
        self.cross_examine(&mut queue, asked, &config).await?;
        let questions = queue.questions(&self.account.user, self.clock.now());
        if !config.has_accounting || questions.is_empty() {
            return Ok(queue.alone());
        }
        match self.records(questions).await {
            Ok(records) => Ok(queue.with(&records, &seer, self.clock.now())),
            // Whether those that are not shown ended or never were is not known; what squeue showed is.
            Err(silence) => {
                warn!(cluster.name = %self.name, "no word about jobs that left the queue: {silence}");
                // Perhaps there is no accounting any more.
                self.forget_config();
                Ok(queue.without(silence, self.clock.now()))
            }
        }
    }

    /// Compares an answer with what was known before it: one that lacks a job which has to be there is not whole.
    async fn cross_examine(
        &self,
        queue: &mut Queue<'_>,
        asked: &[Asked],
        config: &ClusterConfig,
    ) -> Result<(), Silence> {
        let (now, clock) = (tokio::time::Instant::now(), self.clock.now());
        let missed = {
            let mut witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
            witnesses.heard(queue.shown(), (now, clock));
            witnesses.same(queue.unchanged(asked), (now, clock));
            witnesses.against(queue.missing(), config.min_job_age, (now, clock))
        };
        let why = |job: &JobKey| format!("job {job} has to be in its answer, and is not");
        match missed {
            Some(Missed { asked: Asked { job: Some(job), .. }, is_saved: true }) => {
                queue.is_not_whole(why(job));
            }
            Some(Missed { asked: Asked { job: Some(job), intent_at, .. }, is_saved: false }) => {
                // Only a slurmctld that was started again forgets what it has not saved.
                self.forget_config();
                if self.config().await?.booted_at.is_some_and(|at| at < Ours::earliest(*intent_at))
                {
                    queue.is_not_whole(why(job));
                }
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Asks accounting.
    async fn records(&self, questions: Vec<Which>) -> Result<Vec<Record>, Silence> {
        let mut records = Vec::new();
        for which in questions {
            let nonce = self.nonce();
            let answer = self.commands.ask(Query::Sacct, sacct::args(&which, &nonce)).await?;
            let (more, dropped) = sacct::parse(&answer, &nonce);
            if dropped > 0 {
                info!(cluster.name = %self.name, "sacct printed {dropped} lines that tell of no job");
            }
            records.extend(more);
        }
        Ok(records)
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
    fn submit(&self, order: SubmitOrder) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let Some(args) = sbatch_args(&order) else {
                let message = "the run directory's path is not UTF-8".to_owned();
                return Answer::Refused { message, for_now: false };
            };
            let asked_at = Instant::now();
            let mut unreachable = self.submitting.lock().await;
            if let Some((failed_at, answer)) = unreachable.as_ref()
                && *failed_at > asked_at
            {
                // Whoever was before it in the line has just tried in vain, and took nine seconds to learn it.
                return answer.clone();
            }
            let script = order.run_dir.join("job.sh");
            point("sbatch_next");
            let answer = judge(&self.name, &self.commands.sbatch(args, script, order.umask).await);
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

    fn absent_grace(&self) -> Seconds {
        self.known_config().unwrap_or_default().absent_grace()
    }

    fn ends_late_by(&self) -> Seconds {
        self.known_config().unwrap_or_default().ends_late_by()
    }
}

/// Whether the job that is shown is of the submission with that token; none where it is not shown.
fn is_still_of(job: &JobKey, token: &Token, rows: &[squeue::Row], seer: &Seer<'_>) -> Option<bool> {
    let row = rows.iter().find(|row| row.key(seer.cluster, job.array_task) == *job)?;
    Some(seer.shows(token, row))
}

/// What identifies the submission stands on the command line, where it wins over the script and the environment.
fn sbatch_args(order: &SubmitOrder) -> Option<Vec<String>> {
    let run_dir = order.run_dir.to_str()?;
    let mut args = vec![
        "--parsable".to_owned(),
        format!("{JOB_NAME}{}", order.job_name),
        // `%` begins a word of sbatch's own in file names, and only there.
        format!("--output={}/logs/slurm-%j.out", run_dir.replace('%', "%%")),
        "--open-mode=append".to_owned(),
        "--propagate=NONE".to_owned(),
        format!("--chdir={run_dir}"),
    ];
    if !order.exclude.is_empty() {
        args.push(format!("--exclude={}", joined(&order.exclude, ",")));
    }
    Some(args)
}
