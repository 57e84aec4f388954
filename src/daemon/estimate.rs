//! What a run or a sweep would cost, whether that is left, and when it might start. Nothing is recorded.

use jiff::Timestamp;

use crate::api::{BudgetView, EstimateView, LikelyStart};
use crate::daemon::accept::AcceptError;
use crate::daemon::budgets;
use crate::daemon::classes::STARTS_MAX;
use crate::daemon::purses;
use crate::daemon::world::World;
use crate::domain::charge::of_start;
use crate::domain::estimate::{Starts, Sum};
use crate::domain::ledger::{Account, Amount, Asked, Refusal, may_start};
use crate::domain::request::{Checked, SpecRequest};
use crate::domain::resolved::{Resolved, Target};
use crate::domain::sweep::Family;
use crate::domain::view::CHARGE_UNIT;
use crate::domain::waits::expected;
use crate::ports::Reckoned;
use crate::store::StoreError;

/// What a spec comes to: starts that ask for the same, and how many there are of each. Never none of them.
struct Meant {
    first: Resolved,
    sets: Vec<(Resolved, usize)>,
    is_sweep: bool,
}

/// What a submission of the spec would come to now.
pub async fn estimate(world: &World, request: SpecRequest) -> Result<EstimateView, AcceptError> {
    let now = world.clock.now();
    // A sweep may have a hundred thousand points.
    let Meant { first, sets, is_sweep } =
        tokio::task::block_in_place(|| meant(world, &request, now))?;
    let starts: Vec<Starts> =
        sets.iter().map(|(resolved, count)| starts(world, (resolved, *count), now)).collect();
    let sum = Sum::of(&starts);
    let paid = paid(world, (&sets, is_sweep), now).await?;
    let (budget, shortage, is_refused) =
        paid.map_or((None, None, false), |paid| (paid.budget, paid.shortage, paid.is_refused));
    let compute = &first.compute;
    Ok(EstimateView {
        points: is_sweep.then(|| sets.iter().map(|(_, count)| count).sum()),
        resource_sets: sets.len(),
        target: compute.target.kind().to_owned(),
        cluster: compute.target.cluster().to_owned(),
        class: compute.class.clone(),
        nodes: compute.nodes,
        time_limit_seconds: compute.time_limit.map(|limit| limit.0.0),
        node_hours: sum.node_hours,
        charge: sum.set_aside.map(Amount::units),
        charge_at_limit: sum.at_limit,
        unit: CHARGE_UNIT.to_owned(),
        budget,
        sufficient: shortage.is_none(),
        shortage,
        is_refused,
        start: likely_start(world, &first, now).await?,
        name: first.name,
        project: first.project,
    })
}

fn meant(world: &World, request: &SpecRequest, now: Timestamp) -> Result<Meant, AcceptError> {
    let (in_force, asker) = (world.in_force(), &world.asker);
    let family = Family::read(request);
    let is_sweep = family.is_some();
    let (sets, problems, sources) = if let Some(family) = family {
        let outcome = family.check(request.context(in_force.site(), asker), now);
        (outcome.sets, outcome.problems, family.sources)
    } else {
        let Checked { outcome, sources, .. } = request.check(in_force.site(), asker);
        let set = outcome.resolved.map(|resolved| (resolved, 1));
        (set.into_iter().collect(), outcome.problems, sources)
    };
    match sets.first() {
        Some((first, _)) if problems.is_empty() => {
            Ok(Meant { first: first.clone(), sets, is_sweep })
        }
        Some(_) | None => Err(AcceptError::Invalid { sources: Box::new(sources), problems }),
    }
}

fn starts(world: &World, (resolved, count): (&Resolved, usize), now: Timestamp) -> Starts {
    let time_limit = resolved.compute.time_limit.map(|limit| limit.0);
    Starts {
        count,
        nodes: resolved.compute.nodes,
        time_limit,
        at_limit: time_limit.and_then(|limit| of_start(resolved, limit.0, now)),
        set_aside: budgets::at_most(world, resolved, now),
    }
}

/// The budget that starts are paid from, and what is to be said of them.
struct Paid {
    budget: Option<BudgetView>,
    shortage: Option<String>,
    is_refused: bool,
}

/// None where nothing is held for them.
async fn paid(
    world: &World,
    (sets, is_sweep): (&[(Resolved, usize)], bool),
    now: Timestamp,
) -> Result<Option<Paid>, StoreError> {
    // One project pays for all points.
    for (resolved, _) in sets {
        purses::look_for(world, resolved).await?;
    }
    let each = sets.iter().filter_map(|(resolved, count)| {
        let asked = budgets::asked(world, resolved, now)?;
        let what = asked.what.clone();
        Some(asked.times(*count, what))
    });
    let Some(mut asked) = each.reduce(Asked::and) else { return Ok(None) };
    if is_sweep {
        let points: usize = sets.iter().map(|(_, count)| count).sum();
        asked.what = format!("its {points} points");
    }
    let ledger = world.store.ledger().await?;
    let standing = |account: &Account| ledger.get(account).cloned().unwrap_or_default();
    let (shortage, is_refused) = match may_start(standing, &asked) {
        Ok(told) => (told, false),
        // Where Slurm does not tell, a run is taken in and waits.
        Err(refusal) => {
            let is_refused = matches!(refusal, Refusal::Short(_)) || asked.unknown.is_none();
            (Some(refusal.to_string()), is_refused)
        }
    };
    let budget = budgets::view_of(world, &ledger, &asked, now);
    Ok(Some(Paid { budget, shortage, is_refused }))
}

/// When the run would start, by what starts like it have waited, and by what Slurm reckons.
async fn likely_start(
    world: &World,
    resolved: &Resolved,
    now: Timestamp,
) -> Result<LikelyStart, StoreError> {
    let compute = &resolved.compute;
    if compute.target == Target::Local {
        return Ok(LikelyStart::default());
    }
    let past = world.store.waits(STARTS_MAX).await?;
    let history = expected(&past, (&compute.class, compute.nodes), now);
    let Some(scheduler) = world.scheduler(compute.target.cluster()) else {
        return Ok(LikelyStart { history, ..LikelyStart::default() });
    };
    let reckoned = scheduler.would_start(&compute.options);
    let (slurm_at, slurm_says) = match tokio::time::timeout(world.look_patience, reckoned).await {
        Ok(Ok(Reckoned::At(at))) => (Some(at), None),
        Ok(Ok(Reckoned::Never(why))) => (None, Some(why)),
        Ok(Err(silence)) => (None, Some(silence.to_string())),
        Err(_) => (None, Some("it did not answer in time".to_owned())),
    };
    Ok(LikelyStart { history, slurm_at, slurm_says })
}
