//! Runs as they are shown, read from the database.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::daemon::nodes;
use crate::daemon::world::World;
use crate::domain::ids::RunId;
use crate::domain::sweep::{SweepView, state};
use crate::domain::usage::{By, Tally, Usage};
use crate::domain::view::{MetricView, Recorded, RunView};
use crate::store::{Filter, StoreError, WholeRun, WholeSweep};

/// One run whole; `None` when there is none.
pub async fn run_view(world: &World, id: RunId) -> Result<Option<RunView>, StoreError> {
    let Some(run) = world.store.whole(id).await? else { return Ok(None) };
    let mut shown = view(&run, world.clock.now());
    if shown.state != "completed" {
        shown.avoids = nodes::kept_away_from(world, &run.row).await?;
    }
    Ok(Some(shown))
}

/// Runs by filter, newest first, without their attempts.
pub async fn list_views(world: &World, filter: Filter) -> Result<Vec<RunView>, StoreError> {
    let now = world.clock.now();
    let runs = world.store.list(filter).await?;
    let without_attempts = |run| RunView { attempts: None, ..view(&run, now) };
    Ok(runs.into_iter().map(without_attempts).collect())
}

/// One sweep; `None` when there is none.
pub async fn sweep_view(world: &World, id: RunId) -> Result<Option<SweepView>, StoreError> {
    Ok(world.store.whole_sweeps(Some(id), 1).await?.into_iter().next().map(of_sweep))
}

/// The newest sweeps.
pub async fn sweep_views(world: &World, limit: u32) -> Result<Vec<SweepView>, StoreError> {
    Ok(world.store.whole_sweeps(None, limit).await?.into_iter().map(of_sweep).collect())
}

fn of_sweep(sweep: WholeSweep) -> SweepView {
    let WholeSweep { row, states } = sweep;
    let is_open = row.is_open();
    SweepView {
        id: row.id.0,
        name: row.name,
        owner: row.owner,
        project: row.project,
        experiment: row.experiment,
        created_at: row.created_at,
        state: state(&states, is_open).to_owned(),
        points: row.points,
        states,
        sweep_dir: row.sweep_dir,
        key: row.key,
        about: row.about,
        closed_at: row.closed_at,
        standing: None,
    }
}

/// What the runs of a filter took in its period. They are read a page at a time, so that others are served between two.
pub async fn usage(world: &World, by: By, filter: Filter) -> Result<Usage, StoreError> {
    let now = world.clock.now();
    let mut tally = Tally::new(by, filter.ran.unwrap_or_default());
    let mut before = filter.before;
    loop {
        let page = world.store.list(Filter { before, ..filter.clone() }).await?;
        for run in &page {
            tally.add(&view(run, now));
        }
        match page.last() {
            Some(last) => before = Some(last.row.run.id),
            None => return Ok(tally.report()),
        }
    }
}

fn view(run: &WholeRun, now: Timestamp) -> RunView {
    let WholeRun { row, inputs, attempts, progress, metrics, environments, given } = run;
    let metrics: BTreeMap<_, _> = metrics
        .iter()
        .map(|(name, point)| {
            (name.clone(), MetricView { last: point.value, step: point.step, at: point.at })
        })
        .collect();
    let recorded = Recorded {
        run: &row.run,
        owner: &row.owner,
        key: row.key.as_deref(),
        created_at: row.created_at,
        submitted_at: row.submitted_at,
        started_at: row.started_at,
        ended_at: row.ended_at,
        deleted_at: row.deleted_at,
        run_dir: &row.run_dir,
        spec_digest: &row.spec_digest,
        resolved: &row.resolved,
        inputs,
        point: row.point.map(|point| (point, given.as_ref())),
        attempts,
        progress: *progress,
        metrics: &metrics,
        environments,
    };
    RunView::of(recorded, now)
}
