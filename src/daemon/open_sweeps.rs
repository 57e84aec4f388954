//! Open sweeps: they are told points, each of which is a run from then on, and asked what came of them.

use std::collections::{BTreeMap, BTreeSet};

use tracing::info;

use crate::api::{EndedPointView, TellRequest, ToldPointView};
use crate::daemon::accept::is_key;
use crate::daemon::views::run_view;
use crate::daemon::world::World;
use crate::domain::ids::RunId;
use crate::domain::problem::{Problem, Sources};
use crate::domain::request::SpecRequest;
use crate::domain::spec::SweepMethod;
use crate::domain::sweep::{Family, PlannedPoint, TOLD_BYTES_MAX, TOLD_MAX};
use crate::fault::point;
use crate::ports::{Hands, Silence};
use crate::script::points;
use crate::store::{StoreError, SweepRow, Telling, ToldPoint};

/// Why a sweep was not told its points. None of them was taken, then.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    #[error("sweep {0} is not open: it has all its points from its spec")]
    NotOpen(RunId),
    #[error("sweep {0} is closed: it takes no more points")]
    Closed(RunId),
    #[error(
        "sweep {sweep} has {known} points and may have {most}: there is no room for {more} more"
    )]
    Full { sweep: RunId, known: u32, most: u32, more: usize },
    #[error("the key `{key}` was given to point {sweep}:{point}, which has other parameters")]
    KeyTaken { key: String, sweep: RunId, point: u32 },
    #[error("the key `{0}` is given to two points")]
    KeyTwice(String),
    #[error("a key has 1 to 255 printable characters")]
    BadKey,
    #[error("{0} points are told at once; {TOLD_MAX} may be")]
    TooMany(usize),
    #[error(
        "the parameters of a point are an object of JSON in one line of at most {TOLD_BYTES_MAX} bytes"
    )]
    BadText,
    #[error("the points have {} problem(s)", problems.len())]
    Invalid { sources: Box<Sources>, problems: Vec<Problem> },
    #[error("sweep {0} changed meanwhile")]
    Changed(RunId),
    #[error("sweep {0} was recorded without its spec")]
    NoSpec(RunId),
    #[error("cannot write what the points are given")]
    Files(#[source] Silence),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Points get their numbers, and their lines in the sweep's table, one call after the other.
static TELLING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Gives a sweep more points, all or none of them. Those whose key is known are the points that they were.
pub async fn tell(
    world: &World,
    sweep: RunId,
    request: TellRequest,
) -> Result<Vec<ToldPointView>, TellError> {
    check(&request)?;
    let _one = TELLING.lock().await;
    let row = world.store.sweep(sweep).await?.ok_or(TellError::NotOpen(sweep))?;
    let spec = world.store.sweep_request(sweep).await?.ok_or(TellError::NoSpec(sweep))?;
    let family = Family::read(&spec).filter(|family| family.open.is_some());
    let family = family.ok_or(TellError::NotOpen(sweep))?;
    let texts: Vec<&str> = request.points.iter().map(|told| told.parameters.as_str()).collect();
    let (told, problems) = family.told(&texts.join("\n"));
    if !problems.is_empty() {
        return Err(invalid(&told, problems));
    }
    let keys: Vec<String> = request.points.iter().filter_map(|told| told.key.clone()).collect();
    let known = world.store.told_points(sweep, keys.clone()).await?;
    let of_point = |at: usize| request.points.get(at).and_then(|told| told.key.as_ref());
    let mut fresh = Vec::new();
    for (at, one) in told.points.points.iter().enumerate() {
        let Some(known) = of_point(at).and_then(|key| known.get(key)) else {
            fresh.push(at);
            continue;
        };
        if known.parameters != told.points.parameters(one) {
            let (key, point) = (known.key.clone().unwrap_or_default(), known.point);
            return Err(TellError::KeyTaken { key, sweep, point });
        }
    }
    let new = if fresh.is_empty() {
        Vec::new()
    } else {
        check_room(&row, fresh.len())?;
        let planned = plan(world, (&told, &spec), &fresh)?;
        let keys = fresh.iter().map(|at| of_point(*at).cloned());
        add(world, row, planned.into_iter().zip(keys).collect()).await?
    };
    let mut new = fresh.into_iter().zip(new).collect::<BTreeMap<usize, ToldPoint>>();
    let view = |at: usize| {
        let is_new = new.contains_key(&at);
        let told = new.remove(&at).or_else(|| known.get(of_point(at)?).cloned())?;
        Some(ToldPointView::of(told, is_new))
    };
    Ok((0..request.points.len()).filter_map(view).collect())
}

fn check(request: &TellRequest) -> Result<(), TellError> {
    if request.points.len() > TOLD_MAX {
        return Err(TellError::TooMany(request.points.len()));
    }
    let is_text = |text: &String| {
        text.len() <= TOLD_BYTES_MAX && !text.contains('\n') && text.trim_start().starts_with('{')
    };
    if !request.points.iter().all(|told| is_text(&told.parameters)) {
        return Err(TellError::BadText);
    }
    let mut keys = BTreeSet::new();
    for key in request.points.iter().filter_map(|told| told.key.as_ref()) {
        if !is_key(key) {
            return Err(TellError::BadKey);
        }
        if !keys.insert(key) {
            return Err(TellError::KeyTwice(key.clone()));
        }
    }
    Ok(())
}

fn check_room(row: &SweepRow, more: usize) -> Result<(), TellError> {
    if row.about.method != SweepMethod::Open {
        return Err(TellError::NotOpen(row.id));
    }
    if row.closed_at.is_some() {
        return Err(TellError::Closed(row.id));
    }
    let most = row.about.max_points.unwrap_or_default();
    let left = most.saturating_sub(row.points);
    if usize::try_from(left).is_ok_and(|left| more > left) {
        return Err(TellError::Full { sweep: row.id, known: row.points, most, more });
    }
    Ok(())
}

/// What those of the points come to that are new.
fn plan(
    world: &World,
    (told, spec): (&Family, &SpecRequest),
    fresh: &[usize],
) -> Result<Vec<PlannedPoint>, TellError> {
    let mut family = told.clone();
    let new = fresh.iter().filter_map(|at| told.points.points.get(*at).cloned());
    family.points.points = new.collect();
    let in_force = world.in_force();
    let context = spec.context(in_force.site(), &world.asker);
    let planned = family.plan_told((context, world.clock.now()));
    planned.map_err(|problems| invalid(&family, problems))
}

fn invalid(family: &Family, problems: Vec<Problem>) -> TellError {
    TellError::Invalid { sources: Box::new(family.sources.clone()), problems }
}

/// Writes the points' lines, then records the points.
async fn add(
    world: &World,
    sweep: SweepRow,
    points: Vec<(PlannedPoint, Option<String>)>,
) -> Result<Vec<ToldPoint>, TellError> {
    let (id, from, sweep_dir) = (sweep.id, sweep.points, sweep.sweep_dir.clone());
    let sets = world.store.sweep_sets(id).await?;
    let first_run =
        world.store.next_numbers(u32::try_from(points.len()).unwrap_or(u32::MAX)).await?;
    point("told_numbers_taken");
    let run = |place: u32| RunId(first_run.0 + i64::from(place));
    let line = |(place, (planned, _)): (u32, &(PlannedPoint, Option<String>))| {
        points::line(from + place, run(place), &planned.given.args, &planned.given.variables)
    };
    let lines: String = (0..).zip(&points).map(line).collect();
    let secrets = sets.first().and_then(|set| set.environment.secrets.clone());
    // No pass removes secrets before the points are recorded that they are for.
    let mut deciding = None;
    if secrets.is_some() {
        deciding = Some(world.deciding.lock().await);
        // Noted first: what is there and not noted would stay. Where no point comes of it a pass removes them.
        world.store.keep_told_secrets(id).await?;
        world.nudge.notify_one();
    }
    let write = move |hands: &dyn Hands| {
        if let Some(source) = secrets {
            hands.take_secrets(&source, &sweep_dir)?;
        }
        hands.add_points(&sweep_dir, from, &lines)
    };
    let root = sweep.sweep_dir.parent().unwrap_or(&sweep.sweep_dir).to_owned();
    world.with_hands(&root, write).await.map_err(TellError::Files)?;
    point("told_lines_written");
    let told = (0..).zip(&points).map(|(place, (planned, key))| ToldPoint {
        run: run(place),
        point: from + place,
        key: key.clone(),
        parameters: planned.given.parameters.clone(),
    });
    let told = told.collect();
    let (by, now) = (world.asker.user.clone(), world.clock.now());
    let count = points.len();
    let telling = Telling { sweep, sets, first_run, points, by, now };
    if !world.store.tell_points(telling).await? {
        // It was closed; nobody else tells points.
        return Err(TellError::Changed(id));
    }
    drop(deciding);
    point("told_points_recorded");
    info!(sweep.id = id.0, points = count, "sweep {id} was told {count} points");
    world.changed();
    world.nudge.notify_one();
    Ok(told)
}

/// The sweep takes no more points.
pub async fn close_sweep(world: &World, sweep: RunId) -> Result<(), TellError> {
    let row = world.store.sweep(sweep).await?;
    if row.is_none_or(|row| row.about.method != SweepMethod::Open) {
        return Err(TellError::NotOpen(sweep));
    }
    world.store.close_sweep(sweep, world.clock.now()).await?;
    point("sweep_closed");
    world.changed();
    Ok(())
}

/// What came of points that have ended since, in the order of their ends.
pub async fn ended_points(
    world: &World,
    sweep: &SweepRow,
    (after, limit): (u32, u32),
) -> Result<Vec<EndedPointView>, StoreError> {
    let metric = sweep.about.objective.clone().map(|said| (said.metric, said.goal));
    let name = metric.as_ref().map(|(name, _)| name.clone());
    let mut views = Vec::new();
    for ended in world.store.ended_points(sweep.id, (after, limit), metric).await? {
        if let Some(run) = run_view(world, ended.told.run).await? {
            views.push(EndedPointView::of(ended, run, name.as_deref()));
        }
    }
    Ok(views)
}
