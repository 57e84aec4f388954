//! Errors at the edge: one kind, one exit code, what to do next.

use std::process::ExitCode;

use crate::api::{ErrorCode, ProblemBody};
use crate::cli::context::Context;
use crate::cli::diagnostic;
use crate::domain::problem::{Problem, Sources};

macro_rules! exits {
    ($( $name:ident = $code:literal, $meaning:literal; )*) => {
        /// How the program ends. The numbers are part of the interface.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Exit { $( #[doc = $meaning] $name = $code, )* }

        impl Exit {
            /// Every code that this version gives, with what it means.
            pub const MEANINGS: &[(Self, &str)] = &[$((Self::$name, $meaning)),*];
        }
    };
}

exits! {
    Done = 0, "what was asked is done";
    NotCompleted = 1, "the run that was waited for did not complete, or not all points of the sweep; `doctor` found something wrong; a dataset has no fingerprint; a probe was interrupted; a schedule could not submit the run that was asked for";
    Usage = 2, "the command line cannot be understood, asks for something that this version does not support, or names a run ambiguously";
    Invalid = 3, "the spec or the site file is invalid, or a point is not as its sweep declares, and nothing was submitted; `site check` found something wrong";
    NotFound = 4, "there is no such run, sweep, attempt, log, dataset, project or schedule, or no failure of such a node is remembered";
    NoDaemon = 5, "the daemon cannot be reached, and none can be started";
    Refused = 6, "the scheduler refused the run";
    NoSlurm = 7, "Slurm cannot be reached, and without its answer the command cannot know what is meant; nothing was submitted";
    NotAcknowledged = 8, "the run is accepted, but the scheduler has not acknowledged it yet: its number is printed, and the daemon sees it through";
    OverBudget = 9, "the project's budget does not allow it, or would not, as `estimate` tells; nothing was submitted";
    Conflict = 11, "a conflict with what is recorded: the key belongs to another spec, a run that is over was to be cancelled, a sweep takes no more points, a file that is there was to be written, or the daemon goes by another site";
    TimedOut = 12, "waiting timed out: the run goes on, and a probe's job is cancelled";
    Internal = 70, "Trainyard itself failed, or the machine it runs on: a full disk, a directory that cannot be written";
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
        let message = format!("{count} problem{}", plural(count));
        Self { problems, sources, ..Self::new(Exit::Invalid, message) }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same, of a verb that would have submitted something.
    #[must_use]
    pub(super) fn nothing_submitted(mut self) -> Self {
        self.message.push_str("; nothing was submitted");
        self
    }

    /// The same, where it is about what was to be submitted and has problems.
    #[must_use]
    pub(super) fn of_submission(self) -> Self {
        if self.problems.is_empty() { self } else { self.nothing_submitted() }
    }

    /// Shows the error on stderr and gives its exit code.
    pub(super) fn report(&self, context: &Context) -> ExitCode {
        let first = diagnostic::in_one_line(&self.problems, &self.sources);
        if let Some(first) = first.filter(|_| context.quiet) {
            context.error(&format!("{}: {first}", self.message), &[]);
            return self.exit.into();
        }
        if !self.problems.is_empty() {
            diagnostic::show(context, &self.problems, &self.sources);
        }
        context.error(&self.message, &self.hints);
        self.exit.into()
    }
}

/// The ending of a counted noun.
pub(super) fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl From<ProblemBody> for CliError {
    fn from(body: ProblemBody) -> Self {
        let exit = match body.code {
            ErrorCode::BadRequest | ErrorCode::Ambiguous | ErrorCode::NotSupported => Exit::Usage,
            ErrorCode::InvalidSpec => Exit::Invalid,
            ErrorCode::NotFound => Exit::NotFound,
            ErrorCode::OverBudget => Exit::OverBudget,
            ErrorCode::Conflict => Exit::Conflict,
            ErrorCode::SlurmUnreachable => Exit::NoSlurm,
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
