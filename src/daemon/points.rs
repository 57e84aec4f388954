//! Points of sweeps whose scripts were killed: what those could not take away.

use tracing::debug;

use crate::daemon::world::World;
use crate::domain::run::Decision;
use crate::ports::Hands;
use crate::store::RunRow;

/// A script that came to its end has tidied up itself. Where that cannot be made up for, a few empty directories stay.
pub(super) async fn tidy_last(world: &World, row: &RunRow, decision: &Decision) {
    let was_killed = decision
        .run
        .attempt
        .as_ref()
        .is_some_and(|attempt| attempt.started_at.is_some() && attempt.script_end.is_none());
    if row.point.is_none() || !decision.run.state.is_final() || !was_killed {
        return;
    }
    let run_dir = row.run_dir.clone();
    let tidy = move |hands: &dyn Hands| hands.tidy_point(&run_dir);
    if let Err(silence) = world.with_hands(&row.resolved.run_root, tidy).await {
        debug!(run.id = row.run.id.0, "cannot tidy up after run {}: {silence}", row.run.id);
    }
}
