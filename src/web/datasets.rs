//! Data: what it has been, and what it is now.

use std::path::PathBuf;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;

use crate::api::{ErrorCode, SnapshotRequest};
use crate::daemon::{fingerprints, take_snapshot};
use crate::domain::dataset::{Dataset, DatasetView, Fingerprints};
use crate::domain::spec::{OnDrift, Stage};
use crate::web::App;
use crate::web::error::ApiError;

#[derive(Debug, Deserialize)]
pub(super) struct PathQuery {
    path: PathBuf,
}

pub(super) async fn history(
    State(app): State<App>,
    Query(query): Query<PathQuery>,
) -> Result<Json<Fingerprints>, ApiError> {
    Ok(Json(fingerprints(&app.world, query.path).await?))
}

pub(super) async fn snapshot(
    State(app): State<App>,
    Json(request): Json<SnapshotRequest>,
) -> Result<Json<DatasetView>, ApiError> {
    /// It may take longer than an idle daemon stays.
    const BETWEEN_SIGNS: Duration = Duration::from_mins(1);
    if !request.path.is_absolute() {
        return Err(ApiError::new(ErrorCode::BadRequest, "a dataset's path is absolute"));
    }
    let dataset = Dataset {
        name: request.name,
        path: request.path,
        version: request.version,
        immutable: false,
        stage: Stage::None,
        content: request.content,
        on_drift: OnDrift::Warn,
    };
    let world = app.world.clone();
    // It is finished and recorded even when the client goes away.
    let mut taking = app.world.tasks.spawn(async move { take_snapshot(&world, &dataset).await });
    let taken = loop {
        tokio::select! {
            taken = &mut taking => break taken,
            () = tokio::time::sleep(BETWEEN_SIGNS) => app.world.touched(),
        }
    };
    let snapshot =
        taken.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))??;
    Ok(Json(DatasetView::from(&snapshot)))
}
