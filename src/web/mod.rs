//! The API: HTTP and JSON under `/api/v1`, over the daemon's own socket.
//!
//! One file per noun. A handler reads, or records a wish and nudges; it never acts on a job itself.

mod awaited;
mod budgets;
mod checkpoints;
mod classes;
mod daemon;
mod datasets;
mod error;
mod estimate;
mod kept;
mod logs;
mod nodes;
mod open_sweeps;
mod reference;
mod resume;
mod runs;
mod schedules;
mod sweeps;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::{BODY_BYTES_MAX, ErrorCode, SITE_HEADER, WAIT_SECONDS_MAX};
use crate::daemon::World;
use crate::web::error::{ApiError, PROBLEM_TYPE};

/// What every handler gets.
#[derive(Clone)]
struct App {
    world: Arc<World>,
    /// Cancelled when the daemon drains: streams end then.
    shutdown: CancellationToken,
}

/// Until when whoever asks for something that changes wants no answer.
#[derive(Clone, Copy, Debug, Default)]
struct Patience {
    /// Only once more changes than this were recorded …
    after: Option<u64>,
    /// … or so many seconds have passed.
    wait: Option<u64>,
}

impl App {
    /// Looks, and again after each change until it has seen enough or the time is up. Gives what it saw last, and how many
    /// changes had been recorded before that.
    async fn look<T, F: Future<Output = Result<T, ApiError>>>(
        &self,
        patience: Patience,
        look: impl Fn() -> F,
        is_enough: impl Fn(&T) -> bool,
    ) -> Result<(T, u64), ApiError> {
        let seconds = patience.wait.unwrap_or(WAIT_SECONDS_MAX).min(WAIT_SECONDS_MAX);
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let mut changes = self.world.changes.subscribe();
        let mut after = patience.after;
        loop {
            let is_in_time = match after {
                Some(after) => self.has_changed(&mut changes, after, deadline).await,
                None => true,
            };
            let change = *changes.borrow_and_update();
            let seen = look().await?;
            if !is_in_time || is_enough(&seen) {
                return Ok((seen, change));
            }
            after = Some(change);
        }
    }

    /// Waits until more changes than `after` were recorded; false where the time was up before.
    async fn has_changed(
        &self,
        changes: &mut watch::Receiver<u64>,
        after: u64,
        deadline: Instant,
    ) -> bool {
        tokio::select! {
            changed = changes.wait_for(|count| *count != after) => changed.is_ok(),
            () = tokio::time::sleep_until(deadline) => false,
            () = self.shutdown.cancelled() => false,
        }
    }
}

/// All routes.
pub fn router(world: Arc<World>, shutdown: CancellationToken) -> Router {
    let app = App { world, shutdown };
    let v1 = Router::new()
        .route("/daemon", get(daemon::status))
        .route("/daemon/stop", post(daemon::stop))
        .route("/datasets", get(datasets::history).post(datasets::snapshot))
        .route("/bad-nodes", get(nodes::list))
        .route("/bad-nodes/clear", post(nodes::clear))
        .route("/budgets", get(budgets::all))
        .route("/budgets/{project}", get(budgets::one))
        .route("/ledger", get(budgets::ledger))
        .route("/ledger/release/{run}", post(budgets::release))
        .route("/runs", get(runs::list).post(runs::submit))
        .route("/runs/{run}", get(runs::show))
        .route("/runs/{run}/events", get(runs::events))
        .route("/runs/{run}/explain", get(runs::explain))
        .route("/runs/{run}/export", get(runs::export))
        .route("/runs/{run}/code", get(kept::code))
        .route("/runs/{run}/delete", post(kept::delete_run))
        .route("/awaited/{reference}", get(awaited::find))
        .route("/compare", post(sweeps::compare))
        .route("/sweeps", get(sweeps::list))
        .route("/sweeps/{sweep}", get(sweeps::show))
        .route("/sweeps/{sweep}/cancel", post(sweeps::cancel))
        .route("/sweeps/{sweep}/results", get(open_sweeps::ask))
        .route("/sweeps/{sweep}/tell", post(open_sweeps::tell))
        .route("/schedules", get(schedules::list).post(schedules::add))
        .route("/schedules/there", post(schedules::add_there))
        .route("/schedules/{name}/pause", post(schedules::pause))
        .route("/schedules/{name}/resume", post(schedules::resume))
        .route("/schedules/{name}/run-now", post(schedules::run_now))
        .route("/schedules/{name}/delete", post(schedules::delete))
        .route("/classes", get(classes::list))
        .route("/estimate", post(estimate::estimate))
        .route("/usage", get(usage::report))
        .route("/usage/accounts", get(usage::compared))
        .route("/store/gc", post(kept::gc))
        .route("/runs/{run}/metrics", get(runs::metrics))
        .route("/runs/{run}/checkpoints", get(checkpoints::catalogue))
        .route("/runs/{run}/checkpoints/plan", get(checkpoints::plan))
        .route("/runs/{run}/logs", get(logs::logs))
        .route("/runs/{run}/resume", post(resume::resume))
        .route("/runs/{run}/cancel", post(runs::cancel));
    Router::new()
        .nest("/api/v1", v1)
        .fallback(|| async { ApiError::new(ErrorCode::NotFound, "there is nothing at this path") })
        .layer(from_fn_with_state(app.clone(), welcome))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
}

/// Notes that somebody needs the daemon, and turns away a client that goes by another site file.
async fn welcome(State(app): State<App>, request: Request, next: Next) -> Response {
    app.world.touched();
    // Only a submission, now or later, is decided by the site config.
    let is_submission = request.method() == Method::POST
        && ["/api/v1/runs", "/api/v1/schedules", "/api/v1/schedules/there", "/api/v1/estimate"]
            .contains(&request.uri().path());
    let asked = request
        .headers()
        .get(SITE_HEADER)
        .filter(|_| is_submission)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let ours = app.world.paths.site_asked.as_ref().map(|path| path.display().to_string());
    if let Some(asked) = asked.filter(|asked| Some(asked) != ours.as_ref()) {
        let ours = ours.unwrap_or_else(|| "the default site config".to_owned());
        let message = format!("the daemon was started with {ours}, not with {asked}");
        let error = ApiError::new(ErrorCode::Conflict, message);
        return error.hint("`trainyard daemon stop` ends it; runs go on, and the next command starts a new one").into_response();
    }
    let response = next.run(request).await;
    app.world.touched();
    told_as_problem(response)
}

/// What the framework refuses by itself (a query, a body, a method) gets the form of our own errors.
fn told_as_problem(response: Response) -> Response {
    let status = response.status();
    let is_ours = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_TYPE);
    if is_ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let code = if status.is_client_error() { ErrorCode::BadRequest } else { ErrorCode::Internal };
    let told = status.canonical_reason().unwrap_or("refused");
    ApiError::new(code, format!("the request cannot be understood: {told}")).into_response()
}
