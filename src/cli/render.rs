//! `render`: the exact script of a spec.

use crate::cli::check::{check, check_point, check_sweep};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Output;
use crate::cli::spec_args::SpecArgs;
use crate::cli::text::TerminalText;
use crate::domain::request::SpecRequest;
use crate::domain::sweep::{Family, Point};
use crate::files::LoadedSite;
use crate::script::render;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// A point of a sweep, numbered from 0; without it the first
    #[arg(long)]
    point: Option<usize>,
    /// An attempt: the script is the same for every one
    #[arg(long)]
    attempt: Option<u32>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let site = context.site()?;
    let request = args.spec.read(context)?;
    let family = Family::read(&request);
    let (resolved, point) = match &family {
        Some(family) => {
            let (number, point) = point(context, family, args.point, &request, &site)?;
            let resolved = check_point(context, &request, (family, point), &site)?;
            (resolved, Some((number, family.points.parameters(point))))
        }
        None if args.point.is_some() => {
            let file = &request.file;
            return Err(CliError::usage(format!("{file} is no sweep, so it has no points")));
        }
        None => (check(context, &request, &site)?, None),
    };
    let script = render(&resolved);
    if context.global.json {
        let (number, parameters) = point.unzip();
        let number = number.flatten();
        context.output().json(&serde_json::json!({
            "script": script, "resolved": resolved, "point": number, "parameters": parameters,
        }))?;
    } else {
        Output::raw(script.as_bytes())?;
    }
    Ok(Exit::Done)
}

/// The point that is asked for, with its number; without one the first, and then it is said which. Of an open sweep one
/// that could be told, which has no number.
fn point<'a>(
    context: &Context,
    family: &'a Family,
    asked: Option<usize>,
    request: &SpecRequest,
    site: &LoadedSite,
) -> Result<(Option<usize>, &'a Point), CliError> {
    let points = &family.points.points;
    let number = asked.unwrap_or(0);
    if let (Some(_), Some(example)) = (&family.open, family.first()) {
        if asked.is_some() {
            let message = format!("there is no point {number}: the sweep is open");
            return Err(CliError::new(Exit::NotFound, message)
                .hint("its points are told once it is submitted"));
        }
        let shown = family.shown_point(example);
        context.say(&format!("a point that could be told: {}", TerminalText(&shown)));
        return Ok((None, example));
    }
    if points.is_empty() {
        // There is something wrong with it, then.
        let found = check_sweep(context, request, family, site);
        return Err(found.err().unwrap_or_default().into());
    }
    let Some(point) = points.get(number) else {
        let (count, last) = (points.len(), points.len() - 1);
        let message = format!("there is no point {number}: the sweep has {count}");
        return Err(CliError::new(Exit::NotFound, message)
            .hint(format!("they are numbered from 0 to {last}")));
    };
    if asked.is_none() {
        let (count, shown) = (points.len(), family.shown(number));
        let shown = TerminalText(&shown);
        context.say(&format!("point 0 of {count}: {shown}; --point gives another one"));
    }
    Ok((Some(number), point))
}
