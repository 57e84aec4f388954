//! Reading what trainings report, from where the last pass stopped.

use std::sync::PoisonError;

use jiff::SignedDuration;
use tracing::{debug, warn};

use crate::daemon::world::World;
use crate::domain::metrics::{MetricLine, whole_lines};
use crate::domain::run::State;
use crate::ports::Stretch;
use crate::store::{RunRow, StoreError};

/// A run's file is read this often while it runs, and once more at its end.
const INTERVAL: SignedDuration = SignedDuration::from_secs(2);
/// Bytes read at once.
const STRETCH_BYTES: usize = 1 << 20;
/// Stretches read in one pass; a longer file is read on in the next.
const STRETCHES_MAX: usize = 64;

/// Reads a run's new metrics lines. What cannot be read is read later: metrics never hold up a decision.
pub(super) async fn collect_metrics(world: &World, row: &RunRow, is_last: bool) {
    let started = row.run.attempt.as_ref().is_some_and(|attempt| attempt.started_at.is_some());
    let reports =
        matches!(row.run.state, State::Running | State::Finishing | State::Stopping { .. })
            || is_last;
    if !started && !is_last || !reports || !is_due(world, row, is_last) {
        return;
    }
    match read_on(world, row, is_last).await {
        Ok(()) => {}
        Err(error) => {
            warn!(
                run.id = row.run.id.0,
                "cannot record the metrics of run {}: {error}", row.run.id
            );
        }
    }
}

fn is_due(world: &World, row: &RunRow, is_last: bool) -> bool {
    let now = world.clock.now();
    let mut read = world.metrics_read.lock().unwrap_or_else(PoisonError::into_inner);
    if is_last {
        read.remove(&row.run.id);
        return true;
    }
    let due = read.get(&row.run.id).is_none_or(|last| now.duration_since(*last) >= INTERVAL);
    if due {
        read.insert(row.run.id, now);
    }
    due
}

async fn read_on(world: &World, row: &RunRow, is_last: bool) -> Result<(), StoreError> {
    let file = row.run_dir.join(&row.resolved.metrics_file);
    for _ in 0..STRETCHES_MAX {
        let mut tail = world.store.metric_tail(row.run.id).await?;
        let (path, from) = (file.clone(), tail.offset);
        let read = world
            .with_hands(&row.resolved.run_root, move |hands| hands.read(&path, from, STRETCH_BYTES))
            .await;
        let stretch: Stretch = match read {
            Ok(stretch) => stretch,
            Err(silence) => {
                debug!(
                    run.id = row.run.id.0,
                    "cannot read the metrics of run {}: {silence}", row.run.id
                );
                return Ok(());
            }
        };
        if stretch.file.is_none() {
            return Ok(());
        }
        if tail.file.is_some() && tail.file != stretch.file && tail.offset > 0 {
            // Another file is in its place: it is read from its beginning.
            tail.offset = 0;
            tail.file = stretch.file;
            world.store.add_metrics(row.run.id, tail, Vec::new(), world.clock.now()).await?;
            continue;
        }
        let at_end = stretch.bytes.len() < STRETCH_BYTES;
        let (lines, taken) = whole_lines(&stretch.bytes, is_last && at_end);
        let lines: Vec<MetricLine> = lines.filter_map(|line| MetricLine::parse(&line)).collect();
        // A line longer than a stretch is no metric: it is passed over.
        let taken = if taken == 0 && !at_end { STRETCH_BYTES } else { taken };
        if taken == 0 {
            return Ok(());
        }
        let start = stretch.next - stretch.bytes.len() as u64;
        tail.offset = start + taken as u64;
        tail.file = stretch.file;
        world.store.add_metrics(row.run.id, tail, lines, world.clock.now()).await?;
        world.changed();
        if at_end {
            return Ok(());
        }
    }
    Ok(())
}
