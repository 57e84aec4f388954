//! What git says of a work tree. It is asked, as a program, for names and differences; the files are read by us.
//!
//! Nothing that a repository's own configuration says is run for it, as far as git lets that be said.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::domain::code::without_secrets;
use crate::domain::inputs::{GitChanges, GitState};
use crate::domain::units::Bytes;
use crate::hands::code::listing::{Listing, Place, refused};
use crate::hands::program;
use crate::ports::{Output, Program, ProgramError};

/// A patch that is larger is not kept: the captured code has what it says.
const PATCH_BYTES_MAX: u64 = 8 << 20;

/// Names of all files.
const NAMES_BYTES_MAX: u64 = 128 << 20;

/// A repository that takes longer lies on a file system that is not well.
const DEADLINE: Duration = Duration::from_mins(2);

/// Submodules in submodules.
const DEPTH_MAX: usize = 8;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What git says.
#[derive(Debug)]
pub(super) struct Found {
    pub listing: Listing,
    /// Files that git does not know.
    pub untracked: Vec<String>,
    pub state: GitState,
    pub patch: Option<Vec<u8>>,
}

/// Asks git about the work tree that a directory is in; nothing where it is in none, or where there is no git.
pub(super) fn ask(runtime: &Handle, place: Place<'_>, home: &Path) -> io::Result<Option<Found>> {
    let is_work_tree = |directory: &&Path| directory.join(".git").exists();
    if place.directory.ancestors().find(is_work_tree).is_none() {
        return Ok(None);
    }
    let git = Git { directory: place.directory, home };
    match runtime.block_on(git.ask(place)) {
        Ok(found) => Ok(Some(found)),
        // Without git it is a directory as any other.
        Err(AskError::Missing) => Ok(None),
        Err(AskError::Failed(error)) => Err(error),
    }
}

enum AskError {
    Missing,
    Failed(io::Error),
}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

#[derive(Clone, Copy)]
struct Git<'a> {
    directory: &'a Path,
    home: &'a Path,
}

impl Git<'_> {
    async fn ask(self, place: Place<'_>) -> Result<Found, AskError> {
        let names =
            ["ls-files", "-z", "-t", "--stage", "--cached", "--others", "--exclude-standard"];
        let status =
            ["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--", "."];
        let (names, status, remote) = tokio::try_join!(
            self.run(&names, NAMES_BYTES_MAX),
            self.run(&status, NAMES_BYTES_MAX),
            self.run(&["config", "--get", "remote.origin.url"], 4096),
        )?;
        let mut found = Found {
            listing: Listing::default(),
            untracked: Vec::new(),
            state: GitState::default(),
            patch: None,
        };
        let nested = add_names(&words(&names, "ls-files")?, "", place, &mut found)?;
        self.add_nested(place, nested, &mut found).await?;
        let changed = read_status(&words(&status, "status")?, &mut found.state);
        let remote = String::from_utf8_lossy(&remote.stdout).trim().to_owned();
        found.state.remote = (!remote.is_empty()).then(|| without_secrets(&remote));
        if changed > 0 || !found.untracked.is_empty() {
            let untracked = u64::try_from(found.untracked.len()).unwrap_or(u64::MAX);
            let mut changes = GitChanges { modified: changed, untracked, ..GitChanges::default() };
            (found.patch, changes.no_patch) = self.patch(found.state.commit.is_some()).await?;
            found.state.changes = Some(changes);
        }
        Ok(found)
    }

    /// Work trees inside the work tree: submodules, and repositories that git does not know.
    async fn add_nested(
        self,
        place: Place<'_>,
        nested: Vec<Nested>,
        found: &mut Found,
    ) -> Result<(), AskError> {
        let mut todo: Vec<(Nested, usize)> = nested.into_iter().map(|nested| (nested, 1)).collect();
        while let Some((Nested { path, is_submodule }, depth)) = todo.pop() {
            let directory = self.directory.join(&path);
            if is_submodule && !directory.join(".git").exists() {
                let why = format!(
                    "the submodule `{path}` is not checked out: git submodule update --init"
                );
                return Err(refused(why).into());
            }
            if depth > DEPTH_MAX {
                return Err(refused(format!("`{path}`: submodules {DEPTH_MAX} deep")).into());
            }
            let names =
                ["ls-files", "-z", "-t", "--stage", "--cached", "--others", "--exclude-standard"];
            let inner = Git { directory: &directory, ..self };
            let names = inner.run(&names, NAMES_BYTES_MAX).await?;
            let below = add_names(&words(&names, "ls-files")?, &format!("{path}/"), place, found)?;
            todo.extend(below.into_iter().map(|nested| (nested, depth + 1)));
        }
        Ok(())
    }

    /// What differs from the commit, and why that is not kept where it is not.
    async fn patch(self, has_commit: bool) -> Result<(Option<Vec<u8>>, Option<String>), AskError> {
        if !has_commit {
            return Ok((None, Some("there is no commit yet".into())));
        }
        let diff = ["diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv"];
        let more = ["--submodule=short", "HEAD", "--", "."];
        let output = self.run(&[&diff[..], &more[..]].concat(), PATCH_BYTES_MAX).await?;
        if output.cut {
            return Ok((None, Some(format!("it is larger than {}", Bytes(PATCH_BYTES_MAX)))));
        }
        Ok((Some(words(&output, "diff")?), None))
    }

    async fn run(self, args: &[&str], bytes_max: u64) -> Result<Output, AskError> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let before = ["-c", "core.fsmonitor=false", "-c", "core.quotePath=false"];
        let program = Program {
            path: "git".into(),
            args: before.iter().chain(args).map(|word| (*word).to_owned()).collect(),
            environment: vec![
                pair("PATH", PATH),
                pair("HOME", &self.home.display().to_string()),
                pair("LC_ALL", "C"),
                pair("GIT_OPTIONAL_LOCKS", "0"),
                pair("GIT_TERMINAL_PROMPT", "0"),
            ],
            directory: self.directory.to_owned(),
            stdin: None,
            deadline: DEADLINE,
            answer_bytes_max: bytes_max,
        };
        program::run(program).await.map_err(|error| match &error {
            ProgramError::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                AskError::Missing
            }
            ProgramError::Start { .. }
            | ProgramError::Stdin { .. }
            | ProgramError::Deadline { .. }
            | ProgramError::Hear { .. } => AskError::Failed(io::Error::other(crate::chain(&error))),
        })
    }
}

