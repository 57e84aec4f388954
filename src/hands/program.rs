//! Starting programs: no shell, a cleared environment, a deadline, and caps on what they may say.

#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::fault::point;
use crate::ports::{Output, Program, ProgramError};

/// What is kept of standard error. What is over is read and dropped, as is what a program says beyond its own limit, so that
/// it does not hang on a full pipe.
const WORDS_BYTES_MAX: u64 = 1 << 20;

/// How long the opening of a file for standard input may take, or the reading.
const STDIN_WAIT: Duration = Duration::from_secs(10);

/// What a pipe is made to hold at most: what everybody may have, by the kernel's `pipe-max-size`.
const PIPE_BYTES_MAX: usize = 1 << 20;

/// How long a killed program may take to be gone; one that hangs in the kernel is left to the runtime.
const KILLED_WAIT: Duration = Duration::from_secs(2);

/// Runs a program to its end, in a process group of its own.
pub(super) async fn run(program: Program) -> Result<Output, ProgramError> {
    let stdin = stdin(&program).await?;
    Running::start(&program, stdin)?.heard(&program).await
}

/// The same, which starts at once and reads its file, `path`, when that is told. Where nobody tells any more it is killed.
pub(super) async fn run_held(
    program: Program,
    path: PathBuf,
    told: oneshot::Receiver<()>,
) -> Result<Output, ProgramError> {
    let mut running = Running::start(&program, Stdio::piped())?;
    if told.await.is_err() {
        let source = io::Error::other("it was not needed");
        running.end().await;
        return Err(ProgramError::Stdin { path, source });
    }
    let failed = |source| ProgramError::Stdin { path: path.clone(), source };
    let bytes = {
        let path = path.clone();
        on_time(move || std::fs::read(path)).await.map_err(failed)?
    };
    if running.feed(&bytes).await {
        return running.heard(&program).await;
    }
    running.end().await;
    run(program).await
}

/// A program that runs, and what is heard of it. Its group comes first: dropped, it is killed before its standard input ends.
struct Running {
    group: Group,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

impl Running {
    fn start(program: &Program, stdin: Stdio) -> Result<Self, ProgramError> {
        let start = |source| ProgramError::Start { path: program.path.clone(), source };
        let mut command = command(program, stdin);
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            tokio::process::Command::from(command).kill_on_drop(true).spawn().map_err(start)?;
        let group = Group::led_by(child.id());
        let stdin = child.stdin.take();
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(start(io::Error::other("its output is not piped")));
        };
        Ok(Self { group, child, stdin, stdout, stderr })
    }

    /// Gives it its whole standard input in one piece, so that it never has a part of it, whenever this process ends. `false`
    /// where that cannot be done: then it has read nothing that ends.
    async fn feed(&mut self, bytes: &[u8]) -> bool {
        let Some(stdin) = &mut self.stdin else { return false };
        if !holds(stdin, bytes.len()) {
            return false;
        }
        let is_whole = match stdin.write(bytes).await {
            Ok(written) => written == bytes.len(),
            // It has ended by itself, or reads no more: how it ends says why.
            Err(error) => error.kind() == io::ErrorKind::BrokenPipe,
        };
        point("stdin_written");
        if is_whole {
            self.stdin = None;
        }
        is_whole
    }

    async fn heard(self, program: &Program) -> Result<Output, ProgramError> {
        let hear = |source| ProgramError::Hear { path: program.path.clone(), source };
        let Self { mut group, mut child, stdin: _stdin, stdout, stderr } = self;
        let heard = timeout(program.deadline, async {
            tokio::try_join!(
                read_capped(stdout, program.answer_bytes_max),
                read_capped(stderr, WORDS_BYTES_MAX),
                child.wait()
            )
        });
        let Ok(heard) = heard.await else {
            group.kill();
            // Whether it is gone in time changes nothing: the runtime takes what is left.
            timeout(KILLED_WAIT, child.wait()).await.ok();
            return Err(ProgramError::Deadline {
                path: program.path.clone(),
                deadline: program.deadline,
            });
        };
        let ((stdout, stdout_cut), (stderr, stderr_cut), status) = heard.map_err(hear)?;
        group.leave();
        Ok(Output { code: status.code(), stdout, stderr, cut: stdout_cut || stderr_cut })
    }

    /// Kills it.
    async fn end(&mut self) {
        self.group.kill();
        timeout(KILLED_WAIT, self.child.wait()).await.ok();
    }
}

/// Whether a pipe takes so many bytes at once while it is empty; it is made larger where it may be.
fn holds(pipe: &ChildStdin, bytes: usize) -> bool {
    let large_enough = |capacity: i32| usize::try_from(capacity).is_ok_and(|it| it >= bytes);
    let Some(wanted) = i32::try_from(bytes).ok().filter(|_| bytes <= PIPE_BYTES_MAX) else {
        return false;
    };
    fcntl(pipe, FcntlArg::F_GETPIPE_SZ).is_ok_and(large_enough)
        || fcntl(pipe, FcntlArg::F_SETPIPE_SZ(wanted)).is_ok_and(large_enough)
}

/// Starts a program that outlives this process. Its deadline does not count.
pub(super) fn launch(runtime: &Handle, program: &Program) -> Result<u32, ProgramError> {
    let start = |source| ProgramError::Start { path: program.path.clone(), source };
    let mut command = command(program, Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let entered = runtime.enter();
    let mut child = tokio::process::Command::from(command).spawn().map_err(start)?;
    drop(entered);
    let pid = child.id().ok_or_else(|| start(io::Error::other("it has no pid")))?;
    // Waited for only so that it does not stay behind as a zombie while this process lives.
    runtime.spawn(async move { child.wait().await });
    Ok(pid)
}

/// Opens what the program reads, off the async threads: the file may lie on a mount that hangs.
async fn stdin(program: &Program) -> Result<Stdio, ProgramError> {
    let Some(path) = program.stdin.clone() else { return Ok(Stdio::null()) };
    let opened = {
        let path = path.clone();
        on_time(move || std::fs::File::open(path)).await
    };
    opened.map(Stdio::from).map_err(|source| ProgramError::Stdin { path, source })
}

/// Has a file looked at off the async threads.
async fn on_time<T: Send + 'static>(
    look: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match timeout(STDIN_WAIT, tokio::task::spawn_blocking(look)).await {
        Ok(looked) => looked.map_err(io::Error::other)?,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
    }
}

#[expect(clippy::disallowed_methods, reason = "hands is where programs are started")]
fn command(program: &Program, stdin: Stdio) -> Command {
    let mut command = Command::new(&program.path);
    command
        .args(&program.args)
        .env_clear()
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&program.directory)
        .stdin(stdin);
    command
}

async fn read_capped(
    mut from: impl AsyncRead + Unpin,
    bytes_max: u64,
) -> io::Result<(Vec<u8>, bool)> {
    let mut kept = Vec::new();
    (&mut from).take(bytes_max).read_to_end(&mut kept).await?;
    let dropped = tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok((kept, dropped > 0))
}

/// A program's process group, killed whole when waiting for it is given up, also by dropping the future that waits.
struct Group(Option<Pid>);

impl Group {
    fn led_by(pid: Option<u32>) -> Self {
        Self(pid.and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw))
    }

    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // It may be gone already.
            killpg(group, Signal::SIGKILL).ok();
        }
    }

    /// It ended by itself; its number may soon be another's.
    fn leave(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
