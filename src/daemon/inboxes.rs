//! Clearing inboxes: what was recorded, what came too late, and what nobody wants any more.
//!
//! A run root may serve several state directories. So a daemon takes only what its own submissions said; the rest is
//! somebody else's until it is so old that nobody waits for it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tracing::{debug, warn};

use crate::daemon::world::World;
use crate::domain::ids::Token;
use crate::store::{LiveRuns, StoreError};

/// Between sweeps of one inbox.
const INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// What nobody took for so long, nobody will.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Recorded files that could not be removed; they are not recorded again.
const TAKEN_MAX: usize = 100_000;

/// What this process remembers about inboxes.
#[derive(Debug, Default)]
pub(super) struct Inboxes {
    taken: Mutex<HashSet<PathBuf>>,
    swept: Mutex<HashMap<PathBuf, Timestamp>>,
}

impl Inboxes {
    /// Whether a file was recorded, and only could not be removed.
    pub(super) fn was_taken(&self, file: &Path) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).contains(file)
    }

    fn keep(&self, files: Vec<PathBuf>) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() < TAKEN_MAX {
            taken.extend(files);
        }
    }

    fn is_due(&self, root: &Path, now: Timestamp) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let due = swept.get(root).is_none_or(|last| now.duration_since(*last) >= INTERVAL);
        if due {
            swept.insert(root.to_owned(), now);
        }
        due
    }
}

/// Removes what a pass has recorded.
pub(super) async fn clear(world: &World, taken: BTreeMap<PathBuf, Vec<PathBuf>>) {
    for (root, files) in taken {
        let recorded = files.clone();
        if let Err(silence) = world.with_hands(&root, move |hands| hands.remove(&files)).await {
            warn!(inbox.root = %root.display(), "cannot clear an inbox: {silence}");
            world.inboxes.keep(recorded);
        }
    }
}

/// Once an hour, removes late events of our own submissions and what has become old.
pub(super) async fn sweep(world: &World, live: &LiveRuns) -> Result<(), StoreError> {
    let now = world.clock.now();
    let roots: BTreeSet<&Path> = live.values().map(|row| row.resolved.run_root.as_path()).collect();
    for root in roots.into_iter().filter(|root| world.inboxes.is_due(root, now)) {
        let path = root.to_owned();
        let there = match world.with_hands(root, move |hands| hands.inbox_tokens(&path)).await {
            Ok(there) => there,
            Err(silence) => {
                debug!(inbox.root = %root.display(), "cannot sweep an inbox: {silence}");
                continue;
            }
        };
        let mut over: BTreeSet<Token> = world.store.known_tokens(there).await?;
        let waited_for = live.values().filter_map(|row| row.run.submission.as_ref());
        waited_for.for_each(|submission| {
            over.remove(&submission.token);
        });
        let (path, then) = (root.to_owned(), now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN));
        let swept =
            world.with_hands(root, move |hands| hands.sweep_inbox(&path, &over, then)).await;
        if let Err(silence) = swept {
            debug!(inbox.root = %root.display(), "cannot sweep an inbox: {silence}");
        }
    }
    Ok(())
}
