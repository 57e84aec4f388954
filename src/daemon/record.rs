//! The whole record of a run, as one document.

use std::sync::Arc;

use crate::api::{RECORD_FORMAT, RunRecord};
use crate::daemon::views::run_view;
use crate::daemon::world::World;
use crate::domain::ids::RunId;
use crate::domain::run_files::RunFiles;
use crate::ports::Hands;
use crate::store::StoreError;

/// A script is some hundred lines, with what sites and specs put in.
const SCRIPT_BYTES_MAX: usize = 4 << 20;

/// Everything that is recorded of a run; `None` when there is none.
pub async fn run_record(world: &World, id: RunId) -> Result<Option<RunRecord>, StoreError> {
    let (Some(run), Some(whole)) = (run_view(world, id).await?, world.store.whole(id).await?)
    else {
        return Ok(None);
    };
    let row = whole.row;
    let file = RunFiles::of(&row.run_dir).script(row.point.map_or(0, |point| point.set));
    let read = move |hands: &dyn Hands| hands.read(&file, 0, SCRIPT_BYTES_MAX);
    // A run directory may be gone: the record is complete without it, and the script can be made again.
    let script = world.with_hands(&row.resolved.run_root, read).await.ok();
    let script = script.and_then(|read| String::from_utf8(read.bytes).ok());
    Ok(Some(RunRecord {
        format: RECORD_FORMAT.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        exported_at: world.clock.now(),
        run,
        spec: world.store.spec(id).await?.unwrap_or_default(),
        inputs: world.store.inputs(id).await?,
        resolved: Arc::unwrap_or_clone(row.resolved),
        script: script.filter(|script| !script.is_empty()),
        events: world.store.events(id).await?,
    }))
}
