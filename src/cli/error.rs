//! Errors at the edge: one kind, one exit code, what to do next.

use std::process::ExitCode;

use crate::api::{ErrorCode, ProblemBody};
use crate::cli::context::Context;
use crate::cli::diagnostic;
use crate::domain::problem::{Problem, Sources};

/// How the program ends. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// The run that was waited for did not complete.
    NotCompleted = 1,
    Usage = 2,
    /// The spec or the site file is invalid.
    Invalid = 3,
    NotFound = 4,
    /// The daemon cannot be reached.
    NoDaemon = 5,
    /// The scheduler refused.
    Refused = 6,
    /// Accepted, but not acknowledged yet.
    NotAcknowledged = 8,
    Conflict = 11,
    /// Waiting timed out; the run goes on.
    TimedOut = 12,
    Internal = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with everything a person needs: what, why, what to do next.
#[derive(Debug)]
pub struct CliError {
    pub exit: Exit,
    pub message: String,
    pub hints: Vec<String>,
    /// Problems in files, each shown at its place.
    pub problems: Vec<Problem>,
    pub sources: Sources,
}

impl CliError {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hints: Vec::new(),
            problems: Vec::new(),
            sources: Sources::default(),
        }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub fn internal(error: &dyn std::error::Error) -> Self {
        Self::new(Exit::Internal, crate::chain(error))
    }

    /// Problems of a spec or a site file.
    pub fn invalid(problems: Vec<Problem>, sources: Sources) -> Self {
        let count = problems.len();
        let message = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
        Self { problems, sources, ..Self::new(Exit::Invalid, message) }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Shows the error on stderr and gives its exit code.
    pub(super) fn report(&self, context: &Context) -> ExitCode {
        if !self.problems.is_empty() {
            diagnostic::show(context, &self.problems, &self.sources);
        }
        context.error(&self.message, &self.hints);
        self.exit.into()
    }
}

impl From<ProblemBody> for CliError {
    fn from(body: ProblemBody) -> Self {
        let exit = match body.code {
            ErrorCode::BadRequest | ErrorCode::Ambiguous | ErrorCode::NotSupported => Exit::Usage,
            ErrorCode::InvalidSpec => Exit::Invalid,
            ErrorCode::NotFound => Exit::NotFound,
            ErrorCode::Conflict => Exit::Conflict,
            ErrorCode::StorageFull | ErrorCode::FilesUnavailable | ErrorCode::Internal => {
                Exit::Internal
            }
        };
        let hints = body.hints;
        match body.sources {
            Some(sources) => Self { hints, ..Self::invalid(body.problems, sources) },
            None => Self { hints, ..Self::new(exit, body.title) },
        }
    }
}

/// Writing to a pipe that nobody reads any more is a quiet end, as of any Unix filter.
impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::internal(&error)
    }
}
