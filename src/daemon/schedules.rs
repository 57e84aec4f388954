//! Submitting runs when their time comes.
//!
//! What is to be done about a schedule is recorded by the pass, then done in a task of its own, then what became of it is
//! recorded. Whoever finds it begun and not ended, after the daemon has ended in the middle, does it again: the run has a key
//! made of the schedule and the planned time, so that there is no second one.

mod there;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use crate::daemon::accept::{AcceptError, Accepted, SubmitRequest, accept};
use crate::daemon::world::World;
use crate::domain::ids::RunId;
use crate::domain::problem::{Problem, Sources};
use crate::domain::request::{Change, SpecRequest};
use crate::domain::schedule::{
    Due, FiringView, NEXT_TOLD, Outcome, Plan, ScheduleView, due, is_late, key, was_set_back,
};
use crate::fault::point;
use crate::files::{LoadError, read_spec_file};
use crate::ports::{Hands, Silence};
use crate::store::{Fired, Firing, NewSchedule, Schedule, StoreError};

pub use there::{ScheduleThere, ThereError, schedule_there};

/// Planned times that are shown of each schedule.
const FIRINGS_SHOWN: u32 = 10;

/// The schedules for which a run is being submitted in this process.
#[derive(Debug, Default)]
pub(super) struct Firings(Mutex<HashSet<i64>>);

/// While it is there, nobody else submits a run for the schedule.
struct UnderWay {
    world: Arc<World>,
    schedule: i64,
}

impl UnderWay {
    fn begin(world: &Arc<World>, schedule: i64) -> Option<Self> {
        let mut all = world.firings.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(schedule).then(|| Self { world: Arc::clone(world), schedule })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut all = self.world.firings.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.schedule);
    }
}

/// What the ticker goes by.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    pub(super) active: usize,
    /// How many runs are being submitted.
    pub(super) begun: usize,
    /// Until the next time.
    pub(super) next_in: Option<Duration>,
}

/// Takes up what is due, and begins to submit.
pub(super) async fn begin(world: &Arc<World>) -> Result<Standing, StoreError> {
    let now = world.clock.now();
    let mut scheduled = world.store.scheduled(now).await?;
    if !scheduled.due.is_empty() {
        for schedule in std::mem::take(&mut scheduled.due) {
            take_up(world, schedule, now).await?;
        }
        scheduled = world.store.scheduled(now).await?;
    }
    let begun = scheduled.begun.len();
    for firing in scheduled.begun {
        let Some(under_way) = UnderWay::begin(world, firing.schedule.id) else { continue };
        let world = Arc::clone(world);
        world.tasks.clone().spawn(async move {
            let (id, name) = (firing.schedule.id, firing.schedule.name.clone());
            let fired = finish(&world, firing).await;
            drop(under_way);
            match fired {
                // What was due meanwhile is taken up now.
                Ok(_) => world.nudge.notify_one(),
                Err(error) => {
                    let told = crate::chain(&error);
                    warn!(schedule.id = id, "schedule `{name}` is tried again: {told}");
                }
            }
        });
    }
    let next_in = scheduled.next_at.map(|at| Duration::try_from(at.duration_since(now)));
    let next_in = next_in.map(Result::unwrap_or_default);
    Ok(Standing { active: scheduled.active, begun, next_in })
}

async fn take_up(world: &World, schedule: Schedule, now: Timestamp) -> Result<(), StoreError> {
    let calendar = schedule.plan.calendar();
    let due = match (calendar, schedule.next_at) {
        (Some(calendar), Some(next_at)) if !was_set_back(schedule.as_of, now) => {
            due(&calendar, schedule.plan.catch_up, (next_at, now))
        }
        (calendar, _) => {
            let next = calendar.and_then(|calendar| calendar.next(now));
            Due { fires: None, missed: None, next }
        }
    };
    if let Some(missed) = due.missed.filter(|_| !schedule.plan.catch_up) {
        warn!(
            schedule.id = schedule.id,
            "schedule `{}`: no daemon was there in time: {missed}", schedule.name
        );
    }
    world.store.take_up(schedule, due, now).await?;
    world.changed();
    Ok(())
}

