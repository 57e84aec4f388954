//! Budgets of projects, and the ledger that they come from.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use crate::api::{BudgetView, EntryView, ErrorCode, LIST_MAX, ReleasedView};
use crate::daemon;
use crate::domain::ledger::Amount;
use crate::web::App;
use crate::web::error::ApiError;
use crate::web::reference::{self, resolve};

pub(super) async fn all(State(app): State<App>) -> Result<Json<Vec<BudgetView>>, ApiError> {
    Ok(Json(daemon::budgets(&app.world, None).await?.unwrap_or_default()))
}

pub(super) async fn one(
    State(app): State<App>,
    Path(project): Path<String>,
) -> Result<Json<Vec<BudgetView>>, ApiError> {
    let budgets = daemon::budgets(&app.world, Some(&project)).await?;
    budgets.map(Json).ok_or_else(|| missing(&project))
}

#[derive(Debug, Deserialize)]
pub(super) struct LedgerQuery {
    project: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn ledger(
    State(app): State<App>,
    Query(query): Query<LedgerQuery>,
) -> Result<Json<Vec<EntryView>>, ApiError> {
    let LedgerQuery { project, limit } = query;
    let limit = limit.unwrap_or(LIST_MAX).min(LIST_MAX);
    let entries = daemon::ledger(&app.world, project.clone(), limit).await?;
    let entries = entries.ok_or_else(|| missing(&project.unwrap_or_default()))?;
    Ok(Json(entries.into_iter().map(EntryView::from).collect()))
}

/// Gives back what is held for lost starts of a run.
pub(super) async fn release(
    State(app): State<App>,
    Path(reference): Path<String>,
) -> Result<Json<ReleasedView>, ApiError> {
    let world = &app.world;
    let run = resolve(world, &reference).await?;
    if world.store.run(run).await?.is_none() {
        return Err(reference::missing(&reference));
    }
    let (who, now) = (world.asker.user.clone(), world.clock.now());
    let (given, unit) = world.store.give_back(run, who, now).await?;
    if given == Amount::ZERO {
        let title = format!("nothing is held for a lost start of run {run}");
        return Err(ApiError::new(ErrorCode::Conflict, title)
            .hint("what is held for a start that goes on is given back when that is over"));
    }
    world.changed();
    world.nudge.notify_one();
    Ok(Json(ReleasedView { released: given.units(), unit: unit.to_owned() }))
}

fn missing(project: &str) -> ApiError {
    let title = format!("there is no project `{}`", project.escape_debug());
    ApiError::new(ErrorCode::NotFound, title)
        .hint("`trainyard site show` tells which projects the site defines")
}
