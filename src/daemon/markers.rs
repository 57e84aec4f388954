//! Exit markers: what the scripts of jobs said at their end, looked up where that decides.

use std::path::Path;

use crate::daemon::world::World;
use crate::domain::inbox::ScriptEvent;
use crate::domain::run::{Look, Seen, Submission};
use crate::ports::Hands;
use crate::store::RunRow;

/// Looks up what the script wrote down at the end of attempt `n`, before what the scheduler shows counts: its event may be
/// late or never come. A silent file system makes the look silence.
pub(super) async fn look_up_marker(world: &World, row: &RunRow, n: u32, seen: &mut Seen) {
    let Some(submission) = row.run.submission.clone() else { return };
    let run_dir = row.run_dir.clone();
    let ask = move |hands: &dyn Hands| newest_marker(hands, &run_dir, n, &submission);
    match world.with_hands(&row.resolved.run_root, ask).await {
        Ok(marker) => seen.marker = marker,
        Err(silence) => seen.look = Look::from(&silence),
    }
}

/// The exit marker of the submission's attempt `n`, or of the last start after it that left one: the scheduler may have
/// started the job again and forgotten it before it was asked.
fn newest_marker(
    hands: &dyn Hands,
    run_dir: &Path,
    n: u32,
    submission: &Submission,
) -> std::io::Result<Option<ScriptEvent>> {
    /// More starts than Slurm makes of a job by itself (`MaxBatchRequeue` is 5).
    const UNSEEN_MAX: u32 = 8;
    let mut newest = None;
    for n in n..=n.saturating_add(UNSEEN_MAX) {
        let is_of = |marker: &ScriptEvent| {
            marker.token == submission.token
                && submission.attempt_base.checked_add(marker.restart) == Some(n)
        };
        newest = hands.exit_marker(run_dir, n)?.filter(is_of).or(newest);
    }
    Ok(newest)
}
