//! What runs left: their files, and the code that the stores keep for them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};

use crate::api::{DeleteRequest, Deletion, ErrorCode, StoreReport};
use crate::daemon::{DeleteError, code_contents, collect_garbage, delete};
use crate::web::App;
use crate::web::error::ApiError;
use crate::web::reference::{missing, resolve};

pub(super) async fn delete_run(
    State(app): State<App>,
    Path(reference): Path<String>,
    Json(request): Json<DeleteRequest>,
) -> Result<Json<Deletion>, ApiError> {
    let run = resolve(&app.world, &reference).await?;
    let told = |error: &DeleteError| crate::chain(error);
    delete(&app.world, run, request.dry_run).await.map(Json).map_err(|error| match error {
        DeleteError::Missing(_) => missing(&reference),
        DeleteError::Live(..) => ApiError::new(ErrorCode::Conflict, told(&error))
            .hint(format!("`trainyard cancel {run}` ends it")),
        DeleteError::Files(_) => ApiError::new(ErrorCode::FilesUnavailable, told(&error))
            .hint("deleting it again removes what is left"),
        DeleteError::Store(error) => error.into(),
    })
}

pub(super) async fn gc(
    State(app): State<App>,
    Json(request): Json<DeleteRequest>,
) -> Result<Json<Vec<StoreReport>>, ApiError> {
    Ok(Json(collect_garbage(&app.world, !request.dry_run).await?))
}

pub(super) async fn code(
    State(app): State<App>,
    Path(reference): Path<String>,
) -> Result<Json<Option<BTreeMap<String, String>>>, ApiError> {
    let run = resolve(&app.world, &reference).await?;
    Ok(Json(code_contents(&app.world, run).await?))
}
