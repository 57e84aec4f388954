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
}

pub(super) async fn logs(
    State(app): State<App>,
    Path(reference): Path<String>,
    Query(query): Query<LogsQuery>,
) -> Result<Response, ApiError> {
    let run = resolve(&app.world, &reference).await?;
    let view = view(&app, run).await?;
    let source = query.source.unwrap_or(LogSource::Training);
    let file = match log_file(&view, query.attempt, source) {
        Some(file) => Some(file),
        None if query.follow && !view.is_final() && query.attempt.is_none() => None,
        None => return Err(no_log(&view, query.attempt)),
    };
    let mut reader =
        LogReader { app, run, source, file, offset: 0, follow: query.follow, is_last: false };
    if let (Some(lines), Some(file)) = (query.tail, reader.file.clone()) {
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
                return Some(bytes);
            }
            if !self.follow || self.is_last {
                return None;
            }
            // Looked at before the last read: a line written between the two is not missed.
            let view = run_view(&self.app.world, self.run).await.ok().flatten()?;
            self.is_last = view.is_final();
            if self.file.is_none() {
                self.file = log_file(&view, None, self.source);
            }
            if !self.is_last {
                tokio::select! {
                    () = tokio::time::sleep(INTERVAL) => {}
                    () = self.app.shutdown.cancelled() => return None,
                }
            }
        }
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
