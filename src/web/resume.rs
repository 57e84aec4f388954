//! Bringing a run back that is over.

use axum::Json;
use axum::extract::{Path, State};

use crate::api::{ErrorCode, ResumeRequest};
use crate::daemon::{ChoiceError, SecretsError, checkpoints, choose, run_view, take_secrets_again};
use crate::domain::checkpoint::Branch;
use crate::domain::ids::RunId;
use crate::domain::run::{Event, State as RunState, step};
use crate::domain::spec::Resume;
use crate::domain::view::RunView;
use crate::store::RunRow;
use crate::web::App;
use crate::web::checkpoints::unseen;
use crate::web::error::ApiError;
use crate::web::reference::{missing, resolve};

/// The run is pending again before this answers, in one transaction, so that whoever waits for it then waits for its new end.
pub(super) async fn resume(
    State(app): State<App>,
    Path(reference): Path<String>,
    Json(request): Json<ResumeRequest>,
) -> Result<Json<RunView>, ApiError> {
    let world = &app.world;
    let run = resolve(world, &reference).await?;
    let gone = || missing(&reference);
    let asked = world.store.run(run).await?.ok_or_else(gone)?;
    check(&asked)?;
    let _choosing = world.choosing().await;
    let from = match request.from {
        Some(wanted) => Some(chosen(&app, &asked, wanted).await?),
        None => None,
    };
    let taken = take_secrets_again(world, run, &asked.run_dir, &asked.resolved).await;
    let deciding = taken.map_err(|error| match error {
        SecretsError::Files(_) => ApiError::new(ErrorCode::FilesUnavailable, crate::chain(&error))
            .hint("the file that the spec names under `environment.secrets` has to be there"),
        SecretsError::Store(error) => error.into(),
    })?;
    // As it is now, while nobody else decides.
    let row = world.store.run(run).await?.ok_or_else(gone)?;
    check(&row)?;
    let (by, now) = (world.asker.user.clone(), world.clock.now());
    let event = Event::Resume { by, from };
    let decision = step(&row.run, &event, &world.policy(&row.resolved), now);
    world.store.record(decision, Vec::new(), now).await?;
    drop(deciding);
    world.changed();
    world.nudge.notify_one();
    Ok(Json(run_view(world, run).await?.ok_or_else(gone)?))
}

/// Whether the run is one that can be brought back.
fn check(row: &RunRow) -> Result<(), ApiError> {
    let (run, state) = (row.run.id, row.run.state.as_str());
    if row.deleted_at.is_some() {
        let message = format!("the files of run {run} were deleted");
        let hint = format!("`trainyard rerun {run}` submits it again, from the start");
        return Err(ApiError::new(ErrorCode::Conflict, message).hint(hint));
    }
    if !matches!(row.run.state, RunState::Final { .. } | RunState::Backoff { .. }) {
        let message = format!("run {run} is not over: {state}");
        let hint = "only a run that is over, or waits to be started again, can be resumed";
        return Err(ApiError::new(ErrorCode::Conflict, message).hint(hint));
    }
    Ok(())
}

/// The complete checkpoint of a step.
async fn chosen(app: &App, row: &RunRow, wanted: i64) -> Result<Branch, ApiError> {
    let run: RunId = row.run.id;
    if row.resolved.checkpoint.as_ref().is_none_or(|it| it.resume == Resume::Never) {
        let message = format!("run {run} does not go on from checkpoints");
        return Err(ApiError::new(ErrorCode::BadRequest, message)
            .hint("its spec has no `[checkpoint]`, or says `resume = \"never\"`"));
    }
    let catalogue = checkpoints(&app.world, run).await.map_err(unseen)?;
    let catalogue = catalogue.ok_or_else(|| missing(&run.to_string()))?;
    choose(&catalogue, wanted, app.world.clock.now()).map_err(|(error, complete)| {
        let code = match error {
            ChoiceError::Unknown(_) => ErrorCode::NotFound,
            ChoiceError::Incomplete { .. } => ErrorCode::BadRequest,
        };
        let steps: Vec<String> = complete.iter().map(ToString::to_string).collect();
        let hint = match steps.as_slice() {
            [] => "none is complete".to_owned(),
            _ => format!("those of steps {} are complete", steps.join(", ")),
        };
        ApiError::new(code, error.to_string()).hint(hint)
    })
}
