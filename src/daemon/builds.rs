//! Building environments of requirements: one build for all runs that wait for the same one.
//!
//! Nothing of it is on disk but the environments themselves. A daemon that starts anew begins its builds again; one that
//! its predecessor left at work is then waited for, since it holds the lock of its environment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::chain;
use crate::daemon::observe::Observed;
use crate::daemon::world::World;
use crate::domain::ids::RunId;
use crate::domain::requirements::{Builder, CapturedRequirements, environment_digest};
use crate::domain::resolved::Resolved;
use crate::domain::run::{Preparation, State};
use crate::ports::{BuildFiles, HandOut, Hands, Output, Program, ProgramError, Silence};
use crate::script::{BUILD_SECONDS_MAX, render_build};
use crate::store::{LiveRuns, RunRow, StoreError};

/// Builds at once; the others wait for their turn.
const AT_ONCE: usize = 2;
/// Until a build that could not be begun, or not be handed out, is begun again.
const PAUSE: Duration = Duration::from_secs(10);

/// What decides about a build, as far as it is known before: runs with the same share one.
type Key = blake3::Hash;

/// The builds that runs wait for.
pub(super) struct Builds {
    known: Mutex<Known>,
    room: Semaphore,
}

#[derive(Default)]
struct Known {
    waiting: HashMap<RunId, Key>,
    builds: HashMap<Key, Build>,
}

enum Build {
    /// For this run and all that wait beside it.
    UnderWay(AbortHandle),
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

    /// Whether any is under way.
    pub(super) fn are_under_way(&self) -> bool {
        self.lock().builds.values().any(|build| matches!(build, Build::UnderWay(_)))
    }

    /// A run waits no longer: a build that nobody else waits for is ended.
    pub(super) fn leave(&self, run: RunId) {
        let known = &mut *self.lock();
        let Some(key) = known.waiting.remove(&run) else { return };
        if known.waiting.values().all(|other| *other != key)
            && let Some(Build::UnderWay(task)) = known.builds.remove(&key)
        {
            task.abort();
        }
    }

    /// Ends all: the next daemon begins them again.
    pub(super) fn stop(&self) {
        for (_, build) in self.lock().builds.drain() {
            if let Build::UnderWay(task) = build {
                task.abort();
            }
        }
    }

    fn end(&self, key: &Key, build: Build) {
        let known = &mut *self.lock();
        // Nobody may wait for it any more.
        if let Some(known) = known.builds.get_mut(key) {
            *known = build;
        }
    }

    fn over(&self, key: &Key) -> Option<(Outcome, PathBuf)> {
        match self.lock().builds.get(key) {
            Some(Build::Over { outcome, log }) => Some((outcome.clone(), log.clone())),
            Some(Build::UnderWay(_) | Build::Paused { .. }) | None => None,
        }
    }
}

