//! [`Scheduler`] of the local target.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use nix::sys::signal::Signal;

use crate::chain;
use crate::domain::bad_nodes::Node;
use crate::domain::ids::{JobKey, SubmissionId, Token};
use crate::domain::nodelist::NodeName;
use crate::domain::run::{Answer, Granted, Phase, Sighting};
use crate::domain::units::Seconds;
use crate::files::process;
use crate::local::SUPERVISOR_VERB;
use crate::local::children::{self, signal_one};
use crate::local::order::Order;
use crate::local::record::{JobState, Record};
use crate::local::spool::{Spool, SpoolError};
use crate::local::supervisor::host;
use crate::ports::{
    Asked, Clock, Hands, Held, LookAnswer, Orphan, Program, ProgramError, Scheduler, Silence,
    SubmitOrder,
};

/// The cluster in the job keys of local jobs.
pub const CLUSTER: &str = "local";

/// Starts, finds and ends local jobs. Keeps nothing in memory: everything is in the spools and the kernel.
#[derive(Clone)]
pub struct LocalScheduler(Arc<Inner>);

struct Inner {
    hands: Arc<dyn Hands>,
    clock: Arc<dyn Clock>,
    state_dir: PathBuf,
    program: PathBuf,
    environment: Vec<(String, String)>,
}

/// Why a local job could not be handed over.
#[derive(Debug, thiserror::Error)]
enum NotSubmitted {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("local job {0} of another database still runs here")]
    Occupied(SubmissionId),
    #[error("cannot tell whether an earlier local job of this number still runs")]
    Process(#[source] io::Error),
    #[error("the run's script {} is gone", .0.display())]
    NoScript(PathBuf),
    #[error("cannot look at the run's script")]
    Script(#[source] io::Error),
    #[error("the state directory's path is not UTF-8")]
    Path,
    #[error("cannot launch the job's supervisor")]
    Launch(#[source] ProgramError),
}

impl NotSubmitted {
    /// Whether it is a trouble of this machine that may pass: a full disk, too many processes. The run is not to blame.
    fn may_pass(&self) -> bool {
        match self {
            Self::Spool(_) | Self::Occupied(_) | Self::Process(_) | Self::Script(_) => true,
            Self::Path | Self::NoScript(_) => false,
            Self::Launch(error) => error.may_pass(),
        }
    }
}

/// What is shown of one job.
enum Shown {
    Job(Box<Sighting>),
    Absent,
    /// It was ordered a moment ago, and its supervisor has not begun.
    NotYet,
}

impl Shown {
    fn job(sighting: Sighting) -> Self {
        Self::Job(Box::new(sighting))
    }
}

/// After so long a supervisor has begun, or was never launched.
const BEGUN_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// Whether the job of a RUNNING record runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Runs,
    Dead,
    /// On another machine, which shares the state directory: it cannot be known here.
    Elsewhere,
}

impl LocalScheduler {
    /// `program` is our own executable; `environment` is what every script gets (PATH and what else trainings need from
    /// the daemon's).
    pub fn new(
        hands: Arc<dyn Hands>,
        clock: Arc<dyn Clock>,
        state_dir: PathBuf,
        program: PathBuf,
        environment: Vec<(String, String)>,
    ) -> Self {
        Self(Arc::new(Inner { hands, clock, state_dir, program, environment }))
    }

    /// Runs something blocking off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> Result<T, Silence> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(|error| silence(&error))
    }
}

