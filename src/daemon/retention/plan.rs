//! What becomes of a run's checkpoints.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::Path;

use crate::daemon::checkpoints::{CatalogueError, look};
use crate::daemon::world::World;
use crate::domain::checkpoint::{
    CatalogueView, Held, Keep, Plan, PlanView, Retention, Walked, plan,
};
use crate::domain::ids::RunId;
use crate::store::{RunRow, StoreError, WholeRun};

/// What the rules come to.
pub(super) async fn planned(
    world: &World,
    run: &WholeRun,
    rules: &Retention,
    (view, walked): (&mut CatalogueView, &Walked),
) -> Result<Plan, StoreError> {
    if let Some(best) = &rules.keep_best {
        let steps: BTreeSet<i64> = view.checkpoints.iter().filter_map(|one| one.step).collect();
        let values = world.store.metric_at(run.row.run.id, best.metric.clone(), steps).await?;
        for one in &mut view.checkpoints {
            let value = one.step.and_then(|step| values.get(&step));
            one.metrics.extend(value.map(|value| (best.metric.clone(), *value)));
        }
    }
    let mut held: Held = walked.named.clone();
    held.extend(run.row.run.holds());
    Ok(plan(view, rules, &held, run.row.run.branch.as_ref()))
}

/// What would become of a run's checkpoints; with another number of the newest where one is given.
pub async fn retention_plan(
    world: &World,
    id: RunId,
    keep_last: Option<NonZeroU32>,
) -> Result<Option<PlanView>, CatalogueError> {
    let Some(run) = world.store.whole(id).await? else { return Ok(None) };
    let (mut view, walked) = look(world, &run).await?;
    let rules = match (run.row.resolved.retention().cloned(), keep_last) {
        (Some(rules), Some(keep_last)) => Some(Retention { keep_last, ..rules }),
        (None, Some(keep_last)) => {
            Some(Retention { keep_last, keep_every_steps: None, keep_best: None, archive: None })
        }
        (rules, None) => rules,
    };
    let Plan { keep, go } = if let Some(rules) = &rules {
        planned(world, &run, rules, (&mut view, &walked)).await?
    } else {
        let why = "nothing is removed";
        let kept = view.checkpoints.iter().map(|one| Keep {
            step: one.step,
            path: one.path.clone(),
            why: why.to_owned(),
        });
        Plan { keep: kept.collect(), go: Vec::new() }
    };
    let to = rules.as_ref().and_then(|rules| Some(rules.archive.as_ref()?.join(name(&run.row))));
    Ok(Some(PlanView { directory: view.directory, rules, to, keep, go }))
}

/// What a run's place in an archive is called.
pub(super) fn name(row: &RunRow) -> &Path {
    row.run_dir.file_name().map_or(Path::new("run"), Path::new)
}
