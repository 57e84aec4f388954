//! `sweep tell` and `sweep ask`: an open sweep is given points, and asked what came of them.

use std::io::Read as _;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::{AskAnswer, LIST_MAX, TellAnswer, TellPoint, TellRequest};
use crate::cli::client::{ACCEPTANCE_PATIENCE, Client};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit, plural};
use crate::cli::submit::duration;
use crate::cli::sweep::sweep_path;
use crate::domain::units::Seconds;

#[derive(Debug, clap::Args)]
pub struct TellArgs {
    /// An open sweep: its number, or its name for the newest of that name
    sweep: String,
    /// A point's parameters as JSON: '{"args.lr": 0.1}'; - for a point on each line of stdin, which may be
    /// {"key": "K", "parameters": {"args.lr": 0.1}}
    #[arg(value_name = "PARAMETERS", required_unless_present = "close")]
    point: Option<String>,
    /// The same key and the same parameters give the same point of the sweep
    #[arg(long, requires = "point")]
    key: Option<String>,
    /// No more points will come: the sweep is over when its points are
    #[arg(long)]
    close: bool,
}

#[derive(Debug, clap::Args)]
pub struct AskArgs {
    /// An open sweep: its number, or its name for the newest of that name
    sweep: String,
    /// Only results behind the one of this number, as the last answer's `after` has it
    #[arg(long, value_name = "RESULT", default_value_t = 0)]
    after: u32,
    /// Wait until there is one, or none can come any more
    #[arg(long)]
    wait: bool,
    /// With --wait: how long
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = duration)]
    timeout: Option<Seconds>,
    /// How many results at most
    #[arg(long, default_value_t = LIST_MAX, value_parser = clap::value_parser!(u32).range(1..=i64::from(LIST_MAX)))]
    limit: u32,
}

/// A line of stdin that has more to say than parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    parameters: &'a RawValue,
    key: Option<String>,
}

pub(super) fn tell(context: &Context, args: &TellArgs) -> Result<Exit, CliError> {
    let points = match args.point.as_deref() {
        None => Vec::new(),
        Some("-") if args.key.is_some() => {
            let message = "`--key` is that of one point, and stdin may have several";
            return Err(CliError::usage(message)
                .hint("write it on the line: {\"key\": \"…\", \"parameters\": {…}}"));
        }
        Some("-") => read_lines()?,
        Some(text) => vec![TellPoint { parameters: in_one_line(text), key: args.key.clone() }],
    };
    let request = TellRequest { points, close: args.close };
    let answer: Result<TellAnswer, CliError> = Context::block_on(async {
        let client = Client::connect(context).await?;
        let path = sweep_path(&args.sweep) + "/tell";
        client.post_within(&path, &request, ACCEPTANCE_PATIENCE).await
    });
    let answer = answer.map_err(CliError::of_submission)?;
    context.output().json(&answer)?;
    let known = answer.told.iter().filter(|told| !told.new).count();
    if known > 0 {
        let s = plural(known);
        context.say(&format!("{known} point{s} had this key already: nothing new was submitted"));
    }
    Ok(Exit::Done)
}

/// Outside of strings, where they cannot be, line ends are space.
fn in_one_line(text: &str) -> String {
    text.trim().replace(['\n', '\r'], " ")
}

fn read_lines() -> Result<Vec<TellPoint>, CliError> {
    /// Less than a request may have.
    const BYTES_MAX: u64 = 32 << 20;
    let mut text = String::new();
    std::io::stdin().take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(CliError::usage(format!("stdin has more than {BYTES_MAX} bytes of points")));
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let point = |line: &str| match serde_json::from_str::<Line<'_>>(line) {
        Ok(Line { parameters, key }) => TellPoint { parameters: parameters.get().to_owned(), key },
        // Parameters, or what the daemon says something about.
        Err(_) => TellPoint { parameters: line.to_owned(), key: None },
    };
    Ok(lines.map(point).collect())
}

pub(super) fn ask(context: &Context, args: &AskArgs) -> Result<Exit, CliError> {
    let deadline =
        args.timeout.map(|timeout| tokio::time::Instant::now() + Duration::from_secs(timeout.0));
    let AskArgs { after, limit, .. } = args;
    let mut path = format!("{}/results?after={after}&limit={limit}", sweep_path(&args.sweep));
    let answer: AskAnswer = Context::block_on(async {
        let client = Client::connect(context).await?;
        if !args.wait {
            return client.get(&path).await;
        }
        path += "&waits=true";
        loop {
            let left = deadline.map(|at| at.duration_since(tokio::time::Instant::now()).as_secs());
            let wait = left.map_or(String::new(), |seconds| format!("&wait={seconds}"));
            let answer: AskAnswer = client.get(&(path.clone() + &wait)).await?;
            let is_late = deadline.is_some_and(|at| at <= tokio::time::Instant::now() + NO_TIME);
            if !answer.results.is_empty() || answer.sweep.over || is_late {
                return Ok::<_, CliError>(answer);
            }
        }
    })?;
    context.output().json(&answer)?;
    if args.wait && answer.results.is_empty() && !answer.sweep.over {
        let id = answer.sweep.sweep;
        context.error(&format!("no point of sweep {id} has ended meanwhile; it goes on"), &[]);
        return Ok(Exit::TimedOut);
    }
    Ok(Exit::Done)
}

/// Less than can be waited for.
const NO_TIME: Duration = Duration::from_secs(1);
