//! Which process it was: a pid alone is no identity, for pids are used again and a reboot begins anew.
//!
//! [`ProcessId`] is written to disk by whoever must be found later (a local job's supervisor, the daemon's lease) and
//! asked afterwards whether that very process still lives.

use std::io;

use serde::{Deserialize, Serialize};

/// One process of one boot of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: u32,
    /// When it started, in clock ticks since boot: tells it from a later process of the same pid.
    pub start_ticks: u64,
    pub boot_id: String,
}

/// What the kernel says about a process (`/proc/PID/stat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub pid: u32,
    /// One letter: `R`, `S`, `D`, `Z` …
    pub state: char,
    pub parent: u32,
    pub group: u32,
    pub session: u32,
    pub start_ticks: u64,
}

impl ProcessId {
    /// This process.
    pub fn current() -> io::Result<Self> {
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, "/proc does not show this process");
        Self::of(std::process::id())?.ok_or_else(missing)
    }

    /// The process that has this pid now, if one lives.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        let Some(stat) = stat_of(pid)?.filter(Stat::is_alive) else { return Ok(None) };
        Ok(Some(Self { pid, start_ticks: stat.start_ticks, boot_id: boot_id()? }))
    }

    /// Whether this very process lives. An error when that cannot be known.
    pub fn is_alive(&self) -> io::Result<bool> {
        Ok(Self::of(self.pid)?.as_ref() == Some(self))
    }
}

impl Stat {
    /// A zombie is over: it only waits for its parent to take note.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Reads `PID (NAME) STATE PPID PGRP SESSION …`. The name may hold anything, spaces and parentheses too, so the
    /// fields are counted from the last `)`.
    fn parse(text: &str) -> Option<Self> {
        let (pid, rest) = text.split_once(' ')?;
        let (_, rest) = rest.rsplit_once(')')?;
        // proc(5) numbers the fields from 1; the state is field 3.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        // A process that is just being taken off the books shows -1 for what it no longer belongs to.
        let id = |number| Some(u32::try_from(field(number)?.parse::<i64>().ok()?).unwrap_or(0));
        Some(Self {
            pid: pid.parse().ok()?,
            state: field(3)?.chars().next()?,
            parent: id(4)?,
            group: id(5)?,
            session: id(6)?,
            start_ticks: field(22)?.parse().ok()?,
        })
    }
}

/// The processes that this user can see, zombies included.
pub fn all() -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        found.extend(stat_of(pid)?);
    }
    Ok(found)
}

/// Whether a process that lives has an argument that begins and ends like this. Processes whose arguments this user may not
/// read are none of ours.
pub fn any_with_argument(begins: &str, ends: &str) -> io::Result<bool> {
    let is_it = |argument: &[u8]| {
        argument.starts_with(begins.as_bytes()) && argument.ends_with(ends.as_bytes())
    };
    for entry in fs_err::read_dir("/proc")? {
        let name = entry?.file_name();
        let is_process = name.to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        // One that ended has no arguments left, a zombie neither.
        let arguments = is_process
            .then(|| std::fs::read(format!("/proc/{}/cmdline", name.to_string_lossy())))
            .and_then(Result::ok)
            .unwrap_or_default();
        if arguments.split(|byte| *byte == 0).any(is_it) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Names this boot of this machine.
pub fn boot_id() -> io::Result<String> {
    Ok(fs_err::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn stat_of(pid: u32) -> io::Result<Option<Stat>> {
    // The name in it may be any bytes.
    let bytes = match std::fs::read(format!("/proc/{pid}/stat")) {
        Ok(bytes) => bytes,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&bytes);
    let odd = || io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is odd"));
    Stat::parse(&text).map(Some).ok_or_else(odd)
}

/// The process ended before its file was opened, or between opening and reading it.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_forge_fields() {
        let rest =
            "S 10 20 30 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 20 18446744073709551615";
        for name in ["bash", "a b", "x) R 1 1 1", ")))", ""] {
            let stat = Stat::parse(&format!("77 ({name}) {rest}\n")).unwrap();
            let expected = Stat {
                pid: 77,
                state: 'S',
                parent: 10,
                group: 20,
                session: 30,
                start_ticks: 987_654,
            };
            assert_eq!(stat, expected, "{name}");
        }
        let going =
            Stat::parse("77 (bash) X 0 -1 -1 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 9 10").unwrap();
        assert_eq!((going.is_alive(), going.group, going.session), (false, 0, 0));
        for wrong in ["", "77", "77 (bash", "77 (bash) S 10", "x (bash) S 1 2 3"] {
            assert_eq!(Stat::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_process_is_found_by_what_it_was_started_with() {
        // The test's own arguments: whatever runs it names the test binary first.
        let own = std::env::args().next().unwrap();
        let (begins, ends) = own.split_at(own.len() / 2);
        assert!(any_with_argument(begins, ends).unwrap());
        assert!(!any_with_argument("--job-name=nobody", "was started with this").unwrap());
    }

    #[test]
    fn this_process_lives_and_others_of_its_pid_do_not() {
        let this = ProcessId::current().unwrap();
        assert!(this.is_alive().unwrap());
        assert!(all().unwrap().iter().any(|stat| stat.pid == this.pid));
        let later = ProcessId { start_ticks: this.start_ticks + 1, ..this.clone() };
        let boot = ProcessId { boot_id: "another".to_owned(), ..this.clone() };
        // Above the kernel's own limit for pids.
        let nobody = ProcessId { pid: 1 << 30, ..this };
        for dead in [later, boot, nobody] {
            assert!(!dead.is_alive().unwrap(), "{dead:?}");
        }
    }
}
