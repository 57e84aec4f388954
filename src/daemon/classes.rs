//! The hardware classes as they are now: what their nodes do, and how long starts have waited for them.

use crate::api::{ClassStanding, NodeCounts};
use crate::daemon::nodes;
use crate::daemon::world::World;
use crate::domain::bad_nodes::{Health, Node};
use crate::domain::hardware::fits;
use crate::domain::keys::Named;
use crate::domain::site::Class;
use crate::domain::waits::{Waited, Waits};
use crate::store::StoreError;

/// The newest starts are what is told by: at 20,000 a few weeks of a busy site, read in some tens of milliseconds.
pub(super) const STARTS_MAX: u32 = 20_000;

/// Every class of the site, in its order.
pub async fn class_standings(world: &World) -> Result<Vec<ClassStanding>, StoreError> {
    let in_force = world.in_force();
    let site = in_force.site();
    let past = world.store.waits(STARTS_MAX).await?;
    let mut standings = Vec::new();
    for (name, class) in site.class.iter().flat_map(|classes| &classes.0) {
        let only = || site.cluster.iter().flat_map(Named::names).next();
        let said = class.cluster.as_ref().map(|cluster| cluster.value.as_str());
        let nodes = match said.or_else(only) {
            Some(cluster) => nodes::shown(world, cluster).await.ok(),
            None => None,
        };
        let of_class = |waited: &&Waited| waited.class == name.value;
        standings.push(ClassStanding {
            name: name.value.clone(),
            nodes: nodes.map(|nodes| count(class, &nodes)),
            waits: Waits::of(past.iter().filter(of_class)),
        });
    }
    Ok(standings)
}

fn count(class: &Class, nodes: &[Node]) -> NodeCounts {
    let mut counts = NodeCounts::default();
    for node in nodes.iter().filter(|node| fits(class, node)) {
        match node.health {
            Health::Well => counts.up += 1,
            Health::Withdrawn | Health::Failed => counts.down += 1,
        }
        counts.idle += u32::from(node.is_idle);
    }
    counts
}
