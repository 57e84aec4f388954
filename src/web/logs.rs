//! Logs, as the bytes they are, live when asked.

use std::path::PathBuf;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;

use crate::api::{ErrorCode, LogSource};
use crate::daemon::{log_file, run_view};
use crate::domain::ids::RunId;
use crate::domain::rank_log::{NoRankLog, RankLines, RankLog};
use crate::domain::run_files::RunFiles;
use crate::domain::view::RunView;
use crate::web::App;
use crate::web::error::ApiError;
use crate::web::reference::resolve;

/// Bytes read and sent at once.
const STRETCH_BYTES: usize = 256 << 10;
/// Between looks at a log that is followed.
const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug, Deserialize)]
pub(super) struct LogsQuery {
    #[serde(default)]
    follow: bool,
    attempt: Option<u32>,
    source: Option<LogSource>,
    /// The last so many lines.
    tail: Option<u64>,
    /// Only what this rank printed.
    rank: Option<u32>,
}

pub(super) async fn logs(
    State(app): State<App>,
    Path(reference): Path<String>,
    Query(query): Query<LogsQuery>,
) -> Result<Response, ApiError> {
    let run = resolve(&app.world, &reference).await?;
    let view = view(&app, run).await?;
    let source = query.source.unwrap_or(LogSource::Training);
    let (own, only) = match query.rank {
        None => (None, None),
        Some(rank) => match rank_log(&app, run, rank).await? {
            RankLog::Whole => (None, None),
            RankLog::Own => (Some(rank), None),
            RankLog::Labelled => (None, Some(RankLines::new(rank, query.tail))),
        },
    };
    let file = match log_file(&view, query.attempt, source, own) {
        Some(file) => Some(file),
        None if query.follow && !view.is_final() && query.attempt.is_none() => None,
        None => return Err(no_log(&view, query.attempt)),
    };
    let file = there_now(&app, &view, &query, file).await?;
    let is_filtered = only.is_some();
    let mut reader = LogReader {
        app,
        run,
        source,
        own,
        only,
        file,
        offset: 0,
        follow: query.follow,
        is_last: false,
    };
    if let (Some(lines), Some(file), false) = (query.tail, reader.file.clone(), is_filtered) {
        let at = move |hands: &dyn crate::ports::Hands| hands.tail_offset(&file, lines);
        reader.offset = reader
            .app
            .world
            .with_hands(&view.run_dir, at)
            .await
            .map_err(|silence| unavailable(&silence))?;
    }
    let body = Body::from_stream(stream::unfold(reader, |mut reader| async move {
        let bytes = reader.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(bytes), reader))
    }));
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// What the scheduler said of a point is put behind what its training printed, and its own file is gone, when it has ended.
async fn there_now(
    app: &App,
    view: &RunView,
    query: &LogsQuery,
    file: Option<PathBuf>,
) -> Result<Option<PathBuf>, ApiError> {
    let mut attempts = view.attempts.iter().flatten();
    let attempt = attempts.rfind(|attempt| query.attempt.is_none_or(|n| n == attempt.attempt));
    let has_moved = query.source == Some(LogSource::Scheduler)
        && RunFiles::of(&view.run_dir).point().is_some()
        && attempt.is_some_and(|attempt| attempt.ended_at.is_some());
    let Some(said) = file.clone().filter(|_| has_moved) else { return Ok(file) };
    let length = app.world.with_hands(&view.run_dir, move |hands| hands.length(&said)).await;
    match length.map_err(|silence| unavailable(&silence))? {
        0 => Ok(log_file(view, query.attempt, LogSource::Training, None)),
        _ => Ok(file),
    }
}

async fn rank_log(app: &App, run: RunId, rank: u32) -> Result<RankLog, ApiError> {
    let whole = app.world.store.whole(run).await?;
    let whole = whole
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound, format!("there is no run {run}")))?;
    RankLog::of(&whole.row.resolved, rank).map_err(|why| {
        let error = ApiError::new(ErrorCode::NotFound, format!("run {run}: {why}"));
        match why {
            NoRankLog::NoSuchRank { .. } => error,
            NoRankLog::Mixed(_) => error.hint(
                "`[distributed] rank_logs = true` in the spec gives each rank a log of its own",
            ),
        }
    })
}

async fn view(app: &App, run: RunId) -> Result<RunView, ApiError> {
    let view = run_view(&app.world, run).await?;
    view.ok_or_else(|| ApiError::new(ErrorCode::NotFound, format!("there is no run {run}")))
}

fn unavailable(silence: &crate::ports::Silence) -> ApiError {
    ApiError::new(ErrorCode::FilesUnavailable, silence.to_string())
}

fn no_log(view: &RunView, attempt: Option<u32>) -> ApiError {
    match attempt {
        Some(n) => {
            ApiError::new(ErrorCode::NotFound, format!("run {} has no attempt {n}", view.id))
                .hint(format!("`trainyard show {}` lists its attempts", view.id))
        }
        None => ApiError::new(
            ErrorCode::NotFound,
            format!("run {} has no log: it never started", view.id),
        )
        .hint(format!("`trainyard show {}` says why", view.id)),
    }
}

/// Reads a log from an offset on, to its end or to the end of its run.
struct LogReader {
    app: App,
    run: RunId,
    source: LogSource,
    /// The rank whose own log it is.
    own: Option<u32>,
    /// Takes the lines of one rank out of those of all.
    only: Option<RankLines>,
    /// `None` until the run has an attempt.
    file: Option<PathBuf>,
    offset: u64,
    follow: bool,
    /// The run is over: what is there now is all there will be.
    is_last: bool,
}

impl LogReader {
    /// The next stretch; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.read().await {
                match self.only.as_mut().map(|only| only.take(&bytes)) {
                    None => return Some(bytes),
                    Some(own) if own.is_empty() => continue,
                    Some(own) => return Some(own.into()),
                }
            }
            let is_end = !self.follow || self.is_last;
            if let Some(own) = self.held_back(is_end) {
                return Some(own);
            }
            if is_end {
                return None;
            }
            // Looked at before the last read: a line written between the two is not missed.
            let view = run_view(&self.app.world, self.run).await.ok().flatten()?;
            self.is_last = view.is_final();
            if self.file.is_none() {
                self.file = log_file(&view, None, self.source, self.own);
            }
            if !self.is_last {
                tokio::select! {
                    () = tokio::time::sleep(INTERVAL) => {}
                    () = self.app.shutdown.cancelled() => return None,
                }
            }
        }
    }

    /// What was not shown as long as more might follow it.
    fn held_back(&mut self, is_end: bool) -> Option<Bytes> {
        let only = self.only.as_mut()?;
        let rest = if is_end { only.finish() } else { Vec::new() };
        let own = [only.caught_up(), rest].concat();
        (!own.is_empty()).then(|| own.into())
    }

    async fn read(&mut self) -> Option<Bytes> {
        let (file, from) = (self.file.clone()?, self.offset);
        let root = file.parent()?.to_owned();
        let read = move |hands: &dyn crate::ports::Hands| hands.read(&file, from, STRETCH_BYTES);
        // A file system that is silent is asked again while the log is followed.
        let stretch = self.app.world.with_hands(&root, read).await.ok()?;
        self.offset = stretch.next;
        (!stretch.bytes.is_empty()).then(|| Bytes::from(stretch.bytes))
    }
}
