//! What comes of an event: the run as it is then, and what is to be done.

use serde::{Deserialize, Serialize};

use crate::domain::ids::{JobKey, Token};
use crate::domain::run::state::{Attempt, Run};

/// The run as it is to be recorded, then what is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub run: Run,
    /// Attempts that were closed on the way; the run's last attempt is in the run.
    pub closed: Vec<Attempt>,
    pub acts: Vec<Act>,
    pub notes: Vec<Note>,
}

/// Something the daemon does after the decision is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Ask the scheduler to end the job if it is one of that token's: its id may have become another's since it was seen.
    /// `grace` lets it save first.
    Cancel { job: JobKey, token: Token, grace: bool },
}

/// A line of a run's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// A word to search for: `state`, `script`, `impossible` …
    pub kind: String,
    pub message: String,
}

impl Decision {
    /// Nothing changes.
    pub fn stay(run: &Run) -> Self {
        Self { run: run.clone(), closed: Vec::new(), acts: Vec::new(), notes: Vec::new() }
    }

    /// Adds a line to the history.
    #[must_use]
    pub fn note(mut self, kind: &str, message: impl Into<String>) -> Self {
        self.notes.push(Note { kind: kind.to_owned(), message: message.into() });
        self
    }

    /// Asks for the end of a job of the submission under way.
    #[must_use]
    pub(super) fn cancel(self, job: JobKey, grace: bool) -> Self {
        match self.run.submission.as_ref().map(|submission| submission.token.clone()) {
            Some(token) => self.act(Act::Cancel { job, token, grace }),
            None => self,
        }
    }

    #[must_use]
    pub fn act(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }
}
