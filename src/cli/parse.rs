//! Reading the command line, with a true answer for verbs that are promised but not built.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _};

use crate::cli::Cli;

/// Verbs of later versions.
pub const LATER: &[&str] = &["hold", "release"];

/// Parses the command line; the error prints itself and knows its exit code.
///
/// A variable that `is_empty` says is set to nothing counts as not set, as scripts expect.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    is_empty: impl Fn(&OsStr) -> bool,
) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = Cli::command().color(help_colour(&arguments)).mut_args(|arg| {
        let without = arg.get_env().is_some_and(&is_empty);
        if without { arg.env(None::<&'static str>) } else { arg }
    });
    let parsed = command
        .try_get_matches_from_mut(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let unknown = match error.get(ContextKind::InvalidSubcommand) {
            Some(ContextValue::String(word)) => Some(word.clone()),
            _ => None,
        };
        match unknown.filter(|word| LATER.contains(&word.as_str())) {
            Some(word) => clap::Error::raw(
                ErrorKind::InvalidSubcommand,
                format!(
                    "`{word}` is not supported by this version; `trainyard --help` lists what is\n"
                ),
            ),
            None => error,
        }
    })
}

/// Help and usage errors are printed before `--color` is known, so it is looked for here.
fn help_colour(arguments: &[OsString]) -> ColorChoice {
    let mut choice = ColorChoice::Auto;
    let mut words = arguments.iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        let asked = match word.strip_prefix("--color") {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        match asked {
            Some("always") => choice = ColorChoice::Always,
            Some("never") => choice = ColorChoice::Never,
            Some(_) | None => {}
        }
    }
    choice
}
