//! `util`: documents that are generated from the program itself.

use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::api::RunRecord;
use crate::cli::Cli;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Output;
use crate::domain::site::Site;
use crate::domain::spec::Spec;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Man pages: the main one to stdout, or all of them into a directory
    Man {
        /// Where the files go
        directory: Option<PathBuf>,
    },
    /// Completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// The JSON schema of specs, of site files or of exported runs
    Schema {
        /// Which file: run (the spec), site or export
        #[arg(value_parser = ["run", "site", "export"])]
        file: String,
    },
    /// The API's description (not supported by this version)
    #[command(hide = true)]
    Openapi,
}

pub(super) fn run(context: &Context, command: &Command) -> Result<Exit, CliError> {
    if context.global.json && !matches!(command, Command::Schema { .. }) {
        return Err(CliError::usage("man pages and completions have no JSON form"));
    }
    let output = context.output();
    match command {
        Command::Man { directory: None } => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            Output::raw(&page)?;
        }
        Command::Man { directory: Some(directory) } => {
            let directory = context.surroundings.directory.join(directory);
            std::fs::create_dir_all(&directory)?;
            clap_mangen::generate_to(Cli::command(), &directory)?;
            context.say(&format!("wrote the man pages to {}", directory.display()));
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "trainyard", &mut script);
            Output::raw(&script)?;
        }
        Command::Schema { file } => output.text(&schema(file)?)?,
        Command::Openapi => {
            return Err(CliError::usage("`util openapi` is not supported by this version"));
        }
    }
    Ok(Exit::Done)
}

/// The JSON schema of a file.
fn schema(file: &str) -> Result<String, CliError> {
    let schema = match file {
        "site" => schemars::schema_for!(Site),
        "export" => schemars::schema_for!(RunRecord),
        _ => schemars::schema_for!(Spec),
    };
    let text = serde_json::to_string_pretty(&schema).map_err(|error| CliError::internal(&error))?;
    Ok(text + "\n")
}
