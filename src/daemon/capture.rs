//! The code of a new run: captured from where it lies, or found in the store.

use std::path::PathBuf;
use std::time::Duration;

use crate::daemon::accept::AcceptError;
use crate::daemon::world::World;
use crate::domain::code::{Capture, SourceKind};
use crate::domain::inputs::{CapturedCode, CodeDigest};
use crate::domain::problem::{Problem, Sources};
use crate::domain::requirements::CapturedRequirements;
use crate::domain::resolved::Resolved;
use crate::domain::spec::WorkStyle;
use crate::domain::tree;
use crate::files::capture_requirements;
use crate::ports::{CodeOrder, Hands, Silence, TakenCode};

/// Top-level entries of the code that `work/` links to. Somebody who has more has named the wrong directory.
const WORK_ENTRIES_MAX: usize = 10_000;

/// A large tree on a slow file system, or an archive from far away.
const CAPTURE_DEADLINE: Duration = Duration::from_mins(15);

/// Why code was not captured.
pub(super) enum CaptureError {
    /// What is asked for cannot be captured.
    Refused(Box<Problem>),
    /// An earlier run's code is kept no longer.
    Gone {
        digest: CodeDigest,
        run_root: PathBuf,
    },
    Silent(Silence),
    /// The run root's store cannot be made.
    NoStore(Silence),
}

impl CaptureError {
    /// As an acceptance says it.
    pub(super) fn told(self, sources: Sources) -> AcceptError {
        match self {
            Self::Refused(problem) => {
                AcceptError::Invalid { sources: Box::new(sources), problems: vec![*problem] }
            }
            Self::Gone { digest, run_root } => AcceptError::CodeGone { digest, run_root },
            Self::Silent(silence) => AcceptError::Files(silence),
            Self::NoStore(silence) => AcceptError::RunDir(silence),
        }
    }
}

/// Captures the code of a run; takes that of an earlier one where it is given.
pub(super) async fn obtain_code(
    world: &World,
    resolved: &Resolved,
    capture: &Capture,
    stored: Option<CapturedCode>,
) -> Result<TakenCode, CaptureError> {
    let is_stored = stored.is_some();
    let taken = match stored {
        Some(code) => stored_code(world, resolved, capture, code).await?,
        None => capture_code(world, resolved, capture).await?,
    };
    if resolved.code.work == WorkStyle::Link && taken.code.top.len() > WORK_ENTRIES_MAX {
        let message = format!(
            "the code has more than {WORK_ENTRIES_MAX} entries at its top, and `work/` would link to each"
        );
        let help = "name the directory of the code, leave out what is no code with `exclude`, or say `work = \"copy\"`";
        let problem = Problem::new(capture.place, message).help(help);
        return Err(CaptureError::Refused(Box::new(problem)));
    }
    match &capture.entry_point {
        Some((entry_point, place)) if !taken.has_entry_point => {
            let message = format!(
                "the entry point `{}` is not among the captured code",
                entry_point.escape_debug()
            );
            let help = if is_stored {
                "the code of the earlier run is taken again; `--set code.path=…` captures it as it is now"
                    .to_owned()
            } else {
                help_for_entry_point(resolved, &taken.code)
            };
            Err(CaptureError::Refused(Box::new(Problem::new(*place, message).help(help))))
        }
        _ => Ok(taken),
    }
}

async fn capture_code(
    world: &World,
    resolved: &Resolved,
    capture: &Capture,
) -> Result<TakenCode, CaptureError> {
    // What hangs is told soon, before the long patience for what is only large.
    let (run_root, mode) = (resolved.run_root.clone(), resolved.run_dir_mode.0);
    let make = move |hands: &dyn Hands| hands.make_store(&run_root, mode);
    world.with_hands(&resolved.run_root, make).await.map_err(CaptureError::NoStore)?;
    let order = CodeOrder {
        capture: capture.clone(),
        run_root: resolved.run_root.clone(),
        home: world.asker.home.clone(),
    };
    let take = move |hands: &dyn Hands| match hands.capture_code(&order) {
        Err(error) if is_about_the_code(&error) => Ok(Err(error.to_string())),
        other => other.map(Ok),
    };
    let taken = world.with_hands_within(&resolved.code.path, CAPTURE_DEADLINE, take).await;
    taken.map_err(CaptureError::Silent)?.map_err(|why| {
        let message = format!("cannot capture the code of {}: {why}", resolved.code.path.display());
        let help = match resolved.code.kind {
            SourceKind::Directory => {
                "leave out what is no code with `exclude = [\"…\"]` under [code], or name another directory"
            }
            SourceKind::Archive | SourceKind::Address => {
                "`code.path` is to be an archive of plain files, directories and links"
            }
        };
        CaptureError::Refused(Box::new(Problem::new(capture.place, message).help(help)))
    })
}

fn help_for_entry_point(resolved: &Resolved, code: &CapturedCode) -> String {
    match (resolved.code.kind, code.top.as_slice()) {
        (SourceKind::Directory, _) => {
            "git ignores it, or `exclude` leaves it out: name it in `include = [\"…\"]` under [code]".into()
        }
        (_, [only]) => format!("everything in the archive lies below `{only}/`"),
        (_, names) => {
            const NAMES_TOLD: usize = 8;
            let names: Vec<&str> = names.iter().take(NAMES_TOLD).map(String::as_str).collect();
            format!("at the top of the archive are {}", names.join(", "))
        }
    }
}

/// Whether trying again would not help.
fn is_about_the_code(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, NotFound, PermissionDenied};
    matches!(error.kind(), InvalidData | NotFound | PermissionDenied)
}

/// What a tree has at its top is read from its list: that of a record in a file is whatever somebody wrote there.
async fn stored_code(
    world: &World,
    resolved: &Resolved,
    capture: &Capture,
    code: CapturedCode,
) -> Result<TakenCode, CaptureError> {
    let (run_root, digest) = (resolved.run_root.clone(), code.digest.clone());
    let list = move |hands: &dyn Hands| {
        let is_there = hands.use_code(&run_root, &digest)?;
        is_there.then(|| hands.code_list(&run_root, &digest)).transpose()
    };
    let list = world.with_hands(&resolved.run_root, list).await.map_err(CaptureError::Silent)?;
    let Some(list) = list else {
        let run_root = resolved.run_root.clone();
        return Err(CaptureError::Gone { digest: code.digest, run_root });
    };
    let listed = tree::listed(&list);
    let asked = capture.entry_point.as_ref().map(|(asked, _)| asked.as_str());
    let has_entry_point = asked.is_none_or(|asked| tree::has_entry_point(&listed, asked));
    let code = CapturedCode { top: tree::top(listed.iter().map(|listed| listed.path)), ..code };
    Ok(TakenCode { code, has_entry_point, patch: None })
}

/// Captures what a run's environment is built of; takes that of an earlier run where it is given.
pub(super) async fn obtain_requirements(
    world: &World,
    resolved: &Resolved,
    given: Option<CapturedRequirements>,
) -> Result<Option<CapturedRequirements>, AcceptError> {
    let Some(asked) = &resolved.environment.requirements else { return Ok(None) };
    if given.is_some() {
        return Ok(given);
    }
    let path = asked.path.clone();
    let root = path.parent().unwrap_or(&path).to_owned();
    let read = move |_: &dyn Hands| Ok(capture_requirements(&path));
    // They were there a moment ago, when the spec was checked.
    let captured = world.with_hands(&root, read).await.map_err(AcceptError::Files)?;
    captured.map(Some).map_err(AcceptError::Requirements)
}
