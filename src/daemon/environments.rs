//! Taking what each attempt really got where it started, once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tracing::{debug, warn};

use crate::daemon::world::World;
use crate::domain::environment::{
    EnvironmentRecord, NODE_BYTES_MAX, NODES_MAX, NodeRecord, RECORD_BYTES_MAX,
};
use crate::domain::ids::RunId;
use crate::domain::run::{Attempt, Decision};
use crate::domain::run_files::RunFiles;
use crate::ports::Hands;
use crate::store::RunRow;

/// A record that is not whole so long after the start is looked for once more at the end, and not before.
const WRITTEN_WITHIN: SignedDuration = SignedDuration::from_mins(3);

/// What was taken of each live run.
#[derive(Default)]
pub(super) struct Taken(Mutex<HashMap<RunId, Progress>>);

/// How far taking has come.
#[derive(Default, Clone)]
struct Progress {
    /// The newest attempt whose record was taken.
    attempt: u32,
    /// Of the attempt after it, the nodes that were read, so that none is read twice while others are awaited.
    nodes: Vec<NodeRecord>,
}

impl Taken {
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Progress>> {
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
    let files = RunFiles::of(&row.run_dir);
    if !files.tells_environment(n, attempt.job.array_task) {
        return;
    }
    let progress = world.environments.lock().get(&id).cloned().unwrap_or_default();
    if progress.attempt >= n {
        return;
    }
    let file = files.environment_record(n);
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
    let mut record = EnvironmentRecord::parse(&stretch.bytes);
    if stretch.file.is_none() || !(record.complete || is_last) {
        return;
    }
    if let Some(count) = record.node_count.filter(|count| *count > 1) {
        let nodes =
            read_nodes(world, row, (n, count.min(NODES_MAX)), progress.nodes, is_last).await;
        if !is_last && 1 + nodes.len() as u64 != count.min(NODES_MAX) {
            world.environments.lock().entry(id).or_default().nodes = nodes;
            return;
        }
        record.nodes = vec![NodeRecord::from(record.clone())];
        record.nodes.extend(nodes);
    }
    match world.store.add_environment(id, n, record).await {
        Ok(()) => {
            let taken = Progress { attempt: n, nodes: Vec::new() };
            world.environments.lock().insert(id, taken);
            world.changed();
        }
        Err(error) => {
            warn!(run.id = id.0, "cannot record what attempt {n} of run {id} got: {error}");
        }
    }
}

/// What the nodes of an attempt but the first told of themselves: those that were read, and those that follow. The first one
/// that is not there, or not whole, is waited for, but for the last time.
async fn read_nodes(
    world: &World,
    row: &RunRow,
    (n, count): (u32, u64),
    known: Vec<NodeRecord>,
    is_last: bool,
) -> Vec<NodeRecord> {
    let folder = RunFiles::of(&row.run_dir).environment_nodes(n);
    let mut nodes = known.clone();
    let read = move |hands: &dyn Hands| {
        for node in 1 + nodes.len() as u64..count {
            let told = hands.read(&folder.join(format!("{node}.txt")), 0, NODE_BYTES_MAX)?;
            let record = EnvironmentRecord::parse(&told.bytes);
            if record.complete {
                nodes.push(record.into());
            } else if !is_last {
                break;
            }
        }
        Ok(nodes)
    };
    world.with_hands(&row.resolved.run_root, read).await.unwrap_or(known)
}
