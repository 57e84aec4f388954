//! Budgets that Slurm keeps: what it told last of the accounts that runs are paid from, and what that leaves.
//!
//! Slurm is asked when somebody submits, waits for room or looks at a budget, no oftener than it is polled, and for all
//! accounts of a cluster at once. What answers at once is heard by whoever asked; what does not, by whoever looks later. What
//! it told counts until it tells something newer, since our own starts are entered in the ledger meanwhile; but not longer
//! than [`LAST`], since others use the same accounts.

mod questions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::daemon::purses::questions::{Question, ask, hear};
use crate::daemon::world::World;
use crate::domain::charge::{counted, counted_of_start};
use crate::domain::keys::Named;
use crate::domain::ledger::{
    Account, Amount, Asked, Figures, Funds, Purse, Resource, Room, Share, SlurmBudget, StartId,
};
use crate::domain::resolved::{Resolved, Target};
use crate::domain::site::Site;
use crate::domain::units::Seconds;
use crate::store::{LiveRuns, StoreError};

/// How old what Slurm told may become, where it is asked often.
const LAST: SignedDuration = SignedDuration::from_hours(1);

/// In intervals of its poll, where it is asked rarely.
const LAST_INTERVALS: i32 = 4;

/// Slurm counts a job when it ends; until it shows.
const ENDED: SignedDuration = SignedDuration::from_secs(15);

/// A spec may name any account: more than these are forgotten.
const PAYERS_MAX: usize = 1_000;

/// What is said of an account that a cluster does not know.
const ABSENT: &str = "it shows no such account";

/// A project, and what its runs are paid from.
pub(super) type Payer = (String, Purse);

#[derive(Default)]
pub(super) struct Purses {
    known: Mutex<Known>,
    /// What is being asked, by cluster: one question each. Held by whoever looks.
    questions: tokio::sync::Mutex<BTreeMap<String, Question>>,
}

#[derive(Default)]
struct Known {
    /// Whoever was asked about.
    payers: BTreeSet<Payer>,
    /// Why there is nothing newer.
    silences: BTreeMap<Purse, String>,
    rooms: BTreeMap<Account, Room>,
    asked_at: BTreeMap<String, Timestamp>,
    /// The starts under way that were seen suspended.
    suspended: BTreeSet<StartId>,
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

    /// What Slurm told of what a project is paid from, no longer ago than `last`.
    fn told(&self, (project, purse): &Payer, last: SignedDuration, now: Timestamp) -> Told {
        let known = self.known();
        let room = |counted| {
            let account = Account::by_slurm(project, purse, counted);
            let room = known.rooms.get(&account).cloned()?;
            (now.duration_since(room.told_at) <= last).then_some((counted, (account, room)))
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
            let suspended = std::mem::take(&mut known.suspended);
            *known = Known { suspended, ..Known::default() };
        }
        known.payers.extend(payers.iter().cloned());
        let mut due: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (_, purse) in known.payers.iter().filter(|(_, purse)| clusters.contains(&purse.cluster))
        {
            due.entry(purse.cluster.clone()).or_default().insert(purse.account.clone());
        }
        due
    }

    /// The starts that are suspended or were seen so before, of all that are under way with their scheduler's words. Slurm
    /// counts nothing of a job that is suspended, and nobody knows for how long it was.
    fn suspended<'a>(
        &self,
        starts: impl Iterator<Item = (StartId, Option<&'a str>)>,
    ) -> BTreeSet<StartId> {
        let mut known = self.known();
        let is_suspended = |word: Option<&str>| word.is_some_and(|word| word == "SUSPENDED");
        let suspended = starts
            .filter(|(start, word)| is_suspended(*word) || known.suspended.contains(start))
            .map(|(start, _)| start)
            .collect();
        known.suspended = suspended;
        known.suspended.clone()
    }
}

