//! Starting the daemon from a command that needs it.

use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A daemon that was just started and may still fail.
#[derive(Debug)]
pub struct StartedDaemon(Child);

/// Starts our own executable as a daemon with exactly this environment. What it says before it serves can be read back.
pub fn start_daemon(
    program: &Path,
    arguments: &[String],
    environment: &[(String, String)],
) -> io::Result<StartedDaemon> {
    #[expect(clippy::disallowed_methods, reason = "hands start programs")]
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().map(StartedDaemon)
}

/// What a daemon left that did not come to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWords {
    /// `None` when it was killed.
    pub code: Option<i32>,
    pub said: String,
}

impl StartedDaemon {
    /// How and why it ended, if it did.
    pub fn last_words(&mut self) -> Option<LastWords> {
        /// An error message is short; a flood is not read to its end.
        const WORDS_BYTES_MAX: u64 = 64 << 10;
        match self.0.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => {
                let mut words = String::new();
                if let Some(stderr) = self.0.stderr.take() {
                    // What cannot be read is told by the exit status.
                    drop(stderr.take(WORDS_BYTES_MAX).read_to_string(&mut words));
                }
                let words = words.trim().trim_start_matches("error: ").to_owned();
                let said = if words.is_empty() { status.to_string() } else { words };
                Some(LastWords { code: status.code(), said })
            }
            Err(error) => Some(LastWords { code: None, said: error.to_string() }),
        }
    }
}
