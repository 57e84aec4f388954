//! Budgets of projects: what a start has to set aside, and how the accounts stand.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::{error, warn};

use crate::api::BudgetView;
use crate::daemon::purses::{self, Payer};
use crate::daemon::reconcile::{Decided, carry_out, perform, tell};
use crate::daemon::world::World;
use crate::domain::admit::Ledger;
use crate::domain::charge::{of_start, used};
use crate::domain::ledger::{
    Account, Amount, Asked, Balance, Budget, Funds, GoesOn, OnExhausted, OnOverrun, Resource,
    Share, SlurmBudget, Stage, StartId, may_start, to_stop, wrong,
};
use crate::domain::resolved::Resolved;
use crate::domain::run::{Event, Reason, Run, State, step};
use crate::domain::site::Site;
use crate::domain::units::{SECONDS_MAX, Seconds};
use crate::store::{LedgerEntry, RunRow, StoreError};

/// How long a start of the run may last: its time limit, and what the scheduler may let it run beyond that.
fn longest(world: &World, resolved: &Resolved) -> Seconds {
    /// Until a job that is killed is over in the scheduler's eyes.
    const CLEARED: Seconds = Seconds(60);
    let compute = &resolved.compute;
    let scheduler = world.scheduler(compute.target.cluster());
    let beyond = scheduler.map_or(Seconds(0), |scheduler| scheduler.ends_late_by());
    let limit = compute.time_limit;
    Seconds(limit.map_or(SECONDS_MAX, |limit| limit.0.0.saturating_add(beyond.0 + CLEARED.0)))
}

/// What a start of the run may cost at most, where it begins now. None where what it runs on costs nothing.
pub(super) fn at_most(world: &World, resolved: &Resolved, now: Timestamp) -> Option<Amount> {
    Some(Amount::clamped(of_start(resolved, longest(world, resolved).0, now)?))
}

/// What a start of the run has to set aside now. None where its project has no budget, or what it runs on costs nothing.
pub(super) fn asked(world: &World, resolved: &Resolved, now: Timestamp) -> Option<Asked> {
    let in_force = world.in_force();
    let project = resolved.project.as_deref()?;
    let (compute, longest) = (&resolved.compute, longest(world, resolved));
    let nodes =
        if compute.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", compute.nodes) };
    let class = &compute.class;
    let what = match compute.time_limit {
        Some(_) => format!("{nodes} of class `{class}` for up to {longest}"),
        None => format!("{nodes} of class `{class}` without a time limit"),
    };
    let Some(budget) = in_force.site().budget(project) else {
        return purses::asked(world, resolved, (longest, what), now);
    };
    let amount = at_most(world, resolved, now)?;
    let account = budget.account(now);
    let share = Share { account, amount, budget: Funds::Granted(budget.amount) };
    let on_exhausted = budget.on_exhausted;
    Some(Asked { shares: vec![share], on_exhausted, what, unknown: None })
}

/// The same once Slurm was asked, where it keeps the budget: for somebody who waits for the answer.
pub(super) async fn asked_anew(
    world: &World,
    resolved: &Resolved,
    now: Timestamp,
) -> Result<Option<Asked>, StoreError> {
    purses::look_for(world, resolved).await?;
    Ok(asked(world, resolved, now))
}

/// Enters what the site says of budgets now.
pub(super) async fn grant(world: &World) -> Result<(), StoreError> {
    let now = world.clock.now();
    let in_force = world.in_force();
    let budgets: Vec<(Account, Amount)> =
        in_force.site().budgets().map(|budget| (budget.account(now), budget.amount)).collect();
    if budgets.is_empty() { Ok(()) } else { world.store.grant(budgets, now).await }
}

/// A project whose `period` has changed begins anew, which may not be what was meant.
pub(super) fn tell_of_periods(old: &Site, new: &Site, now: Timestamp) {
    for budget in new.budgets() {
        let before = old.budget(&budget.project);
        let Some(before) = before.filter(|before| before.period != budget.period) else { continue };
        warn!(
            "the `period` of project `{}` is `{}` now and was `{}`: nothing is spent of its budget any more, and what was \
             spent and held before stays in `{}`",
            budget.project,
            budget.period,
            before.period,
            before.account(now).period
        );
    }
}

/// Compares the balances with the entries that are new, and once a day with all.
pub(super) async fn check(world: &World) -> Result<(), StoreError> {
    let day = world.clock.now().as_second() / (24 * 60 * 60);
    let whole = world.books_checked.swap(day, std::sync::atomic::Ordering::Relaxed) != day;
    let known = world.store.check_ledger(whole).await?;
    if whole {
        for account in known {
            error!("{}", wrong(&account));
        }
    }
    Ok(())
}

