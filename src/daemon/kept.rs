//! Deleting what a run left, and removing from the stores what no run uses any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;

use crate::api::{Deletion, StoreReport, Unused};
use crate::daemon::world::World;
use crate::domain::ids::RunId;
use crate::domain::inputs::Stored;
use crate::ports::{Hands, Silence, StoredItem};
use crate::store::{RunRow, StoreError};

/// A run directory may hold many files, and a store many trees.
const DEADLINE: Duration = Duration::from_mins(15);

#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error("there is no run {0}")]
    Missing(RunId),
    #[error("run {0} is not over: {1}")]
    Live(RunId, &'static str),
    #[error("cannot delete the files of the run")]
    Files(#[source] Silence),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tells what deleting a run means, and does it unless it is only asked.
pub async fn delete(world: &World, id: RunId, dry_run: bool) -> Result<Deletion, DeleteError> {
    let row = world.store.run(id).await?.ok_or(DeleteError::Missing(id))?;
    if !row.run.state.is_final() {
        return Err(DeleteError::Live(id, row.run.state.as_str()));
    }
    let RunRow { run_dir, resolved, .. } = row;
    let weigh = {
        let run_dir = run_dir.clone();
        move |hands: &dyn Hands| hands.weigh(&run_dir)
    };
    let weight = world.with_hands_within(&resolved.run_root, DEADLINE, weigh).await;
    let weight = weight.map_err(DeleteError::Files)?;
    let code = world.store.inputs(id).await?.code.map(|code| code.digest);
    let uses = world.store.code_uses().await?;
    let shares = |used: &&crate::store::CodeUse| used.run != id && used.digest == code;
    let others = uses.iter().filter(shares).count();
    if !dry_run {
        // Recorded first: files that stay behind are deleted by asking again.
        world.store.delete(id, world.asker.user.clone(), world.clock.now()).await?;
        let discard = {
            let run_dir = run_dir.clone();
            move |hands: &dyn Hands| hands.discard_run_dir(&run_dir)
        };
        let discarded = world.with_hands_within(&resolved.run_root, DEADLINE, discard).await;
        discarded.map_err(DeleteError::Files)?;
        world.changed();
    }
    Ok(Deletion {
        run: id.0,
        run_dir,
        files: weight.files,
        bytes: weight.bytes,
        code_used_by: if code.is_some() { others as u64 } else { 0 },
        code,
        deleted: !dry_run,
    })
}

/// Looks through the store of every run root that runs were recorded with, and removes what nobody uses where asked.
pub async fn collect_garbage(world: &World, remove: bool) -> Result<Vec<StoreReport>, StoreError> {
    let mut used: BTreeMap<PathBuf, BTreeSet<(Stored, String)>> = BTreeMap::new();
    for found in world.store.code_uses().await? {
        let digest = found.digest.map(|digest| (Stored::Code, digest.to_string()));
        used.entry(found.run_root).or_default().extend(digest);
    }
    let built = world.store.built_environments().await?;
    let built: Vec<(Stored, String)> =
        built.into_iter().map(|digest| (Stored::Environment, digest)).collect();
    let mut reports = Vec::new();
    for (run_root, mut used) in used {
        used.extend(built.iter().cloned());
        let report = match collect(world, &run_root, used, remove).await {
            Ok(report) => report,
            Err(silence) => StoreReport {
                run_root,
                kept: 0,
                kept_bytes: 0,
                unused: Vec::new(),
                removed: false,
                silence: Some(silence.to_string()),
            },
        };
        reports.push(report);
    }
    Ok(reports)
}

async fn collect(
    world: &World,
    run_root: &Path,
    mut used: BTreeSet<(Stored, String)>,
    remove: bool,
) -> Result<StoreReport, Silence> {
    let root = run_root.to_owned();
    // Another state directory may have runs in the same run root.
    let look = move |hands: &dyn Hands| Ok((hands.stored(&root)?, hands.linked(&root)?));
    let (stored, linked) = world.with_hands_within(run_root, DEADLINE, look).await?;
    used.extend(linked);
    let now = world.clock.now();
    let is_unused = |item: &StoredItem| {
        let is_used = used.contains(&(item.kind, item.name.clone())) || item.is_locked;
        !is_used && now.duration_since(item.used_at) > young(item.kind)
    };
    let (mut unused, mut kept): (Vec<StoredItem>, Vec<StoredItem>) =
        stored.into_iter().partition(is_unused);
    if remove && !unused.is_empty() {
        let (root, items) = (run_root.to_owned(), unused.clone());
        let remove = move |hands: &dyn Hands| hands.remove_stored(&root, &items);
        let removed = world.with_hands_within(run_root, DEADLINE, remove).await?;
        // Somebody was given it since it was listed.
        kept.extend(unused.extract_if(.., |item| !removed.contains(item)));
    }
    Ok(StoreReport {
        run_root: run_root.to_owned(),
        kept: kept.len() as u64,
        kept_bytes: kept.iter().map(|item| item.bytes).sum(),
        unused: unused
            .into_iter()
            .map(|StoredItem { kind, name, bytes, used_at, .. }| Unused {
                kind,
                name,
                bytes,
                used_at,
            })
            .collect(),
        removed: remove,
        silence: None,
    })
}

/// What was used so short a time ago is not looked at.
fn young(kind: Stored) -> SignedDuration {
    match kind {
        // It may be of a run that is not recorded yet.
        Stored::Code => SignedDuration::from_hours(1),
        // And longer than a build takes, where its lock does not count.
        Stored::Environment => SignedDuration::from_hours(3),
        // It is written anew when something has changed, not when it is read.
        Stored::Index => SignedDuration::from_hours(30 * 24),
        // Its writer may still be at work: a large archive on a slow line.
        Stored::Leftover => SignedDuration::from_hours(24),
    }
}

/// What a run's captured code holds: a hash, a target or a kind for each path.
pub async fn code_contents(
    world: &World,
    id: RunId,
) -> Result<Option<BTreeMap<String, String>>, StoreError> {
    let Some(row) = world.store.run(id).await? else { return Ok(None) };
    let Some(code) = world.store.inputs(id).await?.code else { return Ok(None) };
    let root = row.resolved.run_root.clone();
    let list = move |hands: &dyn Hands| hands.code_list(&root, &code.digest);
    let list = world.with_hands(&row.resolved.run_root, list).await.ok();
    let owned = |(path, content): (&str, &str)| (path.to_owned(), content.to_owned());
    Ok(list.map(|list| crate::domain::tree::contents(&list).into_iter().map(owned).collect()))
}
