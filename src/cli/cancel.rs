//! `cancel`: record the wish; the daemon carries it out.

use crate::cli::client::{Client, run_path};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::domain::view::RunView;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Runs: numbers, names or @last
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    Context::block_on(async {
        let client = Client::connect(context).await?;
        let mut cancelled = Vec::new();
        let mut first_error = None;
        for reference in &args.runs {
            match cancel(&client, reference).await {
                Ok(run) => {
                    context.say(&format!("run {} is being cancelled", run.id));
                    cancelled.push(run);
                }
                // The others are cancelled all the same.
                Err(error) if first_error.is_none() => first_error = Some(error),
                Err(error) => context.error(&error.message, &error.hints),
            }
        }
        if context.global.json {
            context.output().json(&cancelled)?;
        }
        first_error.map_or(Ok(Exit::Done), Err)
    })
}

async fn cancel(client: &Client<'_>, reference: &str) -> Result<RunView, CliError> {
    client.post(&(run_path(reference)? + "/cancel"), &()).await
}
