//! What goes wrong around the daemon: its files, its socket, its lease, its machine, and strangers in its inbox.

mod cron;
mod drain;
mod inbox;
mod lease;
mod local;
mod once;
mod room;
mod socket;
mod start;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::env::{Said, TestEnv, end_what_serves, wait_until};

/// A training that waits for the file `NAME` in the home of its world.
fn waits_for(env: &TestEnv, name: &str) -> String {
    format!("until [ -e '{}' ]; do sleep 0.02; done\n", env.home().join(name).display())
}

/// A program of ours in the background; it does not outlive the test.
struct Background(Child);

impl Background {
    fn start(command: &mut Command) -> Self {
        Self(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    fn serve(env: &TestEnv, arguments: &str) -> Self {
        Self::start(env.command().arg("serve").args(arguments.split_whitespace()))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Its exit code, once it has ended; -1 for a signal.
    #[track_caller]
    fn end(&mut self) -> i32 {
        wait_until("it ends", || self.has_ended());
        self.0.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A state directory beside the world's own.
struct Other(PathBuf);

impl Other {
    fn at(path: PathBuf) -> Self {
        Self(path)
    }

    fn run(&self, env: &TestEnv, line: &str) -> Said {
        Said::of(env.command().arg("--state-dir").arg(&self.0).args(line.split_whitespace()))
    }

    fn submit(&self, env: &TestEnv, spec: &Path) -> i64 {
        let said = self.run(env, &format!("submit {}", spec.display())).success();
        said.stdout.trim().parse().unwrap()
    }

    fn state_of(&self, env: &TestEnv, run: i64) -> String {
        let view = self.run(env, &format!("show {run} --json")).success().json();
        view["state"].as_str().unwrap().to_owned()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        end_what_serves(&self.0);
    }
}

/// The lines of talk, with what differs from world to world hidden.
fn talk(env: &TestEnv, said: &Said) -> String {
    env.masked(&said.stderr)
}
