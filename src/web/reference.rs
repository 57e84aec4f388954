//! Which run a person means: `42`, `@last`, or a name.

use std::fmt;

use crate::api::ErrorCode;
use crate::daemon::World;
use crate::domain::ids::RunId;
use crate::web::error::ApiError;

pub(super) fn missing(reference: &str) -> ApiError {
    let message = format!("there is no run `{}`", reference.escape_debug());
    ApiError::new(ErrorCode::NotFound, message).hint("`trainyard list` shows the newest runs")
}

/// Why a number is that of no run: it may be a sweep's.
pub(super) async fn no_run(world: &World, reference: &str) -> Result<ApiError, ApiError> {
    let sweep = match reference.parse() {
        Ok(number) => world.store.sweep(RunId(number)).await?,
        Err(_) => None,
    };
    let Some(sweep) = sweep else { return Ok(missing(reference)) };
    let id = sweep.id;
    let message = format!("{id} is a sweep: `trainyard sweep show {id}`");
    let hint = match sweep.points.checked_sub(1) {
        Some(last) => format!("its points are runs, {id}:0 to {id}:{last}"),
        None => format!("it has no points yet: `trainyard sweep tell {id}` gives it some"),
    };
    Ok(ApiError::new(ErrorCode::NotFound, message).hint(hint))
}

/// Finds the run that `reference` names. A name means its only run that is not final, else its only run.
pub(super) async fn resolve(world: &World, reference: &str) -> Result<RunId, ApiError> {
    let missing = || missing(reference);
    if let Ok(number) = reference.parse::<i64>() {
        return match world.store.run(RunId(number)).await? {
            Some(row) => Ok(row.run.id),
            None => Err(no_run(world, reference).await?),
        };
    }
    if reference == "@last" {
        let newest = world.store.newest(world.asker.user.clone()).await?;
        return newest.ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, "you have no runs yet")
                .hint("`trainyard submit SPEC` makes one")
        });
    }
    if let Some((sweep, number)) = reference.split_once(':') {
        return point(world, sweep, number).await;
    }
    let runs = world.store.named(reference.to_owned(), None).await?;
    only(&runs)
        .ok_or_else(missing)?
        .map_err(|candidates| ambiguous((reference, "runs"), &candidates))
}

/// The only one that is not over, else the only one, of those that are given with their states; otherwise the candidates.
/// None of none.
pub(super) fn only<T: Copy>(all: &[(T, String)]) -> Option<Result<T, Vec<&(T, String)>>> {
    let active: Vec<&(T, String)> = all.iter().filter(|(_, state)| !is_final(state)).collect();
    match (active.as_slice(), all) {
        ([(only, _)], _) | ([], [(only, _)]) => Some(Ok(*only)),
        ([], []) => None,
        ([], all) => Some(Err(all.iter().collect())),
        (_, _) => Some(Err(active)),
    }
}

/// The point of a sweep: `7:12`.
async fn point(world: &World, sweep: &str, number: &str) -> Result<RunId, ApiError> {
    let not_found = |message: String| ApiError::new(ErrorCode::NotFound, message);
    let (Ok(id), Ok(number)) = (sweep.parse().map(RunId), number.parse::<u32>()) else {
        let message = format!("`{}:{}` is no point", sweep.escape_debug(), number.escape_debug());
        return Err(ApiError::new(ErrorCode::BadRequest, message)
            .hint("a point is written SWEEP:POINT, both as numbers: 7:12"));
    };
    if let Some(run) = world.store.point(id, number).await? {
        return Ok(run);
    }
    Err(match world.store.sweep(id).await? {
        Some(sweep) => {
            let id = sweep.id;
            not_found(match sweep.points.checked_sub(1) {
                Some(last) => {
                    format!("sweep {id} has no point {number}: they are numbered from 0 to {last}")
                }
                None => format!("sweep {id} has no points yet"),
            })
        }
        None => not_found(format!("there is no sweep {id}"))
            .hint("`trainyard sweep list` shows the newest sweeps"),
    })
}

fn is_final(state: &str) -> bool {
    ["completed", "failed", "cancelled"].contains(&state)
}

pub(super) fn ambiguous<T: fmt::Display>(
    (name, what): (&str, &str),
    candidates: &[&(T, String)],
) -> ApiError {
    const NAMED_MAX: usize = 10;
    let named: Vec<String> =
        candidates.iter().take(NAMED_MAX).map(|(one, state)| format!("{one} ({state})")).collect();
    let more = candidates.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    ApiError::new(ErrorCode::Ambiguous, format!("{} {what} are called `{name}`", candidates.len()))
        .hint(format!("say which by its number: {}{more}", named.join(", ")))
}
