//! Looking at what live runs save, so that it is known while they run.
//!
//! All looks together ask file systems a few things a second, however many runs are live: what one has cost is waited off
//! before the next. A look at a directory that has not changed costs one question; where the file system tells of changes
//! itself ([`Stirs`]), a look comes with them, and one that nobody asked for only now and then.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tracing::debug;

use crate::daemon::checkpoints::{mount, walk};
use crate::daemon::collect::{is_past, reports};
use crate::daemon::stirs::Stirs;
use crate::daemon::world::World;
use crate::domain::checkpoint::{Saved, Walked, newest};
use crate::domain::ids::RunId;
use crate::ports::{Hands, Silence};
use crate::store::{LiveRuns, RunRow, network_name};

/// All looks together ask one thing in so long, on average: 20 a second.
const CALL: SignedDuration = SignedDuration::from_millis(50);
/// So much may be asked in a row.
const AHEAD: SignedDuration = SignedDuration::from_secs(1);
/// Between two looks at one run.
const INTERVAL: SignedDuration = SignedDuration::from_secs(5);
/// Where something is known to have changed.
const STIRRED_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
/// Where a change would be told.
const HEARD_INTERVAL: SignedDuration = SignedDuration::from_mins(1);
/// Until all is looked at again where no name has changed: a file may be written over.
const WHOLE_AGAIN: SignedDuration = SignedDuration::from_mins(10);
/// A directory that changed so lately may have changed after it was listed; clocks of file servers differ.
const LATELY: SignedDuration = SignedDuration::from_secs(30);
/// Between two records of what a run has saved: a few a minute, however often it saves.
const TOLD_EVERY: SignedDuration = SignedDuration::from_secs(15);
/// What a first look is taken to cost.
const CALLS_EXPECTED: usize = 10;

#[derive(Default)]
pub(super) struct Watching {
    known: Mutex<Known>,
    stirs: Stirs,
}

#[derive(Default)]
struct Known {
    runs: HashMap<RunId, Watched>,
    /// File systems that are being looked at: one that hangs is asked by one look, and the others go on.
    busy: HashSet<PathBuf>,
    /// What was asked so far is waited off by then.
    paid_at: Option<Timestamp>,
}

/// What is known of the directories of one run.
#[derive(Debug, Clone, Default)]
struct Watched {
    looked_at: Option<Timestamp>,
    /// When all of it was looked at.
    whole_at: Option<Timestamp>,
    /// What the last look cost.
    calls: Option<usize>,
    /// Where checkpoints lie, and when the names there last changed.
    places: Vec<(PathBuf, Option<Timestamp>)>,
    /// Something may change without changing those.
    is_restless: bool,
    /// The file system tells when one of those changes.
    is_heard: bool,
    /// It has told so since the last look.
    is_stirred: bool,
    /// What is not recorded yet.
    news: Option<Saved>,
    told_at: Option<Timestamp>,
}

impl Known {
    /// Of runs, the file systems that they are on with them, those that are looked at now: those that waited longest first.
    fn due(&mut self, runs: &[(RunId, PathBuf)], now: Timestamp) -> Vec<(RunId, Watched)> {
        if self.paid_at(now).duration_since(now) >= AHEAD {
            return Vec::new();
        }
        let is_due = |watched: &Watched| {
            watched.looked_at.is_none_or(|last| is_past(last, watched.interval(), now))
        };
        let mut waiting: Vec<(Option<Timestamp>, &(RunId, PathBuf))> = runs
            .iter()
            .map(|run| (self.runs.get(&run.0), run))
            .filter(|(watched, _)| watched.is_none_or(is_due))
            .map(|(watched, run)| (watched.and_then(|watched| watched.looked_at), run))
            .collect();
        waiting.sort_by_key(|(last, (run, _))| (*last, *run));
        let mut due = Vec::new();
        for (_, (run, mount)) in waiting {
            if self.paid_at(now).duration_since(now) >= AHEAD {
                break;
            }
            if !self.busy.insert(mount.clone()) {
                continue;
            }
            let watched = self.runs.entry(*run).or_default();
            watched.looked_at = Some(now);
            let (calls, asked) = (watched.expected(), Watched { news: None, ..watched.clone() });
            watched.is_stirred = false;
            self.pay(calls, now);
            due.push((*run, asked));
        }
        due
    }

