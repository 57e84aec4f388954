//! Secrets in run directories: taken again for a run that comes back, and removed once a run is over.

use std::path::{Path, PathBuf};

use tokio::sync::MutexGuard;
use tracing::{debug, warn};

use crate::daemon::world::World;
use crate::domain::ids::RunId;
use crate::domain::resolved::Resolved;
use crate::domain::run_files::RunFiles;
use crate::ports::Silence;
use crate::store::StoreError;

/// Directories that are cleared in one pass.
const REMOVED_MAX: u32 = 20;

/// Why the secrets of a run cannot be taken again.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("cannot take the secrets again")]
    Files(#[source] Silence),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes the secrets of a run that is over and is to come back, from the file that its spec named. Nothing is done for a
/// run without.
///
/// No pass removes them while what is returned is kept: the wish that brings the run back has to be recorded before it is
/// dropped.
pub async fn take_secrets_again<'a>(
    world: &'a World,
    run: RunId,
    run_dir: &Path,
    resolved: &Resolved,
) -> Result<MutexGuard<'a, ()>, SecretsError> {
    let deciding = world.deciding.lock().await;
    if let Some(source) = resolved.environment.secrets.clone() {
        // Noted first: what is there and not noted would stay.
        world.store.keep_secrets(run).await?;
        let run_dir = run_dir.to_owned();
        let take = move |hands: &dyn crate::ports::Hands| hands.take_secrets(&source, &run_dir);
        world.with_hands(&resolved.run_root, take).await.map_err(SecretsError::Files)?;
    }
    Ok(deciding)
}

/// Removes the secrets of runs that are over. Gives how many have to be tried again: a file system was silent, or there
/// are many.
pub(super) async fn remove_secrets(world: &World) -> Result<usize, StoreError> {
    let due = world.store.secrets_to_remove(REMOVED_MAX).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let mut removed = Vec::new();
    let is_full = due.len() >= REMOVED_MAX as usize;
    let count = due.len();
    for (run, run_dir) in due {
        // As with every other call for it, the run root is what may be silent.
        let of_run = RunFiles::of(&run_dir);
        let shared = of_run.shared();
        let root = shared.parent().unwrap_or(shared).to_owned();
        let files: Vec<PathBuf> = vec![of_run.secrets(), of_run.new_secrets()];
        match world.with_hands(&root, move |hands| hands.remove(&files)).await {
            Ok(()) => removed.push(run),
            Err(silence) => {
                warn!(
                    run.id = run.0,
                    "cannot remove the secrets in {}, which nobody needs now: {silence}",
                    shared.display()
                );
            }
        }
    }
    let left = count - removed.len() + usize::from(is_full);
    debug!(removed = removed.len(), left, "removed the secrets of runs that are over");
    world.store.secrets_removed(removed).await?;
    Ok(left)
}