/// What Slurm told of what a project is paid from.
pub(super) fn told(world: &World, payer: &Payer, now: Timestamp) -> Told {
    let last = recent(world, &payer.1.cluster).saturating_mul(LAST_INTERVALS).max(LAST);
    world.purses.told(payer, last, now)
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
    let account = account.and_then(|option| option.value()).unwrap_or_default();
    Some((budget, Purse::new(compute.target.cluster(), account)))
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
        accounts.iter().map(|account| (project.to_owned(), Purse::new(cluster, account)))
    });
    let mut payers: BTreeSet<Payer> = said.collect();
    let known = world.purses.known();
    payers.extend(known.payers.iter().filter(|(known, _)| known == project).cloned());
    payers.into_iter().collect()
}

/// Without the clusters that do not know an account that another one knows, or may know.
pub(super) fn known_anywhere(world: &World, payers: Vec<Payer>) -> Vec<Payer> {
    let is_absent = |purse: &Purse| {
        let known = world.purses.known();
        known.silences.get(purse).is_some_and(|why| why == ABSENT)
    };
    let (absent, mut known): (Vec<Payer>, Vec<Payer>) =
        payers.into_iter().partition(|(_, purse)| is_absent(purse));
    let nowhere = absent.into_iter().filter(|(project, purse)| {
        let is_same = |(other, of): &Payer| other == project && of.account == purse.account;
        !known.iter().any(is_same)
    });
    known.extend(nowhere.collect::<Vec<Payer>>());
    known.sort();
    known
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
    let told = told(world, &(budget.project.clone(), purse.clone()), now);
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
    let mut questions = world.purses.questions.lock().await;
    hear(world, &mut questions).await?;
    for (cluster, accounts) in world.purses.due(world, payers) {
        let question = questions.entry(cluster);
        let cluster = question.key().clone();
        question.or_insert_with(|| ask(world, &cluster, accounts));
    }
    hear(world, &mut questions).await
}

/// The same for what a run is paid from.
pub(super) async fn look_for(world: &World, resolved: &Resolved) -> Result<(), StoreError> {
    let payer = payer(world.in_force().site(), resolved);
    let payer = payer.map(|(budget, purse)| (budget.project, purse));
    look(world, payer.as_slice()).await
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
    let suspended = suspended(world, &rows);
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
                let attempt = row.run.open_attempt();
                let attempt = attempt.filter(|attempt| !suspended.contains(&StartId::of(attempt)));
                let Some(attempt) = attempt else { continue };
                let so_far = counted(attempt, &row.resolved, what, counted_at);
                ours = ours.plus(Amount::clamped(so_far).min(held)).unwrap_or(ours);
            }
        }
        let limited = Some((limit.amount(), limit.of.clone()));
        rooms.push((account, Room { room: Some(limit.room(ours)), limit: limited, told_at }));
    }
    Ok(rooms)
}

/// The starts under way whose time is not what Slurm has counted.
fn suspended(world: &World, rows: &LiveRuns) -> BTreeSet<StartId> {
    let attempts = rows.values().filter_map(|row| row.run.open_attempt());
    let starts = attempts.map(|attempt| (StartId::of(attempt), attempt.slurm_state.as_deref()));
    world.purses.suspended(starts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::SubmissionId;

    #[test]
    fn a_start_that_was_suspended_stays_one_that_was() {
        let purses = Purses::default();
        let start = |n| StartId { submission: SubmissionId(n), idx: 0, restart: 0 };
        let seen = |starts: &[(i64, &'static str)]| -> Vec<i64> {
            let starts = starts.iter().map(|(n, word)| (start(*n), Some(*word)));
            purses.suspended(starts).iter().map(|start| start.submission.0).collect()
        };
        assert_eq!(seen(&[(1, "RUNNING"), (2, "SUSPENDED"), (3, "SUSPENDED")]), [2, 3]);
        assert_eq!(seen(&[(1, "SUSPENDED"), (2, "RUNNING")]), [1, 2]);
        // One that is over is forgotten.
        assert_eq!(seen(&[(1, "RUNNING"), (2, "RUNNING"), (3, "RUNNING")]), [1, 2]);
    }
}
