//! One poll of a cluster, from the question to what is believed of the answer.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::domain::ids::JobKey;
use crate::domain::ledger::AccountFigures;
use crate::domain::units::Seconds;
use crate::ports::{Asked, LookAnswer, Silence};
use crate::slurm::assoc_mgr;
use crate::slurm::commands::Query;
use crate::slurm::config::ClusterConfig;
use crate::slurm::identity::Ours;
use crate::slurm::queue::Queue;
use crate::slurm::sacct::{self, Record, Which};
use crate::slurm::scheduler::SlurmScheduler;
use crate::slurm::squeue;
use crate::slurm::witnesses::Missed;

impl SlurmScheduler {
    pub(super) async fn poll(&self, asked: &[Asked]) -> Result<LookAnswer, Silence> {
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

    /// What accounts may use; see [`assoc_mgr`]. Those above them are asked for too, once their names are known.
    pub(super) async fn figures_of(
        &self,
        accounts: &BTreeSet<String>,
    ) -> Result<AccountFigures, Silence> {
        /// A little later than Slurm does it.
        const SLACK: u64 = 15;
        let silence = |why: &str| Silence { who: self.name.clone(), why: why.to_owned() };
        // An administrator may have mended it since it was asked.
        let config = match self.known_config() {
            Some(config) if config.has_accounting && config.use_counted_every.is_some() => config,
            Some(_) | None => self.config_anew().await?,
        };
        if !config.has_accounting {
            return Err(silence("it has no accounting, and so no limits of accounts"));
        }
        let every = config.use_counted_every.ok_or_else(|| {
            silence("it does not count what accounts use: its `PriorityType` is not `priority/multifactor`")
        })?;
        let mut asked = accounts.clone();
        let told_at = self.clock.now();
        let rows = loop {
            let known = self.above.lock().unwrap_or_else(PoisonError::into_inner).clone();
            asked.extend(known);
            let args = assoc_mgr::args(&asked, &self.account.user);
            let answer = self.commands.ask(Query::Scontrol, args).await;
            // What it said of itself may have changed.
            let answer = answer.inspect_err(|_| self.forget_config())?;
            let rows = assoc_mgr::parse(&String::from_utf8_lossy(&answer));
            let missing = assoc_mgr::missing(&rows);
            if missing.is_subset(&asked) {
                break rows;
            }
            self.above.lock().unwrap_or_else(PoisonError::into_inner).extend(missing);
        };
        let about = (told_at, Seconds(every.0.saturating_add(SLACK)));
        let user = self.account.user.as_str();
        let of = |account: &String| {
            Some((account.clone(), assoc_mgr::figures(&rows, (account, user), about)?))
        };
        Ok(accounts.iter().filter_map(of).collect())
    }

    /// Asks accounting.
    pub(super) async fn records(&self, questions: Vec<Which>) -> Result<Vec<Record>, Silence> {
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
}
