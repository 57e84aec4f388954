//! Reading what trainings report, from where the last pass stopped.

use std::sync::{Arc, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tracing::{debug, warn};

use crate::daemon::world::World;
use crate::domain::metrics::{MetricLine, whole_lines};
use crate::domain::run::State;
use crate::ports::Stretch;
use crate::store::{LiveRuns, RunRow, StoreError};

/// A run's file is read at most this often while it runs, and once more at its end.
const INTERVAL: SignedDuration = SignedDuration::from_secs(2);
/// Bytes read at once.
const STRETCH_BYTES: usize = 1 << 20;
/// Stretches read in one pass; a longer file is read on in the next.
const STRETCHES_MAX: usize = 64;

/// Files that are read in one second, on average and at most in one pass: a file system is not asked more for more runs.
const READS_PER_SECOND: usize = 20;

/// The runs whose metrics are read now, those that waited longest first.
pub(super) fn due<'a>(world: &World, live: &'a LiveRuns) -> Vec<&'a RunRow> {
    let running: Vec<&RunRow> = live.values().map(Arc::as_ref).filter(|row| reports(row)).collect();
    let share = i64::try_from(running.len() / READS_PER_SECOND).unwrap_or(i64::MAX);
    let interval = INTERVAL.max(SignedDuration::from_secs(share));
    let now = world.clock.now();
    let mut read = world.metrics_read.lock().unwrap_or_else(PoisonError::into_inner);
    let mut due: Vec<(Option<Timestamp>, &RunRow)> = running
        .into_iter()
        .map(|row| (read.get(&row.run.id).copied(), row))
        .filter(|(last, _)| last.is_none_or(|last| is_past(last, interval, now)))
        .collect();
    due.sort_by_key(|(last, row)| (*last, row.run.id));
    due.truncate(READS_PER_SECOND);
    read.extend(due.iter().map(|(_, row)| (row.run.id, now)));
    due.into_iter().map(|(_, row)| row).collect()
}

/// Whether `interval` has passed. A clock that was set back stops nobody.
pub(super) fn is_past(last: Timestamp, interval: SignedDuration, now: Timestamp) -> bool {
    now < last || now.duration_since(last) >= interval
}

/// Whether the training of a run may have something new to say.
pub(super) fn reports(row: &RunRow) -> bool {
    let started = row.run.attempt.as_ref().is_some_and(|attempt| attempt.started_at.is_some());
    started && matches!(row.run.state, State::Running | State::Finishing | State::Stopping { .. })
}

/// Reads a run's new metrics lines. What cannot be read is read later: metrics never hold up a decision.
pub(super) async fn collect_metrics(world: &World, row: &RunRow, is_last: bool) {
    if is_last {
        world.metrics_read.lock().unwrap_or_else(PoisonError::into_inner).remove(&row.run.id);
    }
    if let Err(error) = read_on(world, row, is_last).await {
        let id = row.run.id;
        warn!(run.id = id.0, "cannot record the metrics of run {id}: {error}");
    }
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
