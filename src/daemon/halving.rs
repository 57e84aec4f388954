//! Stops points of sweeps that fell behind the others, where their sweep asks for it: which ones is decided by
//! [`halving`](crate::domain::sweep::halving).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::daemon::reconcile::{Decided, act_on};
use crate::daemon::world::World;
use crate::domain::ids::RunId;
use crate::domain::run::{Event, Reason, State, step};
use crate::domain::sweep::halving::judge;
use crate::fault::point;
use crate::store::{LiveRuns, RunRow, StoreError};

/// Compares points that came to a rung, and stops those that are not among the best there. `before` is as the pass found
/// it: what has ended since counts as well, whatever it came to.
pub(super) async fn stop_early(world: &Arc<World>, before: &LiveRuns) -> Result<(), StoreError> {
    if before.values().all(|row| row.point.is_none()) {
        return Ok(());
    }
    let live = world.store.live().await?;
    let mut sweeps: BTreeMap<RunId, BTreeMap<u32, &RunRow>> = BTreeMap::new();
    for row in before.values() {
        let Some(of) = row.point else { continue };
        let now = live.get(&row.run.id);
        if now.is_none_or(|row| may_be_stopped(row)) {
            sweeps.entry(of.sweep).or_default().insert(of.point, now.unwrap_or(row));
        }
    }
    for (sweep, points) in sweeps {
        stop_of(world, (sweep, &points), &live).await?;
    }
    Ok(())
}

/// Whether a point has started and may go on. What is being submitted, or stopped, is looked at when that is over.
fn may_be_stopped(row: &RunRow) -> bool {
    let has_started = row.run.attempts > 1
        || row.run.attempt.as_ref().is_some_and(|attempt| attempt.started_at.is_some());
    let goes_on =
        matches!(row.run.state, State::Queued { .. } | State::Running | State::Backoff { .. });
    has_started && goes_on
}

async fn stop_of(
    world: &Arc<World>,
    (id, points): (RunId, &BTreeMap<u32, &RunRow>),
    live: &LiveRuns,
) -> Result<(), StoreError> {
    let Some(sweep) = world.store.sweep(id).await? else { return Ok(()) };
    let (Some(rungs), Some(objective)) = (sweep.about.early_stopping, &sweep.about.objective)
    else {
        return Ok(());
    };
    let runs = points.iter().map(|(point, row)| (*point, row.run.id)).collect();
    let (reported, passed) =
        world.store.at_rungs(id, runs, (objective.metric.clone(), rungs)).await?;
    let verdicts = judge((rungs, objective), &reported, &passed);
    if verdicts.is_empty() {
        return Ok(());
    }
    let at = world.clock.now();
    let mut stops = Vec::new();
    for verdict in verdicts.iter().filter(|verdict| !verdict.past.goes_on) {
        let row = points.get(&verdict.point).and_then(|row| live.get(&row.run.id));
        let Some(row) = row.cloned() else { continue };
        let stop = Event::OwnStop { reason: Reason::StoppedEarly, message: verdict.why.clone() };
        let decision = step(&row.run, &stop, &world.policy(&row.resolved), at);
        stops.push(Decided { row, decision, wishes: Vec::new(), at });
    }
    let of_run = verdicts.into_iter().filter_map(|verdict| {
        let run = points.get(&verdict.point)?.run.id;
        Some((run, verdict))
    });
    let decisions = stops.iter().map(|stop| stop.decision.clone()).collect();
    world.store.record_rungs(id, of_run.collect(), decisions, at).await?;
    point("rungs_recorded");
    act_on(world, stops).await;
    Ok(())
}
