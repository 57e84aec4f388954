//! What a submission would cost, and when it would start.

use axum::Json;
use axum::extract::State;

use crate::api::EstimateView;
use crate::daemon;
use crate::domain::request::SpecRequest;
use crate::web::App;
use crate::web::error::ApiError;

/// What is short or wrong by the daemon's site may be mended in its files by now, as at a submission.
pub(super) async fn estimate(
    State(app): State<App>,
    Json(request): Json<SpecRequest>,
) -> Result<Json<EstimateView>, ApiError> {
    let world = &app.world;
    let estimated = daemon::estimate(world, request.clone()).await;
    let is_fine = estimated.as_ref().is_ok_and(|estimate| estimate.sufficient);
    if !is_fine && world.has_taken_up_a_newer_site().await {
        return Ok(Json(daemon::estimate(world, request).await?));
    }
    Ok(Json(estimated?))
}
