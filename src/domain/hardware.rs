//! What the nodes of an attempt are: how large, and which of the site's hardware classes.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::domain::bad_nodes::Node;
use crate::domain::charge::Size;
use crate::domain::site::{Class, Site};

/// The nodes of an attempt, as they were when it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// A class of the site, else words for what they are; [`MIXED`] where they are not all of one kind.
    pub class: String,
    /// All of them together.
    pub size: Size,
}

/// What nodes of several kinds are called.
pub const MIXED: &str = "mixed";

impl Hardware {
    /// Of the nodes with these names, on the cluster that the site calls so; none where one of them is not among those that
    /// are known. Where the class that was asked for fits, it is that one.
    pub fn of(
        names: &[String],
        nodes: &[Node],
        site: &Site,
        (cluster, asked): (&str, &str),
    ) -> Option<Self> {
        let find = |name: &String| nodes.iter().find(|node| node.name.as_str() == name);
        let found: Vec<&Node> = names.iter().map(find).collect::<Option<_>>()?;
        let first = found.first()?;
        let class = if found.iter().all(|node| is_alike(node, first)) {
            let is_here = |class: &Class| match (&class.cluster, &site.cluster) {
                (Some(said), _) => said.value == cluster,
                (None, clusters) => clusters.as_ref().is_some_and(|all| all.get(cluster).is_some()),
            };
            let fits = |name: &&str| {
                let class = site.class(name).filter(|class| is_here(class));
                class.is_some_and(|class| found.iter().all(|node| fits(class, node)))
            };
            let known = std::iter::once(asked).chain(site.class_names());
            known.into_iter().find(fits).map_or_else(|| words(first), str::to_owned)
        } else {
            MIXED.to_owned()
        };
        let sum = |part: fn(&Node) -> u64| Some(found.iter().map(|node| part(node)).sum());
        let size = Size {
            cpus: sum(|node| node.cpus.into()),
            memory: sum(|node| node.memory),
            gpus: sum(gpus),
        };
        Some(Self { class, size })
    }
}

fn gpus(node: &Node) -> u64 {
    node.gpus.iter().map(|(_, count)| u64::from(*count)).sum()
}

/// Whether two nodes are of one kind. Features are often those of a rack, and tell nothing.
fn is_alike(one: &Node, other: &Node) -> bool {
    (one.cpus, one.memory, &one.gpus) == (other.cpus, other.memory, &other.gpus)
}

/// Whether a node may be one of a class.
pub fn fits(class: &Class, node: &Node) -> bool {
    let has_partition = class.partition.as_ref().is_none_or(|partitions| {
        partitions.0.iter().any(|name| node.partitions.contains(&name.value))
    });
    let has_type = class.gpu_type.as_ref().is_none_or(|label| {
        let mut types = node.gpus.iter().filter_map(|(kind, _)| kind.as_ref()).peekable();
        // A label need not be Slurm's own word: `a100` and `nvidia_a100_80gb`.
        types.peek().is_none()
            || types.any(|kind| kind.contains(&label.value) || label.value.contains(kind.as_str()))
    });
    let has_features = class.constraint.as_ref().is_none_or(|constraint| {
        let any = |all: &str| {
            all.split('|').any(|feature| node.features.iter().any(|has| has == feature))
        };
        // What else a constraint may say is for Slurm to judge.
        constraint.value.contains(['(', '[', '*']) || constraint.value.split(['&', ',']).all(any)
    });
    has_partition
        && has_type
        && has_features
        && class.gpus_per_node.as_ref().is_none_or(|least| u64::from(least.value) <= gpus(node))
        && class.cpus_per_node.as_ref().is_none_or(|least| least.value.get() <= node.cpus)
        && class.memory_per_node.as_ref().is_none_or(|least| least.value.0 <= node.memory)
}

/// What a node is that no class of the site describes: `v100-2x`, `8cpu`.
fn words(node: &Node) -> String {
    let (kind, count) = (node.gpus.iter().find_map(|(kind, _)| kind.as_deref()), gpus(node));
    if count == 0 {
        format!("{}cpu", node.cpus)
    } else {
        format!("{}-{count}x", kind.unwrap_or("gpu"))
    }
}
