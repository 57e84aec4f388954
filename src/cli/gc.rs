//! `site gc`: remove from the stores what no run uses any more.

use std::path::Path;

use crate::api::{DeleteRequest, StoreReport};
use crate::cli::client::Client;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Column;
use crate::cli::text::{ago, path};
use crate::domain::units::Bytes;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove it; without this it is only listed
    #[arg(long)]
    yes: bool,
}

const HEADER: &[Column] = &[
    Column::Whole("WHAT"),
    Column::Whole("NAME"),
    Column::Whole("SIZE"),
    Column::Whole("LAST USED"),
    Column::Elastic("RUN ROOT"),
];

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let request = DeleteRequest { dry_run: !args.yes };
    let reports: Vec<StoreReport> = Context::block_on(async {
        Client::connect(context).await?.post("/store/gc", &request).await
    })?;
    if context.global.json {
        context.output().json(&reports)?;
        return Ok(Exit::Done);
    }
    const SHORT: usize = 12;
    let now = context.surroundings.clock.now();
    let row = |report: &StoreReport, unused: &crate::api::Unused| {
        vec![
            unused.kind.as_str().to_owned(),
            path(Path::new(&unused.name)).chars().take(SHORT).collect(),
            Bytes(unused.bytes).to_string(),
            ago(unused.used_at, now),
            path(&report.run_root),
        ]
    };
    let rows: Vec<Vec<String>> = reports
        .iter()
        .flat_map(|report| report.unused.iter().map(move |unused| row(report, unused)))
        .collect();
    for report in &reports {
        if let Some(silence) = &report.silence {
            context.error(silence, &[]);
        }
    }
    let unused = rows.len();
    if unused > 0 {
        context.output().table(HEADER, rows)?;
    }
    let kept: u64 = reports.iter().map(|report| report.kept).sum();
    let kept_bytes = Bytes(reports.iter().map(|report| report.kept_bytes).sum());
    let free =
        Bytes(reports.iter().flat_map(|report| &report.unused).map(|unused| unused.bytes).sum());
    context.say(&match (unused, args.yes) {
        (0, _) => format!("nothing to remove; {kept} are kept ({kept_bytes})"),
        (_, true) => {
            format!("removed {unused} ({free}); {kept} are kept ({kept_bytes})")
        }
        (_, false) => format!("{unused} could be removed ({free}): trainyard site gc --yes"),
    });
    Ok(Exit::Done)
}
