//! Building environments of requirements: one build for all runs that wait for the same one.
//!
//! A build happens on this machine ([`here`]) or is a job of Slurm ([`jobs`]), as the site says. Of those here nothing is on
//! disk but the environments themselves: a daemon that starts anew begins its builds again, and one that its predecessor
//! left at work is then waited for, since it holds the lock of its environment. Of jobs the database says how far they are.

mod here;
mod jobs;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::{info, warn};

pub(super) use jobs::{asked, saw};

use crate::daemon::observe::Observed;
use crate::daemon::world::World;
use crate::domain::ids::RunId;
use crate::domain::requirements::{CapturedRequirements, environment_name};
use crate::domain::resolved::{BuildOn, Resolved};
use crate::domain::run::{Preparation, State};
use crate::domain::run_files::RunFiles;
use crate::ports::{BuildFiles, HandOut, Hands, Silence};
use crate::script::render_build;
use crate::store::{BuildJob, LiveRuns, RunRow, StoreError};

/// Builds on this machine at once; the others wait for their turn.
const AT_ONCE: usize = 2;
/// Until a build that could not be begun, or not be handed out, is begun again.
const PAUSE: Duration = Duration::from_secs(10);

/// Stands for the script that builds: runs with the same share a build. 64 hexadecimal digits.
type Key = String;

/// The runs that wait for each build.
type Groups<'a> = BTreeMap<Key, Vec<&'a RunRow>>;

/// The builds that runs wait for.
pub(super) struct Builds {
    known: Mutex<Known>,
    room: Semaphore,
}

#[derive(Default)]
struct Known {
    waiting: HashMap<RunId, Key>,
    builds: HashMap<Key, Build>,
    jobs: jobs::Known,
}

enum Build {
    /// On this machine.
    Here(AbortHandle),
    /// It is a job, or is about to be submitted.
    Job,
    Over {
        outcome: Outcome,
        log: PathBuf,
    },
    Paused {
        until: Instant,
    },
}

#[derive(Debug, Clone)]
enum Outcome {
    /// Under this name, in this place.
    Built { digest: String, place: PathBuf },
    /// With what was said last.
    Failed(String),
}

impl Default for Builds {
    fn default() -> Self {
        Self { known: Mutex::default(), room: Semaphore::new(AT_ONCE) }
    }
}

impl Builds {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any is under way on this machine.
    pub(super) fn are_under_way(&self) -> bool {
        self.lock().builds.values().any(|build| matches!(build, Build::Here(_)))
    }

    /// A run waits no longer: a build that nobody else waits for is ended. The next pass ends one that is a job.
    pub(super) fn leave(&self, run: RunId) {
        let known = &mut *self.lock();
        let Some(key) = known.waiting.remove(&run) else { return };
        if known.waiting.values().all(|other| *other != key)
            && let Some(Build::Here(task)) = known.builds.remove(&key)
        {
            task.abort();
        }
    }

    /// Ends those on this machine: the next daemon begins them again.
    pub(super) fn stop(&self) {
        for (_, build) in self.lock().builds.drain() {
            if let Build::Here(task) = build {
                task.abort();
            }
        }
    }

    fn end(&self, key: &str, build: Build) {
        let known = &mut *self.lock();
        // Nobody may wait for it any more.
        if let Some(known) = known.builds.get_mut(key) {
            *known = build;
        }
    }

    fn over(&self, key: &str) -> Option<(Outcome, PathBuf)> {
        match self.lock().builds.get(key) {
            Some(Build::Over { outcome, log }) => Some((outcome.clone(), log.clone())),
            Some(Build::Here(_) | Build::Job | Build::Paused { .. }) | None => None,
        }
    }
}

/// Begins the builds that live runs wait for, looks after those that are jobs, and tells the runs whose build is over.
pub(super) async fn look_at_builds(
    world: &Arc<World>,
    live: &LiveRuns,
    jobs: &[BuildJob],
    observed: &mut Observed,
) -> Result<(), StoreError> {
    let mut groups = Groups::new();
    for row in live.values().filter(|row| row.run.state == State::Preparing) {
        let known = world.builds.lock().waiting.get(&row.run.id).cloned();
        let key = match known {
            Some(key) => key,
            None => key_of(row, &captured(world, row.run.id).await?),
        };
        groups.entry(key).or_default().push(row);
    }
    let jobs = jobs::tend(world, jobs, &groups).await?;
    for (key, rows) in groups {
        begin(world, &key, &rows, &jobs).await?;
        if let Some((outcome, log)) = world.builds.over(&key) {
            hand_out(world, &key, &rows, (outcome, log), observed).await?;
        }
    }
    Ok(())
}

async fn captured(world: &World, run: RunId) -> Result<CapturedRequirements, StoreError> {
    Ok(world.store.inputs(run).await?.requirements.unwrap_or_default())
}

fn key_of(row: &RunRow, captured: &CapturedRequirements) -> Key {
    let script = render_build(&row.resolved, captured);
    blake3::hash(script.as_bytes()).to_hex().to_string()
}

