//! Quotas: how many runs, and nodes, one user or one project may have submitted at once.
//!
//! A quota counts submissions that the scheduler may have, from the intent to the end: a job that Slurm requeues keeps its
//! place, a run between two attempts has none. What exceeds a quota waits; nothing is refused.

use std::collections::{BTreeMap, HashMap};

use crate::domain::keys::Named;
use crate::domain::resolved::Resolved;
use crate::domain::site::{ClassQuota, Site};

/// What a submission takes of what is given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    pub owner: String,
    pub project: Option<String>,
    /// Where it is to run; the local target counts as a cluster.
    pub cluster: String,
    pub class: String,
    pub nodes: u32,
}

impl Demand {
    pub fn of(owner: &str, resolved: &Resolved) -> Self {
        Self {
            owner: owner.to_owned(),
            project: resolved.project.clone(),
            cluster: resolved.compute.target.cluster().to_owned(),
            class: resolved.compute.class.clone(),
            nodes: resolved.compute.nodes,
        }
    }

    /// What counts it, with or without a limit.
    fn pools(&self) -> Vec<Pool> {
        let class = || self.class.clone();
        let mut pools = vec![Pool::UserOfClass { class: class(), user: self.owner.clone() }];
        if let Some(project) = &self.project {
            pools.push(Pool::ProjectOfClass { class: class(), project: project.clone() });
            pools.push(Pool::Project(project.clone()));
        }
        pools
    }
}

/// Whose submissions are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pool {
    UserOfClass { class: String, user: String },
    ProjectOfClass { class: String, project: String },
    Project(String),
}

/// The most that the submissions of a pool may come to at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    pub runs: Option<u32>,
    pub nodes: Option<u32>,
}

/// The quotas of a site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quotas {
    users: BTreeMap<String, Quota>,
    projects: BTreeMap<String, Quota>,
    all_classes: BTreeMap<String, Quota>,
}

impl Quotas {
    pub fn of(site: &Site) -> Self {
        let mut quotas = Self::default();
        for (name, class) in site.class.iter().flat_map(|classes| &classes.0) {
            let (runs, nodes) = (class.max_running.as_ref(), class.max_running_nodes.as_ref());
            let of_user = Quota {
                runs: runs.and_then(ClassQuota::of_user),
                nodes: nodes.and_then(ClassQuota::of_user),
            };
            let of_project = Quota {
                runs: runs.and_then(ClassQuota::of_project),
                nodes: nodes.and_then(ClassQuota::of_project),
            };
            quotas.users.insert(name.value.clone(), of_user);
            quotas.projects.insert(name.value.clone(), of_project);
        }
        for (name, project) in site.project.iter().flat_map(|projects: &Named<_>| &projects.0) {
            let runs = project.max_running.as_ref().map(|most| most.value.get());
            let nodes = project.max_running_nodes.as_ref().map(|most| most.value.get());
            quotas.all_classes.insert(name.value.clone(), Quota { runs, nodes });
        }
        quotas
    }

    fn on(&self, pool: &Pool) -> Quota {
        let found = match pool {
            Pool::UserOfClass { class, .. } => self.users.get(class),
            Pool::ProjectOfClass { class, .. } => self.projects.get(class),
            Pool::Project(project) => self.all_classes.get(project),
        };
        found.copied().unwrap_or_default()
    }

    /// Whether a limit counts such a submission.
    pub fn count(&self, demand: &Demand) -> bool {
        demand.pools().iter().any(|pool| self.on(pool) != Quota::default())
    }

    /// Why nothing like it can ever be submitted, whoever ends: it alone is more than a quota.
    pub fn never(&self, demand: &Demand) -> Option<String> {
        demand.pools().into_iter().find_map(|pool| {
            let most = self.on(&pool).nodes.filter(|most| demand.nodes > *most)?;
            let whose = pool.whose();
            Some(format!("nodes asked: {}; {whose} may have at most {most} at once", demand.nodes))
        })
    }
}

impl Pool {
    /// Reads before "may have at most".
    fn whose(&self) -> String {
        match self {
            Self::UserOfClass { class, .. } => format!("a user of class `{class}`"),
            Self::ProjectOfClass { class, project } => {
                format!("project `{project}` of class `{class}`")
            }
            Self::Project(project) => format!("project `{project}`"),
        }
    }

    /// Reads after "N runs".
    fn of_whom(&self) -> String {
        match self {
            Self::UserOfClass { class, user } => format!("of {user} of class `{class}`"),
            Self::ProjectOfClass { class, project } => {
                format!("of project `{project}` of class `{class}`")
            }
            Self::Project(project) => format!("of project `{project}`"),
        }
    }
}

/// What the submissions of each pool come to.
#[derive(Debug, Default)]
pub struct Counted {
    pools: HashMap<Pool, Taken>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    runs: u32,
    nodes: u32,
    /// For a run that waits for more nodes than are left those behind it wait, too: or small ones would pass it for ever.
    is_closed: bool,
}

impl Counted {
    pub fn add(&mut self, demand: &Demand) {
        for pool in demand.pools() {
            let taken = self.pools.entry(pool).or_default();
            taken.runs = taken.runs.saturating_add(1);
            taken.nodes = taken.nodes.saturating_add(demand.nodes);
        }
    }

    /// The first quota that has no room for it, in words that stay the same while it waits.
    pub fn why_not(&mut self, demand: &Demand, quotas: &Quotas) -> Option<String> {
        demand.pools().into_iter().find_map(|pool| {
            let Quota { runs, nodes } = quotas.on(&pool);
            let taken = self.pools.entry(pool.clone()).or_default();
            let whom = pool.of_whom();
            if let Some(most) = runs.filter(|most| taken.runs >= *most) {
                let runs = if most == 1 { "run" } else { "runs" };
                return Some(format!(
                    "{most} {runs} {whom} may be submitted at once (`max_running`), and no more"
                ));
            }
            let most = nodes?;
            if demand.nodes > most {
                // A quota that was lowered after it was accepted. Nobody waits behind what can never start.
                return Some(format!(
                    "it asks for {} nodes, and runs {whom} may have {most} at once \
                     (`max_running_nodes`): it can never start as it is",
                    demand.nodes
                ));
            }
            let is_too_much = taken.nodes.saturating_add(demand.nodes) > most;
            taken.is_closed |= is_too_much;
            taken.is_closed.then(|| {
                format!(
                    "runs {whom} may have {most} nodes at once (`max_running_nodes`), and not \
                     enough of them are left for {} more",
                    demand.nodes
                )
            })
        })
    }
}
