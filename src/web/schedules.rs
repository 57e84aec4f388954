//! Schedules: what submits runs by itself.

use axum::Json;
use axum::extract::{Path, State};

use crate::api::{ErrorCode, ScheduleAnswer};
use crate::daemon::{
    ScheduleError, ScheduleRequest, ScheduleThere, ThereError, add_schedule, delete_schedule,
    pause_schedule, run_schedule_now, schedule_there, schedules,
};
use crate::domain::schedule::{FiringView, HOW_TO_HAVE_ONE, ScheduleView};
use crate::web::App;
use crate::web::error::ApiError;

pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<ScheduleView>>, ApiError> {
    Ok(Json(schedules(&app.world).await?))
}

pub(super) async fn add(
    State(app): State<App>,
    Json(request): Json<ScheduleRequest>,
) -> Result<Json<ScheduleAnswer>, ApiError> {
    must_be_absolute(&request.spec)?;
    let (schedule, replaced) = add_schedule(&app.world, request).await?;
    Ok(Json(ScheduleAnswer { schedule, replaced }))
}

/// For who does not see the file.
pub(super) async fn add_there(
    State(app): State<App>,
    Json(request): Json<ScheduleThere>,
) -> Result<Json<ScheduleAnswer>, ApiError> {
    must_be_absolute(&request.spec)?;
    let request = schedule_there(&app.world, request).await?;
    let (schedule, replaced) = add_schedule(&app.world, request).await?;
    Ok(Json(ScheduleAnswer { schedule, replaced }))
}

fn must_be_absolute(spec: &std::path::Path) -> Result<(), ApiError> {
    if spec.is_absolute() {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::BadRequest, "a schedule's spec is an absolute path"))
}

pub(super) async fn pause(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<ScheduleView>, ApiError> {
    Ok(Json(pause_schedule(&app.world, &name, true).await?))
}

pub(super) async fn resume(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<ScheduleView>, ApiError> {
    Ok(Json(pause_schedule(&app.world, &name, false).await?))
}

pub(super) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<ScheduleView>, ApiError> {
    Ok(Json(delete_schedule(&app.world, &name).await?))
}

/// It is submitted even when the client goes away in the middle.
pub(super) async fn run_now(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<FiringView>, ApiError> {
    let world = app.world.clone();
    let running = app.world.tasks.spawn(async move { run_schedule_now(&world, &name).await });
    let ran = running.await.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()));
    Ok(Json(ran??))
}

impl From<ThereError> for ApiError {
    fn from(error: ThereError) -> Self {
        match error {
            ThereError::Unreadable(why) => Self::new(ErrorCode::InvalidSpec, why)
                .hint("the spec of a schedule is read there, again at each of its times: copy it, and give the path that it has there"),
            ThereError::NoSchedule(_) => Self::new(ErrorCode::InvalidSpec, error.to_string())
                .hint(HOW_TO_HAVE_ONE),
            ThereError::Spec(error) => error.into(),
        }
    }
}

impl From<ScheduleError> for ApiError {
    fn from(error: ScheduleError) -> Self {
        let told = error.to_string();
        match error {
            ScheduleError::Unknown(_) => Self::new(ErrorCode::NotFound, told)
                .hint("`trainyard schedule list` shows what there is"),
            ScheduleError::TooMany(_) => {
                Self::new(ErrorCode::Conflict, told).hint("`trainyard schedule delete` makes room")
            }
            ScheduleError::UnderWay(_) => Self::new(ErrorCode::Conflict, told)
                .hint("`trainyard schedule list` tells what becomes of it"),
            ScheduleError::Unusable => Self::new(ErrorCode::BadRequest, told),
            ScheduleError::Store(source) => source.into(),
        }
    }
}
