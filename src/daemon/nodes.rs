//! Nodes that failed: they are looked at when an attempt ends that one of them may have ended, and attempts to come are kept
//! away from them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tracing::info;

use crate::daemon::reconcile::tell;
use crate::daemon::world::World;
use crate::domain::bad_nodes::{Avoided, BadNode, Failure, Health, Node, Unwell, excluded, of_run};
use crate::domain::hardware::Hardware;
use crate::domain::ids::RunId;
use crate::domain::nodelist::{NodeName, joined};
use crate::domain::resolved::{Resolved, Target};
use crate::domain::run::{Event, JobEnd, Look, Phase, Run, Seen, step};
use crate::ports::Silence;
use crate::store::{LiveRuns, RunRow, StoreError};

/// How old what is known of a cluster's nodes may be for a submission: however many there are, it is asked for rarely.
const RECENT: Duration = Duration::from_secs(30);

type Shown = Result<Arc<Vec<Node>>, Silence>;

/// The nodes of each cluster, as they were last shown.
#[derive(Default)]
pub(super) struct Nodes {
    shown: Mutex<HashMap<String, (Instant, Shown)>>,
}

impl Nodes {
    /// As they were a short time ago, or are now.
    async fn recent(&self, world: &World, cluster: &str) -> Shown {
        let known = self.shown.lock().unwrap_or_else(PoisonError::into_inner).get(cluster).cloned();
        match known {
            Some((at, shown)) if at.elapsed() < RECENT => shown,
            Some(_) | None => self.now(world, cluster).await,
        }
    }

    /// As they are now. Nobody waits for a scheduler longer than for its jobs.
    async fn now(&self, world: &World, cluster: &str) -> Shown {
        let silence = |why: &str| Silence { who: cluster.to_owned(), why: why.to_owned() };
        let shown = match world.scheduler(cluster) {
            Some(scheduler) => {
                match tokio::time::timeout(world.look_patience, scheduler.nodes()).await {
                    Ok(nodes) => nodes.map(Arc::new),
                    Err(_) => Err(silence("it did not say in time which nodes there are")),
                }
            }
            None => Err(silence("this cluster is not in the site config any more")),
        };
        let mut known = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(cluster.to_owned(), (Instant::now(), shown.clone()));
        shown
    }
}

/// The nodes of a cluster, as they were a short time ago.
pub(super) async fn shown(world: &World, cluster: &str) -> Shown {
    world.nodes.recent(world, cluster).await
}

/// Looks which nodes are down where an attempt has ended that one of them may have ended: once for each cluster, while it
/// still shows. While the scheduler is silent about them nobody is blamed, but the one node of an attempt that had no other.
pub(super) async fn see_failed_nodes(
    world: &World,
    live: &LiveRuns,
    seen: &mut HashMap<RunId, Seen>,
) {
    let mut ended: BTreeMap<&str, Vec<RunId>> = BTreeMap::new();
    for (id, seen) in seen.iter() {
        if let Some(row) = live.get(id).filter(|row| may_be_a_nodes(&row.run, &seen.look)) {
            ended.entry(row.resolved.compute.target.cluster()).or_default().push(*id);
        }
    }
    for (cluster, runs) in ended {
        let unwell: Unwell = match world.nodes.now(world, cluster).await {
            Ok(nodes) => {
                let unwell = nodes.iter().filter(|node| node.health != Health::Well);
                unwell.map(|node| (node.name.clone(), node.health)).collect()
            }
            Err(silence) => {
                info!(cluster.name = %cluster, "cannot see which nodes failed: {silence}");
                Unwell::new()
            }
        };
        for run in runs {
            if let Some(seen) = seen.get_mut(&run) {
                seen.unwell_nodes.clone_from(&unwell);
            }
        }
    }
}

/// Whether a node may have ended the attempt under way: its end says so, or it was followed by another start, and nobody
/// may say why.
fn may_be_a_nodes(run: &Run, look: &Look) -> bool {
    let Look::Job(shown) = look else { return false };
    let is_nodes =
        matches!(shown.phase, Phase::Ended { end: JobEnd::NodeFailure | JobEnd::BootFailure, .. });
    run.is_end_of_attempt(look) && (is_nodes || shown.restart > run.known_restart())
}

/// Looks what the nodes are that attempts are shown on for the first time: all of a cluster at once, and once for each start.
pub(super) async fn see_hardware(world: &World, live: &LiveRuns, seen: &mut HashMap<RunId, Seen>) {
    for (id, seen) in seen.iter_mut() {
        let Some(row) = live.get(id) else { continue };
        let known = row.run.attempt.as_ref().filter(|attempt| attempt.hardware.is_some());
        let Look::Job(shown) = &seen.look else { continue };
        let all = seen.earlier.iter().chain(std::iter::once(&**shown)).map(|shown| &shown.nodes);
        let is_new = |nodes: &&Vec<String>| {
            !nodes.is_empty() && known.is_none_or(|known| known.nodes != **nodes)
        };
        let cluster = row.resolved.compute.target.cluster();
        for names in all.filter(is_new) {
            let Ok(nodes) = world.nodes.recent(world, cluster).await else { continue };
            let asked = (cluster, row.resolved.compute.class.as_str());
            let hardware = Hardware::of(names, &nodes, world.in_force().site(), asked);
            seen.hardware.extend(hardware.map(|hardware| (names.clone(), hardware)));
        }
    }
}

