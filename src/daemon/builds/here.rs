//! Builds on this machine: by the build's script, which a task of the daemon waits for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::chain;
use crate::daemon::builds::{Build, Key, Order, Outcome, PAUSE, built, last_words, log};
use crate::daemon::world::World;
use crate::domain::requirements::BUILD_SECONDS_MAX;
use crate::ports::{Program, ProgramError, Silence};

/// Begins a build.
pub(super) fn begin(world: &Arc<World>, key: &Key, order: Order) {
    let (theirs, of) = (Arc::clone(world), key.clone());
    let known = &mut *world.builds.lock();
    let task = world.tasks.spawn(async move {
        let build = match build(&theirs, &order).await {
            Ok(outcome) => Build::Over { outcome, log: log(&order.run_dir) },
            Err(silence) => {
                warn!("cannot build an environment now: {silence}");
                Build::Paused { until: Instant::now() + PAUSE }
            }
        };
        theirs.builds.end(&of, build);
        theirs.nudge.notify_one();
    });
    known.builds.insert(key.clone(), Build::Here(task.abort_handle()));
}

async fn build(world: &World, order: &Order) -> Result<Outcome, Silence> {
    let root = &order.resolved.run_root;
    let broken = |why: String| Silence { who: root.display().to_string(), why };
    let _turn = world.builds.room.acquire().await.map_err(|error| broken(error.to_string()))?;
    order.write(world).await?;
    let failed = match world.hands.run(&program(world, order)).await {
        Ok(output) if output.code == Some(0) => {
            if let Some(outcome) = built(world, root, &order.run_dir).await? {
                return Ok(outcome);
            }
            "the build ended well and left no word of it".to_owned()
        }
        Ok(_) => {
            let words = last_words(world, root, &order.run_dir).await?;
            if words.is_empty() { "the build failed without a word".to_owned() } else { words }
        }
        Err(ProgramError::Deadline { .. }) => {
            let hours = BUILD_SECONDS_MAX / 3600;
            format!("the build did not end within {hours} hours and was killed")
        }
        Err(error) if error.may_pass() => {
            return Err(Silence { who: "the builder".to_owned(), why: chain(&error) });
        }
        Err(error) => chain(&error),
    };
    Ok(Outcome::Failed(failed))
}

fn program(world: &World, order: &Order) -> Program {
    /// The script says everything in its log.
    const ANSWER_BYTES_MAX: u64 = 4 << 10;
    Program {
        path: PathBuf::from("/bin/bash"),
        args: vec!["job.sh".to_owned()],
        environment: world.build_environment.clone(),
        directory: order.directory(),
        stdin: None,
        deadline: Duration::from_secs(BUILD_SECONDS_MAX),
        answer_bytes_max: ANSWER_BYTES_MAX,
    }
}
