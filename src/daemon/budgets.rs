//! Budgets of projects: what a start has to set aside, and how the accounts stand.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::{error, warn};

use crate::api::BudgetView;
use crate::daemon::reconcile::{Decided, carry_out, perform, tell};
use crate::daemon::world::World;
use crate::domain::admit::Ledger;
use crate::domain::charge::{of_start, used};
use crate::domain::ledger::{
    Account, Amount, Asked, Balance, Budget, GoesOn, OnOverrun, Stage, StartId, to_stop, wrong,
};
use crate::domain::resolved::Resolved;
use crate::domain::run::{Event, Reason, Run, State, step};
use crate::domain::site::Site;
use crate::domain::units::{SECONDS_MAX, Seconds};
use crate::store::{LedgerEntry, RunRow, StoreError};

/// What a start of the run may cost at most, where it begins now, and how long it may last then: its time limit, and what the
/// scheduler may let it run beyond that. None where what it runs on costs nothing.
pub(super) fn at_most(
    world: &World,
    resolved: &Resolved,
    now: Timestamp,
) -> Option<(Amount, Seconds)> {
    /// Until a job that is killed is over in the scheduler's eyes.
    const CLEARED: Seconds = Seconds(60);
    let compute = &resolved.compute;
    let scheduler = world.scheduler(compute.target.cluster());
    let beyond = scheduler.map_or(Seconds(0), |scheduler| scheduler.ends_late_by());
    let longest = compute
        .time_limit
        .map_or(SECONDS_MAX, |limit| limit.0.0.saturating_add(beyond.0 + CLEARED.0));
    Some((Amount::clamped(of_start(resolved, longest, now)?), Seconds(longest)))
}

/// What a start of the run has to set aside now. None where its project has no budget, or what it runs on costs nothing.
pub(super) fn asked(world: &World, resolved: &Resolved, now: Timestamp) -> Option<Asked> {
    let in_force = world.in_force();
    let budget = in_force.site().budget(resolved.project.as_deref()?)?;
    let (amount, longest) = at_most(world, resolved, now)?;
    let compute = &resolved.compute;
    let nodes =
        if compute.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", compute.nodes) };
    let class = &compute.class;
    let what = match compute.time_limit {
        Some(_) => format!("{nodes} of class `{class}` for up to {longest}"),
        None => format!("{nodes} of class `{class}` without a time limit"),
    };
    let account = budget.account(now);
    Some(Asked { account, budget: budget.amount, on_exhausted: budget.on_exhausted, amount, what })
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
    let begun: Vec<(StartId, &Arc<RunRow>, Asked)> = rows
        .values()
        .filter_map(|row| {
            Some((begun_by_scheduler(&row.run)?, row, asked(world, &row.resolved, now)?))
        })
        .collect();
    if begun.is_empty() {
        return Ok(());
    }
    let unheld: BTreeSet<StartId> =
        world.store.unheld(begun.iter().map(|(start, ..)| *start).collect()).await?;
    let mut acts = Vec::new();
    for (start, row, asked) in begun {
        if !unheld.contains(&start) {
            continue;
        }
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
    let ledger = world.store.ledger().await?;
    let now = world.clock.now();
    let Some(name) = project else {
        return Ok(Some(site.budgets().map(|budget| view(&ledger, &budget, now)).collect()));
    };
    if let Some(budget) = site.budget(name) {
        return Ok(Some(vec![view(&ledger, &budget, now)]));
    }
    let is_known = site.project.as_ref().is_some_and(|projects| projects.get(name).is_some());
    Ok(is_known.then(Vec::new))
}

/// How a budget stands.
pub(super) fn view(ledger: &Ledger, budget: &Budget, now: Timestamp) -> BudgetView {
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
