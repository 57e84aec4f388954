//! Looking at data: of a run that is accepted, and when somebody asks for a snapshot.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::daemon::world::World;
use crate::domain::dataset::{Dataset, Fingerprints, Found, Snapshot};
use crate::domain::problem::Problem;
use crate::domain::resolved::Resolved;
use crate::domain::spec::OnDrift;
use crate::ports::{ContentOrder, DataOrder, Hands};
use crate::store::StoreError;

/// How long a submission waits for all its data together. A run is not held up by a fingerprint.
const SUBMIT_PATIENCE: Duration = Duration::from_secs(20);

/// How long a snapshot that somebody asked for may take.
const SNAPSHOT_PATIENCE: Duration = Duration::from_hours(12);

/// A file system that is asked ends its look by itself; one that has not by then is silent.
const MARGIN: Duration = Duration::from_secs(10);

/// Earlier snapshots that may stand for a dataset that nobody changes.
const EARLIER_MAX: u32 = 64;

/// Looks at a run's data. What cannot be found out is recorded as that, unless the run is to fail when its data has
/// changed: that could not be told then, and is a problem.
pub(super) async fn look(
    world: &World,
    resolved: &Resolved,
) -> Result<(Vec<Snapshot>, Vec<Problem>), StoreError> {
    let deadline = Instant::now() + SUBMIT_PATIENCE;
    let (mut snapshots, mut problems) = (Vec::new(), Vec::new());
    for dataset in &resolved.datasets {
        let snapshot = if let Some(earlier) = earlier(world, dataset).await? {
            earlier
        } else {
            let patience = deadline.saturating_duration_since(Instant::now());
            take(world, dataset, patience).await
        };
        if let (Some(why), OnDrift::Fail) = (snapshot.unknown(), dataset.on_drift) {
            let message = format!(
                "dataset `{}` has no fingerprint ({why}), so a change of it could not be told from here on",
                dataset.name
            );
            let help = "leave out `on_drift = \"fail\"`, or name a smaller part of it";
            problems.push(Problem::nowhere(message).help(help));
        }
        snapshots.push(snapshot);
    }
    Ok((snapshots, problems))
}

/// What is known of a dataset that nobody changes, when its root is what it was then.
async fn earlier(world: &World, dataset: &Dataset) -> Result<Option<Snapshot>, StoreError> {
    if !dataset.immutable {
        return Ok(None);
    }
    let known = world.store.snapshots(text(&dataset.path), EARLIER_MAX).await?;
    if known.is_empty() {
        return Ok(None);
    }
    let path = dataset.path.clone();
    let look = move |hands: &dyn Hands| hands.data_root(&path);
    let Ok(Some(root)) = world.with_hands(&dataset.path, look).await else { return Ok(None) };
    let stands = |(_, snapshot): &(_, Snapshot)| snapshot.stands_for(dataset, root);
    let found = known.into_iter().find(stands).map(|(_, snapshot)| snapshot);
    Ok(found.map(|snapshot| Snapshot { name: dataset.name.clone(), ..snapshot }))
}

async fn take(world: &World, dataset: &Dataset, patience: Duration) -> Snapshot {
    let now = world.clock.now();
    let snapshot = |found| Snapshot {
        name: dataset.name.clone(),
        path: dataset.path.clone(),
        version: dataset.version.clone(),
        at: now,
        found,
    };
    if patience.is_zero() {
        let why = "the run's other data took all the time that there is for looking at it";
        return snapshot(Found::Unknown(why.to_owned()));
    }
    let cached_in = world.paths.state.path().join("datasets");
    let order = DataOrder {
        path: dataset.path.clone(),
        content: dataset.content.then_some(ContentOrder { cached_in, now }),
        patience,
    };
    let look = move |hands: &dyn Hands| hands.fingerprint(&order);
    let found = world.with_hands_within(&dataset.path, patience + MARGIN, look).await;
    snapshot(found.unwrap_or_else(|silence| Found::Unknown(silence.to_string())))
}

/// Looks now, whatever is known, and records what was found.
pub async fn take_snapshot(world: &World, dataset: &Dataset) -> Result<Snapshot, StoreError> {
    let snapshot = take(world, dataset, SNAPSHOT_PATIENCE).await;
    world.store.keep_snapshot(snapshot.clone()).await?;
    Ok(snapshot)
}

/// What the data at a path has been, newest first, and which runs were given it so.
pub async fn fingerprints(world: &World, path: PathBuf) -> Result<Fingerprints, StoreError> {
    let all = world.store.snapshots(text(&path), u32::MAX).await?;
    Ok(Fingerprints::of(path, &all))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
