//! What a run asks of its nodes, as far as it says which of a cluster's nodes it can be given.
//!
//! It is counted, not asked of Slurm, and so it may count nodes that Slurm would not give. Then Slurm refuses the exclusion,
//! and the run is submitted without it.

use crate::domain::bad_nodes::{Failure, Health, Node, is_of_feature};
use crate::domain::nodelist::{NodeName, expand};
use crate::domain::resolved::{Compute, SbatchOption};
use crate::domain::units::Mebibytes;

/// Nodes that a spec and its class may exclude where more are to be; they stand on a command line.
const EXCLUDED_MAX: usize = 1_000;

/// What a run asks.
#[derive(Debug, Default)]
pub(super) struct Ask {
    /// How many nodes, all in one partition.
    nodes: usize,
    /// Any partition where none is named.
    partitions: Vec<String>,
    cpus: u32,
    memory: u64,
    gpus: u32,
    gpu_type: Option<String>,
    features: Option<String>,
    /// Nodes that it must have.
    required: Vec<NodeName>,
    pub(super) excluded: Vec<NodeName>,
}

impl Ask {
    /// What sbatch is told; none where that says it in words which are not understood here.
    pub(super) fn of(compute: &Compute) -> Option<Self> {
        let mut ask = Self {
            nodes: usize::try_from(compute.nodes).ok()?,
            gpus: compute.gpus_per_node,
            ..Self::default()
        };
        let (mut tasks, mut cpus) = (1_u32, 1_u32);
        // Of two alike, sbatch takes the later.
        for option in &compute.options {
            let value = option.value().unwrap_or_default();
            match option.name() {
                "--partition" => ask.partitions = value.split(',').map(str::to_owned).collect(),
                "--ntasks-per-node" => tasks = value.parse().unwrap_or(1),
                "--cpus-per-task" => cpus = value.parse().unwrap_or(1),
                "--mem" => ask.memory = Mebibytes::parse(value).map_or(0, |memory| memory.0),
                "--gpus-per-node" | "--gres" => ask.gpu_type = gpu_type(value),
                "--constraint" => {
                    met_by(value, &[])?;
                    ask.features = Some(value.to_owned());
                }
                "--nodelist" => ask.required = names(value)?,
                "--exclude" => ask.excluded = names(value)?,
                _ if restricts(option) => return None,
                _ => {}
            }
        }
        ask.cpus = cpus.saturating_mul(tasks);
        Some(ask)
    }

    /// Whether the run may be given this node, and can do without it.
    pub(super) fn may_have(&self, node: &Node) -> bool {
        self.can_use(node) && !self.required.contains(&node.name)
    }

    /// Whether enough nodes are left without these.
    pub(super) fn is_met_without(&self, avoided: &[&Failure], nodes: &[Node]) -> bool {
        let is_left = |node: &&Node| {
            let is_avoided = avoided.iter().any(|failure| failure.node == node.name);
            node.health == Health::Well && !is_avoided && self.can_use(node)
        };
        let left: Vec<&Node> = nodes.iter().filter(is_left).collect();
        if self.partitions.is_empty() {
            return left.len() >= self.nodes;
        }
        self.partitions.iter().any(|partition| {
            left.iter().filter(|node| node.partitions.contains(partition)).count() >= self.nodes
        })
    }

    fn can_use(&self, node: &Node) -> bool {
        let in_partition = self.partitions.is_empty()
            || self.partitions.iter().any(|partition| node.partitions.contains(partition));
        let is_of_type = |kind: &Option<String>| {
            self.gpu_type.is_none() || kind.is_none() || *kind == self.gpu_type
        };
        let gpus: u32 = node
            .gpus
            .iter()
            .filter(|(kind, _)| is_of_type(kind))
            .fold(0, |sum, (_, count)| sum.saturating_add(*count));
        let features = self.features.as_deref();
        in_partition
            && node.cpus >= self.cpus
            && node.memory >= self.memory
            && gpus >= self.gpus
            && features.is_none_or(|asked| met_by(asked, &node.features) == Some(true))
            && !self.excluded.contains(&node.name)
    }
}

/// Whether an option says which nodes it shall be in a way that is not followed here: as a spec or a site wrote it, by its
/// letter or an abbreviation, or a reservation.
fn restricts(option: &SbatchOption) -> bool {
    const LONG: [&str; 6] =
        ["--reservation", "--nodefile", "--nodelist", "--exclude", "--partition", "--constraint"];
    let name = option.name();
    let is_long = name.starts_with("--") && LONG.iter().any(|long| long.starts_with(name));
    let letter = name.strip_prefix('-').and_then(|name| name.chars().next());
    is_long || letter.is_some_and(|letter| "wxpCFN".contains(letter))
}

/// Names of a list; none where it is none, or has too many to stand on a command line.
fn names(list: &str) -> Option<Vec<NodeName>> {
    let names = expand(list).ok().filter(|names| names.len() <= EXCLUDED_MAX)?;
    names.iter().map(|name| name.parse().ok()).collect()
}

/// The type in `a100:4`, `gpu:a100:4` or `gpu:4`.
fn gpu_type(value: &str) -> Option<String> {
    let word = value.strip_prefix("gpu:").unwrap_or(value).split(':').next()?;
    (!word.is_empty() && word.parse::<u32>().is_err() && word != "gpu").then(|| word.to_owned())
}

/// Whether features meet a constraint of names, `&`, `|` and parentheses; none where it holds something else, such as counts,
/// or mixes `&` and `|` without parentheses.
fn met_by(constraint: &str, features: &[String]) -> Option<bool> {
    let (met, rest) = group(constraint.trim(), features, 0)?;
    rest.is_empty().then_some(met)
}

/// One or more of `word` and `( … )` with one operator between them, and what follows.
fn group<'a>(text: &'a str, features: &[String], depth: u32) -> Option<(bool, &'a str)> {
    let (mut met, mut rest) = part(text, features, depth)?;
    let Some(operator) = rest.chars().next().filter(|c| "&|".contains(*c)) else {
        return Some((met, rest));
    };
    while let Some(after) = rest.strip_prefix(operator) {
        let (next, left) = part(after, features, depth)?;
        met = if operator == '&' { met && next } else { met || next };
        rest = left;
    }
    Some((met, rest))
}

fn part<'a>(text: &'a str, features: &[String], depth: u32) -> Option<(bool, &'a str)> {
    /// No honest constraint nests deeper.
    const DEPTH_MAX: u32 = 16;
    if let Some(inner) = text.strip_prefix('(') {
        if depth >= DEPTH_MAX {
            return None;
        }
        let (met, rest) = group(inner, features, depth + 1)?;
        return Some((met, rest.strip_prefix(')')?));
    }
    let end = text.find(|c| !is_of_feature(c)).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (!word.is_empty()).then(|| (features.iter().any(|feature| feature == word), rest))
}
