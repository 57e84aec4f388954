//! `util`: documents that are generated from the program itself.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::api::RunRecord;
use crate::cli::Cli;
use crate::cli::client::Client;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::host::{GREETING, PROTOCOL};
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
    /// Carry bytes between standard input and output and the daemon: the far end of --host
    DialStdio,
    /// The API's description (not supported by this version)
    #[command(hide = true)]
    Openapi,
}

pub(super) fn run(context: &Context, command: &Command) -> Result<Exit, CliError> {
    if context.global.json && !matches!(command, Command::Schema { .. }) {
        return Err(CliError::usage("of `util` only schemas have a JSON form"));
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
        Command::DialStdio => dial_stdio(context)?,
        Command::Openapi => {
            return Err(CliError::usage("`util openapi` is not supported by this version"));
        }
    }
    Ok(Exit::Done)
}

/// Says the line of the protocol and is the daemon's socket from then on, until either side has no more to say.
fn dial_stdio(context: &Context) -> Result<(), CliError> {
    let stream = Context::block_on(Client::stream_here(context))?.into_std()?;
    stream.set_nonblocking(false)?;
    // Not through the buffers of the standard streams: an answer is told as far as it has come.
    let mut input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    // A shell's start-up files may have left a line without its end.
    output.write_all(format!("\n{GREETING}{PROTOCOL}\n").as_bytes())?;
    let mut towards = stream.try_clone()?;
    // It ends with this process, if its side says nothing more and does not end either.
    std::thread::spawn(move || {
        // Whichever way it ends, the daemon learns that nobody asks any more.
        carry(&mut input, &mut towards).ok();
        towards.shutdown(Shutdown::Write).ok();
    });
    let mut from = stream;
    // Whoever asked is gone: then there is nobody to tell.
    carry(&mut from, &mut output).ok();
    Ok(())
}

/// Carries bytes as they come. `std::io::copy` would have the kernel do it, and some keep what they have until there is
/// more.
fn carry(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        match from.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(bytes.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
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
