//! `logs`: what a run printed.

use std::io::IsTerminal as _;

use http_body_util::BodyExt as _;

use crate::api::LogSource;
use crate::cli::client::{Client, run_path};
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
    /// What to show: training (what the training printed), scheduler (everything around it) or build (what the builder of its environment said)
    #[arg(long, default_value = "training")]
    source: String,
    /// Only what this rank printed
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
    if args.level.is_some() {
        return Err(CliError::usage("`--level` is not supported by this version"));
    }
    let Some(source) = LogSource::from_word(&args.source) else {
        return Err(CliError::usage(format!("there is no source `{}`", args.source))
            .hint(format!("sources are {}", LogSource::WORDS.join(", "))));
    };
    if args.rank.is_some() && source != LogSource::Training {
        return Err(CliError::usage(format!("no rank printed the log of the source `{source}`")));
    }
    let run = run_path(&args.run)?;
    let mut path = format!("{run}/logs?source={source}&follow={}", args.follow);
    if let Some(attempt) = args.attempt {
        path.push_str(&format!("&attempt={attempt}"));
    }
    if let Some(rank) = args.rank {
        path.push_str(&format!("&rank={rank}"));
    }
    if let Some(tail) = args.tail {
        path.push_str(&format!("&tail={tail}"));
    }
    Context::block_on(async {
        let client = Client::connect(context).await?;
        let mut body = client.stream(&path).await?;
        let mut writer = LogWriter::new(if context.global.json {
            Form::Document { lines: 0 }
        } else if std::io::stdout().is_terminal() {
            Form::Terminal
        } else {
            Form::Raw
        });
        if !writer.begin(source)? {
            return Ok(Exit::Done);
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| client.lost(&error))?;
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

/// How a log is written.
enum Form {
    /// To files and pipes: the bytes as they are.
    Raw,
    /// To a terminal: whole lines, with escapes neutralised.
    Terminal,
    /// As one JSON document, whose lines are written as they come.
    Document { lines: u64 },
}

struct LogWriter {
    form: Form,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
}

impl LogWriter {
    fn new(form: Form) -> Self {
        Self { form, rest: Vec::new() }
    }

    fn begin(&self, source: LogSource) -> Result<bool, CliError> {
        match self.form {
            Form::Raw | Form::Terminal => Ok(true),
            Form::Document { .. } => {
                Output::raw(format!("{{\n  \"source\": \"{source}\",\n  \"lines\": [").as_bytes())
            }
        }
    }

    /// Writes a stretch; false when nobody reads any more.
    fn write(&mut self, bytes: &[u8]) -> Result<bool, CliError> {
        if matches!(self.form, Form::Raw) {
            return Output::raw(bytes);
        }
        /// A line that does not end is shown all the same.
        const LINE_BYTES_MAX: usize = 64 << 10;
        let is_terminal = matches!(self.form, Form::Terminal);
        self.rest.extend_from_slice(bytes);
        let is_end = |byte: &u8| *byte == b'\n' || (is_terminal && *byte == b'\r');
        let end = self.rest.iter().rposition(is_end).map_or(0, |at| at + 1);
        let end = if self.rest.len() > LINE_BYTES_MAX { self.rest.len() } else { end };
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        self.write_lines(&whole)
    }

    fn write_lines(&mut self, whole: &[u8]) -> Result<bool, CliError> {
        let text = match &mut self.form {
            _ if whole.is_empty() => return Ok(true),
            Form::Raw => return Output::raw(whole),
            Form::Terminal => log_for_terminal(whole),
            Form::Document { lines } => json_lines(whole, lines),
        };
        Output::raw(text.as_bytes())
    }

    fn finish(&mut self) -> Result<(), CliError> {
        let rest = std::mem::take(&mut self.rest);
        self.write_lines(&rest)?;
        match self.form {
            Form::Raw | Form::Terminal => Ok(()),
            Form::Document { lines: 0 } => Output::raw(b"]\n}\n").map(drop),
            Form::Document { .. } => Output::raw(b"\n  ]\n}\n").map(drop),
        }
    }
}

/// Whole lines as items of a JSON array; `lines` counts them.
fn json_lines(whole: &[u8], lines: &mut u64) -> String {
    let text = String::from_utf8_lossy(whole);
    let mut items = String::new();
    for line in text.strip_suffix('\n').unwrap_or(&text).split('\n') {
        items.push_str(if *lines == 0 { "\n    " } else { ",\n    " });
        items.push_str(&serde_json::Value::from(line).to_string());
        *lines += 1;
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_items_of_one_array() {
        let mut lines = 0;
        let first = json_lines(b"a\n\n\"b\"\n", &mut lines);
        assert_eq!(first, "\n    \"a\",\n    \"\",\n    \"\\\"b\\\"\"");
        assert_eq!(json_lines(b"\x1b[2J", &mut lines), ",\n    \"\\u001b[2J\"");
        assert_eq!(lines, 4);
    }
}
