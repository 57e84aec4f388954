//! Starting ssh, for a command whose daemon is on another machine.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::hands::background::LastWords;

/// What is kept of standard error: its end, where a program says why it gave up.
const WORDS_BYTES_MAX: usize = 4 << 10;

/// A running ssh. It is not ended with this value, because it may carry the sessions of others: it ends when its other
/// side or ours is closed.
#[derive(Debug)]
pub struct Ssh {
    child: Child,
    /// What it says, unless that goes to a person.
    words: Option<Words>,
}

#[derive(Debug)]
struct Words {
    said: Arc<Mutex<Vec<u8>>>,
    hearing: JoinHandle<()>,
}

/// Whether ssh could ask somebody for a password: it does so on the terminal itself, whatever its standard streams are.
pub fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Starts ssh with this process's own environment, as a shell would: its agent, its configuration and its tickets are
/// found through it. Gives the stream that is its standard input and output.
pub fn start_ssh(
    program: &OsStr,
    arguments: &[OsString],
    is_heard: bool,
) -> io::Result<(UnixStream, Ssh)> {
    let (ours, theirs) = UnixStream::pair()?;
    let input = OwnedFd::from(theirs);
    let output = input.try_clone()?;
    #[expect(clippy::disallowed_methods, reason = "hands start programs")]
    let mut command = Command::new(program);
    command.args(arguments).stdin(input).stdout(output);
    command.stderr(if is_heard { Stdio::piped() } else { Stdio::inherit() });
    let mut child = command.spawn()?;
    let words = child.stderr.take().map(|stderr| {
        let said = Arc::default();
        let hearing = tokio::spawn(hear(stderr, Arc::clone(&said)));
        Words { said, hearing }
    });
    Ok((ours, Ssh { child, words }))
}

/// Keeps the end of what is said. All of it is read, so that nobody hangs on a full pipe.
async fn hear(mut stderr: ChildStderr, said: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut chunk).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let excess = said.len().saturating_sub(WORDS_BYTES_MAX);
        said.drain(..excess);
    }
}

impl Ssh {
    /// How and with which words it ended. One that does not end is ended.
    pub async fn last_words(mut self) -> LastWords {
        const END_WAIT: Duration = Duration::from_secs(2);
        /// A connection that it leaves behind for others may hold its standard error, which then has no end.
        const WORDS_WAIT: Duration = Duration::from_millis(200);
        let status = timeout(END_WAIT, self.child.wait()).await;
        if status.is_err() {
            // It may have ended by itself.
            self.child.start_kill().ok();
        }
        let mut said = String::new();
        if let Some(Words { said: words, hearing }) = self.words {
            timeout(WORDS_WAIT, hearing).await.ok();
            let words = words.lock().unwrap_or_else(PoisonError::into_inner);
            said.push_str(String::from_utf8_lossy(&words).trim());
        }
        let code = status.ok().and_then(Result::ok).and_then(|status| status.code());
        LastWords { code, said }
    }
}
