//! Everything that a new run is given, taken as it is now.

use std::path::PathBuf;

use crate::daemon::accept::AcceptError;
use crate::daemon::capture::{obtain_code, obtain_requirements};
use crate::daemon::data;
use crate::daemon::world::World;
use crate::domain::code::Capture;
use crate::domain::dataset::Snapshot;
use crate::domain::ids::RunId;
use crate::domain::inputs::{CapturedCode, Inputs};
use crate::domain::problem::Sources;
use crate::domain::request::SpecRequest;
use crate::domain::requirements::CapturedRequirements;
use crate::domain::resolve::Expected;
use crate::domain::resolved::Resolved;
use crate::domain::sweep::{Plan, PlannedPoint};
use crate::hands::from_run_dir;
use crate::ports::{NewRunDir, SweepFiles, TakenCode};
use crate::script::{points, render, render_points};

/// What an earlier run captured, and this one takes again.
pub(super) struct Given {
    pub code: Option<CapturedCode>,
    pub requirements: Option<CapturedRequirements>,
}

impl Given {
    /// Whether nobody has to look for it.
    pub(super) fn has(&self, what: Expected) -> bool {
        (self.requirements.is_some() && what == Expected::Requirements)
            || (self.code.is_some() && what.is_of_code())
    }
}

pub(super) struct Gathered {
    taken: TakenCode,
    datasets: Vec<Snapshot>,
    requirements: Option<CapturedRequirements>,
}

/// Captures the code, and looks at the data meanwhile.
pub(super) async fn gather(
    world: &World,
    resolved: &Resolved,
    (capture, given): (&Capture, Given),
    sources: Sources,
) -> Result<Gathered, AcceptError> {
    let code = obtain_code(world, resolved, capture, given.code);
    let (taken, data) = tokio::join!(code, data::look(world, resolved));
    let (datasets, problems) = data?;
    if !problems.is_empty() {
        return Err(AcceptError::Invalid { sources: Box::new(sources), problems });
    }
    let taken = taken.map_err(|error| error.told(sources))?;
    let requirements = obtain_requirements(world, resolved, given.requirements).await?;
    Ok(Gathered { taken, datasets, requirements })
}

impl Gathered {
    /// As it is recorded.
    pub(super) fn inputs(&self, request: SpecRequest, rerun_of: Option<i64>) -> Inputs {
        Inputs {
            request: Some(request),
            code: Some(self.taken.code.clone()),
            datasets: self.datasets.clone(),
            requirements: self.requirements.clone(),
            rerun_of,
        }
    }

    /// The files of a sweep's directory; the points' runs have the numbers behind its own.
    pub(super) fn sweep_dir(
        &self,
        plan: &Plan,
        path: PathBuf,
        (spec, id): (&str, RunId),
    ) -> Result<NewRunDir, AcceptError> {
        let Some((first, others)) = plan.sets.split_first() else {
            return Err(AcceptError::NoPoints);
        };
        let varying = plan.about.varying_variables();
        let line = |(point, planned): (u32, &PlannedPoint)| {
            let run = RunId(id.0 + 1 + i64::from(point));
            points::line(point, run, &planned.given.args, &planned.given.variables)
        };
        let sweep = SweepFiles {
            scripts: others.iter().map(|set| render_points(set, &varying)).collect(),
            points: (0..).zip(&plan.points).map(line).collect(),
        };
        let script = render_points(first, &varying);
        let dir = self.run_dir(first, path, spec)?;
        // Those of an open sweep are taken with each point: between two there may be nobody who needs them.
        let secrets = dir.secrets.filter(|_| !plan.points.is_empty());
        Ok(NewRunDir { script, sweep: Some(sweep), secrets, ..dir })
    }

    /// The files of a run directory.
    pub(super) fn run_dir(
        &self,
        resolved: &Resolved,
        path: PathBuf,
        spec: &str,
    ) -> Result<NewRunDir, serde_json::Error> {
        let Self { taken, datasets, .. } = self;
        let lines = resolved.datasets.iter().zip(datasets);
        let lines = lines.map(|(dataset, found)| found.line_for_job(dataset.immutable));
        Ok(NewRunDir {
            path,
            mode: resolved.run_dir_mode.0,
            spec: spec.to_owned(),
            resolved: serde_json::to_string_pretty(resolved)?,
            script: render(resolved),
            sweep: None,
            datasets: lines.collect(),
            code: from_run_dir(&taken.code.digest),
            patch: taken.patch.clone(),
            secrets: resolved.environment.secrets.clone(),
        })
    }
}
