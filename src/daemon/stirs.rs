//! What file systems tell by themselves of the directories that live runs save to: inotify, on file systems of this machine.
//!
//! Never relied on: a network file system tells nothing of what other machines write, and what is told may be cut short. It
//! makes looks come sooner, and lets those that nobody asked for come more rarely.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tracing::debug;

use crate::domain::ids::RunId;

/// Directories that are listened to: each takes one of the user's inotify watches.
const PLACES_MAX: usize = 1_000;

#[derive(Default)]
pub(super) struct Stirs {
    /// None until there is something to listen to, and where there is no inotify.
    watcher: Mutex<Option<RecommendedWatcher>>,
    heard: Arc<Mutex<Heard>>,
}

/// What is listened to.
#[derive(Debug, Default)]
struct Heard {
    places: HashMap<PathBuf, HashSet<RunId>>,
    /// Where something has changed since the last look.
    stirred: HashSet<PathBuf>,
}

impl Stirs {
    /// Listens to the directories of a run from now on, and to no others of its. Gives whether all of them are heard.
    pub(super) fn listen(&self, run: RunId, places: &[PathBuf]) -> bool {
        let mut watcher = lock(&self.watcher);
        let unheard = lock(&self.heard).leave(run, |place| !places.contains(place));
        unwatch(&mut watcher, unheard);
        let mut hears_all = !places.is_empty();
        for place in places {
            let mut heard = lock(&self.heard);
            if let Some(runs) = heard.places.get_mut(place) {
                runs.insert(run);
                continue;
            }
            let has_room = heard.places.len() < PLACES_MAX;
            drop(heard);
            if has_room && self.watch(&mut watcher, place) {
                lock(&self.heard).places.insert(place.clone(), HashSet::from([run]));
            } else {
                hears_all = false;
            }
        }
        hears_all
    }

    /// Runs that are over are not listened to.
    pub(super) fn retain(&self, is_live: impl Fn(RunId) -> bool) {
        let over: HashSet<RunId> = lock(&self.heard)
            .places
            .values()
            .flatten()
            .copied()
            .filter(|run| !is_live(*run))
            .collect();
        if over.is_empty() {
            return;
        }
        let mut watcher = lock(&self.watcher);
        for run in over {
            let unheard = lock(&self.heard).leave(run, |_| true);
            unwatch(&mut watcher, unheard);
        }
    }

    /// Runs in whose directories something has changed since this was asked last.
    pub(super) fn take(&self) -> HashSet<RunId> {
        let mut heard = lock(&self.heard);
        let stirred = std::mem::take(&mut heard.stirred);
        stirred.iter().filter_map(|place| heard.places.get(place)).flatten().copied().collect()
    }

    fn watch(&self, watcher: &mut Option<RecommendedWatcher>, place: &Path) -> bool {
        if watcher.is_none() {
            let heard = Arc::clone(&self.heard);
            let handler = move |event: notify::Result<notify::Event>| lock(&heard).hear(event);
            *watcher = notify::recommended_watcher(handler)
                .inspect_err(|error| {
                    debug!("no file watching here, looks come by the timer: {error}");
                })
                .ok();
        }
        let watched =
            watcher.as_mut().map(|watcher| watcher.watch(place, RecursiveMode::NonRecursive));
        match watched {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                debug!("cannot watch {}, looks come by the timer: {error}", place.display());
                false
            }
            None => false,
        }
    }
}

fn unwatch(watcher: &mut Option<RecommendedWatcher>, places: Vec<PathBuf>) {
    for place in places {
        // One that is gone is not watched any more.
        drop(watcher.as_mut().map(|watcher| watcher.unwatch(&place)));
    }
}

impl Heard {
    /// Lets go of a run's places; gives those that nobody listens to any more.
    fn leave(&mut self, run: RunId, is_left: impl Fn(&PathBuf) -> bool) -> Vec<PathBuf> {
        let mut unheard = Vec::new();
        self.places.retain(|place, runs| {
            if is_left(place) {
                runs.remove(&run);
            }
            if runs.is_empty() {
                unheard.push(place.clone());
            }
            !runs.is_empty()
        });
        unheard
    }

    fn hear(&mut self, event: notify::Result<notify::Event>) {
        let Ok(event) = event else { return self.hear_all() };
        if event.need_rescan() {
            return self.hear_all();
        }
        if event.kind.is_access() {
            return;
        }
        for path in &event.paths {
            for place in [Some(path.as_path()), path.parent()].into_iter().flatten() {
                if self.places.contains_key(place) && !self.stirred.contains(place) {
                    self.stirred.insert(place.to_owned());
                }
            }
        }
    }

    /// Something was not told.
    fn hear_all(&mut self) {
        self.stirred.extend(self.places.keys().cloned());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// What was heard by the time that something is.
    fn next(stirs: &Stirs) -> HashSet<RunId> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let heard = stirs.take();
            if !heard.is_empty() || Instant::now() > until {
                return heard;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn whoever_saves_to_a_directory_is_heard_until_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["a", "b"].map(|name| dir.path().join(name));
        let stirs = Stirs::default();
        assert!(!stirs.listen(RunId(1), std::slice::from_ref(&first)), "it is not there yet");
        for place in [&first, &second] {
            fs_err::create_dir(place).unwrap();
        }
        assert!(stirs.listen(RunId(1), &[first.clone(), second.clone()]));
        assert!(stirs.listen(RunId(2), std::slice::from_ref(&second)));
        assert_eq!(stirs.take(), HashSet::new());
        fs_err::write(first.join("step-1"), "x").unwrap();
        assert_eq!(next(&stirs), HashSet::from([RunId(1)]));
        fs_err::create_dir(second.join("step-2")).unwrap();
        assert_eq!(next(&stirs), HashSet::from([RunId(1), RunId(2)]));
        // The first directory is none of the run's any more, and run 2 is over.
        assert!(stirs.listen(RunId(1), std::slice::from_ref(&second)));
        stirs.retain(|run| run == RunId(1));
        fs_err::write(first.join("step-3"), "x").unwrap();
        fs_err::write(second.join("step-3"), "x").unwrap();
        assert_eq!(next(&stirs), HashSet::from([RunId(1)]));
        stirs.retain(|_| false);
        assert!(lock(&stirs.heard).places.is_empty());
    }

    #[test]
    fn what_was_not_told_counts_as_a_change_of_everything() {
        let dir = tempfile::tempdir().unwrap();
        let stirs = Stirs::default();
        assert!(stirs.listen(RunId(3), &[dir.path().to_owned()]));
        lock(&stirs.heard).hear(Err(notify::Error::generic("overflow")));
        assert_eq!(stirs.take(), HashSet::from([RunId(3)]));
    }
}