/// Begins the builds that live runs wait for, and tells those whose build is over.
pub(super) async fn look_at_builds(
    world: &Arc<World>,
    live: &LiveRuns,
    observed: &mut Observed,
) -> Result<(), StoreError> {
    let mut groups: BTreeMap<[u8; 32], (Key, Vec<&RunRow>)> = BTreeMap::new();
    for row in live.values().filter(|row| row.run.state == State::Preparing) {
        let known = world.builds.lock().waiting.get(&row.run.id).copied();
        let key = match known {
            Some(key) => key,
            None => key_of(row, &captured(world, row.run.id).await?),
        };
        groups.entry(*key.as_bytes()).or_insert_with(|| (key, Vec::new())).1.push(row);
    }
    for (key, rows) in groups.into_values() {
        begin(world, key, &rows).await?;
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
    let mut hasher = blake3::Hasher::new();
    let script = render_build(&row.resolved);
    let root = row.resolved.run_root.display().to_string();
    for text in [&root, &script].into_iter().chain(&captured.files) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize()
}

/// Begins the build of these runs, unless it was begun.
async fn begin(world: &Arc<World>, key: Key, rows: &[&RunRow]) -> Result<(), StoreError> {
    let Some(first) = rows.first() else { return Ok(()) };
    let ids: BTreeSet<RunId> = rows.iter().map(|row| row.run.id).collect();
    {
        let known = &mut *world.builds.lock();
        known.waiting.extend(ids.iter().map(|id| (*id, key)));
        match known.builds.get(&key) {
            Some(Build::Paused { until }) if *until <= Instant::now() => {}
            Some(_) => return Ok(()),
            None => {}
        }
    }
    let order = Order {
        captured: captured(world, first.run.id).await?,
        resolved: first.resolved.clone(),
        run_dir: first.run_dir.clone(),
    };
    info!(
        run.id = first.run.id.0,
        runs = ids.len(),
        "building the environment of run {}",
        first.run.id
    );
    let (theirs, world) = (Arc::clone(world), world);
    let known = &mut *world.builds.lock();
    let task = world.tasks.spawn(async move {
        let build = match build(&theirs, &order).await {
            Ok(outcome) => Build::Over { outcome, log: order.log() },
            Err(silence) => {
                warn!("cannot build an environment now: {silence}");
                Build::Paused { until: Instant::now() + PAUSE }
            }
        };
        theirs.builds.end(&key, build);
        theirs.nudge.notify_one();
    });
    known.builds.insert(key, Build::UnderWay(task.abort_handle()));
    Ok(())
}

/// Gives its runs what a build came to.
async fn hand_out(
    world: &World,
    key: &Key,
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
    Ok(())
}

/// What is built, and in whose run directory the build happens.
struct Order {
    captured: CapturedRequirements,
    resolved: Resolved,
    run_dir: PathBuf,
}

impl Order {
    fn directory(&self) -> PathBuf {
        self.run_dir.join("environment/build")
    }

    fn log(&self) -> PathBuf {
        self.run_dir.join("logs/build.out")
    }

    fn program(&self, world: &World, words: &[&str]) -> Program {
        /// What the script tells of itself is three lines.
        const ANSWER_BYTES_MAX: u64 = 64 << 10;
        let script = self.directory().join("build.sh").display().to_string();
        let words = words.iter().map(|word| (*word).to_owned());
        Program {
            path: PathBuf::from("/bin/bash"),
            args: std::iter::once(script).chain(words).collect(),
            environment: world.build_environment.clone(),
            directory: PathBuf::from("/"),
            stdin: None,
            deadline: Duration::from_secs(BUILD_SECONDS_MAX),
            answer_bytes_max: ANSWER_BYTES_MAX,
        }
    }
}

async fn build(world: &World, order: &Order) -> Result<Outcome, Silence> {
    let root = order.resolved.run_root.clone();
    let broken = |why: String| Silence { who: root.display().to_string(), why };
    let _turn = world.builds.room.acquire().await.map_err(|error| broken(error.to_string()))?;
    let files = BuildFiles {
        directory: order.directory(),
        mode: order.resolved.run_dir_mode.0,
        script: render_build(&order.resolved),
        requirements: order.captured.files.clone(),
    };
    world.with_hands(&root, move |hands| hands.write_build(&files)).await?;
    let log = order.log().display().to_string();
    let said = match call(world, order, &["probe", &log]).await? {
        Ok(output) => output.stdout,
        Err(message) => return Ok(Outcome::Failed(message)),
    };
    let Some(builder) = Builder::parse(&String::from_utf8_lossy(&said)) else {
        return Ok(Outcome::Failed("the Python here does not say its version".to_owned()));
    };
    let environment = &order.resolved.environment;
    let pip_args = environment.requirements.iter().flat_map(|asked| asked.pip_args.clone());
    let pip_args: Vec<String> = pip_args.collect();
    let digest = environment_digest(&order.captured, &pip_args, &environment.modules, &builder);
    let place = root.join(".store/environments").join(&digest);
    match call(world, order, &["build", &log, &place.display().to_string()]).await? {
        Ok(_) => Ok(Outcome::Built { digest, place }),
        Err(message) => Ok(Outcome::Failed(message)),
    }
}

/// Runs the script; where it fails, with what it said last.
async fn call(
    world: &World,
    order: &Order,
    words: &[&str],
) -> Result<Result<Output, String>, Silence> {
    match world.hands.run(&order.program(world, words)).await {
        Ok(output) if output.code == Some(0) => Ok(Ok(output)),
        Ok(_) => last_words(world, order).await.map(Err),
        Err(ProgramError::Deadline { .. }) => {
            let hours = BUILD_SECONDS_MAX / 3600;
            Ok(Err(format!("the build did not end within {hours} hours and was killed")))
        }
        Err(error) if error.may_pass() => {
            Err(Silence { who: "the builder".to_owned(), why: chain(&error) })
        }
        Err(error) => Ok(Err(chain(&error))),
    }
}

/// The last lines of a build's log.
async fn last_words(world: &World, order: &Order) -> Result<String, Silence> {
    const LINES: u64 = 8;
    const BYTES_MAX: usize = 4 << 10;
    let log = order.log();
    let read = move |hands: &dyn Hands| {
        let from = hands.tail_offset(&log, LINES)?;
        hands.read(&log, from, BYTES_MAX)
    };
    let stretch = world.with_hands(&order.resolved.run_root, read).await?;
    let text = String::from_utf8_lossy(&stretch.bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let words = lines.collect::<Vec<_>>().join("\n");
    Ok(if words.is_empty() { "the build failed without a word".to_owned() } else { words })
}
