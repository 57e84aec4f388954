//! `resume`: bring a run back that is over.

use crate::api::ResumeRequest;
use crate::cli::client::{Client, run_path};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::domain::view::RunView;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run that is over: number, name or @last; it keeps its number, its directory and its history
    run: String,
    /// Go on from the complete checkpoint of this step, instead of the newest; what was saved beyond it counts no more
    #[arg(long, value_name = "STEP")]
    from: Option<i64>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    Context::block_on(async {
        let client = Client::connect(context).await?;
        let path = run_path(&args.run)? + "/resume";
        let run: RunView = client.post(&path, &ResumeRequest { from: args.from }).await?;
        let from = args.from.map_or_else(String::new, |step| format!(", from step {step}"));
        context.say(&format!("run {} is started again{from}", run.id));
        if context.global.json {
            context.output().json(&run)?;
        }
        Ok(Exit::Done)
    })
}
