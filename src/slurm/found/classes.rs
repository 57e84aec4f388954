//! From what a cluster says about itself to a site config: one hardware class for each kind of node in each partition.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::domain::gres::Gpus;
use crate::domain::resolve::Asker;
use crate::domain::resolved::SbatchOption;
use crate::domain::site::LOCAL;
use crate::domain::site_check::Partition;
use crate::domain::units::{Mebibytes, Seconds, TimeLimit};
use crate::slurm::found::WhichSlurm;
use crate::slurm::found::answers::Nodes;

/// A site config, in the order of its text. The keys are those of [`crate::domain::site`].
#[derive(Debug, Serialize)]
pub(super) struct FoundConfig {
    pub(super) site: SiteKeys,
    pub(super) cluster: BTreeMap<String, ClusterKeys>,
    pub(super) class: BTreeMap<String, ClassKeys>,
}

#[derive(Debug, Serialize)]
pub(super) struct SiteKeys {
    pub(super) name: String,
    default_class: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct ClusterKeys {
    commands: String,
    #[serde(flatten)]
    elsewhere: BTreeMap<String, String>,
    conf: Option<String>,
    slurm_cluster: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct ClassKeys {
    cluster: String,
    pub(super) partition: String,
    pub(super) gpus_per_node: Option<u32>,
    pub(super) gpu_type: Option<String>,
    gpu_typed: Option<bool>,
    cpus_per_node: Option<u32>,
    memory_per_node: Option<String>,
    memory_request: Option<&'static str>,
    pub(super) exclusive: Option<bool>,
    min_nodes: Option<u32>,
    pub(super) max_nodes: u32,
    max_time: Option<String>,
    default_time: String,
}

/// Nodes of a partition that are one class. A node with GPUs of two types is in two kinds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    gpus: Option<Gpus>,
    cpus: u32,
    memory: u64,
    nodes: u32,
}

/// The built-in site of a user on a cluster.
pub(super) fn config(
    which: &WhichSlurm,
    cluster_name: &str,
    partitions: &[Partition],
    nodes: &[Nodes],
    asker: &Asker,
) -> FoundConfig {
    let cluster = valid(cluster_name);
    let cluster = if cluster == LOCAL { "slurm".to_owned() } else { cluster };
    let mut open: Vec<&Partition> =
        partitions.iter().filter(|partition| partition.is_open_to(asker)).collect();
    open.retain(|partition| can_be_asked_for(&partition.name));
    open.sort_by(|a, b| a.name.cmp(&b.name));
    let mut taken = BTreeSet::from([LOCAL.to_owned()]);
    let mut classes = BTreeMap::new();
    let mut default: Option<(u32, String)> = None;
    // All first: a name that is made up must not be that of a partition.
    let own: Vec<String> =
        open.iter().map(|partition| unique(valid(&partition.name), &mut taken)).collect();
    for (partition, own) in open.into_iter().zip(own) {
        let kinds = kinds(partition, nodes);
        for (kind, name) in kinds.iter().zip(names(&own, &kinds)) {
            let name = if name == own { name } else { unique(name, &mut taken) };
            let more = default.as_ref().is_none_or(|(most, _)| kind.nodes > *most);
            if partition.is_default && more {
                default = Some((kind.nodes, name.clone()));
            }
            classes.insert(name, class(&cluster, partition, kind));
        }
    }
    FoundConfig {
        site: SiteKeys {
            name: cluster_name.to_owned(),
            default_class: default.map(|(_, name)| name),
        },
        cluster: BTreeMap::from([(
            cluster,
            ClusterKeys {
                commands: which.directory.clone(),
                elsewhere: which.elsewhere.clone(),
                conf: which.conf.clone(),
                slurm_cluster: which.clusters.clone(),
            },
        )]),
        class: classes,
    }
}

/// Whether sbatch can be given a name. A class that nobody can use would make the whole site faulty.
fn can_be_asked_for(name: &str) -> bool {
    SbatchOption::with_value("x", name).is_ok()
}

impl FoundConfig {
    pub(super) fn has_classes(&self) -> bool {
        !self.class.is_empty()
    }
}

/// A partition's kinds of node, those left out that cannot make up its smallest job. A node with GPUs of two types is in
/// two of them, each with the part of its CPUs and memory that such a part of its GPUs comes to.
fn kinds(partition: &Partition, nodes: &[Nodes]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = nodes
        .iter()
        .filter(|nodes| nodes.partition == partition.name)
        .flat_map(|nodes| {
            let gpus: Vec<Option<Gpus>> = match nodes.gpus.as_slice() {
                [] => vec![None],
                some => some.iter().cloned().map(Some).collect(),
            };
            let all: u64 = nodes.gpus.iter().map(|gpus| u64::from(gpus.count)).sum();
            gpus.into_iter().map(move |gpus| {
                let part = gpus.as_ref().map_or(all, |gpus| u64::from(gpus.count));
                let share = |whole: u64| {
                    if partition.is_exclusive { whole } else { share(whole, part, all) }
                };
                let cpus = u32::try_from(share(nodes.cpus.into())).unwrap_or(nodes.cpus);
                Kind { gpus, cpus, memory: share(nodes.memory), nodes: nodes.count }
            })
        })
        .collect();
    kinds.sort();
    kinds.dedup_by(|next, kept| {
        // Where nothing of a node's size is in the class, nodes of every size are one.
        let is_sizeless = kept.gpus.is_none() && next.gpus.is_none() && !partition.is_exclusive;
        let alike = is_sizeless || is_alike(kept, next);
        if alike {
            kept.nodes = kept.nodes.saturating_add(next.nodes);
        }
        alike
    });
    kinds.retain(|kind| {
        let kind_of_gpu = kind.gpus.as_ref().and_then(|gpus| gpus.kind.as_deref());
        kind.nodes > 0
            && kind.nodes >= partition.min_nodes
            && kind_of_gpu.is_none_or(can_be_asked_for)
    });
    kinds
}

/// A part of a whole, of which no piece is nothing.
fn share(whole: u64, part: u64, of: u64) -> u64 {
    if part == of { whole } else { (whole.saturating_mul(part) / of.max(1)).max(whole.min(1)) }
}

/// Nodes that were bought together report their memory with small differences; the least of them counts.
fn is_alike(kept: &Kind, next: &Kind) -> bool {
    const DIFFERENCE: u64 = 20;
    kept.gpus == next.gpus
        && kept.cpus == next.cpus
        && next.memory - kept.memory <= kept.memory / DIFFERENCE
}

/// The partition's name; with the GPUs' type where it has several kinds of node, and as much of their size as it takes
/// to tell those of one type apart.
fn names(partition: &str, kinds: &[Kind]) -> Vec<String> {
    if kinds.len() == 1 {
        return vec![partition.to_owned()];
    }
    let name = |kind: &Kind| {
        let same: Vec<&Kind> = kinds.iter().filter(|other| label(other) == label(kind)).collect();
        let tells_apart = |way: &usize| {
            let sizes: BTreeSet<String> = same.iter().map(|kind| size(kind, *way)).collect();
            sizes.len() == same.len()
        };
        let way = (0..SIZES).find(tells_apart).unwrap_or(SIZES - 1);
        format!("{partition}-{}{}", label(kind), size(kind, way))
    };
    kinds.iter().map(name).collect()
}

const SIZES: usize = 4;

/// A kind's size as part of a name, in one of several ways from the shortest to the most exact.
fn size(kind: &Kind, way: usize) -> String {
    let gpus = kind.gpus.as_ref().map_or(0, |gpus| gpus.count);
    let node = format!("{}c-{}g", kind.cpus, kind.memory / 1024);
    let sizes: [String; SIZES] =
        [String::new(), format!("-{gpus}x"), format!("-{node}"), format!("-{gpus}x-{node}")];
    sizes[way].clone()
}

/// What a kind of node is called for its GPUs.
fn label(kind: &Kind) -> String {
    match &kind.gpus {
        None => "cpu".to_owned(),
        Some(Gpus { kind: None, .. }) => "gpu".to_owned(),
        Some(Gpus { kind: Some(kind), .. }) => valid(kind),
    }
}

/// Fit for a command line, for the keys of jobs, and for a key of TOML without quotes.
pub(super) fn valid(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '-' };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_start_matches('-');
    if name.is_empty() { "slurm".to_owned() } else { name.to_owned() }
}

