//! What a cluster says about itself, as far as a site config depends on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::bad_nodes::Node;
use crate::domain::ledger::Resource;
use crate::domain::resolve::Asker;
use crate::domain::units::TimeLimit;

/// What was learnt of one cluster.
#[derive(Debug, Clone)]
pub struct ClusterFacts {
    pub commands: Vec<CommandFact>,
    /// Or why it could not be asked.
    pub slurm: Result<Survey, String>,
}

/// One of Slurm's commands, and what came of asking for its version.
#[derive(Debug, Clone)]
pub struct CommandFact {
    pub name: &'static str,
    pub path: String,
    pub version: Result<(u32, u32), String>,
}

/// What slurmctld says. What is `None` could not be asked for, and nothing is concluded from it.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    pub version: Option<(u32, u32)>,
    pub has_accounting: bool,
    /// `AccountingStorageEnforce`
    pub enforced: Vec<String>,
    /// `EnforcePartLimits=ALL`: a job has to fit all partitions that it names.
    pub enforces_every_partition: bool,
    pub partitions: Vec<Partition>,
    pub nodes: Vec<Node>,
    pub reservations: Option<Vec<String>>,
    pub licenses: Option<Vec<String>>,
    pub accounting: Option<Accounting>,
    /// Whether it counts what accounts use.
    pub counts_use: bool,
    /// All accounts that it shows, and what of them is limited, or why that is not known.
    pub limited: Option<BTreeMap<String, Result<BTreeSet<Resource>, String>>>,
}

impl Survey {
    /// Whether Slurm refuses jobs of an account that their user does not have.
    pub fn needs_account(&self) -> bool {
        const WORDS: [&str; 4] = ["associations", "limits", "qos", "safe"];
        self.enforced.iter().any(|word| WORDS.contains(&word.as_str()))
    }

    pub fn partition(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }
}

/// What slurmdbd says.
#[derive(Debug, Clone, Default)]
pub struct Accounting {
    /// Those of the user.
    pub associations: Vec<Association>,
    /// All that there are.
    pub qos: Vec<String>,
}

/// That a user may use an account, perhaps in one partition only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Association {
    pub account: String,
    pub partition: Option<String>,
    pub qos: Vec<String>,
}

/// A partition, as far as a hardware class depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub name: String,
    pub is_default: bool,
    pub is_exclusive: bool,
    /// Jobs are queued into it, and start when it is up again.
    pub is_down: bool,
    pub default_time: Option<TimeLimit>,
    pub max_time: Option<TimeLimit>,
    pub min_nodes: u32,
    pub max_nodes: Option<u32>,
    /// What one job may use of a node.
    pub max_cpus: Option<u32>,
    pub max_memory: Option<u64>,
    pub bars: Vec<Bar>,
    pub accounts: Allowed,
    pub qos: Allowed,
}

/// What may keep somebody out of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bar {
    /// It takes no jobs: `DRAIN`, `INACTIVE`.
    State(String),
    /// It can be named, and is no offer.
    Hidden,
    NeedsReservation,
    RootOnly,
    NoRoot,
    /// Only these groups are let in.
    Groups(Vec<String>),
}

impl Bar {
    /// Whether it stops this user. Slurm asks root neither for a group nor for the right to be there.
    pub fn stops(&self, asker: &Asker) -> bool {
        let is_root = asker.uid == 0;
        match self {
            Self::State(_) | Self::Hidden | Self::NeedsReservation => true,
            Self::RootOnly => !is_root,
            Self::NoRoot => is_root,
            Self::Groups(groups) => {
                !is_root && !groups.iter().any(|group| asker.groups.contains(group))
            }
        }
    }
}

/// Which accounts, or which QOS, a partition lets in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// `None`: all.
    pub only: Option<Vec<String>>,
    pub never: Vec<String>,
}

impl Allowed {
    pub fn allows(&self, name: &str) -> bool {
        let is = |known: &String| known.eq_ignore_ascii_case(name);
        self.only.as_ref().is_none_or(|only| only.iter().any(is)) && !self.never.iter().any(is)
    }
}

impl Partition {
    /// Whether jobs of this user are let in. Accounts may be restricted too, and which ones a user has is not known here.
    pub fn is_open_to(&self, asker: &Asker) -> bool {
        !self.bars.iter().any(|bar| bar.stops(asker))
    }
}
