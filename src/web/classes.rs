//! Hardware classes as they are now.

use axum::Json;
use axum::extract::State;

use crate::api::ClassStanding;
use crate::daemon::class_standings;
use crate::web::App;
use crate::web::error::ApiError;

pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<ClassStanding>>, ApiError> {
    Ok(Json(class_standings(&app.world).await?))
}