pub(super) fn unique(name: String, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
    let mut candidates = std::iter::once(name.clone()).chain(numbered);
    let free = candidates.find(|candidate| !taken.contains(candidate)).unwrap_or(name);
    taken.insert(free.clone());
    free
}

/// A class is a node share, and its numbers are both what a run gets that says nothing and the most that it may ask for.
///
/// - Exclusive partitions give whole nodes anyway.
/// - On a shared node with GPUs the share is all its GPUs with the CPUs and memory that belong to them; a run that asks
///   for part of the GPUs gets that part of the rest.
/// - On a shared node without GPUs it is what Slurm gives by itself (one CPU, the partition's default memory) until a
///   spec asks for more. The node's size as the class's would take a whole node for every small run.
fn class(cluster: &str, partition: &Partition, kind: &Kind) -> ClassKeys {
    let cpus = kind.cpus.min(partition.max_cpus.unwrap_or(u32::MAX));
    let memory = kind.memory.min(partition.max_memory.unwrap_or(u64::MAX));
    let gpus = kind.gpus.as_ref();
    let gpu_type = gpus.and_then(|gpus| gpus.kind.clone());
    let (memory, request) = match gpus {
        _ if partition.is_exclusive => (Some(memory), None),
        Some(_) => (Some(without_reserve(memory)), Some("per_gpu")),
        None => (None, None),
    };
    let has_share = partition.is_exclusive || gpus.is_some();
    ClassKeys {
        cluster: cluster.to_owned(),
        partition: partition.name.clone(),
        gpus_per_node: gpus.map(|gpus| gpus.count),
        gpu_typed: gpu_type.as_ref().map(|_| true),
        gpu_type,
        cpus_per_node: Some(cpus).filter(|cpus| has_share && *cpus > 0),
        memory_per_node: memory
            .filter(|memory| *memory > 0)
            .map(|memory| Mebibytes(memory).to_string()),
        memory_request: request,
        exclusive: partition.is_exclusive.then_some(true),
        min_nodes: Some(partition.min_nodes).filter(|least| *least > 1),
        max_nodes: kind.nodes.min(partition.max_nodes.unwrap_or(u32::MAX)).max(1),
        max_time: partition.max_time.map(TimeLimit::slurm),
        default_time: default_time(partition).slurm(),
    }
}

/// Sites keep some memory of each node for the system (`MemSpecLimit`), which sinfo does not tell, and a job that asks for
/// all of it would never start.
fn without_reserve(memory: u64) -> u64 {
    const RESERVE: u64 = 16;
    (memory - memory / RESERVE).max(1)
}

/// The partition's own, else an hour: without a limit, backfill would never find a gap for the job.
fn default_time(partition: &Partition) -> TimeLimit {
    const HOUR: TimeLimit = TimeLimit(Seconds(3600));
    let default = partition.default_time.unwrap_or(HOUR);
    partition.max_time.map_or(default, |most| most.min(default))
}