    /// A clock that was set back stops nobody for longer than a while.
    fn paid_at(&self, now: Timestamp) -> Timestamp {
        const DEBT_MAX: SignedDuration = SignedDuration::from_mins(10);
        let known = self.paid_at.filter(|paid| paid.duration_since(now) <= DEBT_MAX);
        known.map_or(now, |paid| paid.max(now))
    }

    fn pay(&mut self, calls: usize, now: Timestamp) {
        let cost = CALL.saturating_mul(i32::try_from(calls).unwrap_or(i32::MAX));
        self.paid_at = self.paid_at(now).checked_add(cost).ok();
    }

    /// Takes in what a look has shown; none where it failed.
    fn looked(&mut self, run: RunId, mount: &Path, shown: Option<Watched>, now: Timestamp) {
        self.busy.remove(mount);
        let Some(shown) = shown else { return };
        let known = self.runs.entry(run).or_default();
        // The rest of what it cost; what was expected is paid.
        let more = shown.calls.unwrap_or(0).saturating_sub(known.expected());
        // A look that found nothing changed says nothing of what was seen before.
        let is_whole = shown.whole_at != known.whole_at;
        let news = if is_whole { shown.news.clone() } else { known.news.take() };
        let (told_at, looked_at, is_stirred) = (known.told_at, known.looked_at, known.is_stirred);
        *known = Watched { looked_at, is_stirred, news, told_at, ..shown };
        self.pay(more, now);
    }
}

impl Watched {
    /// Until the next look.
    fn interval(&self) -> SignedDuration {
        match (self.is_stirred, self.is_heard && !self.is_restless) {
            (true, _) => STIRRED_INTERVAL,
            (false, true) => HEARD_INTERVAL,
            (false, false) => INTERVAL,
        }
    }

    fn expected(&self) -> usize {
        match self.calls {
            None => CALLS_EXPECTED,
            Some(_) if !self.is_restless && !self.is_stirred => self.places.len().max(1),
            Some(calls) => calls,
        }
    }
}

impl Watching {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a run has saved is recorded by somebody else.
    pub(super) fn forget_news(&self, run: RunId) {
        if let Some(watched) = self.lock().runs.get_mut(&run) {
            watched.news = None;
        }
    }

    /// What runs have saved that is not recorded yet.
    pub(super) fn news(&self, now: Timestamp) -> Vec<(RunId, Saved)> {
        let mut news = Vec::new();
        for (run, watched) in &mut self.lock().runs {
            if watched.told_at.is_none_or(|last| is_past(last, TOLD_EVERY, now))
                && let Some(saved) = watched.news.take()
            {
                watched.told_at = Some(now);
                news.push((*run, saved));
            }
        }
        news
    }
}

/// Begins to look at the runs whose turn it is, beside the pass.
pub(super) fn begin(world: &Arc<World>, live: &LiveRuns) {
    let watched = live.values().filter(|row| row.resolved.checkpoint.is_some() && reports(row));
    let runs: Vec<(RunId, PathBuf)> = watched.map(|row| (row.run.id, mount(row))).collect();
    let now = world.clock.now();
    world.watching.stirs.retain(|run| live.contains_key(&run));
    let stirred = world.watching.stirs.take();
    let due = {
        let known = &mut *world.watching.lock();
        known.runs.retain(|run, _| live.contains_key(run));
        for (_, watched) in known.runs.iter_mut().filter(|(run, _)| stirred.contains(*run)) {
            watched.is_stirred = true;
        }
        known.due(&runs, now)
    };
    for (run, watched) in due {
        let Some(row) = live.get(&run).map(Arc::clone) else { continue };
        let world = Arc::clone(world);
        world.tasks.clone().spawn(async move {
            let shown = look(&world, &row, watched).await;
            let shown = shown.inspect_err(|silence| {
                debug!(run.id = run.0, "cannot look at the checkpoints of run {run}: {silence}");
            });
            world.watching.lock().looked(run, &mount(&row), shown.ok(), world.clock.now());
        });
    }
}

