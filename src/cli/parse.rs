//! Reading the command line, with a true answer for verbs that are promised but not built.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::cli::Cli;

/// Verbs of later versions.
const LATER: &[&str] = &[
    "estimate",
    "explain",
    "checkpoints",
    "hold",
    "release",
    "resume",
    "rerun",
    "delete",
    "diff",
    "sweep",
    "usage",
    "budget",
    "ledger",
    "export",
    "dataset",
    "schedule",
];

/// Parses the command line; the error prints itself and knows its exit code.
pub fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let parsed = command
        .try_get_matches_from_mut(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let unknown = match error.get(ContextKind::InvalidSubcommand) {
            Some(ContextValue::String(word)) => Some(word.clone()),
            _ => None,
        };
        match unknown.filter(|word| LATER.contains(&word.as_str())) {
            Some(word) => command.error(
                ErrorKind::InvalidSubcommand,
                format!("`{word}` is not supported by this version"),
            ),
            None => error,
        }
    })
}