/// Sets aside what starts may cost that the scheduler has begun by itself. Where there is no room for one, its run is
/// stopped.
pub(super) async fn hold_restarts(world: &Arc<World>) -> Result<(), StoreError> {
    let now = world.clock.now();
    let rows = world.store.live().await?;
    let begun: Vec<(StartId, &Arc<RunRow>)> = rows
        .values()
        .filter_map(|row| {
            let start = begun_by_scheduler(&row.run)?;
            asked(world, &row.resolved, now).map(|_| (start, row))
        })
        .collect();
    if begun.is_empty() {
        return Ok(());
    }
    let unheld: BTreeSet<StartId> =
        world.store.unheld(begun.iter().map(|(start, _)| *start).collect()).await?;
    let begun = begun.into_iter().filter(|(start, _)| unheld.contains(start));
    let begun: Vec<&Arc<RunRow>> = begun.map(|(_, row)| row).collect();
    purses::look(world, &payers_of(world, &begun)).await?;
    let mut acts = Vec::new();
    for row in begun {
        // Where Slurm has not told what it limits, it is asked again: what is held once is not made up for.
        let asked = asked(world, &row.resolved, now).filter(|asked| asked.unknown.is_none());
        let Some(asked) = asked else { continue };
        let (run, by, policy) =
            (row.run.id, (asked, row.owner.clone()), world.policy(&row.resolved));
        let Some(decision) = world.store.hold_restart(run, by, policy, now).await? else {
            continue;
        };
        world.changed();
        tell(run, &row.name, &decision);
        acts.extend(decision.acts.into_iter().map(|act| (run, act)));
    }
    perform(world, acts).await;
    Ok(())
}

/// What runs are paid from, where Slurm keeps that.
fn payers_of(world: &World, rows: &[&Arc<RunRow>]) -> Vec<Payer> {
    let in_force = world.in_force();
    let site = in_force.site();
    let payers = rows.iter().filter_map(|row| purses::payer(site, &row.resolved));
    let payers: BTreeSet<Payer> = payers.map(|(budget, purse)| (budget.project, purse)).collect();
    payers.into_iter().collect()
}

/// Stops starts of the projects that want it so when more is spent and held than they have.
pub(super) async fn stop_overrun(world: &Arc<World>) -> Result<(), StoreError> {
    let (now, in_force) = (world.clock.now(), world.in_force());
    let strict = in_force.site().budgets().filter(|budget| budget.on_overrun == OnOverrun::Stop);
    let strict: Vec<Budget> = strict.collect();
    if strict.is_empty() {
        return Ok(());
    }
    let (ledger, rows) = (world.store.ledger().await?, world.store.live().await?);
    let mut stops = Vec::new();
    for budget in strict {
        let account = budget.account(now);
        // What runs is not stopped for a fault of the ledger's.
        let Some(standing) = ledger.get(&account).filter(|standing| !standing.is_wrong) else {
            continue;
        };
        let balance = Balance { budget: budget.amount, ..standing.balance };
        let of_project =
            rows.values().filter(|row| row.resolved.project.as_ref() == Some(&account.project));
        let staged: Vec<(&Arc<RunRow>, Stage)> =
            of_project.filter_map(|row| Some((row, stage(&row.run.state)?))).collect();
        let runs = staged.iter().map(|(row, _)| row.run.id).collect();
        let held = world.store.held(account.clone(), runs).await?;
        let starts = staged.iter().zip(held).filter(|(_, held)| *held > Amount::ZERO);
        let starts = starts.map(|((row, stage), held)| {
            let attempt = row.run.open_attempt();
            let charge = attempt.and_then(|attempt| used(attempt, &row.resolved, now).charge);
            let used = Amount::clamped(charge.unwrap_or_default());
            GoesOn { run: row.run.id, stage: *stage, held, used }
        });
        let Balance { captured, held, .. } = balance;
        let message = format!(
            "{account} is overrun: {captured} of {} charge units are spent, and {held} held",
            budget.amount
        );
        for run in to_stop(balance.available(), &starts.collect::<Vec<_>>()) {
            stops.extend(rows.get(&run).map(|row| stop(world, row, message.clone(), now)));
        }
    }
    carry_out(world, stops).await.map(drop)
}

fn stop(world: &World, row: &Arc<RunRow>, message: String, at: Timestamp) -> Decided {
    let event = Event::OwnStop { reason: Reason::BudgetExhausted, message: message.clone() };
    let decision = step(&row.run, &event, &world.policy(&row.resolved), at).note("budget", message);
    Decided { row: Arc::clone(row), decision, wishes: Vec::new(), at }
}

/// How far a run is that something may be held for; none where the scheduler does not have it, or may not have it yet.
fn stage(state: &State) -> Option<Stage> {
    match state {
        State::Queued { .. } => Some(Stage::Queued),
        State::Running => Some(Stage::Running),
        State::Finishing | State::Evaluating | State::Stopping { .. } => Some(Stage::Ending),
        State::Preparing
        | State::Pending { .. }
        | State::Submitting { .. }
        | State::Backoff { .. }
        | State::Final { .. } => None,
    }
}

/// The start under way, where it is none of ours: the scheduler has started the job again.
fn begun_by_scheduler(run: &Run) -> Option<StartId> {
    let attempt = run.open_attempt().filter(|attempt| attempt.restart > 0)?;
    let goes_on = matches!(run.state, State::Queued { .. } | State::Running);
    goes_on.then(|| StartId::of(attempt))
}

