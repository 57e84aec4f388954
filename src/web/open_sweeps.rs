//! Open sweeps: told points, and asked what came of them.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use crate::api::{AskAnswer, ErrorCode, LIST_MAX, OpenSweepView, TellAnswer, TellRequest};
use crate::daemon::{TellError, World, close_sweep, ended_points, tell as tell_points};
use crate::domain::ids::RunId;
use crate::web::error::{ApiError, NOTHING_SUBMITTED};
use crate::web::sweeps::found;
use crate::web::{App, Patience};

type Answer<T> = Result<Json<T>, ApiError>;

/// Takes all points or none, then closes the sweep if that is wanted.
pub(super) async fn tell(
    State(app): State<App>,
    Path(reference): Path<String>,
    Json(request): Json<TellRequest>,
) -> Answer<TellAnswer> {
    let id = RunId(found(&app.world, &reference).await?.id);
    // It is finished even when the client goes away in the middle.
    let world = app.world.clone();
    let telling = app.world.tasks.spawn(async move {
        let closes = request.close;
        let told = tell_points(&world, id, request).await?;
        if closes {
            close_sweep(&world, id).await?;
        }
        Ok::<_, TellError>(told)
    });
    let told = telling.await;
    let told = told.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))??;
    Ok(Json(TellAnswer { sweep: standing(&app.world, id).await?, told }))
}

#[derive(Debug, Deserialize)]
pub(super) struct AskQuery {
    /// Results behind the one of this number.
    #[serde(default)]
    after: u32,
    limit: Option<u32>,
    /// Answer only once there is one, or none can come …
    #[serde(default)]
    waits: bool,
    /// … or so many seconds have passed.
    wait: Option<u64>,
}

pub(super) async fn ask(
    State(app): State<App>,
    Path(reference): Path<String>,
    Query(query): Query<AskQuery>,
) -> Answer<AskAnswer> {
    let world = &app.world;
    let id = RunId(found(world, &reference).await?.id);
    let limit = query.limit.unwrap_or(LIST_MAX).min(LIST_MAX);
    let look = || async {
        // Before its points: what it says of itself is not newer than what is said of them.
        let sweep = standing(world, id).await?;
        let row = world.store.sweep(id).await?.ok_or(TellError::NotOpen(id))?;
        let results = ended_points(world, &row, (query.after, limit)).await?;
        let after = results.last().map_or(query.after, |last| last.result);
        Ok(AskAnswer { sweep, after, results })
    };
    let is_told =
        |answer: &AskAnswer| !answer.results.is_empty() || answer.sweep.over || !query.waits;
    let patience = Patience { after: None, wait: query.wait };
    Ok(Json(app.look(patience, look, is_told).await?.0))
}

async fn standing(world: &World, id: RunId) -> Result<OpenSweepView, ApiError> {
    let sweep = found(world, &id.to_string()).await?;
    Ok(OpenSweepView::of(&sweep).ok_or(TellError::NotOpen(id))?)
}

impl From<TellError> for ApiError {
    fn from(error: TellError) -> Self {
        let told = crate::chain(&error);
        match error {
            TellError::NotOpen(_) => Self::new(ErrorCode::BadRequest, told)
                .hint("a sweep with `method = \"open\"` is told its points"),
            TellError::Closed(sweep) | TellError::Full { sweep, .. } => {
                Self::new(ErrorCode::Conflict, told)
                    .hint(format!("`trainyard sweep show {sweep}` tells how it stands"))
            }
            TellError::KeyTaken { sweep, point, .. } => {
                Self::new(ErrorCode::Conflict, told).hint(format!(
                    "`trainyard show {sweep}:{point}` shows it; use another key for another point"
                ))
            }
            TellError::Changed(_) | TellError::NoSpec(_) => Self::new(ErrorCode::Conflict, told),
            TellError::KeyTwice(_)
            | TellError::BadKey
            | TellError::TooMany(_)
            | TellError::BadText => Self::new(ErrorCode::BadRequest, told),
            TellError::Invalid { sources, problems } => Self::invalid(told, *sources, problems),
            TellError::Files(_) => {
                Self::new(ErrorCode::FilesUnavailable, told).hint(NOTHING_SUBMITTED)
            }
            TellError::Store(source) => source.into(),
        }
    }
}
