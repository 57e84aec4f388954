//! What a person waits for: a run, or a sweep.

use std::fmt;

use axum::Json;
use axum::extract::{Path, State};

use crate::api::AwaitedAnswer;
use crate::daemon::{World, run_view, sweep_view};
use crate::domain::ids::RunId;
use crate::web::App;
use crate::web::error::ApiError;
use crate::web::reference::{ambiguous, missing, only, resolve};

/// One of those that share their numbers, and may share a name.
#[derive(Clone, Copy)]
enum Meant {
    Run(RunId),
    Sweep(RunId),
}

impl fmt::Display for Meant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(id) => write!(f, "run {id}"),
            Self::Sweep(id) => write!(f, "sweep {id}"),
        }
    }
}

pub(super) async fn find(
    State(app): State<App>,
    Path(reference): Path<String>,
) -> Result<Json<AwaitedAnswer>, ApiError> {
    let world = &app.world;
    let id = match meant(world, &reference).await? {
        Meant::Sweep(id) => {
            let sweep = sweep_view(world, id).await?.ok_or_else(|| missing(&reference))?;
            return Ok(Json(AwaitedAnswer::Sweep(Box::new(sweep))));
        }
        Meant::Run(id) => id,
    };
    let run = run_view(world, id).await?.ok_or_else(|| missing(&reference))?;
    Ok(Json(AwaitedAnswer::Run(Box::new(run))))
}

async fn meant(world: &World, reference: &str) -> Result<Meant, ApiError> {
    if let Ok(number) = reference.parse().map(RunId)
        && world.store.sweep(number).await?.is_some()
    {
        return Ok(Meant::Sweep(number));
    }
    let mut all: Vec<(Meant, String)> = Vec::new();
    for id in world.store.sweeps_to_await(reference.to_owned()).await? {
        all.extend(sweep_view(world, id).await?.map(|sweep| (Meant::Sweep(id), sweep.state)));
    }
    if all.is_empty() {
        return Ok(Meant::Run(resolve(world, reference).await?));
    }
    // The points of a sweep have its name: whoever gives it waits for all of them.
    let runs = world.store.single_runs_named(reference.to_owned()).await?;
    let runs = runs.into_iter().map(|(run, state)| (Meant::Run(run), state));
    let all: Vec<(Meant, String)> = runs.chain(all).collect();
    only(&all)
        .ok_or_else(|| missing(reference))?
        .map_err(|candidates| ambiguous((reference, "runs and sweeps"), &candidates))
}
