//! Starting a local job's script, for its supervisor.

use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;

/// Where nearly every system has it; elsewhere it is looked for on the script's PATH.
const BASH: &str = "/bin/bash";

/// A script to start.
#[derive(Debug, Clone, Copy)]
pub struct ScriptStart<'a> {
    pub script: &'a Path,
    pub directory: &'a Path,
    /// The whole environment.
    pub environment: &'a [(String, String)],
    /// Where standard output and standard error are appended.
    pub log: &'a Path,
}

/// Starts a script in a process group of its own and returns its pid. The caller waits for it.
///
/// The script inherits the caller's signal mask, so nothing may be blocked in it.
#[expect(clippy::disallowed_methods, reason = "hands is where programs are started")]
pub fn start_script(start: &ScriptStart<'_>) -> io::Result<u32> {
    let log = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(start.log)
        .map_err(|error| named(start.log, &error))?;
    let also_log = log.try_clone()?;
    let bash = if Path::new(BASH).exists() { BASH } else { "bash" };
    let child = Command::new(bash)
        .arg(start.script)
        .env_clear()
        .envs(start.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(start.directory)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(also_log)
        .process_group(0)
        .spawn()
        .map_err(|error| named(start.script, &error))?;
    Ok(child.id())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("failed to open `{}`: {error}", path.display()))
}
