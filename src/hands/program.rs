//! Starting programs: no shell, a cleared environment, a deadline, and caps on what they may say.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::ports::{Output, Program, ProgramError};

/// What is kept of standard error. What is over is read and dropped, as is what a program says beyond its own limit, so that
/// it does not hang on a full pipe.
const WORDS_BYTES_MAX: u64 = 1 << 20;

/// How long the opening of a file for standard input may take.
const STDIN_WAIT: Duration = Duration::from_secs(10);

/// How long a killed program may take to be gone; one that hangs in the kernel is left to the runtime.
const KILLED_WAIT: Duration = Duration::from_secs(2);

/// Runs a program to its end, in a process group of its own.
pub(super) async fn run(program: Program) -> Result<Output, ProgramError> {
    let start = |source| ProgramError::Start { path: program.path.clone(), source };
    let hear = |source| ProgramError::Hear { path: program.path.clone(), source };
    let mut command = command(&program, stdin(&program).await?);
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        tokio::process::Command::from(command).kill_on_drop(true).spawn().map_err(start)?;
    let mut group = Group::led_by(child.id());
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(hear(io::Error::other("its output is not piped")));
    };
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
    let failed = |source| ProgramError::Stdin { path: path.clone(), source };
    let opened = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || std::fs::File::open(path))
    };
    match timeout(STDIN_WAIT, opened).await {
        Ok(Ok(file)) => file.map(Stdio::from).map_err(failed),
        Ok(Err(error)) => Err(failed(io::Error::other(error))),
        Err(_) => Err(failed(io::Error::new(io::ErrorKind::TimedOut, "no answer"))),
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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Instant;

    use super::*;
    use crate::files::process::ProcessId;

    fn shell(script: &str) -> Program {
        Program {
            path: PathBuf::from("/bin/sh"),
            args: vec!["-c".to_owned(), script.to_owned()],
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            directory: PathBuf::from("/"),
            stdin: None,
            deadline: Duration::from_mins(1),
            answer_bytes_max: 1000,
        }
    }

    async fn appears(path: &Path) -> u32 {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(text) = fs_err::read_to_string(path)
                && let Ok(pid) = text.trim().parse()
            {
                return pid;
            }
            assert!(Instant::now() < until, "{} never came", path.display());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn is_soon_gone(pid: u32) {
        let until = Instant::now() + Duration::from_secs(20);
        while ProcessId::of(pid).unwrap().is_some() {
            assert!(Instant::now() < until, "{pid} lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_program_hears_its_file_and_only_its_environment() {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("in");
        fs_err::write(&input, "asked").unwrap();
        let program = Program { stdin: Some(input), ..shell("cat; env | grep -c . >&2; exit 3") };
        let output = run(program).await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.code, output.stdout), (Some(3), b"asked".to_vec()));
        // PATH, and PWD and perhaps _ that the shell itself adds.
        assert!(stderr.trim().parse::<u32>().unwrap() <= 4, "{stderr}");
        assert!(!output.cut);
        assert_eq!(run(shell("kill -9 $$")).await.unwrap().code, None);
    }

    #[tokio::test]
    async fn what_is_over_the_cap_is_dropped_and_the_program_still_ends() {
        let script = "head -c 1000000 /dev/zero; echo end >&2";
        let output = run(shell(script)).await.unwrap();
        assert_eq!((output.code, output.stdout.len(), output.cut), (Some(0), 1000, true));
        assert_eq!(output.stderr, b"end\n");
        let output = run(shell("echo 7; head -c 5000000 /dev/zero >&2")).await.unwrap();
        assert_eq!((output.stdout, output.cut), (b"7\n".to_vec(), true));
        assert_eq!(output.stderr.len() as u64, WORDS_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_deadline_kills_the_children_too() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid_file.display());
        let program = Program { deadline: Duration::from_millis(500), ..shell(&script) };
        let error = run(program).await.unwrap_err();
        assert!(matches!(error, ProgramError::Deadline { .. }), "{error}");
        is_soon_gone(appears(&pid_file).await).await;
    }

    #[tokio::test]
    async fn giving_up_the_wait_kills_the_children_too() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let waiting = tokio::spawn(run(shell(&format!(
            "sleep 1000 & echo $! > {}; wait",
            pid_file.display()
        ))));
        let child = appears(&pid_file).await;
        waiting.abort();
        is_soon_gone(child).await;
    }

    #[tokio::test]
    async fn a_missing_program_or_input_is_named() {
        let missing = Program { path: PathBuf::from("/no/such/program"), ..shell("") };
        let error = run(missing.clone()).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot start /no/such/program");
        let error = launch(&Handle::current(), &missing).unwrap_err();
        assert_eq!(error.to_string(), "cannot start /no/such/program");
        let input = Program { stdin: Some(PathBuf::from("/no/such/file")), ..shell("") };
        let error = run(input).await.unwrap_err();
        assert!(matches!(error, ProgramError::Stdin { .. }) && !error.may_pass(), "{error}");
    }

    #[tokio::test]
    async fn a_launched_program_runs_on_and_leaves_no_zombie() {
        let dir = tempfile::tempdir().unwrap();
        let program = Program { directory: dir.path().to_owned(), ..shell("pwd > .p; mv .p out") };
        let pid = launch(&Handle::current(), &program).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while !dir.path().join("out").exists() || Path::new(&format!("/proc/{pid}")).exists() {
            assert!(Instant::now() < until, "it did not end, or stayed as a zombie");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