/// What git printed; its own words when it failed.
fn words(output: &Output, verb: &str) -> io::Result<Vec<u8>> {
    if output.code == Some(0) && !output.cut {
        return Ok(output.stdout.clone());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("no word");
    Err(refused(format!("git {verb} failed: {said}")))
}

struct Nested {
    path: String,
    is_submodule: bool,
}

/// Reads `TAG MODE OBJECT STAGE\tPATH` for what git knows and `? PATH` for what it does not. Work trees that lie inside
/// are given back.
fn add_names(
    names: &[u8],
    prefix: &str,
    place: Place<'_>,
    found: &mut Found,
) -> io::Result<Vec<Nested>> {
    let mut nested = Vec::new();
    for line in names.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let line = str::from_utf8(line).map_err(|_| {
            let shown = String::from_utf8_lossy(line);
            refused(format!(
                "`{}` cannot be captured: its name is no UTF-8 text",
                shown.escape_debug()
            ))
        })?;
        let unknown = line.strip_prefix("? ");
        let Some(name) = unknown.or_else(|| line.split_once('\t').map(|(_, name)| name)) else {
            continue;
        };
        let path = format!("{prefix}{name}");
        let absolute = place.directory.join(&path);
        if place.globs.excludes(&path) || absolute.starts_with(place.run_root) {
            continue;
        }
        let is_submodule = unknown.is_none() && line.get(2..8) == Some("160000");
        match path.strip_suffix('/') {
            Some(directory) => nested.push(Nested { path: directory.to_owned(), is_submodule }),
            None if is_submodule => nested.push(Nested { path, is_submodule }),
            None => {
                if unknown.is_some() {
                    found.untracked.push(path.clone());
                }
                found.listing.add(path)?;
            }
        }
    }
    Ok(nested)
}

/// Reads the head of `status --porcelain=v2`, and counts the files that differ from the commit.
fn read_status(status: &[u8], state: &mut GitState) -> u64 {
    let mut changed = 0;
    let mut lines = status.split(|byte| *byte == 0);
    while let Some(line) = lines.next() {
        let line = String::from_utf8_lossy(line);
        if let Some(commit) = line.strip_prefix("# branch.oid ") {
            state.commit = Some(commit.to_owned()).filter(|commit| commit != "(initial)");
        } else if let Some(branch) = line.strip_prefix("# branch.head ") {
            state.branch = Some(branch.to_owned()).filter(|branch| branch != "(detached)");
        } else if line.starts_with("1 ") || line.starts_with("u ") {
            changed += 1;
        } else if line.starts_with("2 ") {
            changed += 1;
            // A renamed file is followed by its old name.
            lines.next();
        }
    }
    changed
}
