//! Everything that a new run is given, taken as it is now.

use std::path::PathBuf;

use crate::daemon::accept::AcceptError;
use crate::daemon::capture::{obtain_code, obtain_requirements};
use crate::daemon::data;
use crate::daemon::world::World;
use crate::domain::code::Capture;
use crate::domain::dataset::Snapshot;
use crate::domain::inputs::{CapturedCode, Inputs};
use crate::domain::problem::Sources;
use crate::domain::request::SpecRequest;
use crate::domain::requirements::CapturedRequirements;
use crate::domain::resolve::Expected;
use crate::domain::resolved::Resolved;
use crate::hands::from_run_dir;
use crate::ports::{NewRunDir, TakenCode};
use crate::script::render;

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
    pub(super) fn inputs(self, request: SpecRequest, rerun_of: Option<i64>) -> Inputs {
        let Self { taken, datasets, requirements } = self;
        Inputs { request: Some(request), code: Some(taken.code), datasets, requirements, rerun_of }
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
            datasets: lines.collect(),
            code: from_run_dir(&taken.code.digest),
            patch: taken.patch.clone(),
            secrets: resolved.environment.secrets.clone(),
        })
    }
}
