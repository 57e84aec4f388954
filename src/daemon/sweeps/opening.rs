//! The array that a new sweep begins with: it is submitted as soon as the sweep is recorded, as single runs are.

use std::path::Path;
use std::sync::Arc;

use tokio::task::yield_now;

use crate::daemon::budgets;
use crate::daemon::calls::{self, SubmittedPoints, UnderWay};
use crate::daemon::nodes;
use crate::daemon::sweeps::bounds;
use crate::daemon::world::World;
use crate::domain::admit::Limits;
use crate::domain::ids::RunId;
use crate::domain::ledger::Asked;
use crate::domain::quota::Demand;
use crate::domain::request::IfActive;
use crate::domain::resolved::Resolved;
use crate::domain::run::Run;
use crate::domain::sweep::Plan;
use crate::domain::sweep::slots::{Bounds, Chunk, Ready, next_steps};
use crate::ports::Scheduler;
use crate::store::{ArrayIntent, Opening, StoreError};

/// How a new sweep begins.
#[derive(Default)]
pub(in crate::daemon) struct Beginning {
    first: Option<FirstArray>,
    /// What a budget has to have for the points that are submitted first. Those that come after them wait for it.
    pub(in crate::daemon) asked: Option<Asked>,
    /// As what these points are submitted at once, where nothing that the next pass could see holds them up.
    pub(in crate::daemon) opening: Option<Opening>,
    under_way: Option<UnderWay>,
}

impl Beginning {
    /// There is none where the sweep's cluster is not there, nor where it has no points yet.
    pub(in crate::daemon) async fn of(
        world: &Arc<World>,
        plan: &Plan,
        owner: &str,
    ) -> Result<Self, StoreError> {
        let Some(first) = first_array(world, plan).await else { return Ok(Self::default()) };
        // What Slurm says of a budget is asked first: the opening goes by it.
        let asked = first.asked(world).await?;
        let opening = first.opening(world, owner).await?;
        let under_way = opening.as_ref().map(|it| UnderWay::begin(world, &it.start.token));
        Ok(Self { first: Some(first), asked, opening, under_way })
    }

    /// Has the scheduler get ready for the first array while the sweep is recorded, unless others may hold it up.
    pub(in crate::daemon) fn prepare(
        &mut self,
        if_active: IfActive,
        (sweep, sweep_dir): (RunId, &Path),
    ) {
        if if_active.may_wait() {
            return;
        }
        if let (Some(first), Some(opening), Some(under_way)) =
            (&self.first, &self.opening, &mut self.under_way)
        {
            first.submitted(sweep, sweep_dir).prepare(under_way, opening);
        }
    }

    /// Calls sbatch as the recorded intent says, or leaves it to the next pass.
    pub(in crate::daemon) async fn begin(
        self,
        world: &World,
        (sweep, sweep_dir): (RunId, &Path),
        intent: Option<ArrayIntent>,
    ) {
        match (self.first, self.under_way, intent) {
            (Some(first), Some(under_way), Some(intent)) => {
                calls::begin_points(under_way, &first.submitted(sweep, sweep_dir), intent);
                // A task that is spawned here runs when this one waits: sbatch waits for it, and nobody for what comes
                // next here.
                yield_now().await;
            }
            _ => world.nudge.notify_one(),
        }
    }
}

/// The points of a new sweep that are submitted first, and to whom.
struct FirstArray {
    chunk: Chunk,
    resolved: Resolved,
    scheduler: Arc<dyn Scheduler>,
    /// Else each point is a job of its own.
    is_array: bool,
}

/// What a sweep begins with; none where its cluster is not there. How many points one takes that is silent is not known: one.
async fn first_array(world: &World, plan: &Plan) -> Option<FirstArray> {
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
    async fn asked(&self, world: &World) -> Result<Option<Asked>, StoreError> {
        let asked = budgets::asked_anew(world, &self.resolved, world.clock.now()).await?;
        let count = self.chunk.points.len();
        Ok(asked.map(|asked| {
            let what = format!("{count} points, each {}", asked.what);
            asked.times(count, what)
        }))
    }

    async fn opening(&self, world: &World, owner: &str) -> Result<Option<Opening>, StoreError> {
        let demand = Demand::of(owner, &self.resolved);
        let is_counted = Limits::of(world.in_force().site()).count(&demand);
        if is_counted || !self.is_array || self.resolved.environment.requirements.is_some() {
            return Ok(None);
        }
        // None of the failures that are remembered is its own, whichever number it gets.
        let new = Run::accepted(RunId(0));
        let avoided = nodes::avoided(world, &new, &self.resolved).await?;
        let start = calls::start(world, &self.resolved, avoided);
        Ok(Some(Opening { chunk: self.chunk.clone(), start }))
    }

    fn submitted<'a>(&'a self, sweep: RunId, sweep_dir: &'a Path) -> SubmittedPoints<'a> {
        SubmittedPoints {
            sweep,
            name: &self.resolved.name,
            sweep_dir,
            set: self.chunk.set,
            first_point: self.chunk.first_point,
            resolved: &self.resolved,
            scheduler: &self.scheduler,
            is_array: self.is_array,
        }
    }
}
