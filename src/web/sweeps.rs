//! Sweeps: list, show, compare, cancel.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use crate::api::{CompareRequest, ErrorCode, LIST_MAX, SweepShown};
use crate::daemon::{World, close_sweep, compared_points, standing, sweep_view, sweep_views};
use crate::domain::checkpoint::Goal;
use crate::domain::ids::RunId;
use crate::domain::sweep::compare::{Comparison, sort};
use crate::domain::sweep::{Objective, SweepView};
use crate::domain::view::CHARGE_UNIT;
use crate::web::error::ApiError;
use crate::web::{App, Patience};

type Answer<T> = Result<Json<T>, ApiError>;

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    limit: Option<u32>,
}

pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Answer<Vec<SweepView>> {
    const LIMIT_DEFAULT: u32 = 50;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT).min(LIST_MAX);
    Ok(Json(sweep_views(&app.world, limit).await?))
}

#[derive(Debug, Deserialize)]
pub(super) struct ShowQuery {
    /// Answer only once more changes than this were recorded …
    after: Option<u64>,
    /// … or so many seconds have passed.
    wait: Option<u64>,
    /// With what its points came to so far.
    #[serde(default)]
    standing: bool,
}

pub(super) async fn show(
    State(app): State<App>,
    Path(reference): Path<String>,
    Query(query): Query<ShowQuery>,
) -> Answer<SweepShown> {
    let patience = Patience { after: query.after, wait: query.wait };
    let (mut sweep, change) =
        app.look(patience, || found(&app.world, &reference), |_| true).await?;
    if query.standing {
        let objective = sweep.about.objective.as_ref();
        sweep.standing = Some(standing(&app.world, RunId(sweep.id), objective).await?);
    }
    Ok(Json(SweepShown { sweep, change }))
}

/// The points of several sweeps, best first.
pub(super) async fn compare(
    State(app): State<App>,
    Json(request): Json<CompareRequest>,
) -> Answer<Comparison> {
    let world = &app.world;
    let sweeps = asked_for(world, &request).await?;
    let (metric, goal) = match measure(&request, &sweeps) {
        Ok(measure) => measure,
        Err(error) => return Err(error.hint(there_are(world, &sweeps).await?)),
    };
    let (mut parameters, mut points) = (Vec::new(), Vec::new());
    for sweep in &sweeps {
        let new = sweep.about.parameters.iter().filter(|key| !parameters.contains(*key));
        parameters.extend(new.cloned().collect::<Vec<String>>());
        points.extend(compared_points(world, RunId(sweep.id), Some((&metric, goal))).await?);
    }
    if points.iter().all(|point| point.best.is_none()) {
        let message = format!("no point has reported `{}`", metric.escape_debug());
        let error = ApiError::new(ErrorCode::BadRequest, message);
        return Err(error.hint(there_are(world, &sweeps).await?));
    }
    sort(&mut points, goal);
    let charge_unit = CHARGE_UNIT.to_owned();
    Ok(Json(Comparison { metric, goal, charge_unit, parameters, points }))
}

/// The sweeps that are named, and those of the experiment; each once.
async fn asked_for(world: &World, request: &CompareRequest) -> Result<Vec<SweepView>, ApiError> {
    let mut sweeps: Vec<SweepView> = Vec::new();
    let of_experiment = match &request.experiment {
        Some(tag) => {
            let ids = world.store.sweeps_of_experiment(tag.clone()).await?;
            if ids.is_empty() {
                let message =
                    format!("there is no sweep of the experiment `{}`", tag.escape_debug());
                return Err(ApiError::new(ErrorCode::NotFound, message)
                    .hint("`trainyard sweep list` shows the newest sweeps"));
            }
            ids
        }
        None => Vec::new(),
    };
    let of_experiment = of_experiment.iter().map(ToString::to_string);
    for reference in request.sweeps.iter().cloned().chain(of_experiment) {
        let sweep = found(world, &reference).await?;
        if sweeps.iter().all(|other| other.id != sweep.id) {
            sweeps.push(sweep);
        }
    }
    Ok(sweeps)
}

/// The metric to go by, and which values of it are better.
fn measure(request: &CompareRequest, sweeps: &[SweepView]) -> Result<(String, Goal), ApiError> {
    let mut objectives: Vec<&Objective> = Vec::new();
    for objective in sweeps.iter().filter_map(|sweep| sweep.about.objective.as_ref()) {
        if !objectives.contains(&objective) {
            objectives.push(objective);
        }
    }
    let unclear = |why: &str| {
        ApiError::new(ErrorCode::BadRequest, format!("{why}: name a metric with `--metric`"))
    };
    let metric = match (&request.metric, objectives.as_slice()) {
        (Some(metric), _) => metric.clone(),
        (None, [only]) => only.metric.clone(),
        (None, []) => return Err(unclear("no sweep says in its `objective` what to compare by")),
        (None, _) => return Err(unclear("the sweeps have different objectives")),
    };
    let of_objective = objectives.iter().find(|objective| objective.metric == metric);
    let goal = request.goal.or(of_objective.map(|objective| objective.goal));
    Ok((metric, goal.unwrap_or(Goal::Minimize)))
}

/// The metrics that there are, for people.
async fn there_are(world: &World, sweeps: &[SweepView]) -> Result<String, ApiError> {
    const NAMED_MAX: usize = 20;
    let mut names = BTreeSet::new();
    for sweep in sweeps {
        names.extend(world.store.metric_names_of_sweep(RunId(sweep.id)).await?);
    }
    if names.is_empty() {
        return Ok("no point has reported any metric yet".to_owned());
    }
    let more = if names.len() > NAMED_MAX { ", …" } else { "" };
    let named: Vec<String> =
        names.iter().take(NAMED_MAX).map(|name| name.escape_debug().to_string()).collect();
    Ok(format!("there are {}{more}", named.join(", ")))
}

/// Records the wish for each point that is not over; the next pass carries it out.
pub(super) async fn cancel(
    State(app): State<App>,
    Path(reference): Path<String>,
) -> Answer<SweepView> {
    let world = &app.world;
    let sweep = found(world, &reference).await?;
    let (id, by) = (RunId(sweep.id), world.asker.user.clone());
    // First: what is told afterwards would not be cancelled.
    if sweep.is_open() {
        close_sweep(world, id).await?;
    }
    let count = world.store.cancel_sweep(id, by, world.clock.now()).await?;
    if count == 0 && !sweep.is_open() {
        let message = format!("sweep {id} is over already: {}", sweep.state);
        return Err(ApiError::new(ErrorCode::Conflict, message)
            .hint(format!("`trainyard sweep show {id}` tells how its points ended")));
    }
    world.nudge.notify_one();
    Ok(Json(found(world, &reference).await?))
}

/// The sweep of a number, or the newest of a name.
pub(super) async fn found(world: &World, reference: &str) -> Result<SweepView, ApiError> {
    let id = match reference.parse() {
        Ok(number) => Some(RunId(number)),
        Err(_) => world.store.sweep_named(reference.to_owned()).await?,
    };
    let view = match id {
        Some(id) => sweep_view(world, id).await?,
        None => None,
    };
    view.ok_or_else(|| {
        let message = format!("there is no sweep `{}`", reference.escape_debug());
        ApiError::new(ErrorCode::NotFound, message)
            .hint("`trainyard sweep list` shows the newest sweeps")
    })
}
