//! A sealed world for one test: its own home, a clean environment, the real program.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use trainyard::files::ProcessId;

/// Longer than anything here takes on a slow machine; a test that gets here has failed.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct TestEnv {
    home: TempDir,
    site: Option<PathBuf>,
}

/// What a command said.
#[must_use = "look at what it said, or assert how it ended"]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    shown: String,
}

impl TestEnv {
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new().prefix("trainyard-it-").tempdir().unwrap();
        let env = Self { home, site: None };
        // The machine may have a Slurm of its own: here its commands are there, and nobody has configured them.
        for name in ["sinfo", "scontrol"] {
            let words = "fatal: Could not establish a configuration source";
            env.program(
                &format!(".no-slurm/{name}"),
                &format!("echo '{name}: {words}' >&2\nexit 1\n"),
            );
        }
        env
    }

    fn no_slurm(&self) -> PathBuf {
        self.home().join(".no-slurm")
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.home().join(".local/state/trainyard")
    }

    /// Where run directories go.
    pub(crate) fn run_root(&self) -> PathBuf {
        self.home().join("trainyard")
    }

    /// Writes a file below the home and gives its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes a bash program below the home and gives its path.
    pub(crate) fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.write(name, &format!("#!/bin/bash\n{script}"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        path
    }

    /// From here on commands go by this site file.
    pub(crate) fn use_site(&mut self, text: &str) {
        self.site = Some(self.write("site.toml", text));
    }

    /// A spec `NAME.toml` whose training is this bash script.
    pub(crate) fn bash_spec(&self, name: &str, script: &str) -> PathBuf {
        self.write(&format!("{name}-code/train.sh"), script);
        self.write(
            &format!("{name}.toml"),
            &format!(
                "name = \"{name}\"\n[code]\npath = \"{name}-code\"\nentry_point = \"train.sh\"\n"
            ),
        )
    }

    /// A line of bash in the home.
    #[expect(clippy::disallowed_methods, reason = "tests prepare their files")]
    pub(crate) fn bash(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", line]).current_dir(self.home()).env("HOME", self.home());
        command
    }

    /// The program with this world as its surroundings and nothing else.
    #[expect(clippy::disallowed_methods, reason = "tests start the program they test")]
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainyard"));
        command.env_clear().current_dir(self.home());
        command.env("PATH", Self::path(&self.no_slurm()));
        command.env("HOME", self.home()).env("TZ", "UTC").env("NO_COLOR", "1");
        if let Some(site) = &self.site {
            command.env("TRAINYARD_SITE", site);
        }
        command
    }

    /// The machine's search path behind a directory.
    #[expect(clippy::disallowed_methods, reason = "tests read their own environment")]
    pub(crate) fn path(first: &Path) -> std::ffi::OsString {
        let machines = std::env::var_os("PATH").unwrap_or_default();
        let rest = std::env::split_paths(&machines).collect::<Vec<_>>();
        std::env::join_paths(std::iter::once(first.to_owned()).chain(rest)).unwrap()
    }

    pub(crate) fn run<I: AsRef<std::ffi::OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
    ) -> Said {
        let mut command = self.command();
        command.args(arguments);
        Said::of(&mut command)
    }

    /// Runs a line of words, for the common case without spaces inside them.
    pub(crate) fn line(&self, line: &str) -> Said {
        self.run(line.split_whitespace())
    }

    /// Submits a spec without waiting for its end and gives its number.
    pub(crate) fn submit(&self, spec: &Path) -> i64 {
        let said = self.run([Path::new("submit"), spec]).success();
        said.stdout.trim().parse().unwrap()
    }

    /// `show --json` of a run.
    pub(crate) fn show(&self, run: i64) -> serde_json::Value {
        self.line(&format!("show {run} --json")).success().json()
    }

    /// Waits until a run is in one of these states and gives it.
    #[track_caller]
    pub(crate) fn until(&self, run: i64, states: &[&str]) -> serde_json::Value {
        let mut last = serde_json::Value::Null;
        wait_until(&format!("run {run} is {states:?}"), || {
            last = self.show(run);
            states.contains(&last["state"].as_str().unwrap())
        });
        last
    }

    /// The process that serves this world, if one does.
    pub(crate) fn daemon_pid(&self) -> Option<Pid> {
        daemon_of(&self.state_dir())
    }

    /// Kills the daemon as a machine would: without a word.
    pub(crate) fn kill_daemon(&self) {
        if let Some(pid) = self.daemon_pid() {
            // It may have ended by itself.
            kill(pid, Signal::SIGKILL).ok();
            wait_until("the daemon is gone", || !is_alive(pid));
        }
    }

    /// A run's directory.
    pub(crate) fn run_dir(&self, run: i64) -> PathBuf {
        PathBuf::from(self.show(run)["run_dir"].as_str().unwrap())
    }

    /// Hides what differs from world to world.
    pub(crate) fn masked(&self, text: &str) -> String {
        let home = self.home().display().to_string();
        let canonical = self.home().canonicalize().unwrap().display().to_string();
        text.replace(&canonical, "HOME").replace(&home, "HOME")
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        end_what_serves(&self.state_dir());
    }
}

