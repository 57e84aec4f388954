//! Everything a pass and a handler work with: the one bag of outside things.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::daemon::builds::Builds;
use crate::daemon::environments::Taken;
use crate::daemon::in_force::{InForce, Next, SiteNews};
use crate::daemon::inboxes::Inboxes;
use crate::daemon::looks::Looks;
use crate::daemon::nodes::Nodes;
use crate::daemon::purses::Purses;
use crate::daemon::retention::Retaining;
use crate::daemon::schedules::Firings;
use crate::daemon::state_dir::StateDir;
use crate::daemon::sweeps::Portions;
use crate::daemon::watch::Watching;
use crate::domain::ids::{JobKey, RunId, SubmissionId, Token};
use crate::domain::resolve::Asker;
use crate::domain::resolved::{Resolved, Target};
use crate::domain::run::Policy;
use crate::domain::site::LOCAL;
use crate::domain::units::Seconds;
use crate::files::LoadedSite;
use crate::ports::{Clock, Hands, Scheduler, Silence};
use crate::store::{LiveRuns, Store};

/// File calls on one mount that may be under way at once; a hung mount holds these and no more.
const CALLS_PER_MOUNT: usize = 4;
/// A file call that takes longer is silence.
const FILE_DEADLINE: Duration = Duration::from_secs(10);

/// Places that are remembered; those without a call under way are forgotten beyond this.
const MOUNTS_MAX: usize = 1_000;
/// After a call without an answer a mount is taken for silent this long, so that a hung one costs a pass one deadline, not
/// one for each run.
const SILENT_FOR: Duration = Duration::from_secs(15);

/// The few workers of one mount.
#[derive(Clone)]
struct Mount {
    workers: Arc<Semaphore>,
    silent_until: Option<tokio::time::Instant>,
}

/// What the daemon was started with.
#[derive(Debug, Clone)]
pub struct Paths {
    pub state: StateDir,
    /// Where the daemon listens: in the state directory, unless told otherwise.
    pub socket: PathBuf,
    /// The site file that was asked for, as the client must ask for it too.
    pub site_asked: Option<PathBuf>,
}

/// The daemon's world.
pub struct World {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub hands: Arc<dyn Hands>,
    in_force: RwLock<Arc<InForce>>,
    /// What was read of the site's files, and is not in force yet.
    pub(super) next_site: Mutex<Option<Next>>,
    /// Has the site's files looked at, by somebody who waits for [`World::site_news`].
    pub(super) site_look: Notify,
    /// What the last look at them came to.
    pub site_news: watch::Sender<SiteNews>,
    pub asker: Asker,
    pub paths: Paths,
    /// Makes the next pass come sooner; carries nothing.
    pub nudge: Notify,
    /// Counts recorded changes, for those who wait for one.
    pub changes: watch::Sender<u64>,
    /// How many points of an array each cluster takes.
    pub(super) portions: Portions,
    /// The limits of arrays that this process has told the scheduler.
    pub(super) limits_told: Mutex<HashMap<SubmissionId, u32>>,
    /// The submissions whose answer is being waited for in this process, by their tokens: an array has one.
    under_way: Mutex<HashSet<String>>,
    /// Held by whoever decides about runs, from what it knows of them to what it records: one at a time.
    pub(super) deciding: tokio::sync::Mutex<()>,
    /// Clusters that the last call of sbatch came through to. Only a hint, so that nobody waits longer than needed.
    reachable: Mutex<HashSet<String>>,
    /// When somebody last asked for something.
    pub last_touched: watch::Sender<tokio::time::Instant>,
    /// Jobs whose end this process has asked for.
    pub cancelled: Mutex<HashSet<JobKey>>,
    /// When each run's metrics were last read.
    pub metrics_read: Mutex<HashMap<RunId, jiff::Timestamp>>,
    /// Run roots of live runs, for the watcher.
    pub watched: watch::Sender<Vec<PathBuf>>,
    pub(super) inboxes: Inboxes,
    pub(super) looks: Looks,
    pub(super) environments: Taken,
    pub(super) builds: Builds,
    pub(super) retaining: Retaining,
    pub(super) firings: Firings,
    pub(super) watching: Watching,
    pub(super) nodes: Nodes,
    pub(super) purses: Purses,
    /// The day on which all entries of the ledger were added up last; they are when the database is opened, too.
    pub(super) books_checked: AtomicI64,
    /// What a build finds around it.
    pub(super) build_environment: Vec<(String, String)>,
    /// This machine, as a submission records it.
    pub host: String,
    /// How long a pass waits for schedulers before it goes on without their answers.
    pub look_patience: Duration,
    /// Submissions and other work that a drain waits for.
    pub tasks: TaskTracker,
    mounts: Mutex<HashMap<PathBuf, Mount>>,
}

