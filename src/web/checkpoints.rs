//! Checkpoints: the catalogue of a run.

use axum::Json;
use axum::extract::{Path, State};

use crate::api::ErrorCode;
use crate::daemon::{CatalogueError, checkpoints};
use crate::domain::checkpoint::CatalogueView;
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

pub(super) fn unseen(error: CatalogueError) -> ApiError {
    match error {
        CatalogueError::Files(_) => {
            ApiError::new(ErrorCode::FilesUnavailable, crate::chain(&error))
                .hint("nothing is known of them before it answers; the run is not affected")
        }
        CatalogueError::Store(error) => error.into(),
    }
}