/// Ends what a world started: the daemon first, then the supervisors it left, each with its own.
pub(crate) fn end_what_serves(state_dir: &Path) {
    if let Some(pid) = daemon_of(state_dir) {
        kill(pid, Signal::SIGKILL).ok();
    }
    let Ok(spools) = std::fs::read_dir(state_dir.join("local")) else { return };
    for spool in spools.flatten() {
        let Ok(record) = std::fs::read(spool.path().join("job.json")) else { continue };
        let Ok(record) = serde_json::from_slice::<serde_json::Value>(&record) else { continue };
        let Some(pid) = living(&record["process"]) else { continue };
        if record["state"] == "RUNNING" {
            std::fs::write(spool.path().join("cancel-now"), "").ok();
            kill(pid, Signal::SIGTERM).ok();
        }
    }
}

/// The process on this machine that a state directory's lease names, while it lives.
pub(crate) fn daemon_of(state_dir: &Path) -> Option<Pid> {
    let lease = std::fs::read(state_dir.join("lease.json")).ok()?;
    let lease: serde_json::Value = serde_json::from_slice(&lease).ok()?;
    let here = nix::unistd::gethostname().ok()?;
    if lease["host"].as_str() != here.to_str() {
        return None;
    }
    living(&lease["process"])
}

/// The recorded process itself: the number of one that is over may be another's by now, which is not to be killed for it.
fn living(recorded: &serde_json::Value) -> Option<Pid> {
    let process: ProcessId = serde_json::from_value(recorded.clone()).ok()?;
    process.is_alive().ok()?.then(|| Pid::from_raw(process.pid.cast_signed()))
}

impl Said {
    pub(crate) fn of(command: &mut Command) -> Self {
        let shown = format!("{:?}", command.get_args().collect::<Vec<_>>());
        Self::output(command.output().unwrap(), shown)
    }

    /// What a program says that was started with pipes.
    pub(crate) fn of_child(child: std::process::Child, shown: &str) -> Self {
        Self::output(child.wait_with_output().unwrap(), shown.to_owned())
    }

    fn output(output: Output, shown: String) -> Self {
        let Output { status, stdout, stderr } = output;
        Self {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            shown,
        }
    }

    #[track_caller]
    pub(crate) fn success(self) -> Self {
        self.ended(0)
    }

    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, stdout, stderr, shown } = self;
        write!(f, "trainyard {shown}\n--- exit {code}\n--- stdout\n{stdout}--- stderr\n{stderr}")
    }
}

/// Waits for a condition, never for a time.
#[track_caller]
pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, condition);
}

/// As [`wait_until`], for what takes longer.
#[track_caller]
pub(crate) fn wait_within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < patience, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn is_alive(pid: Pid) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The first thread may be over while others still hold the process's files, its socket among them.
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    threads > 1 || !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
}