/// Submits the run of a planned time, and records what came of it; none where somebody has done so since it was found.
async fn finish(world: &Arc<World>, firing: Firing) -> Result<Option<FiringView>, StoreError> {
    let Firing { id, planned, why, schedule } = firing;
    if !world.store.is_begun(id).await? {
        return Ok(None);
    }
    point("firing_begun");
    let mut fired = fire(world, &schedule, planned).await?;
    point("firing_submitted");
    if !why.is_empty() {
        let more = if fired.why.is_empty() { String::new() } else { format!("; {}", fired.why) };
        fired.why = format!("{why}{more}");
    }
    let (at, name) = (world.clock.now(), &schedule.name);
    let run = fired.run.map_or(String::new(), |run| format!(" run {run}"));
    let why = if fired.why.is_empty() { String::new() } else { format!(": {}", fired.why) };
    let told = format!("schedule `{name}`, planned for {planned}: {}{run}{why}", fired.outcome);
    match fired.outcome {
        Outcome::Failed | Outcome::Missed => warn!(schedule.id = schedule.id, "{told}"),
        Outcome::Begun | Outcome::Submitted | Outcome::Skipped => {
            info!(schedule.id = schedule.id, "{told}");
        }
    }
    let Fired { outcome, run, why } = fired.clone();
    world.store.fired(id, fired, at).await?;
    world.changed();
    let row = match run {
        Some(run) => world.store.run(run).await?,
        None => None,
    };
    let sweep = row.and_then(|row| row.point).map(|point| point.sweep.0);
    Ok(Some(FiringView { planned, outcome, at, run: run.map(|run| run.0), sweep, why }))
}

async fn fire(
    world: &Arc<World>,
    schedule: &Schedule,
    planned: Timestamp,
) -> Result<Fired, StoreError> {
    let fired = |outcome, run, why: String| Ok(Fired { outcome, run, why });
    let submitted = |run: RunId| fired(Outcome::Submitted, Some(run), String::new());
    let key = key(schedule.id, planned);
    // Before the spec is read: it may have changed since, or be gone.
    if let Some(known) = world.store.with_key(schedule.owner.clone(), key.clone()).await? {
        return submitted(known.run);
    }
    if is_late(planned, world.clock.now()) && !schedule.plan.catch_up {
        let why = "the daemon ended before a run was submitted, and none was there in time";
        return fired(Outcome::Missed, None, why.to_owned());
    }
    let spec = match read(world, (&schedule.spec, &schedule.changes)).await {
        Ok(spec) => spec,
        Err(why) => return fired(Outcome::Failed, None, crate::chain(&why)),
    };
    let differs = differs(&spec, &schedule.plan);
    let request = SubmitRequest {
        spec,
        key: Some(key),
        if_active: schedule.plan.if_active,
        meant: None,
        code: None,
        rerun_of: None,
        requirements: None,
    };
    match Box::pin(accept(world, request)).await {
        Ok(Accepted::New { run, warning }) => {
            let told: Vec<String> = warning.into_iter().chain(differs).collect();
            fired(Outcome::Submitted, Some(run), told.join("; "))
        }
        Ok(Accepted::Skipped(run)) => {
            if world.store.sweep(run).await?.is_some() {
                return fired(Outcome::Skipped, None, format!("sweep {run} was active"));
            }
            fired(Outcome::Skipped, Some(run), format!("run {run} was active"))
        }
        Ok(Accepted::OfKey(run))
        | Err(AcceptError::KeyTaken { run, .. } | AcceptError::KeyDeleted { run, .. }) => {
            submitted(run)
        }
        // Nobody knows what was recorded: it is asked again.
        Err(AcceptError::Store(error)) => Err(error),
        Err(AcceptError::Invalid { sources, problems }) => {
            fired(Outcome::Failed, None, first_of(&problems, &sources))
        }
        Err(error) => fired(Outcome::Failed, None, crate::chain(&error)),
    }
}

/// Why a spec is not read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error(transparent)]
    Unreadable(#[from] LoadError),
    #[error(transparent)]
    Silent(#[from] Silence),
}

/// Reads the spec as it is now.
async fn read(world: &World, (path, changes): (&Path, &[Change])) -> Result<SpecRequest, Unread> {
    let (spec, changes) = (path.to_owned(), changes.to_vec());
    let look = move |_: &dyn Hands| Ok(read_spec_file(&spec, changes));
    let base = path.parent().unwrap_or(path);
    Ok(world.with_hands(base, look).await??)
}

/// What the file says of its schedule, where that is not what was added.
fn differs(spec: &SpecRequest, plan: &Plan) -> Option<String> {
    let Some(now) = spec.plan(|| plan.timezone.clone()) else {
        return Some("the file has no [schedule] any more; `schedule delete` ends this one".into());
    };
    let changes = plan.changes(&now);
    let told =
        || format!("the file says another [schedule] ({}): `schedule add`", changes.join(", "));
    (!changes.is_empty()).then(told)
}

/// The first problem at its place.
fn first_of(problems: &[Problem], sources: &Sources) -> String {
    let Some(first) = problems.first() else { return "the spec cannot be used".to_owned() };
    let place = first.place.map(|place| format!("{}: ", sources.locate(place)));
    let more = match problems.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    format!("{}{}{more}", place.unwrap_or_default(), first.message)
}

/// A schedule as a client asks for it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct ScheduleRequest {
    pub name: String,
    /// Absolute.
    pub spec: std::path::PathBuf,
    pub changes: Vec<Change>,
    pub plan: Plan,
}

