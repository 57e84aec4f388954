//! Talking to the daemon, and starting it when nobody answers.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::{ProblemBody, SITE_HEADER, SubmitAnswer, WAIT_SECONDS_MAX};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::host::dial;
use crate::daemon::{LeaseError, SubmitRequest, short_path};
use crate::hands::{LastWords, StartedDaemon, start_daemon};

/// Answers longer than this are no answers of ours.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// How long the beginning of an answer may take: the longest wait for a change, and what a busy machine adds.
const HEAD_PATIENCE: Duration = Duration::from_secs(WAIT_SECONDS_MAX + 20);
/// How long a daemon may take to start: a network file system and a large database included.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long a run may take to be accepted: capturing its code may take long.
pub(super) const ACCEPTANCE_PATIENCE: Duration = Duration::from_mins(20);
/// Before a daemon is started again that another one kept out.
const START_PAUSE: Duration = Duration::from_millis(200);

/// What requests are sent through: a connection.
type Sender = SendRequest<Full<Bytes>>;

/// An answer that begins, and the connection that it comes through.
type Answer = (Response<Incoming>, Sender);

/// A way to a daemon that answers.
pub(super) struct Client<'a> {
    context: &'a Context,
    socket: PathBuf,
    site: Option<String>,
    /// A daemon that ends while it is needed is started again.
    starts: bool,
    /// A connection that nobody uses, for the next request.
    idle: Mutex<Option<Sender>>,
}

impl<'a> Client<'a> {
    /// Finds the daemon, or starts it.
    pub(super) async fn connect(context: &'a Context) -> Result<Self, CliError> {
        let client = Self { starts: true, ..Self::without_starting(context) };
        client.find().await?;
        Ok(client)
    }

    /// A client of a daemon that may not be there.
    pub(super) fn without_starting(context: &'a Context) -> Self {
        let site = context.site_asked().map(|site| site.display().to_string());
        Self { context, socket: context.socket(), site, starts: false, idle: Mutex::default() }
    }

    /// A connection to the daemon of this machine, which is started if need be.
    pub(super) async fn stream_here(context: &'a Context) -> Result<UnixStream, CliError> {
        Self::without_starting(context).reach_or_start().await
    }

    async fn find(&self) -> Result<(), CliError> {
        let stream = match &self.context.global.host {
            Some(host) => dial(self.context, host).await?,
            None => self.reach_or_start().await?,
        };
        self.keep(self.speak(stream).await?);
        Ok(())
    }

