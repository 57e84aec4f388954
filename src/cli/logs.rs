//! `logs`: what a run printed.

use std::io::IsTerminal as _;

use http_body_util::BodyExt as _;

use crate::api::LogSource;
use crate::cli::client::{Client, encoded};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Output;
use crate::cli::text::log_for_terminal;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run: its number, its name or @last
    run: String,
    /// Follow the log until the run is over
    #[arg(short, long)]
    follow: bool,
    /// The log of this attempt; the newest when not given
    #[arg(long)]
    attempt: Option<u32>,
    /// What to show: training (what the training printed) or scheduler (everything around it)
    #[arg(long, default_value = "training")]
    source: String,
    /// One rank's log (not supported by this version)
    #[arg(long)]
    rank: Option<u32>,
    /// Only lines of this level (not supported by this version)
    #[arg(long)]
    level: Option<String>,
    /// Only the last so many lines
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    if args.rank.is_some() || args.level.is_some() {
        return Err(CliError::usage("`--rank` and `--level` are not supported by this version"));
    }
    if args.source == "build" {
        return Err(CliError::usage("`--source build` is not supported by this version"));
    }
    let Some(source) = LogSource::from_word(&args.source) else {
        return Err(CliError::usage(format!("there is no source `{}`", args.source))
            .hint(format!("sources are {}", LogSource::WORDS.join(", "))));
    };
    let mut path =
        format!("/runs/{}/logs?source={source}&follow={}", encoded(&args.run), args.follow);
    if let Some(attempt) = args.attempt {
        path.push_str(&format!("&attempt={attempt}"));
    }
    if let Some(tail) = args.tail {
        path.push_str(&format!("&tail={tail}"));
    }
    Context::block_on(async {
        let mut body = Client::connect(context).await?.stream(&path).await?;
        let mut writer = LogWriter::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                CliError::new(
                    Exit::NoDaemon,
                    format!("the daemon ended in the middle of the log: {error}"),
                )
            })?;
            if let Ok(bytes) = frame.into_data()
                && !writer.write(&bytes)?
            {
                break;
            }
        }
        writer.finish()?;
        Ok(Exit::Done)
    })
}

/// Bytes to files and pipes as they are; to a terminal in whole lines, with escapes neutralised.
struct LogWriter {
    is_terminal: bool,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
}

impl LogWriter {
    fn new() -> Self {
        Self { is_terminal: std::io::stdout().is_terminal(), rest: Vec::new() }
    }

    /// Writes a stretch; false when nobody reads any more.
    fn write(&mut self, bytes: &[u8]) -> Result<bool, CliError> {
        if !self.is_terminal {
            return Output::raw(bytes);
        }
        /// A line that does not end is shown all the same.
        const LINE_BYTES_MAX: usize = 64 << 10;
        self.rest.extend_from_slice(bytes);
        let end =
            self.rest.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
        let end = if self.rest.len() > LINE_BYTES_MAX { self.rest.len() } else { end };
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        Output::raw(log_for_terminal(&whole).as_bytes())
    }

    fn finish(&mut self) -> Result<(), CliError> {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() {
            return Ok(());
        }
        Output::raw(log_for_terminal(&rest).as_bytes()).map(drop)
    }
}
