//! Programs that are run on behalf of users.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

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