/// Begins the build of these runs, unless it was begun. `jobs` are the builds that are jobs already, perhaps by a daemon
/// before this one.
async fn begin(
    world: &Arc<World>,
    key: &Key,
    rows: &[&RunRow],
    jobs: &BTreeSet<Key>,
) -> Result<(), StoreError> {
    let Some(first) = rows.first() else { return Ok(()) };
    let ids: BTreeSet<RunId> = rows.iter().map(|row| row.run.id).collect();
    {
        let known = &mut *world.builds.lock();
        known.waiting.extend(ids.iter().map(|id| (*id, key.clone())));
        match known.builds.get(key) {
            Some(Build::Paused { until }) if *until <= Instant::now() => {}
            Some(_) => return Ok(()),
            None if jobs.contains(key) => {
                known.builds.insert(key.clone(), Build::Job);
                return Ok(());
            }
            None => {}
        }
    }
    let order = Order {
        captured: captured(world, first.run.id).await?,
        resolved: Arc::clone(&first.resolved),
        run_dir: first.run_dir.clone(),
    };
    info!(
        run.id = first.run.id.0,
        runs = ids.len(),
        "building the environment of run {}",
        first.run.id
    );
    if order.job().is_some() {
        jobs::begin(world, key, order);
    } else {
        here::begin(world, key, order);
    }
    Ok(())
}

/// Gives its runs what a build came to.
async fn hand_out(
    world: &World,
    key: &str,
    rows: &[&RunRow],
    (outcome, log): (Outcome, PathBuf),
    observed: &mut Observed,
) -> Result<(), StoreError> {
    let Some(first) = rows.first() else { return Ok(()) };
    let place = match &outcome {
        Outcome::Built { place, .. } => Some(place.clone()),
        Outcome::Failed(_) => None,
    };
    let run_dirs = rows.iter().map(|row| row.run_dir.clone()).collect();
    let order = HandOut { run_dirs, mode: first.resolved.run_dir_mode.0, place, log };
    let give = move |hands: &dyn Hands| hands.hand_out(&order);
    if let Err(silence) = world.with_hands(&first.resolved.run_root, give).await {
        warn!("cannot hand out an environment, it is built again: {silence}");
        world.builds.lock().jobs.are_over(key);
        world.builds.end(key, Build::Paused { until: Instant::now() + PAUSE });
        return Ok(());
    }
    let preparation = match outcome {
        Outcome::Built { digest, .. } => {
            // Before the runs go on: what they need is not cleared away.
            let runs = rows.iter().map(|row| row.run.id).collect();
            world.store.add_built(runs, digest).await?;
            Preparation::Built
        }
        Outcome::Failed(message) => Preparation::Failed { message },
    };
    for row in rows {
        observed.seen.entry(row.run.id).or_default().preparation = Some(preparation.clone());
    }
    let known = &mut *world.builds.lock();
    known.builds.remove(key);
    known.waiting.retain(|_, waits_for| waits_for != key);
    known.jobs.are_over(key);
    Ok(())
}

/// What is built, and in whose run directory the build happens.
struct Order {
    captured: CapturedRequirements,
    resolved: Arc<Resolved>,
    run_dir: PathBuf,
}

fn directory(run_dir: &Path) -> PathBuf {
    RunFiles::of(run_dir).environment().join("build")
}

fn log(run_dir: &Path) -> PathBuf {
    RunFiles::of(run_dir).build_log()
}

impl Order {
    fn directory(&self) -> PathBuf {
        directory(&self.run_dir)
    }

    /// The job that it is to be, if it is not to happen here.
    fn job(&self) -> Option<&BuildOn> {
        self.resolved.environment.requirements.as_ref()?.build_on.as_ref()
    }

    /// Writes what the build needs.
    async fn write(&self, world: &World) -> Result<(), Silence> {
        let files = BuildFiles {
            directory: self.directory(),
            mode: self.resolved.run_dir_mode.0,
            script: render_build(&self.resolved, &self.captured),
            requirements: self.captured.files.clone(),
        };
        world.with_hands(&self.resolved.run_root, move |hands| hands.write_build(&files)).await
    }
}

/// What the build in a run directory has left, if it is done.
async fn built(world: &World, run_root: &Path, run_dir: &Path) -> Result<Option<Outcome>, Silence> {
    const BYTES_MAX: usize = 100;
    let file = directory(run_dir).join("outcome");
    let read = move |hands: &dyn Hands| hands.read(&file, 0, BYTES_MAX);
    let stretch = world.with_hands(run_root, read).await?;
    let text = String::from_utf8_lossy(&stretch.bytes);
    Ok(environment_name(&text).map(|digest| Outcome::Built {
        digest: digest.to_owned(),
        place: run_root.join(".store/environments").join(digest),
    }))
}

/// The last lines of a build's log.
async fn last_words(world: &World, run_root: &Path, run_dir: &Path) -> Result<String, Silence> {
    const LINES: u64 = 8;
    const BYTES_MAX: usize = 4 << 10;
    let log = log(run_dir);
    let read = move |hands: &dyn Hands| {
        let from = hands.tail_offset(&log, LINES)?;
        hands.read(&log, from, BYTES_MAX)
    };
    let stretch = world.with_hands(run_root, read).await?;
    let text = String::from_utf8_lossy(&stretch.bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.collect::<Vec<_>>().join("\n"))
}
