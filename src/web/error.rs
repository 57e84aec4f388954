//! Errors as clients see them. What only the log may know is logged here, once.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::error;

use crate::api::{ErrorCode, ProblemBody};
use crate::daemon::AcceptError;
use crate::domain::problem::{Problem, Sources};
use crate::store::StoreError;

/// The media type of RFC 9457.
pub(super) const PROBLEM_TYPE: &str = "application/problem+json";

/// A hint of what would have submitted something.
pub(super) const NOTHING_SUBMITTED: &str = "nothing was submitted";

/// What helps where client and daemon do not go by the same site.
const OLDER_SITE: &str = "the daemon goes by what it found when it started: `trainyard daemon stop`, and the next \
                          command starts one that goes by what is found now";

/// An error with its public body.
#[derive(Debug)]
pub(super) struct ApiError(Box<ProblemBody>);

impl ApiError {
    pub(super) fn new(code: ErrorCode, title: impl Into<String>) -> Self {
        let body = ProblemBody {
            title: title.into(),
            status: code.status(),
            code,
            hints: Vec::new(),
            problems: Vec::new(),
            sources: None,
        };
        Self(Box::new(body))
    }

    /// Problems of a text, which are told at their places.
    pub(super) fn invalid(told: String, sources: Sources, problems: Vec<Problem>) -> Self {
        let mut body = Self::new(ErrorCode::InvalidSpec, told);
        body.0.problems = problems;
        body.0.sources = Some(sources);
        body
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, PROBLEM_TYPE)], Json(self.0)).into_response()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let told = crate::chain(&error);
        error!("a request failed: {told}");
        if error.is_disk_full() {
            return Self::new(
                ErrorCode::StorageFull,
                "the disk of the state directory takes no more: it is full, over quota or failing; nothing was recorded",
            )
            .hint("make room and try again; runs that are running go on");
        }
        Self::new(ErrorCode::Internal, told)
    }
}

impl From<AcceptError> for ApiError {
    fn from(error: AcceptError) -> Self {
        let told = crate::chain(&error);
        match error {
            AcceptError::Invalid { sources, problems } => {
                Self::invalid(told, *sources, problems)
            }
            AcceptError::KeyDeleted { .. } => Self::new(ErrorCode::Conflict, told)
                .hint("give another key: this one will not be given again"),
            AcceptError::KeyTaken { run, is_sweep, .. } => {
                let show = if is_sweep { "sweep show" } else { "show" };
                Self::new(ErrorCode::Conflict, told).hint(format!(
                    "`trainyard {show} {run}` shows it; use another key for another spec"
                ))
            }
            AcceptError::Elsewhere { .. } => Self::new(ErrorCode::Conflict, told).hint(OLDER_SITE),
            AcceptError::SlurmSilent(_) => Self::new(ErrorCode::SlurmUnreachable, told)
                .hint("`--target local` runs it on this machine"),
            AcceptError::Requirements(_) => Self::new(ErrorCode::BadRequest, told),
            AcceptError::CodeGone { .. } => Self::new(ErrorCode::Conflict, told).hint(
                "its run root deletes what is not used; submit the spec again where its code lies",
            ),
            AcceptError::OverBudget(_) => Self::new(ErrorCode::OverBudget, told).hint(
                "ask for fewer nodes or a shorter `time_limit`, or for a larger budget; `trainyard budget` tells how it stands",
            ),
            AcceptError::BadKey | AcceptError::NoPoints => {
                Self::new(ErrorCode::BadRequest, told)
            }
            AcceptError::RunDir(_) => {
                Self::new(ErrorCode::FilesUnavailable, told).hint(NOTHING_SUBMITTED)
            }
            // Also of what submits nothing anyway.
            AcceptError::Files(_) => Self::new(ErrorCode::FilesUnavailable, told),
            AcceptError::Store(source) => source.into(),
            AcceptError::Record(_) => Self::new(ErrorCode::Internal, told),
        }
    }
}