/// Since when failures count.
fn remembered_since(world: &World) -> Timestamp {
    let expiry = world.in_force().site().bad_node_expiry();
    let expiry = SignedDuration::from_secs(i64::try_from(expiry.0).unwrap_or(i64::MAX));
    world.clock.now().saturating_sub(expiry).unwrap_or(Timestamp::MIN)
}

/// The failures on the cluster of a run that count for it.
async fn failures(world: &World, resolved: &Resolved) -> Result<Vec<Failure>, StoreError> {
    if resolved.compute.target == Target::Local || !resolved.failure.exclude_failed_nodes {
        return Ok(Vec::new());
    }
    let mut failures = world.store.bad_nodes(remembered_since(world)).await?;
    failures.retain(|failure| failure.cluster == resolved.compute.target.cluster());
    Ok(failures)
}

/// The nodes that the next attempt of a run is to keep away from, if enough others are left then.
pub(super) async fn kept_away_from(
    world: &World,
    row: &RunRow,
) -> Result<Vec<BadNode>, StoreError> {
    let failures = failures(world, &row.resolved).await?;
    let avoided: BTreeSet<NodeName> =
        of_run(&failures, row.run.id).into_iter().map(|failure| failure.node.clone()).collect();
    let mut bad = BadNode::all(&failures, world.in_force().site().bad_node_expiry());
    bad.retain(|bad| avoided.contains(&bad.node));
    Ok(bad)
}

/// All nodes that failed and are not forgotten.
pub async fn bad_nodes(world: &World) -> Result<Vec<BadNode>, StoreError> {
    let failures = world.store.bad_nodes(remembered_since(world)).await?;
    Ok(BadNode::all(&failures, world.in_force().site().bad_node_expiry()))
}

/// Forgets these nodes, or all. Gives what was known of them; where some of them are not known, which those are.
pub async fn clear_bad_nodes(
    world: &World,
    nodes: Option<Vec<NodeName>>,
) -> Result<Result<Vec<BadNode>, Vec<NodeName>>, StoreError> {
    let moments = (remembered_since(world), world.clock.now());
    let cleared = world.store.clear_bad_nodes(nodes, moments).await?;
    Ok(cleared.map(|failures| BadNode::all(&failures, world.in_force().site().bad_node_expiry())))
}

/// Which nodes the next attempt of a run keeps away from.
pub(super) async fn avoided(
    world: &World,
    run: &Run,
    resolved: &Resolved,
) -> Result<Avoided, StoreError> {
    let failures = failures(world, resolved).await?;
    if run.avoidance_refused || of_run(&failures, run.id).is_empty() {
        return Ok(Avoided::default());
    }
    let compute = &resolved.compute;
    Ok(match world.nodes.recent(world, compute.target.cluster()).await {
        Ok(nodes) => Avoided::choose(&failures, run.id, compute, &nodes),
        // Without their number nobody knows how many are left.
        Err(silence) => Avoided {
            nodes: Vec::new(),
            told: Some(format!("it may be given nodes that failed: {silence}")),
        },
    })
}

/// Keeps jobs that the scheduler starts again by itself away from nodes that failed, once for each start.
pub(super) async fn keep_away(world: &World) -> Result<(), StoreError> {
    let rows = world.store.live().await?;
    let wants = |row: &&Arc<RunRow>| {
        row.run.may_be_kept_away() && row.resolved.failure.exclude_failed_nodes
    };
    for row in rows.values().filter(wants) {
        let avoided = tell_scheduler(world, row).await?;
        let now = world.clock.now();
        let policy = world.policy(&row.resolved);
        let decision = step(&row.run, &Event::KeepsAway(avoided), &policy, now);
        world.store.record(decision.clone(), Vec::new(), now).await?;
        tell(row.run.id, &row.name, &decision);
        world.changed();
    }
    Ok(())
}

/// Tells the scheduler, where that is news to it. Gives what it knows then.
async fn tell_scheduler(world: &World, row: &RunRow) -> Result<Avoided, StoreError> {
    let avoided = avoided(world, &row.run, &row.resolved).await?;
    let (Some(submission), Some(attempt)) = (&row.run.submission, row.run.open_attempt()) else {
        return Ok(avoided);
    };
    let set = |nodes: &[NodeName]| nodes.iter().cloned().collect::<BTreeSet<_>>();
    if set(&avoided.nodes) == set(&submission.avoided) {
        return Ok(avoided);
    }
    let exclude = excluded(&row.resolved.compute, &avoided.nodes);
    let told = match world.scheduler(&submission.cluster) {
        Some(scheduler) => scheduler.exclude(&attempt.job, &submission.token, &exclude).await,
        None => return Ok(avoided),
    };
    Ok(match told {
        Ok(()) => avoided,
        // It may have started meanwhile. A node that is still down it is not given in any case.
        Err(silence) => Avoided {
            nodes: submission.avoided.clone(),
            told: Some(format!("it may be given {}: {silence}", joined(&avoided.nodes, ", "))),
        },
    })
}
