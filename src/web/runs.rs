//! Runs: submit, list, show, wait, cancel.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::api::{
    ErrorCode, LIST_MAX, METRICS_PAGE, RunAnswer, RunRecord, SubmitAnswer, SubmitOutcome,
    SweepAnswer,
};
use crate::daemon::{
    AcceptError, Accepted, SubmitRequest, World, accept, explain_run, list_views, run_record,
    run_view, sweep_view,
};
use crate::domain::diagnosis::Explanation;
use crate::domain::ids::RunId;
use crate::domain::run::{State as RunState, WishKind};
use crate::domain::view::RunView;
use crate::store::{Filter, HistoryEvent, MetricPoint};
use crate::web::error::{ApiError, NOTHING_SUBMITTED};
use crate::web::reference::{missing, no_run, resolve};
use crate::web::{App, Patience};

type Answer<T> = Result<Json<T>, ApiError>;

const LOOK_LATER: &str = "do not submit it again; the daemon's log says why";

pub(super) async fn submit(
    State(app): State<App>,
    Json(request): Json<SubmitRequest>,
) -> Result<(StatusCode, Json<SubmitAnswer>), ApiError> {
    // The acceptance is finished even when the client goes away in the middle.
    let world = app.world.clone();
    let accepting = app.world.tasks.spawn(async move { accept_by_newest(&world, request).await });
    let accepted =
        accepting.await.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?;
    let accepted = accepted.map_err(|error| {
        let is_silent = matches!(error, AcceptError::Files(_));
        let error = ApiError::from(error);
        if is_silent { error.hint(NOTHING_SUBMITTED) } else { error }
    })?;
    let number = accepted.run();
    let is_new = matches!(accepted, Accepted::New { .. });
    let answer = answer(&app.world, accepted).await.map_err(|error| {
        // Whoever hears that nothing was recorded submits it again.
        let told = || format!("it is recorded as number {number}, and cannot be shown now");
        if is_new { ApiError::new(ErrorCode::Internal, told()).hint(LOOK_LATER) } else { error }
    })?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(answer)))
}

async fn answer(world: &Arc<World>, accepted: Accepted) -> Result<SubmitAnswer, ApiError> {
    let number = accepted.run();
    let run = run_view(world, number).await?;
    let mut warnings = Vec::new();
    let outcome = match accepted {
        Accepted::New { warning, .. } => {
            warnings.extend(warning);
            SubmitOutcome::New
        }
        Accepted::OfKey(_) => SubmitOutcome::OfKey,
        Accepted::Skipped(_) => SubmitOutcome::Skipped,
    };
    let of_sweep = run.as_ref().map_or(Some(number.0), |run| run.sweep);
    let sweep = sweep_answer(world, of_sweep).await?;
    if run.is_none() && sweep.is_none() {
        return Err(no_run(world, &number.to_string()).await?);
    }
    Ok(SubmitAnswer { run, sweep, outcome, warnings })
}

async fn sweep_answer(world: &World, id: Option<i64>) -> Result<Option<SweepAnswer>, ApiError> {
    let Some(id) = id.map(RunId) else { return Ok(None) };
    let Some(sweep) = sweep_view(world, id).await? else { return Ok(None) };
    let runs = world.store.points(id).await?.into_iter().map(|run| run.0).collect();
    Ok(Some(SweepAnswer { sweep, runs }))
}

/// What the daemon would refuse may be in the site's files by now: whoever changed them does not wait for its next look.
async fn accept_by_newest(
    world: &Arc<World>,
    request: SubmitRequest,
) -> Result<Accepted, AcceptError> {
    let refused = match Box::pin(accept(world, request.clone())).await {
        Err(
            error @ (AcceptError::Invalid { .. }
            | AcceptError::Elsewhere { .. }
            | AcceptError::OverBudget(_)),
        ) => error,
        accepted => return accepted,
    };
    if world.has_taken_up_a_newer_site().await {
        return Box::pin(accept(world, request)).await;
    }
    Err(refused)
}

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    state: String,
    user: Option<String>,
    project: Option<String>,
    sweep: Option<i64>,
    name: Option<String>,
    /// Seconds back from now.
    since: Option<u64>,
    /// Only runs with a lower number.
    before: Option<i64>,
    limit: Option<u32>,
}

pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Answer<Vec<RunView>> {
    let states: Vec<String> =
        query.state.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    if let Some(wrong) = states.iter().find(|word| !RunState::WORDS.contains(&word.as_str())) {
        let error = ApiError::new(
            ErrorCode::BadRequest,
            format!("there is no state `{}`", wrong.escape_debug()),
        );
        return Err(error.hint(format!("states are {}", RunState::WORDS.join(", "))));
    }
    const LIMIT_DEFAULT: u32 = 50;
    let since = query.since.map(|seconds| {
        let back = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        app.world.clock.now().saturating_sub(back).unwrap_or(Timestamp::MIN)
    });
    let filter = Filter {
        states,
        owner: query.user,
        project: query.project,
        sweep: query.sweep.map(RunId),
        name_glob: query.name,
        since,
        ran: None,
        before: query.before.map(RunId),
        limit: query.limit.unwrap_or(LIMIT_DEFAULT).min(LIST_MAX),
    };
    Ok(Json(list_views(&app.world, filter).await?))
}

#[derive(Debug, Deserialize)]
pub(super) struct ShowQuery {
    /// Answer only once more changes than this were recorded …
    after: Option<u64>,
    /// … or once the scheduler has answered, or the run waits by its own rules …
    #[serde(default)]
    acknowledged: bool,
    /// … or so many seconds have passed.
    wait: Option<u64>,
}

pub(super) async fn show(
    State(app): State<App>,
    Path(reference): Path<String>,
    Query(query): Query<ShowQuery>,
) -> Answer<RunAnswer> {
    // A number is found, or not, when the run is read.
    let run = match reference.parse() {
        Ok(number) => RunId(number),
        Err(_) => resolve(&app.world, &reference).await?,
    };
    let patience = Patience { after: query.after, wait: query.wait };
    let is_enough = |run: &RunView| !query.acknowledged || !run.awaits_acknowledgement();
    let (run, change) = app.look(patience, || view(&app.world, run), is_enough).await?;
    Ok(Json(RunAnswer { run, change }))
}

pub(super) async fn export(
    State(app): State<App>,
    Path(reference): Path<String>,
) -> Answer<RunRecord> {
    let run = resolve(&app.world, &reference).await?;
    let record = run_record(&app.world, run).await?;
    record.map(Json).ok_or_else(|| missing(&reference))
}

pub(super) async fn events(
    State(app): State<App>,
    Path(reference): Path<String>,
) -> Answer<Vec<HistoryEvent>> {
    let run = resolve(&app.world, &reference).await?;
    Ok(Json(app.world.store.events(run).await?))
}

pub(super) async fn explain(
    State(app): State<App>,
    Path(reference): Path<String>,
) -> Answer<Explanation> {
    let run = resolve(&app.world, &reference).await?;
    let explanation = explain_run(&app.world, run).await?;
    explanation.map(Json).ok_or_else(|| missing(&reference))
}

#[derive(Debug, Deserialize)]
pub(super) struct MetricsQuery {
    name: Option<String>,
    /// Go on behind this name and step.
    after_name: Option<String>,
    after_step: Option<i64>,
}

pub(super) async fn metrics(
    State(app): State<App>,
    Path(reference): Path<String>,
    Query(query): Query<MetricsQuery>,
) -> Answer<Vec<MetricPoint>> {
    let run = resolve(&app.world, &reference).await?;
    let after = query.after_name.zip(query.after_step);
    Ok(Json(app.world.store.metrics(run, query.name, after, METRICS_PAGE).await?))
}

/// Records the wish; the next pass carries it out.
pub(super) async fn cancel(
    State(app): State<App>,
    Path(reference): Path<String>,
) -> Answer<RunView> {
    let world = &app.world;
    let run = resolve(world, &reference).await?;
    let before = view(world, run).await?;
    if before.is_final() {
        return Err(ApiError::new(
            ErrorCode::Conflict,
            format!("run {run} is over already: {}", before.state),
        )
        .hint(format!("`trainyard show {run}` tells how it ended")));
    }
    world.store.wish(run, WishKind::Cancel, world.asker.user.clone(), world.clock.now()).await?;
    world.nudge.notify_one();
    Ok(Json(view(world, run).await?))
}

async fn view(world: &World, run: RunId) -> Result<RunView, ApiError> {
    match run_view(world, run).await? {
        Some(view) => Ok(view),
        None => Err(no_run(world, &run.to_string()).await?),
    }
}
