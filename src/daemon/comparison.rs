//! Points of sweeps side by side, read from the database.

use std::collections::HashMap;

use crate::daemon::world::World;
use crate::domain::charge::{Used, rate, used};
use crate::domain::checkpoint::Goal;
use crate::domain::ids::RunId;
use crate::domain::sweep::compare::{ComparedPoint, sort};
use crate::domain::sweep::{Objective, Standing};
use crate::domain::view::CHARGE_UNIT;
use crate::store::{PointRow, Reported, StoreError};

/// All points of a sweep in their order, with what they took, and reported of a metric.
pub async fn compared_points(
    world: &World,
    sweep: RunId,
    metric: Option<(&str, Goal)>,
) -> Result<Vec<ComparedPoint>, StoreError> {
    let (store, now) = (&world.store, world.clock.now());
    let sets = store.sweep_sets(sweep).await?;
    let rows = store.point_rows(sweep).await?;
    let set_of: HashMap<RunId, u32> = rows.iter().map(|row| (row.run, row.set)).collect();
    let mut took: HashMap<RunId, Used> = HashMap::with_capacity(rows.len());
    for (run, attempt) in store.attempts_of_sweep(sweep).await? {
        if let Some(resolved) = set_of.get(&run).and_then(|set| sets.get(*set as usize)) {
            took.entry(run).or_default().add(used(&attempt, resolved, now));
        }
    }
    let (best, newest) = match metric {
        Some((name, goal)) => (
            store.best_of_sweep(sweep, name.to_owned(), goal).await?,
            store.newest_of_sweep(sweep, name.to_owned()).await?,
        ),
        None => Default::default(),
    };
    let one = |row: PointRow| {
        let took = took.get(&row.run).copied().unwrap_or_default();
        let best: Option<&Reported> = best.get(&row.run);
        // What never started costs nothing, where starts cost something.
        let has_rate =
            sets.get(row.set as usize).is_some_and(|set| rate(&set.compute, now).is_some());
        ComparedPoint {
            sweep: sweep.0,
            point: row.point,
            run: row.run.0,
            state: row.state,
            parameters: row.parameters,
            best: best.map(|(value, _)| *value),
            step: best.map(|(_, step)| *step),
            last: newest.get(&row.run).map(|(value, _)| *value),
            elapsed_seconds: took.elapsed_seconds,
            node_hours: took.node_hours,
            charge: has_rate.then(|| took.charge.unwrap_or_default()),
        }
    };
    Ok(rows.into_iter().map(one).collect())
}

/// How far a sweep is.
pub async fn standing(
    world: &World,
    sweep: RunId,
    objective: Option<&Objective>,
) -> Result<Standing, StoreError> {
    let metric = objective.map(|objective| (objective.metric.as_str(), objective.goal));
    let mut points = compared_points(world, sweep, metric).await?;
    if let Some((_, goal)) = metric {
        sort(&mut points, goal);
    }
    Ok(Standing::of(&points, CHARGE_UNIT))
}
