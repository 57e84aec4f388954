//! [`Scheduler`] over one cluster's commands.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tracing::{info, warn};

use crate::domain::ids::{JobKey, SubmissionId};
use crate::domain::run::{Answer, Sighting};
use crate::domain::site::Cluster;
use crate::domain::units::Seconds;
use crate::ports::{Asked, Clock, Hands, LookAnswer, Scheduler, Silence, SubmitOrder};
use crate::slurm::answer::judge;
use crate::slurm::commands::{Account, Commands, Query, Tools};
use crate::slurm::config::{self, ClusterConfig};
use crate::slurm::identity::Ours;
use crate::slurm::poll::{Pace, Poll};
use crate::slurm::sacct::{self, JOBS_PER_CALL, Which};
use crate::slurm::sighting::{Seer, chosen};
use crate::slurm::squeue;

/// Submits to, looks at and cancels on one cluster. What it keeps in memory is a cache and the bucket of polls; a
/// restarted daemon needs none of it.
pub struct SlurmScheduler {
    clock: Arc<dyn Clock>,
    /// What the site calls the cluster.
    name: String,
    account: Account,
    commands: Commands,
    poll: Mutex<Poll>,
    /// As last asked; `None` at the start and after trouble.
    config: Mutex<Option<ClusterConfig>>,
    /// What the last poll showed, to tell whether anything has changed.
    last: Mutex<Vec<Sighting>>,
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
            poll: Mutex::new(Poll::new(Pace::of(settings))),
            config: Mutex::default(),
            last: Mutex::default(),
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
        let seer = Seer {
            cluster: &self.name,
            slurm_cluster: cluster.as_deref(),
            user: &self.account.user,
            uid: self.account.uid,
        };
        let nonce = self.nonce();
        let answer = self.commands.ask(Query::Squeue, squeue::args(&nonce)).await?;
        let answer = squeue::parse(&answer, &nonce);
        if answer.dropped > 0 {
            warn!(cluster.name = %self.name, "squeue printed {} lines that are no rows", answer.dropped);
        }
        let mut sightings = Vec::new();
        let mut missing = Vec::new();
        for asked in asked {
            let found = seer.in_queue(asked, &answer);
            if found.is_empty() {
                missing.push(asked.clone());
            }
            sightings.extend(chosen(asked, found));
        }
        let mut unsure = Vec::new();
        if config.has_accounting && !missing.is_empty() {
            match self.account_of(&missing, &seer).await {
                Ok(more) => sightings.extend(more),
                // Whether they ended or never were is not known; what squeue showed is.
                Err(silence) => {
                    unsure = missing.iter().map(|asked| asked.submission).collect();
                    warn!(cluster.name = %self.name, "no word about jobs that left the queue: {silence}");
                    return Ok(LookAnswer::Seen { sightings, unsure, silence: Some(silence) });
                }
            }
        }
        Ok(LookAnswer::Seen { sightings, unsure, silence: None })
    }

    /// What accounting knows of submissions that squeue does not show: one call for known jobs, one for all doubts.
    async fn account_of(
        &self,
        missing: &[Asked],
        seer: &Seer<'_>,
    ) -> Result<Vec<Sighting>, Silence> {
        let known: Vec<JobKey> = missing.iter().filter_map(|asked| asked.job.clone()).collect();
        let mut questions: Vec<Which> =
            known.chunks(JOBS_PER_CALL).map(|keys| Which::Jobs(keys.to_vec())).collect();
        let in_doubt = missing.iter().filter(|asked| asked.job.is_none());
        if let Some(oldest) = in_doubt.map(|asked| asked.intent_at).min() {
            questions
                .push(Which::Since { user: self.account.user.clone(), at: Ours::earliest(oldest) });
        }
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
        Ok(missing
            .iter()
            .filter_map(|asked| chosen(asked, seer.in_accounts(asked, &records)))
            .collect())
    }

    /// Notes for the pace whether a poll has shown anything new.
    fn compare(&self, answer: &Result<LookAnswer, Silence>) {
        let changed = match answer {
            Ok(LookAnswer::Seen { sightings, .. }) => {
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                let same = *last == *sightings;
                last.clone_from(sightings);
                !same
            }
            Ok(LookAnswer::NotDue) | Err(_) => false,
        };
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
            let script = order.run_dir.join("job.sh");
            let ended = self.commands.sbatch(args, script, order.umask).await;
            judge(&self.name, &ended)
        })
    }

    fn look<'a>(&'a self, asked: &'a [Asked]) -> BoxFuture<'a, Result<LookAnswer, Silence>> {
        Box::pin(async move {
            let eager: BTreeSet<SubmissionId> =
                asked.iter().filter(|asked| asked.eager).map(|asked| asked.submission).collect();
            let due = {
                let mut poll = self.poll.lock().unwrap_or_else(PoisonError::into_inner);
                poll.is_due(eager, self.clock.now())
            };
            if asked.is_empty() || !due {
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

    /// On every release scancel asks first and kills after the cluster's own `KillWait`, whatever signal it is given:
    /// with and without grace are the same.
    fn cancel<'a>(&'a self, job: &'a JobKey, _grace: bool) -> BoxFuture<'a, Result<(), Silence>> {
        Box::pin(async move {
            let id = match job.array_task {
                Some(task) => format!("{}_{task}", job.job),
                None => job.job.to_string(),
            };
            self.commands.ask(Query::Scancel, vec![id]).await.map(drop)
        })
    }

    /// Slurm forgets by itself.
    fn forget<'a>(&'a self, _job: &'a JobKey) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn absent_grace(&self) -> Seconds {
        const LEAST: Seconds = Seconds(15 * 60);
        let age = self.known_config().unwrap_or_default().min_job_age;
        age.map_or(LEAST, |age| LEAST.max(Seconds(age.0.saturating_mul(3))))
    }
}

/// What identifies the submission stands on the command line, where it wins over the script and the environment.
fn sbatch_args(order: &SubmitOrder) -> Option<Vec<String>> {
    let run_dir = order.run_dir.to_str()?;
    Some(vec![
        "--parsable".to_owned(),
        format!("--job-name={}", order.job_name),
        // `%` begins a word of sbatch's own in file names, and only there.
        format!("--output={}/logs/slurm-%j.out", run_dir.replace('%', "%%")),
        "--open-mode=append".to_owned(),
        "--propagate=NONE".to_owned(),
        format!("--chdir={run_dir}"),
    ])
}
