//! Budgets that Slurm keeps: what it told last of the accounts that runs are paid from, and what that leaves.
//!
//! Slurm is asked when somebody submits, waits for room or looks at a budget, no oftener than it is polled, and for all
//! accounts of a cluster at once. What it told counts until it tells something newer, since our own starts are entered in the
//! ledger meanwhile; but not longer than [`LAST`], since others use the same accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use crate::daemon::world::World;
use crate::domain::charge::{counted, counted_of_start};
use crate::domain::keys::Named;
use crate::domain::ledger::{
    Account, Amount, Asked, Figures, Funds, Purse, Resource, Room, Share, SlurmBudget,
};
use crate::domain::resolved::{Resolved, Target};
use crate::domain::site::Site;
use crate::domain::units::Seconds;
use crate::store::StoreError;

/// How old what Slurm told may become.
const LAST: SignedDuration = SignedDuration::from_hours(1);

/// Slurm counts a job when it ends; until it shows.
const ENDED: SignedDuration = SignedDuration::from_secs(15);

/// A spec may name any account: more than these are forgotten.
const PAYERS_MAX: usize = 1_000;

/// A project, and what its runs are paid from.
pub(super) type Payer = (String, Purse);

#[derive(Default)]
pub(super) struct Purses {
    known: Mutex<Known>,
    /// Whose turn it is to ask.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// Whoever was asked about.
    payers: BTreeSet<Payer>,
    /// Why there is nothing newer.
    silences: BTreeMap<Purse, String>,
    rooms: BTreeMap<Account, Room>,
    asked_at: BTreeMap<String, Timestamp>,
}

/// What is known of a purse.
pub(super) struct Told {
    /// One for each thing that Slurm counts; none at all where it has told nothing, or nothing for too long.
    pub(super) rooms: BTreeMap<Resource, (Account, Room)>,
    pub(super) silence: Option<String>,
}

impl Purses {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What Slurm told of what a project is paid from.
    pub(super) fn told(&self, (project, purse): &Payer, now: Timestamp) -> Told {
        let known = self.known();
        let room = |counted| {
            let account = Account::by_slurm(project, purse, counted);
            let room = known.rooms.get(&account).cloned()?;
            (now.duration_since(room.told_at) <= LAST).then_some((counted, (account, room)))
        };
        let rooms = Resource::ALL.into_iter().filter_map(room).collect();
        Told { rooms, silence: known.silences.get(purse).cloned() }
    }

    /// The accounts that have to be asked about: those of the clusters where something is not known, or not recent.
    fn due(&self, world: &World, payers: &[Payer]) -> BTreeMap<String, BTreeSet<String>> {
        let now = world.clock.now();
        let mut known = self.known();
        let is_due = |(project, purse): &&Payer| {
            let account = Account::by_slurm(project, purse, Resource::Nodes);
            let is_new = !known.rooms.contains_key(&account) && !known.silences.contains_key(purse);
            let asked_at = known.asked_at.get(&purse.cluster);
            let age = asked_at.map(|at| now.duration_since(*at));
            let recent = recent(world, &purse.cluster);
            is_new || age.is_none_or(|age| age.is_negative() || age >= recent)
        };
        let clusters: BTreeSet<String> =
            payers.iter().filter(is_due).map(|(_, purse)| purse.cluster.clone()).collect();
        if known.payers.len() > PAYERS_MAX {
            // Whoever still counts is asked about again.
            *known = Known::default();
        }
        known.payers.extend(payers.iter().cloned());
        let mut due: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (_, purse) in known.payers.iter().filter(|(_, purse)| clusters.contains(&purse.cluster))
        {
            due.entry(purse.cluster.clone()).or_default().insert(purse.account.clone());
        }
        due
    }
}

