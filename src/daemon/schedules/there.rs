//! The schedule of a spec whose file only the daemon sees: who adds it is on another machine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::daemon::accept::{AcceptError, missing_files};
use crate::daemon::accept_sweep;
use crate::daemon::schedules::{ScheduleRequest, Unread, read};
use crate::daemon::world::World;
use crate::domain::request::{Change, Checked, SpecRequest};

/// What a client asks for that does not see the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScheduleThere {
    /// Absolute.
    pub spec: PathBuf,
    pub changes: Vec<Change>,
    /// Counts where the spec names none.
    pub timezone: String,
}

/// Why the file makes no schedule.
#[derive(Debug, thiserror::Error)]
pub enum ThereError {
    #[error("{0}")]
    Unreadable(String),
    #[error("{} has no [schedule]", .0.display())]
    NoSchedule(PathBuf),
    #[error(transparent)]
    Spec(#[from] AcceptError),
}

impl From<Unread> for ThereError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Unreadable(error) => Self::Unreadable(crate::chain(&error)),
            Unread::Silent(silence) => Self::Spec(AcceptError::Files(silence)),
        }
    }
}

/// Reads the spec and checks it, with the files that it names: a schedule that can submit nothing is told now.
pub async fn schedule_there(
    world: &World,
    request: ScheduleThere,
) -> Result<ScheduleRequest, ThereError> {
    let ScheduleThere { spec: path, changes, timezone } = request;
    let spec = read(world, (&path, &changes)).await?;
    let name = match checked(world, &spec).await {
        Err(AcceptError::Invalid { .. }) if world.has_taken_up_a_newer_site().await => {
            checked(world, &spec).await
        }
        checked => checked,
    }?;
    let Some(plan) = spec.schedule(|| timezone) else { return Err(ThereError::NoSchedule(path)) };
    let plan = plan.map_err(|(sources, problems)| AcceptError::Invalid {
        sources: Box::new(sources),
        problems,
    })?;
    // As a client that sees the file would name it.
    let file = path.file_name().map_or_else(|| path.clone(), |file| spec.base.join(file));
    Ok(ScheduleRequest { name, spec: file, changes, plan })
}

/// The name of the runs of a spec, or of its sweeps, that could be submitted.
async fn checked(world: &World, spec: &SpecRequest) -> Result<String, AcceptError> {
    if spec.is_sweep() {
        let (plan, ..) = accept_sweep::plan(world, spec).await?;
        return plan.sets.into_iter().next().map(|set| set.name).ok_or(AcceptError::NoPoints);
    }
    let Checked { sources, outcome, .. } = spec.check(world.in_force().site(), &world.asker);
    let (mut problems, expectations) = (outcome.problems, outcome.expectations);
    problems.extend(missing_files(world, &spec.base, expectations).await?);
    match outcome.resolved {
        Some(resolved) if problems.is_empty() => Ok(resolved.name),
        Some(_) | None => Err(AcceptError::Invalid { sources: Box::new(sources), problems }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::LoadError;
    use crate::ports::Silence;

    #[test]
    fn a_silent_file_system_says_nothing_of_the_spec() {
        let silence = Silence { who: "/data".into(), why: "no answer within 10 s".into() };
        let silent = ThereError::from(Unread::from(silence.clone()));
        assert!(
            matches!(&silent, ThereError::Spec(AcceptError::Files(of)) if *of == silence),
            "{silent:?}"
        );
        let no_text = LoadError::NotText { path: "/data/spec.toml".into() };
        let unreadable = ThereError::from(Unread::from(no_text));
        assert_eq!(unreadable.to_string(), "/data/spec.toml is not UTF-8 text");
    }
}