/// How the budgets stand: of one project, or of all that have one. `None` for a project that there is not.
pub async fn budgets(
    world: &World,
    project: Option<&str>,
) -> Result<Option<Vec<BudgetView>>, StoreError> {
    let in_force = world.in_force();
    let site = in_force.site();
    if let Some(name) = project
        && site.project.as_ref().is_none_or(|projects| projects.get(name).is_none())
    {
        return Ok(None);
    }
    let is_asked = |name: &str| project.is_none_or(|project| project == name);
    let by_slurm = site.slurm_budgets().filter(|budget| is_asked(&budget.project));
    let by_slurm: Vec<SlurmBudget> = by_slurm.collect();
    let payers: Vec<Payer> =
        by_slurm.iter().flat_map(|budget| purses::payers(world, &budget.project)).collect();
    purses::look(world, &payers).await?;
    let payers = purses::known_anywhere(world, payers);
    let ledger = world.store.ledger().await?;
    let now = world.clock.now();
    let own = site.budgets().filter(|budget| is_asked(&budget.project));
    let mut views: Vec<BudgetView> = own.map(|budget| view(&ledger, &budget, now)).collect();
    for budget in by_slurm {
        for payer in payers.iter().filter(|(project, _)| *project == budget.project) {
            views.extend(views_of_purse(world, &ledger, (&budget, payer), now));
        }
    }
    Ok(Some(views))
}

/// How what Slurm keeps stands: one for each thing that it limits.
fn views_of_purse(
    world: &World,
    ledger: &Ledger,
    (budget, payer): (&SlurmBudget, &Payer),
    now: Timestamp,
) -> Vec<BudgetView> {
    let told = purses::told(world, payer, now);
    let (project, purse) = payer;
    let is_shown = |counted: &Resource| {
        let room = told.rooms.get(counted);
        let is_limited = room.is_some_and(|(_, room)| room.limit.is_some());
        let account = Account::by_slurm(project, purse, *counted);
        is_limited || ledger.get(&account).is_some_and(|known| known.balance.held > Amount::ZERO)
    };
    let mut shown: Vec<Resource> = Resource::ALL.into_iter().filter(is_shown).collect();
    if shown.is_empty() {
        shown.push(Resource::Nodes);
    }
    let silence = told.silence.as_deref();
    let unknown = told.rooms.is_empty().then(|| purses::unknown(purse, silence));
    let view = |counted| {
        let account = Account::by_slurm(project, purse, counted);
        let standing = ledger.get(&account).cloned().unwrap_or_default();
        let room = told.rooms.get(&counted).map(|(_, room)| room);
        BudgetView::by_slurm((budget, purse, counted), (&standing, room), unknown.clone())
    };
    shown.into_iter().map(view).collect()
}

/// How the budget stands that starts are paid from; of what Slurm counts, the one that is told first.
pub(super) fn view_of(
    world: &World,
    ledger: &Ledger,
    asked: &Asked,
    now: Timestamp,
) -> Option<BudgetView> {
    let account = &asked.shares.first()?.account;
    let in_force = world.in_force();
    if let Some(budget) = in_force.site().budget(&account.project) {
        return Some(view(ledger, &budget, now));
    }
    let budget = in_force.site().slurm_budget(&account.project)?;
    let standing = |account: &Account| ledger.get(account).cloned().unwrap_or_default();
    let is_short = |share: &&Share| {
        let shares = vec![(*share).clone()];
        let alone = Asked { shares, on_exhausted: OnExhausted::Reject, ..asked.clone() };
        may_start(standing, &alone).is_err()
    };
    let tightest = asked.shares.iter().find(is_short);
    let tightest = &tightest.or(asked.shares.first())?.account;
    purses::payers(world, &account.project).iter().find_map(|payer| {
        let views = views_of_purse(world, ledger, (&budget, payer), now);
        views.into_iter().find(|view| view.period == tightest.period)
    })
}

/// How a budget stands.
fn view(ledger: &Ledger, budget: &Budget, now: Timestamp) -> BudgetView {
    let account = budget.account(now);
    let standing = ledger.get(&account).cloned().unwrap_or_default();
    let balance = Balance { budget: budget.amount, ..standing.balance };
    BudgetView::of(budget, (&account, balance), standing.is_wrong)
}

/// The newest entries, of one project when given. `None` for a project that neither the site nor the ledger knows.
pub async fn ledger(
    world: &World,
    project: Option<String>,
    limit: u32,
) -> Result<Option<Vec<LedgerEntry>>, StoreError> {
    let in_force = world.in_force();
    let projects = in_force.site().project.as_ref();
    let is_known = |name: &String| projects.is_some_and(|projects| projects.get(name).is_some());
    let is_known = project.as_ref().is_none_or(is_known);
    let entries = world.store.entries(project, limit).await?;
    Ok((is_known || !entries.is_empty()).then_some(entries))
}