/// As often as a cluster is polled.
fn recent(world: &World, cluster: &str) -> SignedDuration {
    const INTERVAL: Seconds = Seconds(30);
    let in_force = world.in_force();
    let settings = in_force.site().cluster.as_ref().and_then(|clusters| clusters.get(cluster));
    let said = settings.and_then(|settings| settings.poll_interval.as_ref());
    let seconds = said.map_or(INTERVAL, |said| said.value).0;
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// The Slurm account that a run is submitted with, and its project, where Slurm keeps the budget of that.
pub(super) fn payer(site: &Site, resolved: &Resolved) -> Option<(SlurmBudget, Purse)> {
    let budget = site.slurm_budget(resolved.project.as_deref()?)?;
    let compute = &resolved.compute;
    if compute.target == Target::Local {
        return None;
    }
    // The last one is what sbatch goes by.
    let account = compute.options.iter().rev().find(|option| option.name() == "--account");
    let account = account.and_then(|option| option.value()).unwrap_or_default().to_owned();
    Some((budget, Purse { cluster: compute.target.cluster().to_owned(), account }))
}

/// What the projects of the site are paid from, of which Slurm keeps the budget; and what else their runs were.
pub(super) fn payers(world: &World, project: &str) -> Vec<Payer> {
    let in_force = world.in_force();
    let site = in_force.site();
    let Some(settings) = site.project.as_ref().and_then(|projects| projects.get(project)) else {
        return Vec::new();
    };
    let accounts = settings.accounts.iter().flat_map(|all| &all.0).map(|(_, account)| account);
    let accounts: Vec<&str> =
        settings.account.iter().chain(accounts).map(|account| account.value.as_str()).collect();
    let clusters = site.cluster.iter().flat_map(Named::names);
    let said = clusters.flat_map(|cluster| {
        accounts.iter().map(|account| {
            let purse = Purse { cluster: cluster.to_owned(), account: (*account).to_owned() };
            (project.to_owned(), purse)
        })
    });
    let mut payers: BTreeSet<Payer> = said.collect();
    let known = world.purses.known();
    payers.extend(known.payers.iter().filter(|(known, _)| known == project).cloned());
    payers.into_iter().collect()
}

/// What a start of the run has to set aside now of what Slurm counts. `longest` is how long it may last, `what` the start in
/// words. None where it takes nothing of it.
pub(super) fn asked(
    world: &World,
    resolved: &Resolved,
    (longest, what): (Seconds, String),
    now: Timestamp,
) -> Option<Asked> {
    let (budget, purse) = payer(world.in_force().site(), resolved)?;
    let told = world.purses.told(&(budget.project.clone(), purse.clone()), now);
    // What its class is charged by is entered for its own sake.
    let by = Resource::from(resolved.compute.terms.by);
    let is_entered = |counted: &Resource| {
        let room = told.rooms.get(counted);
        *counted == by || room.is_some_and(|(_, room)| room.limit.is_some())
    };
    let share = |counted: Resource| {
        let amount = Amount::clamped(counted_of_start(resolved, counted, longest.0));
        let account = Account::by_slurm(&budget.project, &purse, counted);
        let room = told.rooms.get(&counted).map(|(_, room)| room.clone());
        let budget = room.map_or(Funds::Untold, Funds::Slurm);
        (amount > Amount::ZERO).then_some(Share { account, amount, budget })
    };
    let shares: Vec<Share> =
        Resource::ALL.into_iter().filter(is_entered).filter_map(share).collect();
    let unknown = told.rooms.is_empty().then(|| unknown(&purse, told.silence.as_deref()));
    let is_any = !shares.is_empty() || unknown.is_some();
    is_any.then_some(Asked { shares, on_exhausted: budget.on_exhausted, what, unknown })
}

/// What is said where nobody knows what is left.
pub(super) fn unknown(purse: &Purse, silence: Option<&str>) -> String {
    let Purse { cluster, account } = purse;
    let why = silence.map_or(String::new(), |why| format!(": {why}"));
    format!("Slurm has not told what account `{account}` has left on cluster `{cluster}`{why}")
}

/// Sees to it that what is known of these is recent, as far as Slurm may be asked and answers.
pub(super) async fn look(world: &World, payers: &[Payer]) -> Result<(), StoreError> {
    if payers.is_empty() {
        return Ok(());
    }
    let _turn = world.purses.asking.lock().await;
    for (cluster, accounts) in world.purses.due(world, payers) {
        ask(world, &cluster, &accounts).await?;
    }
    Ok(())
}

/// The same for what a run is paid from.
pub(super) async fn look_for(world: &World, resolved: &Resolved) -> Result<(), StoreError> {
    let payer = payer(world.in_force().site(), resolved);
    let payer = payer.map(|(budget, purse)| (budget.project, purse));
    look(world, payer.as_slice()).await
}

async fn ask(world: &World, cluster: &str, accounts: &BTreeSet<String>) -> Result<(), StoreError> {
    let told = match world.scheduler(cluster) {
        Some(scheduler) => {
            let told = scheduler.figures(accounts);
            match tokio::time::timeout(world.look_patience, told).await {
                // It is asked soon.
                Ok(Ok(None)) => return Ok(()),
                Ok(Ok(Some(told))) => Ok(told),
                Ok(Err(silence)) => Err(silence.to_string()),
                Err(_) => Err("it did not answer in time".to_owned()),
            }
        }
        None => Err("the cluster is not in the site config any more".to_owned()),
    };
    if let Err(why) = &told {
        warn!(cluster.name = cluster, "nobody tells what Slurm's accounts have left: {why}");
    }
    let of_cluster: Vec<Payer> = {
        let mut known = world.purses.known();
        known.asked_at.insert(cluster.to_owned(), world.clock.now());
        known.payers.iter().filter(|(_, purse)| purse.cluster == cluster).cloned().collect()
    };
    for (project, purse) in of_cluster {
        let figures = told.as_ref().map(|told| told.get(&purse.account));
        match figures {
            Ok(Some(figures)) => {
                let rooms = rooms(world, (&project, &purse), figures).await?;
                let mut known = world.purses.known();
                known.silences.remove(&purse);
                known.rooms.extend(rooms);
            }
            Ok(None) => {
                let mut known = world.purses.known();
                for counted in Resource::ALL {
                    known.rooms.remove(&Account::by_slurm(&project, &purse, counted));
                }
                known.silences.insert(purse, "it shows no such account".to_owned());
            }
            // What it told before counts for a while.
            Err(why) => drop(world.purses.known().silences.insert(purse, why.clone())),
        }
    }
    Ok(())
}

/// What the figures leave for a project's starts. What is entered in the ledger from now on is compared with that.
async fn rooms(
    world: &World,
    (project, purse): (&str, &Purse),
    figures: &Figures,
) -> Result<Vec<(Account, Room)>, StoreError> {
    let told_at = figures.told_at;
    let back = |at: Timestamp, by: SignedDuration| at.saturating_sub(by).unwrap_or(at);
    let behind = SignedDuration::from_secs(i64::try_from(figures.behind.0).unwrap_or(i64::MAX));
    let counted_at = back(told_at, behind);
    let (ledger, rows) = (world.store.ledger().await?, world.store.live().await?);
    let of_project = rows.values().filter(|row| row.resolved.project.as_deref() == Some(project));
    let running: Vec<_> = of_project
        .filter(|row| row.run.open_attempt().is_some_and(|attempt| attempt.started_at.is_some()))
        .collect();
    let mut rooms = Vec::new();
    for what in Resource::ALL {
        let account = Account::by_slurm(project, purse, what);
        let Some(limit) = figures.limits.get(&what) else {
            rooms.push((account, Room { room: None, limit: None, told_at }));
            continue;
        };
        let mut ours = Amount::ZERO;
        if let Some(standing) = ledger.get(&account) {
            let runs = running.iter().map(|row| row.run.id).collect();
            let held = world.store.held(account.clone(), runs).await?;
            let late = world.store.captured_since(account.clone(), back(told_at, ENDED)).await?;
            ours = standing.balance.captured.less(late);
            for (row, held) in running.iter().zip(held) {
                let Some(attempt) = row.run.open_attempt() else { continue };
                let so_far = counted(attempt, &row.resolved, what, counted_at);
                ours = ours.plus(Amount::clamped(so_far).min(held)).unwrap_or(ours);
            }
        }
        let limited = Some((limit.amount(), limit.of.clone()));
        rooms.push((account, Room { room: Some(limit.room(ours)), limit: limited, told_at }));
    }
    Ok(rooms)
}