async fn look(world: &World, row: &RunRow, watched: Watched) -> Result<Watched, Silence> {
    let now = world.clock.now();
    // What stirred may have been written over, under the name that it had.
    let is_whole_due = watched.is_restless
        || watched.is_stirred
        || watched.whole_at.is_none_or(|at| is_past(at, WHOLE_AGAIN, now));
    let mut calls = 0;
    if !is_whole_due {
        let places = watched.places.iter().map(|(place, _)| place.clone()).collect();
        calls += watched.places.len();
        if times(world, row, places).await? == watched.places {
            return Ok(Watched { calls: Some(calls), ..watched });
        }
    }
    let walked = walk(world, row).await?;
    let branch = row.run.branch.as_ref();
    let newest = newest(&walked.found, branch);
    world.retaining.saw(row, newest);
    let of_newest = newest.and_then(|one| one.modified);
    let is_at_work = walked
        .found
        .iter()
        .any(|one| one.lacks.is_some() && (of_newest.is_none() || one.modified >= of_newest));
    let saved = Saved::of(&walked.found, branch);
    let Walked { places, calls: walking, .. } = walked;
    calls += walking + places.len();
    let is_heard = hears(world, row, &places).await?;
    let places = times(world, row, places).await?;
    let is_late = |at: &Timestamp| now.duration_since(*at) < LATELY;
    let is_restless = is_at_work || places.iter().any(|(_, at)| at.as_ref().is_some_and(is_late));
    Ok(Watched {
        whole_at: Some(now),
        calls: Some(calls),
        places,
        is_restless,
        is_heard,
        news: Some(saved).filter(|saved| row.run.saved.as_ref() != Some(saved)),
        ..watched
    })
}

/// Listens to directories, where their file system is this machine's own. It is asked about each time: a run may move.
async fn hears(world: &World, row: &RunRow, places: &[PathBuf]) -> Result<bool, Silence> {
    let asked = places.to_vec();
    let is_local = move |_: &dyn Hands| Ok(asked.iter().all(|place| network_name(place).is_none()));
    let is_local = world.with_hands(&mount(row), is_local).await?;
    Ok(world.watching.stirs.listen(row.run.id, if is_local { places } else { &[] }))
}

