//! Sweeps: list, show, cancel.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use crate::api::{ErrorCode, LIST_MAX};
use crate::daemon::{World, sweep_view, sweep_views};
use crate::domain::ids::RunId;
use crate::domain::sweep::SweepView;
use crate::web::App;
use crate::web::error::ApiError;

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

pub(super) async fn show(
    State(app): State<App>,
    Path(reference): Path<String>,
) -> Answer<SweepView> {
    Ok(Json(found(&app.world, &reference).await?))
}

/// Records the wish for each point that is not over; the next pass carries it out.
pub(super) async fn cancel(
    State(app): State<App>,
    Path(reference): Path<String>,
) -> Answer<SweepView> {
    let world = &app.world;
    let sweep = found(world, &reference).await?;
    let (id, by) = (RunId(sweep.id), world.asker.user.clone());
    if world.store.cancel_sweep(id, by, world.clock.now()).await? == 0 {
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
