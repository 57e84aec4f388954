//! Nodes that failed under runs: which of an attempt's nodes is to blame, who keeps away from it, and how many may be kept
//! away from.
//!
//! Slurm gives jobs no node that is down. What is dangerous is the node that comes back and fails again: the jobs that it
//! has ended leave it free, so that it is given the next one at once.

mod ask;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::bad_nodes::ask::Ask;
use crate::domain::ids::{JobKey, RunId};
use crate::domain::nodelist::{NodeName, joined};
use crate::domain::resolved::Compute;
use crate::domain::run::Reason;
use crate::domain::units::Seconds;

/// How long a failure of a node is remembered where the site does not say.
pub const EXPIRY: Seconds = Seconds(24 * 60 * 60);

/// The longest that it can be: what failed a month ago has been mended, or is gone.
pub const EXPIRY_MAX: Seconds = Seconds(30 * 24 * 60 * 60);

/// Attempts that a node has to fail under until runs keep away from it that it did nothing to: one may be the fault of what
/// ran there.
pub const FAILURES_FOR_OTHERS: usize = 2;

/// Nodes that one submission keeps away from. When more have failed, it is not they.
const AVOIDED_MAX: usize = 64;

/// How the script begins to tell of nodes that did not report in before the training (`parts/hosts.sh`); the names follow
/// behind a colon.
pub const SILENT_NODES: &str = "these nodes did not report in within ";

/// One failure of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub cluster: String,
    pub node: NodeName,
    pub since: Timestamp,
    pub why: Reason,
    pub run: RunId,
    pub attempt: u32,
    pub job: JobKey,
}

/// Whether a character of a constraint is part of a feature's name, such as `GPU_GEN:AMP`: all are to which Slurm gives no
/// other meaning.
pub fn is_of_feature(c: char) -> bool {
    !c.is_whitespace() && !"&|,[](){}*!".contains(c)
}

/// A node, as the scheduler shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: NodeName,
    pub partitions: Vec<String>,
    pub health: Health,
    /// It is well, and no job has any of it.
    pub is_idle: bool,
    pub cpus: u32,
    /// MiB.
    pub memory: u64,
    /// How many of each type; one without a type counts for all.
    pub gpus: Vec<(Option<String>, u32)>,
    pub features: Vec<String>,
    /// Those that it could be given: a plug-in of the site may start a node anew for a job that wants one.
    pub available: Vec<String>,
}

/// Whether a node can be given to jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It can, now or when its jobs are over.
    Well,
    /// Somebody has taken it out of use.
    Withdrawn,
    /// It is down, or does not answer.
    Failed,
}

/// The nodes of a cluster that are not well.
pub type Unwell = BTreeMap<NodeName, Health>;

/// What is known of an attempt that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    pub reason: Reason,
    pub nodes: &'a [String],
    /// What its script said at its end.
    pub told: &'a str,
}

/// Which of an attempt's nodes failed, as far as that can be told. `unwell` are those of the cluster that the scheduler did
/// not show as well right after the end. Nobody is blamed for what may be another's fault: of several nodes it is never more
/// than half, since what takes most of them down at once is their network, their power or an administrator.
pub fn blame(ended: Ended<'_>, unwell: &Unwell) -> Vec<NodeName> {
    let nodes: Vec<NodeName> = ended.nodes.iter().filter_map(|name| name.parse().ok()).collect();
    let silent: Vec<&str> = match ended.told.strip_prefix(SILENT_NODES) {
        Some(rest) => {
            let (_, names) = rest.split_once(':').unwrap_or_default();
            names.split(';').next().unwrap_or_default().split_whitespace().collect()
        }
        None => Vec::new(),
    };
    let is = |node: &NodeName, health| unwell.get(node) == Some(&health);
    let is_any_down = nodes.iter().any(|node| is(node, Health::Failed));
    // One whose slurmd lives is up again within seconds; what took it down has mostly drained it as well.
    let evidence = if is_any_down { Health::Failed } else { Health::Withdrawn };
    let is_blamed = |node: &NodeName| match ended.reason {
        // It had no other.
        Reason::NodeFailure | Reason::BootFailure => nodes.len() == 1 || is(node, evidence),
        // Where squeue alone tells, that is all it tells of a start which was followed by another.
        Reason::Requeued => is(node, Health::Failed),
        Reason::LaunchFailed => silent.contains(&node.as_str()),
        Reason::ExitCode
        | Reason::Signal
        | Reason::OutOfMemory
        | Reason::TimeLimit
        | Reason::Preempted
        | Reason::Deadline
        | Reason::Rejected
        | Reason::PreparationFailed
        | Reason::Lost
        | Reason::Hung
        | Reason::NoProgress
        | Reason::NoCheckpoint
        | Reason::DataChanged
        | Reason::StoppedEarly
        | Reason::StoppedByPolicy
        | Reason::BudgetExhausted
        | Reason::EvaluationFailed
        | Reason::CancelledByUser
        | Reason::CancelledByAdmin
        | Reason::Superseded => false,
    };
    let blamed: Vec<NodeName> = nodes.iter().filter(|node| is_blamed(node)).cloned().collect();
    let is_most = nodes.len() > 1 && blamed.len() * 2 > nodes.len();
    if is_most { Vec::new() } else { blamed }
}

