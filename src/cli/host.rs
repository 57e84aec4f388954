//! `--host`: a daemon of another machine, over the system's ssh.
//!
//! ssh starts `trainyard util dial-stdio` there, which says one line and is the daemon's socket from then on.

use std::ffi::OsString;
use std::fmt;
use std::io::IsTerminal as _;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::UnixStream;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::text::one_line;
use crate::hands::{LastWords, has_terminal, start_ssh};

/// What the other side says first, before it is the daemon's socket: this, and the number of the protocol.
pub(super) const GREETING: &str = "TRAINYARD/";
pub(super) const PROTOCOL: &str = "1";

/// What login shells may print before that line.
const NOISE_BYTES_MAX: usize = 1 << 20;
/// How long that line may take: an sshd gives a person two minutes to log in, and a daemon may take a while to start.
const PATIENCE: Duration = Duration::from_secs(150);

/// A machine as ssh knows it. None of its parts can be taken for an option, or for anything but a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    user: Option<String>,
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Reads `ssh://[USER@]HOST[:PORT]`. The host may be an alias of the ssh configuration.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write ssh://[USER@]HOST[:PORT]";
        let rest = text.strip_prefix("ssh://").ok_or(FORM)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // Names of users may have an `@` of their own.
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let (name, port, marks) = if let Some(inner) = place.strip_prefix('[') {
            let (address, after) = inner.split_once(']').ok_or(FORM)?;
            let port =
                if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(FORM)?) };
            (address, port, &b"-._:%"[..])
        } else {
            let parts = place.split_once(':');
            (parts.map_or(place, |(name, _)| name), parts.map(|(_, port)| port), &b"-._"[..])
        };
        let port = match port {
            None => None,
            Some(port) => match port.parse() {
                Ok(number @ 1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(number),
                Ok(_) | Err(_) => return Err("a port is a number from 1 to 65535".to_owned()),
            },
        };
        if !is_word(name, marks) {
            return Err(
                "a host's name has letters, digits and -._ and begins with no `-`".to_owned()
            );
        }
        if user.is_some_and(|user| !is_word(user, b"-._+@")) {
            let why = "a user's name has letters, digits and -._+@ and begins with no `-`; a password is never part of it";
            return Err(why.to_owned());
        }
        Ok(Self { user: user.map(str::to_owned), name: name.to_owned(), port })
    }

    /// What is wrong with a spec, by who looked there.
    pub(super) fn saw(&self, mut error: CliError) -> CliError {
        if error.exit == Exit::Invalid {
            error.message.push_str(&format!(" (as seen on {self})"));
        }
        error
    }

    /// What ssh is told.
    fn arguments(&self, is_asked: bool, command: &str) -> Vec<OsString> {
        // What a person set for logging in, a second terminal, forwarded ports or a command, is not meant for this.
        let mut all = vec!["-T", "-oClearAllForwardings=yes", "-oRemoteCommand=none"];
        if !is_asked {
            all.push("-oBatchMode=yes");
        }
        let mut all: Vec<OsString> = all.into_iter().map(OsString::from).collect();
        if let Some(user) = &self.user {
            all.extend(["-l".into(), user.into()]);
        }
        if let Some(port) = self.port {
            all.extend(["-p".into(), port.to_string().into()]);
        }
        all.extend(["--".into(), (&self.name).into(), command.into()]);
        all
    }
}

fn is_word(text: &str, marks: &[u8]) -> bool {
    const BYTES_MAX: usize = 255;
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || marks.contains(&byte);
    !text.starts_with('-') && (1..=BYTES_MAX).contains(&text.len()) && text.bytes().all(is_fine)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.name)?;
        if let Some(port) = self.port {
            write!(f, " (port {port})")?;
        }
        Ok(())
    }
}

/// The other machine's daemon, as a stream.
pub(super) async fn dial(context: &Context, host: &Host) -> Result<UnixStream, CliError> {
    let variable = |name| (context.surroundings.variable)(name).filter(|said| !said.is_empty());
    let program = variable("TRAINYARD_SSH").unwrap_or_else(|| "ssh".to_owned());
    let there = variable("TRAINYARD_REMOTE_COMMAND").unwrap_or_else(|| "trainyard".to_owned());
    let is_asked = has_terminal();
    // A person at a terminal sees what ssh says while it is said: it may be a question.
    let is_seen = is_asked && std::io::stderr().is_terminal();
    let arguments = host.arguments(is_asked, &format!("{there} util dial-stdio"));
    let failed = |error: std::io::Error| {
        CliError::new(Exit::NoDaemon, format!("cannot start `{program}`: {error}"))
            .hint("TRAINYARD_SSH names another ssh program")
    };
    let (stream, ssh) = start_ssh(program.as_ref(), &arguments, !is_seen).map_err(failed)?;
    stream.set_nonblocking(true)?;
    let mut stream = UnixStream::from_std(stream)?;
    let mut noise = Vec::new();
    let greeted = tokio::time::timeout(PATIENCE, greeting(&mut stream, &mut noise)).await;
    let why = match greeted.unwrap_or(Err(NotGreeted::TooLate)) {
        Ok(()) => return Ok(stream),
        Err(why) => why,
    };
    // So that ssh ends.
    drop(stream);
    Err(not_greeted(host, why, &ssh.last_words().await, &noise))
}

/// Why the other side is not the daemon's socket.
#[derive(Debug, PartialEq, Eq)]
enum NotGreeted {
    Ended,
    TooMuch,
    TooLate,
    /// It speaks this protocol.
    Other(String),
}