/// What a world is made of.
pub struct WorldParts {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub hands: Arc<dyn Hands>,
    pub schedulers: HashMap<String, Arc<dyn Scheduler>>,
    pub site: LoadedSite,
    pub asker: Asker,
    pub paths: Paths,
    pub host: String,
    pub look_patience: Duration,
    /// What a build finds around it.
    pub build_environment: Vec<(String, String)>,
}

impl World {
    pub fn new(parts: WorldParts) -> Self {
        let WorldParts {
            store,
            clock,
            hands,
            schedulers,
            site,
            asker,
            paths,
            host,
            look_patience,
            build_environment,
        } = parts;
        let in_force = InForce { loaded: site, read_at: clock.now(), schedulers };
        Self {
            store,
            clock,
            hands,
            in_force: RwLock::new(Arc::new(in_force)),
            next_site: Mutex::default(),
            site_look: Notify::new(),
            site_news: watch::Sender::default(),
            asker,
            paths,
            nudge: Notify::new(),
            changes: watch::Sender::new(0),
            portions: Portions::default(),
            limits_told: Mutex::default(),
            under_way: Mutex::default(),
            deciding: tokio::sync::Mutex::default(),
            reachable: Mutex::default(),
            last_touched: watch::Sender::new(tokio::time::Instant::now()),
            cancelled: Mutex::default(),
            metrics_read: Mutex::default(),
            watched: watch::Sender::new(Vec::new()),
            inboxes: Inboxes::default(),
            looks: Looks::default(),
            environments: Taken::default(),
            builds: Builds::default(),
            retaining: Retaining::default(),
            firings: Firings::default(),
            watching: Watching::default(),
            nodes: Nodes::default(),
            purses: Purses::default(),
            books_checked: AtomicI64::default(),
            build_environment,
            host,
            look_patience,
            tasks: TaskTracker::new(),
            mounts: Mutex::default(),
        }
    }

    /// The site that the daemon goes by at this moment. Whoever decides by several of its keys asks once.
    pub fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn go_by(&self, next: InForce) {
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    pub fn scheduler(&self, cluster: &str) -> Option<Arc<dyn Scheduler>> {
        self.in_force().schedulers.get(cluster).cloned()
    }

    /// Tells those who wait that something was recorded.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Whether this process still waits for the answer to the submission with this token.
    pub fn is_under_way(&self, token: &Token) -> bool {
        self.under_way().contains(token.whole())
    }

    pub(super) fn limits_told(&self) -> MutexGuard<'_, HashMap<SubmissionId, u32>> {
        self.limits_told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn under_way(&self) -> MutexGuard<'_, HashSet<String>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While it is kept no checkpoint goes: for a person who chooses one, until that is recorded.
    pub async fn choosing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.retaining.choosing.lock().await
    }

    /// Remembers whether a call of sbatch came through to the cluster.
    pub fn set_reachable(&self, cluster: &str, is: bool) {
        let mut reachable = self.reachable.lock().unwrap_or_else(PoisonError::into_inner);
        if is {
            reachable.insert(cluster.to_owned());
        } else {
            reachable.remove(cluster);
        }
    }

    /// Whether the last call of sbatch came through to the cluster.
    pub fn is_reachable(&self, cluster: &str) -> bool {
        self.reachable.lock().unwrap_or_else(PoisonError::into_inner).contains(cluster)
    }

    /// Somebody asked for something: the daemon is not idle.
    pub fn touched(&self) {
        self.last_touched.send_replace(tokio::time::Instant::now());
    }

    /// Lets the watcher know whose inboxes matter.
    pub(super) fn watch_roots_of(&self, live: &LiveRuns) {
        let roots: BTreeSet<&Path> =
            live.values().map(|row| row.resolved.run_root.as_path()).collect();
        self.watched.send_if_modified(|watched| {
            let same = watched.iter().map(PathBuf::as_path).eq(roots.iter().copied());
            if !same {
                *watched = roots.iter().map(|root| root.to_path_buf()).collect();
            }
            !same
        });
    }

