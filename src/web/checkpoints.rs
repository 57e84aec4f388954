//! Checkpoints: the catalogue of a run, and what would go of it.

use std::num::NonZeroU32;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use crate::api::ErrorCode;
use crate::daemon::{CatalogueError, checkpoints, retention_plan};
use crate::domain::checkpoint::{CatalogueView, PlanView};
use crate::web::App;
use crate::web::error::ApiError;
use crate::web::reference::{missing, resolve};

pub(super) async fn catalogue(
    State(app): State<App>,
    Path(reference): Path<String>,
) -> Result<Json<CatalogueView>, ApiError> {
    let run = resolve(&app.world, &reference).await?;
    let view = checkpoints(&app.world, run).await.map_err(unseen)?;
    view.map(Json).ok_or_else(|| missing(&reference))
}

#[derive(Debug, Deserialize)]
pub(super) struct PlanQuery {
    /// Instead of what the spec says.
    keep_last: Option<NonZeroU32>,
}

pub(super) async fn plan(
    State(app): State<App>,
    Path(reference): Path<String>,
    Query(query): Query<PlanQuery>,
) -> Result<Json<PlanView>, ApiError> {
    let run = resolve(&app.world, &reference).await?;
    let plan = retention_plan(&app.world, run, query.keep_last).await.map_err(unseen)?;
    plan.map(Json).ok_or_else(|| missing(&reference))
}

pub(super) fn unseen(error: CatalogueError) -> ApiError {
    match error {
        CatalogueError::Files(_) => {
            ApiError::new(ErrorCode::FilesUnavailable, crate::chain(&error))
                .hint("nothing is known of them before it answers; the run is not affected")
        }
        CatalogueError::Store(error) => error.into(),
    }
}
