//! Programs that are run on behalf of users.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A program to run: no shell, a cleared environment, a deadline, and caps on what it may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    pub directory: PathBuf,
    /// A file opened for standard input; nothing when `None`.
    pub stdin: Option<PathBuf>,
    pub deadline: Duration,
    /// What is kept of standard output; what is over is read and dropped.
    pub answer_bytes_max: u64,
}

/// What a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// `None` when it was killed by a signal.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// More was said than is kept.
    pub cut: bool,
}

/// A program that runs, and waits for what it is to read. Where that is never told it is killed, and has read nothing; and
/// where this process ends before that, it reads an empty file.
pub struct Held {
    program: Program,
    read: oneshot::Sender<()>,
    ended: BoxFuture<'static, Result<Output, ProgramError>>,
    /// Who holds others up from starting more of its kind, until it reads.
    turn: OwnedSemaphorePermit,
}

impl Held {
    /// `ended` waits for the other end of `read`, and then for the program.
    pub fn new(
        program: Program,
        read: oneshot::Sender<()>,
        ended: BoxFuture<'static, Result<Output, ProgramError>>,
        turn: OwnedSemaphorePermit,
    ) -> Self {
        Self { program, read, ended, turn }
    }

    /// Whether it is this one.
    pub fn is_of(&self, program: &Program) -> bool {
        self.program == *program
    }

    /// Has it read, and waits for its end.
    pub async fn go_on(self) -> Result<Output, ProgramError> {
        let Self { program: _, read, ended, turn } = self;
        // If nobody listens any more, that is told by how it ended.
        read.send(()).ok();
        drop(turn);
        ended.await
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("cannot start {}", path.display())]
    Start { path: PathBuf, source: std::io::Error },
    #[error("cannot read {}", path.display())]
    Stdin { path: PathBuf, source: std::io::Error },
    #[error("{} did not end within {} s and was killed", path.display(), deadline.as_secs())]
    Deadline { path: PathBuf, deadline: Duration },
    #[error("cannot hear {}", path.display())]
    Hear { path: PathBuf, source: std::io::Error },
}

impl ProgramError {
    /// Whether the same may do later: what is missing or forbidden stays so.
    pub fn may_pass(&self) -> bool {
        let (Self::Start { source, .. } | Self::Stdin { source, .. } | Self::Hear { source, .. }) =
            self
        else {
            return true;
        };
        !matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied)
    }
}
