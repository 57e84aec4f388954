//! `site bad-nodes`: nodes that failed under runs, until they are forgotten.

use crate::api::ClearRequest;
use crate::cli::client::Client;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit, plural};
use crate::cli::output::Column;
use crate::cli::text::{TerminalText, moment};
use crate::domain::bad_nodes::BadNode;
use crate::domain::nodelist::{NodeName, expand};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Forget these nodes, as in `n7` or `n[1-4]`: runs may be given them again
    #[arg(long, value_name = "NODE", num_args = 1.., conflicts_with = "clear_all")]
    clear: Vec<String>,
    /// Forget all of them
    #[arg(long)]
    clear_all: bool,
}

const HEADER: &[Column] = &[
    Column::Whole("CLUSTER"),
    Column::Whole("NODE"),
    Column::Whole("SINCE"),
    Column::Whole("UNTIL"),
    Column::Whole("WHY"),
    Column::Whole("RUN"),
    Column::Whole("ATTEMPT"),
    Column::Whole("COUNT"),
];

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let is_cleared = args.clear_all || !args.clear.is_empty();
    let request =
        ClearRequest { nodes: (!args.clear_all).then(|| names(&args.clear)).transpose()? };
    let nodes: Vec<BadNode> = Context::block_on(async {
        let client = Client::connect(context).await?;
        if is_cleared {
            client.post("/bad-nodes/clear", &request).await
        } else {
            client.get("/bad-nodes").await
        }
    })?;
    if context.global.json {
        context.output().json(&nodes)?;
        return Ok(Exit::Done);
    }
    if !nodes.is_empty() {
        context.output().table(HEADER, nodes.iter().map(row).collect())?;
    }
    let count = nodes.len();
    context.say(&match (count, is_cleared) {
        (0, _) => "no node that failed is remembered".to_owned(),
        (_, true) => format!("cleared {count} node{}: runs may be given them again", plural(count)),
        (_, false) => {
            "a run keeps away from nodes that failed under it, and from those with a COUNT of 2 or more; \
             `--clear NODE` forgets one"
                .to_owned()
        }
    });
    Ok(Exit::Done)
}

/// The names that lists of nodes come to.
fn names(lists: &[String]) -> Result<Vec<NodeName>, CliError> {
    let mut names = Vec::new();
    for list in lists {
        let read = || -> Option<Vec<NodeName>> {
            expand(list).ok()?.iter().map(|name| name.parse().ok()).collect()
        };
        let read = read().filter(|names| !names.is_empty());
        names.extend(read.ok_or_else(|| {
            CliError::usage(format!(
                "`{}` is no name of a node, nor a list of them",
                TerminalText(list)
            ))
        })?);
    }
    Ok(names)
}

fn row(bad: &BadNode) -> Vec<String> {
    vec![
        TerminalText(&bad.cluster).to_string(),
        bad.node.to_string(),
        moment(bad.since),
        moment(bad.until),
        bad.why.to_string(),
        bad.run.to_string(),
        bad.attempt.to_string(),
        bad.count.to_string(),
    ]
}