impl Scheduler for LocalScheduler {
    fn submit(&self, order: SubmitOrder, _: Option<Held>) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let answer = self.blocking(move |inner| inner.submit(order)).await;
            // The thread that was submitting died, nobody knows where.
            answer.unwrap_or_else(|silence| Answer::Lost { message: silence.to_string() })
        })
    }

    /// What it was to do is on disk or not at all.
    fn may_still_submit<'a>(&'a self, _orphan: &'a Orphan) -> BoxFuture<'a, bool> {
        Box::pin(async { false })
    }

    fn look<'a>(&'a self, asked: &'a [Asked]) -> BoxFuture<'a, Result<LookAnswer, Silence>> {
        let asked = asked.to_vec();
        Box::pin(async move {
            let look = move |inner: &Inner| {
                let look = |asked: &Asked| Ok((asked.token.clone(), inner.look(asked)?));
                asked.iter().map(look).collect::<Result<Vec<_>, Silence>>()
            };
            let (mut sightings, mut unsure) = (Vec::new(), Vec::new());
            for (token, shown) in self.blocking(look).await?? {
                match shown {
                    Shown::Job(sighting) => sightings.push(*sighting),
                    Shown::Absent => {}
                    Shown::NotYet => unsure.push(token),
                }
            }
            let unchanged = BTreeSet::new();
            Ok(LookAnswer::Seen { sightings, unchanged, unsure, silence: None })
        })
    }

    /// A job here has its submission's number, which is nobody else's ever.
    fn cancel<'a>(
        &'a self,
        job: &'a JobKey,
        _token: &'a Token,
        grace: bool,
    ) -> BoxFuture<'a, Result<(), Silence>> {
        let spool = self.0.spool_of(job);
        Box::pin(async move { self.blocking(move |_| cancel(&spool, grace)).await? })
    }

    /// There is only this machine, and whoever asks is on it.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Node>, Silence>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn exclude<'a>(
        &'a self,
        _job: &'a JobKey,
        _token: &'a Token,
        _nodes: &'a [NodeName],
    ) -> BoxFuture<'a, Result<(), Silence>> {
        Box::pin(async { Ok(()) })
    }

    fn forget<'a>(&'a self, job: &'a JobKey) -> BoxFuture<'a, ()> {
        let spool = self.0.spool_of(job);
        Box::pin(async move {
            let forgotten = self.blocking(move |_| forget(&spool)).await;
            if let Ok(Err(error)) | Err(error) = forgotten {
                tracing::warn!(job.key = %job, "cannot forget local job {job}: {error}");
            }
        })
    }

    /// It is on disk before it is accepted.
    fn settled_after(&self) -> Seconds {
        Seconds(0)
    }

    fn absent_grace(&self) -> Seconds {
        Seconds(5)
    }
}

impl Inner {
    fn spool_of(&self, job: &JobKey) -> Spool {
        Spool::of(&self.state_dir, SubmissionId(i64::try_from(job.job).unwrap_or(i64::MAX)))
    }

    fn submit(&self, order: SubmitOrder) -> Answer {
        let job = key(order.submission);
        match self.hand_over(order) {
            Ok(true) => Answer::Acknowledged { job, notices: String::new() },
            Ok(false) => Answer::Lost { message: "it was submitted before".to_owned() },
            Err(error) => Answer::Refused { for_now: error.may_pass(), message: chain(&error) },
        }
    }

    /// Writes the order, then launches the supervisor. `false` when this very submission was handed over before.
    fn hand_over(&self, order: SubmitOrder) -> Result<bool, NotSubmitted> {
        let spool = Spool::of(&self.state_dir, order.submission);
        let token = &order.job_name.token;
        let order = Order {
            submission: order.submission,
            // There are no arrays here: a point is the only element of its submission.
            token: order.job_name.offset.map_or_else(|| token.clone(), |_| token.element(0)),
            job_name: order.job_name.to_string(),
            run_dir: order.run_dir,
            set: order.set,
            time_limit: order.time_limit,
            warn_before_end: order.warn_before_end,
            kill_wait: order.kill_wait,
            environment: self.environment.clone(),
            submitted_at: self.clock.now(),
        };
        let directory = spool.directory().to_str().ok_or(NotSubmitted::Path)?.to_owned();
        if !order.script().try_exists().map_err(NotSubmitted::Script)? {
            return Err(NotSubmitted::NoScript(order.script()));
        }
        if !spool.make()? {
            if spool.order()?.is_some_and(|before| before.token == order.token) {
                return Ok(false);
            }
            give_way(&spool, order.submission)?;
        }
        let launched = spool.write_order(&order).map_err(NotSubmitted::from).and_then(|()| {
            let program = Program {
                path: self.program.clone(),
                args: vec![SUPERVISOR_VERB.to_owned(), directory],
                environment: Vec::new(),
                directory: PathBuf::from("/"),
                stdin: None,
                deadline: Duration::ZERO,
                answer_bytes_max: 0,
            };
            self.hands.launch(&program).map_err(NotSubmitted::Launch)
        });
        if let Err(error) = launched {
            // Nobody will read it.
            spool.remove()?;
            return Err(error);
        }
        Ok(true)
    }

