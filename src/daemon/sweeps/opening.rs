//! The array that a new sweep begins with: it is submitted as soon as the sweep is recorded, as single runs are.

use std::path::Path;
use std::sync::Arc;

use crate::daemon::budgets;
use crate::daemon::calls::{self, SubmittedPoints, UnderWay};
use crate::daemon::nodes;
use crate::daemon::sweeps::bounds;
use crate::daemon::world::World;
use crate::domain::admit::Limits;
use crate::domain::ids::RunId;
use crate::domain::ledger::Asked;
use crate::domain::quota::Demand;
use crate::domain::resolved::Resolved;
use crate::domain::run::Run;
use crate::domain::sweep::Plan;
use crate::domain::sweep::slots::{Bounds, Chunk, Ready, next_steps};
use crate::ports::Scheduler;
use crate::store::{ArrayIntent, Opening, StoreError};

/// The points of a new sweep that are submitted first, and to whom.
pub(in crate::daemon) struct FirstArray {
    chunk: Chunk,
    resolved: Resolved,
    scheduler: Arc<dyn Scheduler>,
    /// Else each point is a job of its own.
    is_array: bool,
}

/// What a sweep begins with; none where its cluster is not there. How many points one takes that is silent is not known: one.
pub(in crate::daemon) async fn first_array(world: &World, plan: &Plan) -> Option<FirstArray> {
    let cluster = plan.sets.first()?.compute.target.cluster();
    let scheduler = world.scheduler(cluster)?;
    let limits = scheduler.arrays().await.ok().flatten();
    let ready: Vec<Ready> = (0..)
        .zip(&plan.points)
        .map(|(point, planned)| Ready { point, set: planned.set, attempt: 1 })
        .collect();
    let bounds = Bounds { chunks: 1, ..bounds(world, cluster, (&plan.about, limits)) };
    let chunk = next_steps(&[], &ready, bounds).submit.pop()?;
    let resolved = plan.sets.get(usize::try_from(chunk.set).ok()?)?.clone();
    Some(FirstArray { chunk, resolved, scheduler, is_array: limits.is_some() })
}

impl FirstArray {
    /// What a budget has to have for these points. Those that come after them wait for it.
    pub(in crate::daemon) async fn asked(
        &self,
        world: &World,
    ) -> Result<Option<Asked>, StoreError> {
        let asked = budgets::asked_anew(world, &self.resolved, world.clock.now()).await?;
        let count = self.chunk.points.len();
        Ok(asked.map(|asked| {
            let what = format!("{count} points, each {}", asked.what);
            asked.times(count, what)
        }))
    }

    /// As what these points are submitted at once, where nothing that the next pass could see holds them up.
    pub(in crate::daemon) async fn opening(
        &self,
        world: &World,
        (sweep, owner): (RunId, &str),
    ) -> Result<Option<Opening>, StoreError> {
        let demand = Demand::of(owner, &self.resolved);
        let is_counted = Limits::of(world.in_force().site()).count(&demand);
        if is_counted || !self.is_array || self.resolved.environment.requirements.is_some() {
            return Ok(None);
        }
        let avoided = nodes::avoided(world, &Run::accepted(sweep), &self.resolved).await?;
        let start = calls::start(world, &self.resolved, avoided);
        Ok(Some(Opening { chunk: self.chunk.clone(), start }))
    }

    /// Calls sbatch as the recorded intent says.
    pub(in crate::daemon) fn begin(
        &self,
        under_way: UnderWay,
        (sweep, sweep_dir): (RunId, &Path),
        intent: ArrayIntent,
    ) {
        let submitted = SubmittedPoints {
            sweep,
            name: &self.resolved.name,
            sweep_dir,
            set: self.chunk.set,
            first_point: self.chunk.first_point,
            resolved: &self.resolved,
            scheduler: &self.scheduler,
            is_array: self.is_array,
        };
        calls::begin_points(under_way, &submitted, intent);
    }
}
