//! Taking what each attempt really got where it started, once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tracing::{debug, warn};

use crate::daemon::world::World;
use crate::domain::environment::{EnvironmentRecord, RECORD_BYTES_MAX};
use crate::domain::ids::RunId;
use crate::domain::run::{Attempt, Decision};
use crate::store::RunRow;

/// A record that is not whole so long after the start is looked for once more at the end, and not before.
const WRITTEN_WITHIN: SignedDuration = SignedDuration::from_mins(3);

/// The newest attempt of each live run whose record was taken.
#[derive(Default)]
pub(super) struct Taken(Mutex<HashMap<RunId, u32>>);

impl Taken {
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the record of the attempt under way, once it is whole.
pub(super) async fn collect_environment(world: &World, row: &RunRow) {
    let now = world.clock.now();
    if let Some(attempt) = row.run.open_attempt().filter(|attempt| is_awaited(attempt, now)) {
        collect(world, row, attempt, false).await;
    }
}

/// Takes what there is of the attempts that a decision ends: before the end is told, so that who waits for it finds it.
pub(super) async fn collect_last(world: &World, row: &RunRow, decision: &Decision) {
    let is_final = decision.run.state.is_final();
    let last = decision.run.attempt.iter().filter(|_| is_final);
    for attempt in decision.closed.iter().chain(last) {
        if attempt.started_at.is_some() || attempt.script_end.is_some() {
            collect(world, row, attempt, true).await;
        }
    }
    if is_final {
        world.environments.lock().remove(&row.run.id);
    }
}

fn is_awaited(attempt: &Attempt, now: Timestamp) -> bool {
    attempt.started_at.is_some_and(|started| now.duration_since(started) < WRITTEN_WITHIN)
}

/// What cannot be read is read later, or never: a record holds up nothing.
async fn collect(world: &World, row: &RunRow, attempt: &Attempt, is_last: bool) {
    let (id, n) = (row.run.id, attempt.n);
    if world.environments.lock().get(&id).is_some_and(|taken| *taken >= n) {
        return;
    }
    let file = row.run_dir.join("environment").join(format!("{n}.txt"));
    let read = world
        .with_hands(&row.resolved.run_root, move |hands| hands.read(&file, 0, RECORD_BYTES_MAX))
        .await;
    let stretch = match read {
        Ok(stretch) => stretch,
        Err(silence) => {
            debug!(run.id = id.0, "cannot read what attempt {n} of run {id} got: {silence}");
            return;
        }
    };
    let record = EnvironmentRecord::parse(&stretch.bytes);
    if stretch.file.is_none() || !(record.complete || is_last) {
        return;
    }
    match world.store.add_environment(id, n, record).await {
        Ok(()) => {
            world.environments.lock().insert(id, n);
            world.changed();
        }
        Err(error) => {
            warn!(run.id = id.0, "cannot record what attempt {n} of run {id} got: {error}");
        }
    }
}