/// When the names of directories last changed.
async fn times(
    world: &World,
    row: &RunRow,
    places: Vec<PathBuf>,
) -> Result<Vec<(PathBuf, Option<Timestamp>)>, Silence> {
    let ask = move |hands: &dyn Hands| {
        let times = hands.changed_at(&places);
        Ok(places.into_iter().zip(times).collect())
    };
    world.with_hands(&mount(row), ask).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: usize = 7;
    const CALLS_PER_SECOND: usize = 20;

    fn shown(known: &Known, run: RunId, calls: usize) -> Watched {
        let watched = known.runs.get(&run).cloned().unwrap_or_default();
        let places = vec![(PathBuf::from("/c"), None); calls.min(2)];
        Watched { calls: Some(calls), places, is_restless: true, ..watched }
    }

    /// Each look is over before the next pass: the worst for the budget.
    #[test]
    fn a_thousand_runs_are_asked_for_no_more_than_a_few_and_each_in_its_turn() {
        const SECONDS: i64 = 600;
        let mut known = Known::default();
        let runs: Vec<(RunId, PathBuf)> =
            (0..1_000).map(|n| (RunId(n), PathBuf::from(format!("/m{}", n % 7)))).collect();
        let (mut calls, mut looks) = (0, HashMap::new());
        for tick in 0..SECONDS * 4 {
            let now = Timestamp::from_millisecond(1_790_000_000_000 + tick * 250).unwrap();
            for (run, _) in known.due(&runs, now) {
                let index = usize::try_from(run.0).unwrap();
                let shown = shown(&known, run, CALLS);
                known.looked(run, &runs[index].1, Some(shown), now);
                calls += CALLS;
                *looks.entry(run).or_insert(0) += 1;
            }
        }
        let budget = CALLS_PER_SECOND * usize::try_from(SECONDS).unwrap();
        assert!(calls <= budget + 2 * CALLS_PER_SECOND, "{calls} calls of {budget}");
        // A first look is paid for beforehand, as if it cost more.
        assert!(calls * 10 >= budget * 7, "{calls} calls of {budget}");
        let (fewest, most) = (looks.values().min().unwrap(), looks.values().max().unwrap());
        assert!(looks.len() == 1_000 && most - fewest <= 1, "{fewest} to {most}");
    }

    #[test]
    fn where_changes_are_told_looks_come_with_them_and_else_now_and_then() {
        let mut known = Known::default();
        let at = |second: i64| Timestamp::from_second(1_790_000_000 + second).unwrap();
        let runs = [(RunId(1), PathBuf::from("/a"))];
        let mut look = |stirs: bool, is_restless: bool, second: i64| {
            if let Some(watched) = known.runs.get_mut(&RunId(1)) {
                watched.is_stirred |= stirs;
            }
            let due = known.due(&runs, at(second));
            let (_, asked) = due.into_iter().next()?;
            let shown = Watched { is_heard: true, is_restless, calls: Some(2), ..asked.clone() };
            known.looked(RunId(1), Path::new("/a"), Some(shown), at(second));
            Some(asked.is_stirred)
        };
        assert_eq!(look(false, false, 0), Some(false));
        assert_eq!(look(false, false, 55), None);
        assert_eq!(look(false, false, 61), Some(false));
        assert_eq!(look(true, true, 63), Some(true));
        // While something is being written, what is told is not all there is.
        assert_eq!(look(false, true, 65), None);
        assert_eq!(look(false, false, 69), Some(false));
        assert_eq!(look(false, false, 80), None);
    }

    #[test]
    fn what_a_look_has_cost_is_waited_off() {
        let mut known = Known::default();
        let at = |second: i64| Timestamp::from_second(1_790_000_000 + second).unwrap();
        let runs = [(RunId(1), PathBuf::from("/a")), (RunId(2), PathBuf::from("/b"))];
        assert_eq!(known.due(&runs, at(0)).len(), 2);
        assert_eq!(known.due(&runs, at(60)).len(), 0, "both are looked at still");
        let large = shown(&known, RunId(1), 600);
        known.looked(RunId(1), &runs[0].1, Some(large), at(60));
        known.looked(RunId(2), &runs[1].1, None, at(60));
        assert_eq!(known.due(&runs, at(85)).len(), 0);
        assert_eq!(known.due(&runs, at(91))[0].0, RunId(1));
        // A clock that was set back by a day.
        known.looked(RunId(1), &runs[0].1, None, at(91));
        assert_eq!(known.due(&runs, at(91 - 86_400)).len(), 2);
    }

    #[test]
    fn what_is_saved_every_second_is_recorded_a_few_times_a_minute() {
        let watching = Watching::default();
        let mut told = 0;
        for second in 0..60 {
            let now = Timestamp::from_second(1_790_000_000 + second).unwrap();
            let count = usize::try_from(second).unwrap();
            let news = Some(Saved { count, ..Saved::default() });
            let shown = Watched { news, whole_at: Some(now), ..Watched::default() };
            watching.lock().looked(RunId(1), Path::new("/c"), Some(shown), now);
            told += watching.news(now).len();
        }
        assert_eq!(told, 4);
    }
}