/// The nodes that a run would rather not be given: those that failed under it, and those that failed under several attempts
/// of anybody. Each with its newest failure, and those that failed last first. `failures` are of one cluster, none expired.
pub fn of_run(failures: &[Failure], run: RunId) -> Vec<&Failure> {
    let is_avoided = |failures: &Vec<&Failure>| {
        failures.len() >= FAILURES_FOR_OTHERS || failures.iter().any(|failure| failure.run == run)
    };
    let avoided = by_node(failures).into_values().filter(is_avoided);
    let mut newest: Vec<&Failure> = avoided
        .filter_map(|failures| failures.into_iter().max_by_key(|failure| failure.since))
        .collect();
    newest.sort_by_key(|failure| std::cmp::Reverse(failure.since));
    newest
}

/// The failures of each node, by cluster and name.
fn by_node(failures: &[Failure]) -> BTreeMap<(&str, &NodeName), Vec<&Failure>> {
    let mut nodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for failure in failures {
        nodes.entry((failure.cluster.as_str(), &failure.node)).or_default().push(failure);
    }
    nodes
}

/// A node that failed, with all that it did; `why`, `run`, `attempt` and `job` are of its last failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BadNode {
    pub cluster: String,
    #[schemars(with = "String")]
    pub node: NodeName,
    /// Of its first failure that is not forgotten yet.
    pub since: Timestamp,
    /// When the last one is forgotten.
    pub until: Timestamp,
    pub why: Reason,
    pub run: i64,
    pub attempt: u32,
    #[schemars(with = "String")]
    pub job: JobKey,
    /// Attempts that it failed under.
    pub count: usize,
}

impl BadNode {
    /// Each node once, by cluster and name; a failure is forgotten after `expiry`.
    pub fn all(failures: &[Failure], expiry: Seconds) -> Vec<Self> {
        let expiry = SignedDuration::from_secs(i64::try_from(expiry.0).unwrap_or(i64::MAX));
        let bad = |failures: Vec<&Failure>| {
            let first = failures.iter().min_by_key(|failure| failure.since)?;
            let last = failures.iter().max_by_key(|failure| failure.since)?;
            Some(Self {
                cluster: last.cluster.clone(),
                node: last.node.clone(),
                since: first.since,
                until: last.since.saturating_add(expiry).unwrap_or(Timestamp::MAX),
                why: last.why,
                run: last.run.0,
                attempt: last.attempt,
                job: last.job.clone(),
                count: failures.len(),
            })
        };
        by_node(failures).into_values().filter_map(bad).collect()
    }
}

/// The nodes that a submission keeps away from, beside those that its spec excludes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Avoided {
    pub nodes: Vec<NodeName>,
    /// What the history says of it.
    pub told: Option<String>,
}

impl Avoided {
    /// Which nodes an attempt of `run` keeps away from, of all that the cluster has. So many nodes are left as the run asks
    /// for, of those that can be given now: rather than wait for ever it takes a node that failed, the one that failed longest
    /// ago first.
    pub fn choose(failures: &[Failure], run: RunId, compute: &Compute, nodes: &[Node]) -> Self {
        let mut wanted = of_run(failures, run);
        if nodes.is_empty() {
            return Self::left_in(&wanted, "the scheduler shows no nodes");
        }
        let known = |failure: &&Failure| nodes.iter().find(|node| node.name == failure.node);
        // Slurm takes no name that it does not know.
        wanted.retain(|failure| known(failure).is_some());
        let Some(ask) = Ask::of(compute) else {
            return Self::left_in(&wanted, "it cannot be told which others the run could be given");
        };
        wanted.retain(|failure| known(failure).is_some_and(|node| ask.may_have(node)));
        let mut left_in = wanted.split_off(wanted.len().min(AVOIDED_MAX));
        while !ask.is_met_without(&wanted, nodes)
            && let Some(oldest) = wanted.pop()
        {
            left_in.push(oldest);
        }
        let asked = compute.nodes;
        let left = Self::left_in(&left_in, &format!("fewer than the {asked} asked would be left"));
        let told = (!wanted.is_empty()).then(|| format!("it keeps away from {}", told(&wanted)));
        Self {
            nodes: wanted.iter().map(|failure| failure.node.clone()).collect(),
            told: match (told, left.told) {
                (Some(one), Some(other)) => Some(format!("{one}; {other}")),
                (one, other) => one.or(other),
            },
        }
    }

    /// Nodes that are not kept away from, for this reason.
    fn left_in(failures: &[&Failure], why: &str) -> Self {
        let told =
            (!failures.is_empty()).then(|| format!("it may be given {}: {why}", told(failures)));
        Self { nodes: Vec::new(), told }
    }
}

/// Nodes, and what they did.
fn told(failures: &[&Failure]) -> String {
    let each = |failure: &&Failure| failure.to_string();
    failures.iter().map(each).collect::<Vec<_>>().join(", ")
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { node, why, run, attempt, .. } = self;
        write!(f, "{node} ({} in attempt {attempt} of run {run})", why.as_str())
    }
}

/// The nodes that Slurm is told to exclude for a run that keeps away from these: those of the spec and the class as well,
/// since what Slurm is told beside the script replaces what is in it.
pub fn excluded(compute: &Compute, avoided: &[NodeName]) -> Vec<NodeName> {
    let of_spec = Ask::of(compute).map(|ask| ask.excluded).unwrap_or_default();
    let more = avoided.iter().filter(|node| !of_spec.contains(node));
    of_spec.iter().chain(more).cloned().collect()
}

/// A note of who is blamed, for the history of the run.
pub fn blamed(attempt: u32, nodes: &[NodeName]) -> String {
    let (noun, names) = (if nodes.len() == 1 { "node" } else { "nodes" }, joined(nodes, ", "));
    format!("{noun} {names} failed under attempt {attempt}")
}
