//! When the next pass is due: a timer while runs are live, a nudge at any time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::daemon::in_force;
use crate::daemon::lease::Lease;
use crate::daemon::reconcile::{PassReport, pass};
use crate::daemon::world::World;
use crate::store::StoreError;

/// Between passes while runs are live: inboxes and local jobs are looked at this often.
const INTERVAL: Duration = Duration::from_secs(1);
/// From the first live run to the first look at it. Its submission is mostly answered by then, and is not held up by a look
/// that sees nothing yet.
const FIRST: Duration = Duration::from_millis(50);
/// Until what could not be removed is tried again. A daemon that is idle ends all the same, and the next one goes on.
const AGAIN: Duration = Duration::from_mins(1);
/// Between looks at the lease, which another machine may have taken over.
const LEASE_INTERVAL: Duration = Duration::from_secs(5);

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    ToldTo,
    Idle,
    TakenOver,
}

/// Makes passes until told to stop, or idle for too long.
pub(super) async fn run(
    world: &Arc<World>,
    lease: &Lease,
    idle_after: Option<Duration>,
    shutdown: &CancellationToken,
) -> Ended {
    let _watcher = watch(world, shutdown);
    let mut lease_look = tokio::time::interval(LEASE_INTERVAL);
    let mut trouble = None;
    let mut changes = world.changes.subscribe();
    loop {
        changes.mark_unchanged();
        in_force::take_up(world).await;
        let report = told(pass(world).await, &mut trouble);
        let is_needed = report.live > 0 || report.schedules > 0;
        let idle = idle_after.filter(|_| !is_needed && world.tasks.is_empty());
        let mut due = due(world, report, idle);
        let mut awaits_first = report.live == 0;
        loop {
            tokio::select! {
                () = world.nudge.notified() => break,
                // From now on there is something to look at.
                _ = changes.changed(), if awaits_first => {
                    awaits_first = false;
                    due = due.min(Instant::now() + FIRST);
                }
                () = tokio::time::sleep_until(due) => {
                    let is_idle = |after| world.tasks.is_empty() && world.last_touched.borrow().elapsed() >= after;
                    if idle.is_some_and(is_idle) {
                        info!("idle: the daemon ends");
                        return Ended::Idle;
                    }
                    break;
                }
                _ = lease_look.tick() => {
                    if lease.is_lost().await {
                        error!("another daemon has taken over this state directory: this one ends");
                        return Ended::TakenOver;
                    }
                    break;
                }
                () = shutdown.cancelled() => return Ended::ToldTo,
            }
        }
    }
}

/// When the next pass is due if nothing happens before.
fn due(world: &World, report: PassReport, idle: Option<Duration>) -> Instant {
    let now = Instant::now();
    let due = match idle {
        _ if report.live > 0 => now + INTERVAL,
        Some(idle_after) => *world.last_touched.borrow() + idle_after,
        None => now + Duration::from_hours(1),
    };
    let due = if report.left > 0 { due.min(now + AGAIN) } else { due };
    report.again_in.map_or(due, |again_in| due.min(now + again_in))
}

/// What the loop goes by after a pass. A fault that lasts is logged once, not once a second: the disk may be full.
fn told(passed: Result<PassReport, StoreError>, trouble: &mut Option<String>) -> PassReport {
    match passed {
        Ok(report) => {
            if trouble.take().is_some() {
                info!("passes succeed again");
            }
            report
        }
        Err(error) => {
            let now = crate::chain(&error);
            if trouble.as_ref() != Some(&now) {
                error!("a pass failed and is tried again: {now}");
                *trouble = Some(now);
            }
            PassReport { live: 1, ..PassReport::default() }
        }
    }
}

/// Nudges the loop when an inbox or a local job's record changes. Never relied on: network file systems report nothing.
fn watch(world: &Arc<World>, shutdown: &CancellationToken) -> Option<tokio::task::JoinHandle<()>> {
    let nudged = Arc::clone(world);
    let handler = move |event: notify::Result<notify::Event>| {
        // Our own removals are no news.
        if event
            .is_ok_and(|event| matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_)))
        {
            nudged.nudge.notify_one();
        }
    };
    let mut watcher: RecommendedWatcher = match notify::recommended_watcher(handler) {
        Ok(watcher) => watcher,
        Err(error) => {
            debug!("no file watching here, the timer does it: {error}");
            return None;
        }
    };
    let local = world.paths.state.path().join("local");
    if let Err(error) = std::fs::create_dir_all(&local)
        .map_err(notify::Error::io)
        .and_then(|()| watcher.watch(&local, RecursiveMode::Recursive))
    {
        debug!("cannot watch local jobs, the timer does it: {error}");
    }
    let mut roots = world.watched.subscribe();
    let shutdown = shutdown.clone();
    Some(tokio::spawn(async move {
        let mut known: Vec<PathBuf> = Vec::new();
        loop {
            let wanted = roots.borrow_and_update().clone();
            for root in wanted.iter().filter(|root| !known.contains(root)) {
                if let Err(error) = watcher.watch(&root.join(".inbox"), RecursiveMode::NonRecursive)
                {
                    debug!(inbox.root = %root.display(), "cannot watch an inbox, the timer does it: {error}");
                }
            }
            for root in known.iter().filter(|root| !wanted.contains(root)) {
                drop(watcher.unwatch(&root.join(".inbox")));
            }
            known = wanted;
            tokio::select! {
                changed = roots.changed() => if changed.is_err() { return },
                () = shutdown.cancelled() => return,
            }
        }
    }))
}