    /// How long on a cluster two good answers are apart that settle a doubt, and how long an absence is no news.
    pub(super) fn waits(&self, cluster: &str) -> (Seconds, Seconds) {
        const IN_DOUBT_WAIT: Seconds = Seconds(60);
        const ABSENT_GRACE: Seconds = Seconds(15 * 60);
        let in_force = self.in_force();
        let clusters = in_force.site().cluster.as_ref();
        let settings = clusters.and_then(|clusters| clusters.get(cluster));
        let in_doubt_wait = settings.and_then(|settings| settings.in_doubt_wait.as_ref());
        let in_doubt_wait = match in_doubt_wait {
            Some(wait) => wait.value,
            None if cluster == LOCAL => Seconds(2),
            None => IN_DOUBT_WAIT,
        };
        let absent_grace = settings
            .and_then(|settings| settings.lost_after.as_ref())
            .map(|asked| asked.value)
            .or_else(|| self.scheduler(cluster).map(|scheduler| scheduler.absent_grace()))
            .unwrap_or(ABSENT_GRACE);
        (in_doubt_wait, absent_grace)
    }

    /// What waiting and restarting mean for a run.
    pub fn policy(&self, resolved: &Resolved) -> Policy {
        /// Beyond the time a cancelled job has to end.
        const PATIENCE_SECONDS: u64 = 30;
        let cluster = resolved.compute.target.cluster();
        let scheduler = self.scheduler(cluster);
        let (in_doubt_wait, absent_grace) = self.waits(cluster);
        Policy {
            max_restarts: resolved.failure.max_restarts,
            restart_on: resolved.failure.restart_on.clone(),
            restart_exit_codes: resolved.failure.restart_exit_codes.clone(),
            warn_before_end: resolved.failure.warn_before_end,
            resume: resolved.checkpoint.as_ref().map(|checkpoint| checkpoint.resume),
            backoff: Seconds(10),
            in_doubt_wait,
            absent_grace,
            stop_patience: Seconds(resolved.script.kill_wait.0 + PATIENCE_SECONDS),
            refused_wait: Seconds(if resolved.compute.target == Target::Local { 5 } else { 15 }),
            unreachable_wait: Seconds(10),
            settled_after: scheduler.map_or(Seconds(0), |scheduler| scheduler.settled_after()),
        }
    }

    /// Does something with files below `root`, off the async threads, within a deadline. A mount that hangs holds its own
    /// few workers and nothing else.
    pub async fn with_hands<T: Send + 'static>(
        &self,
        root: &Path,
        job: impl FnOnce(&dyn Hands) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Silence> {
        self.with_hands_within(root, FILE_DEADLINE, job).await
    }

    /// As [`World::with_hands`], for what may take longer.
    pub async fn with_hands_within<T: Send + 'static>(
        &self,
        root: &Path,
        deadline: Duration,
        job: impl FnOnce(&dyn Hands) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Silence> {
        let silence = |why: String| Silence { who: root.display().to_string(), why };
        let mount = {
            let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
            if mounts.len() >= MOUNTS_MAX {
                mounts.retain(|_, mount| mount.workers.available_permits() < CALLS_PER_MOUNT);
            }
            let new =
                || Mount { workers: Arc::new(Semaphore::new(CALLS_PER_MOUNT)), silent_until: None };
            mounts.entry(root.to_owned()).or_insert_with(new).clone()
        };
        if mount.silent_until.is_some_and(|until| tokio::time::Instant::now() < until) {
            return Err(silence("it gave no answer a moment ago".into()));
        }
        let Ok(Ok(permit)) =
            tokio::time::timeout(FILE_DEADLINE, mount.workers.acquire_owned()).await
        else {
            self.fell_silent(root);
            return Err(silence("earlier file calls still hang".into()));
        };
        let hands = Arc::clone(&self.hands);
        let call = tokio::task::spawn_blocking(move || {
            let answer = job(hands.as_ref());
            // Given back by the call itself: one that hangs keeps its place.
            drop(permit);
            answer
        });
        match tokio::time::timeout(deadline, call).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => Err(silence(error.to_string())),
            Ok(Err(error)) => Err(silence(error.to_string())),
            Err(_) => {
                self.fell_silent(root);
                Err(silence(format!("no answer within {} s", deadline.as_secs())))
            }
        }
    }

    fn fell_silent(&self, root: &Path) {
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mount) = mounts.get_mut(root) {
            mount.silent_until = Some(tokio::time::Instant::now() + SILENT_FOR);
        }
    }
}
