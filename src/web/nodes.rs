//! Nodes that failed under runs.

use axum::Json;
use axum::extract::State;

use crate::api::{ClearRequest, ErrorCode};
use crate::daemon::{bad_nodes, clear_bad_nodes};
use crate::domain::bad_nodes::BadNode;
use crate::domain::nodelist::joined;
use crate::web::App;
use crate::web::error::ApiError;

pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<BadNode>>, ApiError> {
    Ok(Json(bad_nodes(&app.world).await?))
}

pub(super) async fn clear(
    State(app): State<App>,
    Json(request): Json<ClearRequest>,
) -> Result<Json<Vec<BadNode>>, ApiError> {
    clear_bad_nodes(&app.world, request.nodes).await?.map(Json).map_err(|unknown| {
        let names = joined(&unknown, ", ");
        ApiError::new(
            ErrorCode::NotFound,
            format!("no failure is remembered of {names}; nothing was cleared"),
        )
        .hint("`trainyard site bad-nodes` lists the nodes that failed")
    })
}