    async fn reach_or_start(&self) -> Result<UnixStream, CliError> {
        match self.reach() {
            Ok(stream) => Ok(stream),
            Err(error) if is_nobody(&error) => self.start().await,
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    fn keep(&self, sender: Sender) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
    }

    async fn speak(&self, stream: UnixStream) -> Result<Sender, CliError> {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.lost(&error))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A connection that takes a request.
    async fn sender(&self) -> Result<Sender, CliError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut sender) = idle
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = match &self.context.global.host {
            Some(host) => dial(self.context, host).await?,
            None => self.reach().map_err(|error| self.unreachable(&error))?,
        };
        self.speak(stream).await
    }

    fn reach(&self) -> io::Result<UnixStream> {
        // Resolved to an open file at once: the short name lives only as long as its directory is open.
        let stream =
            short_path(&self.socket, |short| std::os::unix::net::UnixStream::connect(short))?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }

    /// Whether a daemon answers.
    pub(super) fn is_there(&self) -> bool {
        self.reach().is_ok()
    }

    fn unreachable(&self, error: &io::Error) -> CliError {
        let message = format!("cannot reach the daemon at {}: {error}", self.socket.display());
        CliError::new(Exit::NoDaemon, message).hint("`trainyard doctor` looks for the cause")
    }

    /// Starts a daemon and waits until it answers, or says why it does not.
    async fn start(&self) -> Result<UnixStream, CliError> {
        let context = self.context;
        if context.global.socket.is_some() {
            let message = format!("no daemon answers at {}", self.socket.display());
            return Err(CliError::new(Exit::NoDaemon, message).hint(
                "`--socket` and TRAINYARD_SOCKET only find a daemon that is there; without them one is started",
            ));
        }
        // Its problems are told here, each at its place; the daemon would only tell how many there are.
        let environment = context.daemon_environment(&context.site()?.site);
        let started = Instant::now();
        let mut daemon = self.launch(&environment)?;
        let mut held_up = None;
        while started.elapsed() < START_PATIENCE {
            if let Ok(stream) = self.reach() {
                return Ok(stream);
            }
            match daemon.last_words() {
                // Another one starts, drains or makes its one pass at this moment: then it is tried again.
                Some(words) if may_try_again(context, &words) => {
                    held_up = Some(words);
                    tokio::time::sleep(START_PAUSE).await;
                    daemon = self.launch(&environment)?;
                }
                Some(words) => return Err(not_started(&words.said)),
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        Err(match held_up {
            Some(words) => not_started(&words.said),
            None => {
                not_started(&format!("it did not answer within {} s", START_PATIENCE.as_secs()))
            }
        })
    }

    fn launch(&self, environment: &[(String, String)]) -> Result<StartedDaemon, CliError> {
        let context = self.context;
        let mut arguments = vec!["serve".to_owned(), "--detached".to_owned()];
        arguments
            .extend(["--state-dir".to_owned(), context.state_dir().path().display().to_string()]);
        if let Some(site) = &self.site {
            arguments.extend(["--site".to_owned(), site.clone()]);
        }
        start_daemon(&context.surroundings.program, &arguments, environment)
            .map_err(|error| not_started(&error.to_string()))
    }

    /// Asks for something. Asking changes nothing, so a daemon that ends meanwhile is started and asked again.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        /// A daemon that is just ending may take requests and drop them for a moment; one that cannot stay is not
        /// started for ever.
        const TRIES_MAX: u32 = 5;
        const PAUSE: Duration = Duration::from_millis(100);
        let mut tries = 1;
        loop {
            match self.get_once(path).await {
                Err(error) if error.exit == Exit::NoDaemon && self.starts && tries < TRIES_MAX => {
                    tokio::time::sleep(PAUSE * (tries - 1)).await;
                    tries += 1;
                    self.find().await?;
                }
                answer => return answer,
            }
        }
    }

    async fn get_once<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let answer = self.send(Method::GET, path, Bytes::new()).await?;
        self.read(answer).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        self.post_within(path, body, HEAD_PATIENCE).await
    }

    /// Asks for what may take longer than anything else.
    pub(super) async fn post_within<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<T, CliError> {
        let body = serde_json::to_vec(body).map_err(|error| CliError::internal(&error))?;
        let answer = self.send_patiently(Method::POST, path, body.into(), patience).await?;
        self.read(answer).await
    }

    /// Hands a run in.
    pub(super) async fn submit(&self, request: &SubmitRequest) -> Result<SubmitAnswer, CliError> {
        let answer = self.post_within("/runs", request, ACCEPTANCE_PATIENCE).await;
        answer.map_err(CliError::of_submission)
    }

    /// An answer that is read as it comes.
    pub(super) async fn stream(&self, path: &str) -> Result<Incoming, CliError> {
        let (response, _) = self.send(Method::GET, path, Bytes::new()).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        Err(problem(response).await)
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, CliError> {
        self.send_patiently(method, path, body, HEAD_PATIENCE).await
    }

    async fn send_patiently(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Answer, CliError> {
        let mut sender = self.sender().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("host", "trainyard");
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if let Some(site) = &self.site {
            request = request.header(SITE_HEADER, site.as_bytes());
        }
        let request = request.body(Full::new(body)).map_err(|error| CliError::internal(&error))?;
        if let Ok(answered) = tokio::time::timeout(patience, sender.send_request(request)).await {
            answered.map(|response| (response, sender)).map_err(|error| self.lost(&error))
        } else {
            let message = format!("the daemon has not answered within {} s", patience.as_secs());
            Err(CliError::new(Exit::NoDaemon, message)
                .hint("`trainyard daemon status` and daemon.log in the state directory"))
        }
    }

    async fn read<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, CliError> {
        let (response, sender) = answer;
        if !response.status().is_success() {
            return Err(problem(response).await);
        }
        let bytes = bytes(response).await?;
        // Over ssh a further connection costs seconds, and perhaps a password. Here it costs nothing, and meets the daemon
        // of now.
        if self.context.global.host.is_some() {
            self.keep(sender);
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!("the daemon's answer cannot be read: {error}");
            CliError::new(Exit::Internal, message).hint(match &self.context.global.host {
                Some(_) => "it may be of another version: use the same one on both machines",
                None => "it may be of another version: `trainyard daemon stop`, and the next command starts this one",
            })
        })
    }

    /// The daemon, or the way to it, ended while it answered.
    pub(super) fn lost(&self, error: &hyper::Error) -> CliError {
        let what = match &self.context.global.host {
            Some(host) => format!("the connection to {host}"),
            None => "the daemon".to_owned(),
        };
        let message = format!("{what} ended in the middle of an answer: {}", crate::chain(error));
        CliError::new(Exit::NoDaemon, message)
            .hint("what was accepted is recorded: `trainyard list` shows it")
    }
}

