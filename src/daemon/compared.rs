//! Our record of what runs took beside that of accounting.

use std::collections::{BTreeMap, BTreeSet};

use crate::daemon::world::World;
use crate::domain::ids::{JobKey, Token};
use crate::domain::run::Attempt;
use crate::domain::usage::{Compared, OurStart, Start, compare};
use crate::ports::Silence;
use crate::store::{Filter, StoreError, WholeRun};

/// Why the records cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("accounting does not answer: {0}")]
    Silent(Silence),
    #[error("somebody else has the records compared just now")]
    Busy,
    #[error("more than {STARTS_MAX} starts are of that time: choose a shorter one")]
    TooMany,
}

/// Each 500 of them are a call of sacct.
const STARTS_MAX: usize = 20_000;

/// Accounting is asked by one comparison at a time, whoever wants it.
static COMPARING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Compares what started in the filter's period, on all clusters that keep accounts.
pub async fn compare_accounts(world: &World, filter: Filter) -> Result<Compared, CompareError> {
    let _one = COMPARING.try_lock().map_err(|_| CompareError::Busy)?;
    let period = filter.ran.unwrap_or_default();
    let mut count = 0_usize;
    let mut by_cluster: BTreeMap<String, Vec<OurStart>> =
        world.in_force().schedulers.keys().map(|cluster| (cluster.clone(), Vec::new())).collect();
    let mut before = filter.before;
    loop {
        let page = world.store.list(Filter { before, ..filter.clone() }).await?;
        let Some(last) = page.last() else { break };
        before = Some(last.row.run.id);
        for start in page.iter().flat_map(starts) {
            by_cluster.entry(start.start.job.cluster.clone()).or_default().push(start);
            count += 1;
        }
        if count > STARTS_MAX {
            return Err(CompareError::TooMany);
        }
    }
    let now = world.clock.now();
    let (mut ours, mut theirs, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for (cluster, known) in by_cluster {
        let jobs: BTreeSet<JobKey> = known.iter().map(|one| one.start.job.clone()).collect();
        let jobs: Vec<JobKey> = jobs.into_iter().collect();
        let oldest = known.iter().map(|one| one.start.started_at).min();
        let since = period.since.or(oldest).unwrap_or(now);
        let found = match world.scheduler(&cluster) {
            Some(scheduler) => scheduler.accounts(&jobs, since).await,
            None => Ok(None),
        };
        match found.map_err(CompareError::Silent)? {
            Some(found) => {
                theirs.extend(of_ours(world, found, &jobs).await?);
                ours.extend(known);
            }
            None if known.is_empty() => {}
            None => without.push(cluster),
        }
    }
    Ok(Compared { without, ..compare(&ours, &theirs, period) })
}

/// The starts of a run that its scheduler may have accounts of.
fn starts(run: &WholeRun) -> impl Iterator<Item = OurStart> {
    run.attempts.iter().filter_map(|attempt| {
        let start = start(attempt, run.row.resolved.compute.nodes)?;
        let self_reported = attempt.self_reported;
        Some(OurStart { run: run.row.run.id.0, attempt: attempt.n, self_reported, start })
    })
}

fn start(attempt: &Attempt, asked: u32) -> Option<Start> {
    let started_at = attempt.started_at?;
    let seconds = attempt.ended_at.map(|ended| ended.duration_since(started_at).as_secs());
    let clock = seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
    Some(Start {
        job: attempt.job.clone(),
        submitted_at: attempt.submitted_at,
        started_at,
        ended_at: attempt.ended_at,
        nodes: attempt.granted.nodes.unwrap_or(asked.into()),
        elapsed_seconds: attempt.elapsed_seconds.unwrap_or(clock),
    })
}

/// Those of what accounting keeps that are of our submissions: the user has other jobs, and other Trainyards.
async fn of_ours(
    world: &World,
    found: Vec<(String, Start)>,
    jobs: &[JobKey],
) -> Result<Vec<Start>, StoreError> {
    let tokens = |name: &str| -> BTreeSet<Token> {
        Token::all_in(name).filter_map(|token| token.parse().ok()).collect()
    };
    let all: BTreeSet<Token> = found.iter().flat_map(|(name, _)| tokens(name)).collect();
    let known = world.store.known_tokens(all).await?;
    let is_ours = |name: &str, start: &Start| {
        let named = tokens(name);
        // A start that was cut short may have a record without a name.
        let is_nameless = named.is_empty() && jobs.contains(&start.job);
        is_nameless || named.iter().any(|token| known.contains(token))
    };
    let mut starts: Vec<Start> = found
        .into_iter()
        .filter(|(name, start)| is_ours(name, start))
        .map(|(_, start)| start)
        .collect();
    // The same record may have been asked for twice, by its job and in a time.
    starts
        .sort_by(|one, other| (&one.job, one.submitted_at).cmp(&(&other.job, other.submitted_at)));
    starts.dedup();
    Ok(starts)
}
