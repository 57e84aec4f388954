//! The program: reads its surroundings, once, and hands them to the command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use nix::unistd::{Group, Uid, User, getgroups, gethostname};
use trainyard::cli::{self, Surroundings};
use trainyard::domain::resolve::Asker;
use trainyard::hands::SystemClock;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os(), is_empty) {
        Ok(cli) => cli,
        Err(error) => {
            // When even this cannot be printed there is nobody to tell.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { cli::Exit::Usage as u8 } else { 0 });
        }
    };
    if cli.stays_behind() {
        close_inherited();
    }
    #[cfg(feature = "faults")]
    arm_fault();
    cli::run(cli, surroundings())
}

/// For fault tests: where this process is to end.
#[cfg(feature = "faults")]
#[expect(clippy::disallowed_methods, reason = "the program's surroundings are read here")]
fn arm_fault() {
    if let Ok(name) = std::env::var("TRAINYARD_FAULT") {
        trainyard::fault::arm(name);
    }
}

/// Lets go of what whoever started us had open, but the standard streams: a lock that cron's flock holds, or a pipe that
/// somebody reads to its end, must not last as long as a daemon does. To be called before anything is opened here.
fn close_inherited() {
    const STANDARD: i32 = 2;
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in open.into_iter().filter(|number| *number > STANDARD) {
        // The one that the directory was read through is closed already.
        nix::unistd::close(number).ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "the program's surroundings are read here")]
fn is_empty(variable: &std::ffi::OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.is_empty())
}

/// Variables that the daemon is given when a command starts it, and local jobs with it. Nothing depends on them. Others
/// it is given only when the site keeps them for its Slurm commands.
const KEPT: &[&str] = &[
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "XDG_RUNTIME_DIR",
    "TRAINYARD_LOG",
];

/// What cron gives when it gives nothing.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn surroundings() -> Surroundings {
    let asker =
        asker(std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute()));
    let variable = |name: &str| std::env::var(name).ok();
    let mut environment: Vec<(String, String)> =
        KEPT.iter().filter_map(|name| Some(((*name).to_owned(), variable(name)?))).collect();
    if !environment.iter().any(|(name, _)| name == "PATH") {
        environment.push(("PATH".into(), PATH_DEFAULT.into()));
    }
    for (name, value) in [
        ("HOME", asker.home.display().to_string()),
        ("USER", asker.user.clone()),
        ("LOGNAME", asker.user.clone()),
    ] {
        environment.push((name.into(), value));
    }
    Surroundings {
        asker,
        directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("trainyard")),
        host: gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        environment,
        variable,
        log_filter: variable("TRAINYARD_LOG").filter(|filter| !filter.is_empty()),
        clock: Arc::new(SystemClock),
    }
}

/// Who runs this program, from the user database; `HOME` where it is set.
fn asker(home: Option<PathBuf>) -> Asker {
    let uid = Uid::effective();
    let user = User::from_uid(uid).ok().flatten();
    let group_name = |gid| {
        Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
    };
    let group = group_name(nix::unistd::Gid::effective());
    let mut groups: Vec<String> =
        getgroups().unwrap_or_default().into_iter().map(group_name).collect();
    groups.push(group.clone());
    Asker {
        user: user.as_ref().map_or_else(|| uid.to_string(), |user| user.name.clone()),
        uid: uid.as_raw(),
        group,
        groups,
        home: home.or_else(|| user.map(|user| user.dir)).unwrap_or_else(|| PathBuf::from("/")),
    }
}