/// Whether a daemon was kept out by another process of this machine, which will answer or end soon.
fn may_try_again(context: &Context, words: &LastWords) -> bool {
    let is_elsewhere = || {
        let holder = crate::daemon::read_lease(&context.state_dir()).ok().flatten();
        holder.is_some_and(|holder| holder.host != context.surroundings.host)
    };
    // Who held the lock may have been kept out by another machine himself: asked again, it is told which one.
    let is_locked = words.said.contains(&LeaseError::Locked.to_string());
    words.code == Some(Exit::Conflict as i32) && (is_locked || !is_elsewhere())
}

/// The daemon's own words as ours: its error, then its hints.
fn not_started(said: &str) -> CliError {
    let mut parts = said.trim().split("\nhint: ");
    let why = parts.next().unwrap_or_default();
    let error = CliError::new(Exit::NoDaemon, format!("the daemon could not be started: {why}"));
    let error = parts.fold(error, CliError::hint);
    if error.hints.is_empty() {
        error.hint("`trainyard doctor` looks for the cause")
    } else {
        error
    }
}

/// Nobody listens, as opposed to somebody who may not be asked.
fn is_nobody(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused | NotADirectory)
}

async fn problem(response: Response<Incoming>) -> CliError {
    let status: StatusCode = response.status();
    let body = bytes(response).await.ok();
    match body.and_then(|body| serde_json::from_slice::<ProblemBody>(&body).ok()) {
        Some(problem) => problem.into(),
        None => CliError::new(Exit::Internal, format!("the daemon answered {status}")),
    }
}

async fn bytes(response: Response<Incoming>) -> Result<Bytes, CliError> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let collected = body.collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| CliError::new(Exit::NoDaemon, error.to_string()))
}

/// The path of a run that a person named.
pub(super) fn run_path(reference: &str) -> Result<String, CliError> {
    Ok(format!("/runs/{}", named(reference)?))
}

/// The path of a run or a sweep that a person named.
pub(super) fn awaited_path(reference: &str) -> Result<String, CliError> {
    Ok(format!("/awaited/{}", named(reference)?))
}

fn named(reference: &str) -> Result<String, CliError> {
    if reference.is_empty() {
        return Err(CliError::new(Exit::NotFound, "there is no run with an empty name"));
    }
    Ok(encoded(reference))
}

/// A path segment or query value, percent-encoded.
pub(super) fn encoded(text: &str) -> String {
    let one = |byte: u8| {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~@".contains(&byte);
        if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(one).collect()
}
