//! What an explanation needs: the record of a run, and the ends of its logs.

use std::io;
use std::path::{Path, PathBuf};

use crate::api::{LIST_MAX, LogSource};
use crate::daemon::views::{list_views, run_view};
use crate::daemon::world::World;
use crate::domain::diagnosis::{Case, Explanation, Labels, Log, Source, Tail, explain};
use crate::domain::ids::RunId;
use crate::domain::run_files::RunFiles;
use crate::domain::view::RunView;
use crate::ports::Hands;
use crate::store::{Filter, StoreError};

/// What is looked at of a log, from its end.
const TAIL_BYTES: usize = 2 << 20;
/// Lines before that are counted in so many bytes; behind more of them lines have no number.
const COUNTED_BYTES_MAX: u64 = 64 << 20;
/// Read at once.
const STRETCH_BYTES: usize = 1 << 20;

/// Says why a run waits, or why it failed; none when there is no such run.
pub async fn explain_run(world: &World, id: RunId) -> Result<Option<Explanation>, StoreError> {
    let Some(run) = run_view(world, id).await? else { return Ok(None) };
    let others_running = others_running(world, &run).await?;
    let (logs, silence) = match logs(world, &run).await {
        Ok(logs) => (logs, None),
        Err(silence) => (Vec::new(), Some(silence.to_string())),
    };
    let case = Case { run: &run, logs: &logs, silence: silence.as_deref(), others_running };
    Ok(Some(explain(case)))
}

async fn others_running(world: &World, run: &RunView) -> Result<usize, StoreError> {
    if run.state != "queued" {
        return Ok(0);
    }
    let filter = Filter {
        states: vec!["running".into(), "finishing".into(), "stopping".into()],
        owner: Some(run.owner.clone()),
        limit: LIST_MAX,
        ..Filter::default()
    };
    let running = list_views(world, filter).await?;
    Ok(running.iter().filter(|other| other.cluster == run.cluster).count())
}

/// The ends of the logs of a run that did not complete.
async fn logs(world: &World, run: &RunView) -> Result<Vec<Log>, crate::ports::Silence> {
    if !["failed", "cancelled"].contains(&run.state.as_str()) || run.deleted_at.is_some() {
        return Ok(Vec::new());
    }
    let sources = match run.reason.as_deref() {
        Some("preparation_failed") => &[(LogSource::Build, Source::Build)][..],
        _ => &[(LogSource::Training, Source::Training), (LogSource::Scheduler, Source::Scheduler)],
    };
    let mut logs = Vec::new();
    for (log, source) in sources {
        let Some(file) = log_file(run, None, *log, None) else { continue };
        let root = file.parent().unwrap_or(&run.run_dir).to_owned();
        let read = move |hands: &dyn Hands| tail(hands, &file);
        let labels = match log {
            LogSource::Training => Labels::of(&run.target, &run.launcher),
            LogSource::Build | LogSource::Scheduler => Labels::None,
        };
        logs.push(Log::read(*source, &world.with_hands(&root, read).await?, labels));
    }
    Ok(logs)
}

/// The end of a log, and how many lines are before it.
fn tail(hands: &dyn Hands, file: &Path) -> io::Result<Tail> {
    let start = hands.length(file)?.saturating_sub(TAIL_BYTES as u64);
    let mut lines_before = (start <= COUNTED_BYTES_MAX).then_some(0);
    let mut at = 0;
    while let Some(lines) = &mut lines_before
        && at < start
    {
        let most = usize::try_from(start - at).unwrap_or(STRETCH_BYTES).min(STRETCH_BYTES);
        let stretch = hands.read(file, at, most)?;
        if stretch.next <= at {
            // It has become shorter meanwhile.
            lines_before = None;
            break;
        }
        *lines += memchr::memchr_iter(b'\n', &stretch.bytes).count() as u64;
        at = stretch.next;
    }
    Ok(Tail { bytes: hands.read(file, start, TAIL_BYTES)?.bytes, lines_before })
}

/// The file that holds a log, of all ranks or of one that has its own; `None` when there is no such attempt.
pub fn log_file(
    view: &RunView,
    attempt: Option<u32>,
    source: LogSource,
    rank: Option<u32>,
) -> Option<PathBuf> {
    let files = RunFiles::of(&view.run_dir);
    if source == LogSource::Build {
        return Some(files.build_log());
    }
    let attempts = view.attempts.as_ref()?;
    let attempt = match attempt {
        Some(n) => attempts.iter().find(|candidate| candidate.attempt == n)?,
        None => attempts.last()?,
    };
    match (source, rank) {
        (LogSource::Training, Some(rank)) => Some(files.rank_log(attempt.attempt, rank)),
        (LogSource::Training, None) => Some(files.training_log(attempt.attempt)),
        (LogSource::Scheduler, _) => {
            Some(files.scheduler_log(&view.target, attempt.job_id, attempt.array_task_id))
        }
        (LogSource::Build, _) => None,
    }
}