/// Why something cannot be done with a schedule.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("there is no schedule `{0}`")]
    Unknown(String),
    #[error("you have {0} schedules, and there may be no more")]
    TooMany(u32),
    #[error("a run of schedule `{0}` is being submitted already")]
    UnderWay(String),
    #[error("the schedule cannot be used: its cron or its time zone is not known here")]
    Unusable,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes a schedule on; gives it with the one that it replaces.
pub async fn add_schedule(
    world: &World,
    request: ScheduleRequest,
) -> Result<(ScheduleView, Option<ScheduleView>), ScheduleError> {
    let ScheduleRequest { name, spec, changes, plan } = request;
    let now = world.clock.now();
    let calendar = plan.calendar().ok_or(ScheduleError::Unusable)?;
    let (owner, next_at) = (world.asker.user.clone(), calendar.next(now));
    let new = NewSchedule { owner, name: name.clone(), spec, changes, plan, next_at };
    let old = world.store.add_schedule(new, now).await?.map_err(ScheduleError::TooMany)?;
    changed(world);
    Ok((shown(world, &name).await?, old.map(|old| view(&old, Vec::new()))))
}

/// All schedules of the asker.
pub async fn schedules(world: &World) -> Result<Vec<ScheduleView>, StoreError> {
    let all = world.store.schedules(world.asker.user.clone(), FIRINGS_SHOWN).await?;
    Ok(all.into_iter().map(|(schedule, firings)| view(&schedule, firings)).collect())
}

/// Stops a schedule, or lets it go on from its next time.
pub async fn pause_schedule(
    world: &World,
    name: &str,
    pauses: bool,
) -> Result<ScheduleView, ScheduleError> {
    let now = world.clock.now();
    let schedule = find(world, name).await?;
    if pauses {
        world.store.pause_schedule(schedule.id, now).await?;
    } else {
        let next_at = schedule.plan.calendar().and_then(|calendar| calendar.next(now));
        world.store.resume_schedule(schedule.id, next_at, now).await?;
    }
    changed(world);
    shown(world, name).await
}

/// Forgets a schedule.
pub async fn delete_schedule(world: &World, name: &str) -> Result<ScheduleView, ScheduleError> {
    let (schedule, view) = (find(world, name).await?, shown(world, name).await?);
    world.store.delete_schedule(schedule.id).await?;
    changed(world);
    Ok(view)
}

/// Submits a run of a schedule now, as at one of its times.
pub async fn run_schedule_now(world: &Arc<World>, name: &str) -> Result<FiringView, ScheduleError> {
    let busy = || ScheduleError::UnderWay(name.to_owned());
    let schedule = find(world, name).await?;
    let under_way = UnderWay::begin(world, schedule.id).ok_or_else(busy)?;
    let (why, now) = ("asked for by hand".to_owned(), world.clock.now());
    let firing = world.store.fire_at_once(schedule, why, now).await?.ok_or_else(busy)?;
    let fired = finish(world, firing).await?;
    drop(under_way);
    world.nudge.notify_one();
    // It is gone where the schedule was deleted meanwhile.
    fired.ok_or_else(|| ScheduleError::Unknown(name.to_owned()))
}

fn changed(world: &World) {
    world.changed();
    // The ticker works out when it is needed next.
    world.nudge.notify_one();
}

async fn find(world: &World, name: &str) -> Result<Schedule, ScheduleError> {
    let known = world.store.schedule(world.asker.user.clone(), name.to_owned()).await?;
    known.ok_or_else(|| ScheduleError::Unknown(name.to_owned()))
}

async fn shown(world: &World, name: &str) -> Result<ScheduleView, ScheduleError> {
    let shown = schedules(world).await?.into_iter().find(|schedule| schedule.name == name);
    shown.ok_or_else(|| ScheduleError::Unknown(name.to_owned()))
}

fn view(schedule: &Schedule, firings: Vec<FiringView>) -> ScheduleView {
    let Schedule { name, spec, changes, plan, added_at, paused_at, next_at, .. } = schedule;
    let calendar = plan.calendar();
    let following = |last: &Timestamp| calendar.as_ref()?.next(*last);
    let next = std::iter::successors(next_at.filter(|_| paused_at.is_none()), following);
    ScheduleView {
        name: name.clone(),
        spec: spec.clone(),
        changes: changes.iter().map(|change| change.shown.clone()).collect(),
        plan: plan.clone(),
        added_at: *added_at,
        paused_at: *paused_at,
        next: next.take(NEXT_TOLD).collect(),
        firings,
    }
}