/// Reads up to the end of the greeting; `noise` is what came before it.
async fn greeting(
    stream: &mut (impl AsyncRead + Unpin),
    noise: &mut Vec<u8>,
) -> Result<(), NotGreeted> {
    let mut chunk = [0; 4096];
    let mut line = 0;
    while noise.len() <= NOISE_BYTES_MAX {
        let Ok(count @ 1..) = stream.read(&mut chunk).await else { return Err(NotGreeted::Ended) };
        noise.extend_from_slice(chunk.get(..count).unwrap_or_default());
        while let Some(said) = noise.get(line..).and_then(|rest| {
            rest.iter().position(|byte| *byte == b'\n').and_then(|end| rest.get(..end))
        }) {
            line += said.len() + 1;
            match protocol(said) {
                // A daemon speaks only when it is asked.
                Some(PROTOCOL) if line < noise.len() => return Err(NotGreeted::TooMuch),
                Some(PROTOCOL) => return Ok(()),
                Some(other) => return Err(NotGreeted::Other(other.to_owned())),
                None => {}
            }
        }
    }
    Err(NotGreeted::TooMuch)
}

/// The number of the protocol, if a line is a greeting.
fn protocol(line: &[u8]) -> Option<&str> {
    let number = std::str::from_utf8(line).ok()?.strip_prefix(GREETING)?;
    let is_number = (1..10).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some(number)
}

fn not_greeted(host: &Host, why: NotGreeted, words: &LastWords, noise: &[u8]) -> CliError {
    /// How ssh ends when it is ssh itself that failed.
    const SSH_FAILED: i32 = 255;
    /// How a shell ends that does not know a command.
    const NO_COMMAND: i32 = 127;
    let said = |otherwise: &str| match words.said.as_str() {
        "" => otherwise.to_owned(),
        said => said.to_owned(),
    };
    let error = |message: String| CliError::new(Exit::NoDaemon, message);
    let error = match (why, words.code) {
        (NotGreeted::Other(number), _) => {
            return error(format!(
                "trainyard on {host} speaks protocol {number}, and this one speaks {PROTOCOL}"
            ))
            .hint("use the same version on both machines");
        }
        (NotGreeted::Ended, Some(SSH_FAILED)) => {
            error(format!("cannot reach {host}: {}", said("ssh ended with 255")))
        }
        (NotGreeted::Ended, Some(NO_COMMAND)) => {
            error(format!("there is no trainyard on {host}: {}", said("its shell ended with 127")))
                .hint("the PATH of commands that ssh runs may be shorter than that of a login there: set TRAINYARD_REMOTE_COMMAND=/path/to/trainyard")
        }
        (NotGreeted::Ended, code) => {
            let how = code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
            error(format!("no daemon can be had on {host}: {}", said(&format!("it ended with {how}"))))
        }
        (NotGreeted::TooMuch, _) => error(format!("{host} says too much beside the line of trainyard")),
        (NotGreeted::TooLate, _) => {
            let seconds = PATIENCE.as_secs();
            error(format!("{host} has not said the line of trainyard within {seconds} s: {}", said("ssh goes on")))
        }
    };
    match shown(noise) {
        noise if noise.is_empty() => error,
        noise => error.hint(format!("before that {host} said: {}", one_line(&noise))),
    }
}

/// The beginning of what was said, as far as a person wants to read it.
fn shown(noise: &[u8]) -> String {
    const SHOWN_CHARS_MAX: usize = 400;
    let text = String::from_utf8_lossy(noise);
    let text = text.trim();
    let beginning: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if beginning.len() < text.len() {
        format!("{beginning}… ({} bytes)", noise.len())
    } else {
        beginning
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of these bytes when the other side then ends.
    async fn heard(bytes: &[u8]) -> Result<(), NotGreeted> {
        greeting(&mut &bytes[..], &mut Vec::new()).await
    }

    #[tokio::test]
    async fn only_a_whole_line_is_the_greeting() {
        assert_eq!(heard(b"TRAINYARD/1\n").await, Ok(()));
        assert_eq!(heard(b"noise\n\nTRAINYARD/1\n").await, Ok(()));
        for noise in ["", "TRAINYARD/1", "xTRAINYARD/1\n", "TRAINYARD/1 \n", "TRAINYARD/\n", "\0\n"]
        {
            assert_eq!(heard(noise.as_bytes()).await, Err(NotGreeted::Ended), "{noise:?}");
        }
        assert_eq!(heard(b"TRAINYARD/12\n").await, Err(NotGreeted::Other("12".to_owned())));
        assert_eq!(heard(b"TRAINYARD/1\nmore").await, Err(NotGreeted::TooMuch));
        assert_eq!(heard(&vec![b'\n'; NOISE_BYTES_MAX + 4097]).await, Err(NotGreeted::TooMuch));
    }

    #[tokio::test]
    async fn a_greeting_in_pieces_is_one() {
        let (mut theirs, mut ours) = tokio::io::duplex(3);
        let says = async move {
            use tokio::io::AsyncWriteExt as _;
            theirs.write_all(b"welcome\nno endTRAIN\nTRAINYARD/1\n").await.expect("room");
            theirs
        };
        let mut noise = Vec::new();
        let (greeted, _theirs) = tokio::join!(greeting(&mut ours, &mut noise), says);
        assert_eq!(greeted, Ok(()));
    }
}