    /// One job, as its record and the kernel show it.
    fn look(&self, asked: &Asked) -> Result<Shown, Silence> {
        let spool = Spool::of(&self.state_dir, asked.submission);
        let job = key(asked.submission);
        let record = match ours(&spool, asked) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(self.not_begun(&spool, asked)),
            // Rubbish in one spool is no reason not to hear about the others.
            Err(SpoolError::Parse { .. }) => return Ok(Shown::job(unreadable(job, asked))),
            Err(error) => return Err(silence(&error)),
        };
        if record.state != JobState::Running {
            return Ok(Shown::job(record.sighting(job)));
        }
        match life(&record).map_err(|error| silence(&error))? {
            Life::Runs => Ok(Shown::job(record.sighting(job))),
            Life::Elsewhere => {
                Ok(Shown::job(Sighting { phase: Phase::Unknown, ..record.sighting(job) }))
            }
            Life::Dead => {
                // It may have ended in order after the record was read: its last word is written before it goes.
                let last = ours(&spool, asked).map_err(|error| silence(&error))?;
                let last = last.filter(|record| record.state != JobState::Running);
                Ok(last.map_or(Shown::Absent, |record| Shown::job(record.sighting(job))))
            }
        }
    }

    /// A job without a record: its supervisor is about to begin, or nothing was ordered, or nobody carried it out.
    fn not_begun(&self, spool: &Spool, asked: &Asked) -> Shown {
        let order = spool.order().ok().flatten().filter(|order| order.token == asked.token);
        // An order of the future is one of a clock that was set back since.
        let age = order.map(|order| self.clock.now().duration_since(order.submitted_at));
        let is_young = |age| (SignedDuration::ZERO..BEGUN_WITHIN).contains(&age);
        if age.is_some_and(is_young) { Shown::NotYet } else { Shown::Absent }
    }
}

/// Numbers begin anew with a new database: what an older one left under this number is cleared, unless it still runs.
fn give_way(spool: &Spool, submission: SubmissionId) -> Result<(), NotSubmitted> {
    if let Some(record) = spool.record()?
        && record.state == JobState::Running
        && life(&record).map_err(NotSubmitted::Process)? != Life::Dead
    {
        return Err(NotSubmitted::Occupied(submission));
    }
    spool.remove()?;
    if spool.make()? { Ok(()) } else { Err(NotSubmitted::Occupied(submission)) }
}

/// The record, when it is of the submission that was asked for.
fn ours(spool: &Spool, asked: &Asked) -> Result<Option<Record>, SpoolError> {
    Ok(spool.record()?.filter(|record| record.token == asked.token))
}

/// A job whose record is rubbish: shown, never acted on.
fn unreadable(job: JobKey, asked: &Asked) -> Sighting {
    Sighting {
        job,
        token: asked.token.clone(),
        phase: Phase::Unknown,
        word: "UNREADABLE".to_owned(),
        restart: 0,
        submitted_at: None,
        eligible_at: None,
        started_at: None,
        ended_at: None,
        nodes: Vec::new(),
        granted: Granted::default(),
        elapsed_seconds: None,
        digest: None,
    }
}

fn life(record: &Record) -> io::Result<Life> {
    if record.process.boot_id != process::boot_id()? {
        // The same machine after a reboot, or another one.
        return Ok(if record.host == host() { Life::Dead } else { Life::Elsewhere });
    }
    let runs =
        record.process.is_alive()? || !children::surviving_groups(&record.process)?.is_empty();
    Ok(if runs { Life::Runs } else { Life::Dead })
}

fn cancel(spool: &Spool, grace: bool) -> Result<(), Silence> {
    // Before the record is read: a supervisor that has not written it yet will find this file.
    if !spool.ask_to_end(grace).map_err(|error| silence(&error))? {
        return Ok(());
    }
    let record = match spool.record().map_err(|error| silence(&error))? {
        Some(record) if record.state == JobState::Running => record,
        Some(_) | None => return Ok(()),
    };
    end(&record, grace).map_err(|error| silence(&error))
}

/// Wakes the supervisor; where it is dead, ends what it left.
fn end(record: &Record, grace: bool) -> io::Result<()> {
    if record.process.is_alive()? {
        signal_one(record.process.pid, Signal::SIGTERM);
        return Ok(());
    }
    let signals: &[Signal] =
        if grace { &[Signal::SIGTERM, Signal::SIGCONT] } else { &[Signal::SIGKILL] };
    for group in children::surviving_groups(&record.process)? {
        for signal in signals {
            if let Some(group) = children::pid_of(group) {
                children::signal_group(group, *signal);
            }
        }
    }
    Ok(())
}

fn forget(spool: &Spool) -> Result<(), Silence> {
    let record = spool.record().map_err(|error| silence(&error))?;
    if let Some(record) = record
        && record.state == JobState::Running
        && life(&record).map_err(|error| silence(&error))? != Life::Dead
    {
        let why = "it still runs".to_owned();
        return Err(Silence { who: CLUSTER.to_owned(), why });
    }
    spool.remove().map_err(|error| silence(&error))
}

fn key(submission: SubmissionId) -> JobKey {
    let job = u64::try_from(submission.0).unwrap_or_default();
    JobKey { cluster: CLUSTER.to_owned(), job, array_task: None }
}

fn silence(error: &dyn std::error::Error) -> Silence {
    Silence { who: CLUSTER.to_owned(), why: chain(error) }
}
