//! How a new run begins: it is submitted as soon as it is recorded, and its call of sbatch is got ready before.

use std::path::Path;
use std::sync::Arc;

use tokio::task::yield_now;

use crate::daemon::calls::{self, Submitted, UnderWay};
use crate::daemon::nodes;
use crate::daemon::world::World;
use crate::domain::admit::Limits;
use crate::domain::ids::RunId;
use crate::domain::quota::Demand;
use crate::domain::request::IfActive;
use crate::domain::resolved::Resolved;
use crate::domain::run::Run;
use crate::ports::Scheduler;
use crate::store::{Intent, Start, StoreError};

/// How a new run begins.
#[derive(Default)]
pub(super) struct Beginning {
    /// As what it is submitted at once, where nothing that the next pass could see holds it up.
    pub(super) start: Option<Start>,
    call: Option<(Arc<dyn Scheduler>, UnderWay)>,
}

impl Beginning {
    pub(super) async fn of(
        world: &Arc<World>,
        owner: &str,
        resolved: &Resolved,
    ) -> Result<Self, StoreError> {
        let is_counted = Limits::of(world.in_force().site()).count(&Demand::of(owner, resolved));
        let starts_at_once = !is_counted && resolved.environment.requirements.is_none();
        let scheduler = world.scheduler(resolved.compute.target.cluster());
        let Some(scheduler) = scheduler.filter(|_| starts_at_once) else {
            return Ok(Self::default());
        };
        // None of the failures that are remembered is its own, whichever number it gets.
        let avoided = nodes::avoided(world, &Run::accepted(RunId(0)), resolved).await?;
        let start = calls::start(world, resolved, avoided);
        let under_way = UnderWay::begin(world, &start.token);
        Ok(Self { start: Some(start), call: Some((scheduler, under_way)) })
    }

    /// Has the scheduler get ready while the run's directory is made and the run recorded, unless others may hold it up.
    pub(super) fn prepare(
        &mut self,
        if_active: IfActive,
        resolved: &Resolved,
        (run, run_dir): (RunId, &Path),
    ) {
        if if_active.may_wait() {
            return;
        }
        if let (Some(start), Some((scheduler, under_way))) = (&self.start, &mut self.call) {
            let name = &resolved.name;
            Submitted { run, name, resolved, run_dir, scheduler }.prepare(under_way, start);
        }
    }

    /// Calls sbatch as the recorded intent says, or leaves it to the next pass.
    pub(super) async fn begin(
        self,
        world: &World,
        resolved: &Resolved,
        (run, run_dir): (RunId, &Path),
        intent: Option<Intent>,
    ) {
        match (self.call, intent) {
            (Some((scheduler, under_way)), Some(intent)) => {
                let (name, scheduler) = (&resolved.name, &scheduler);
                let submitted = Submitted { run, name, resolved, run_dir, scheduler };
                calls::begin(under_way, &submitted, intent);
                // A task that is spawned here runs when this one waits: sbatch waits for it, and nobody for what comes
                // next here.
                yield_now().await;
            }
            _ => world.nudge.notify_one(),
        }
    }
}
