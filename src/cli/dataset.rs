//! `dataset`: the site's catalogue of data, and what data has been.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::api::SnapshotRequest;
use crate::cli::client::{Client, encoded};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Column, table, width};
use crate::cli::text::{TerminalText, ago, moment, path};
use crate::domain::dataset::{DatasetView, Fingerprints, NOT_SEEN, SeenAs, name_of};
use crate::domain::keys::Named;
use crate::domain::problem::Problem;
use crate::domain::request::is_data_path;
use crate::domain::site::{Dataset, Site};
use crate::domain::units::Bytes;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show the datasets of the site's catalogue
    List,
    /// Show a dataset, what it has been, and which runs were given it so
    Show(One),
    /// Fingerprint a dataset now, and record it
    Snapshot(Taken),
}

#[derive(Debug, clap::Args)]
pub struct One {
    /// A dataset: its name in the catalogue, or its path
    #[arg(value_name = "NAME|PATH")]
    dataset: String,
}

#[derive(Debug, clap::Args)]
pub struct Taken {
    #[command(flatten)]
    one: One,
    /// Read the contents, too
    #[arg(long)]
    content: bool,
}

/// A dataset of the catalogue, as it is shown.
#[derive(Debug, Clone, Serialize)]
struct Listed {
    name: String,
    path: PathBuf,
    version: Option<String>,
    owner: Option<String>,
    description: Option<String>,
    immutable: bool,
}

/// One dataset with what it has been.
#[derive(Debug, Serialize)]
struct Shown {
    dataset: Listed,
    /// Newest first.
    fingerprints: Vec<SeenAs>,
}

pub(super) fn run(context: &Context, command: &Command) -> Result<Exit, CliError> {
    let site = context.site()?.site;
    match command {
        Command::List => list(context, &site),
        Command::Show(one) => show(context, find(context, &site, &one.dataset)?),
        Command::Snapshot(taken) => {
            snapshot(context, find(context, &site, &taken.one.dataset)?, taken.content)
        }
    }
}

fn listed(name: &str, dataset: &Dataset) -> Listed {
    let text = |key: &Option<crate::domain::problem::At<String>>| {
        key.as_ref().map(|said| said.value.clone())
    };
    Listed {
        name: name.to_owned(),
        path: PathBuf::from(text(&dataset.path).unwrap_or_default()),
        version: text(&dataset.version),
        owner: text(&dataset.owner),
        description: text(&dataset.description),
        immutable: dataset.immutable.as_ref().is_some_and(|immutable| immutable.value),
    }
}

/// What a person named.
fn find(context: &Context, site: &Site, said: &str) -> Result<Listed, CliError> {
    if let Some(dataset) = site.dataset(said) {
        return Ok(listed(said, dataset));
    }
    if is_data_path(said) && !said.is_empty() {
        let absolute = match said.strip_prefix("~/") {
            Some(rest) => context.surroundings.asker.home.join(rest),
            None => context.surroundings.directory.join(said),
        };
        // As a run would have it.
        let path: PathBuf = absolute.components().collect();
        let all = site.dataset.iter().flat_map(Named::iter);
        let mut all = all.map(|(name, dataset)| listed(name, dataset));
        return Ok(all.find(|known| known.path == path).unwrap_or_else(|| Listed {
            name: name_of(&path),
            path,
            version: None,
            owner: None,
            description: None,
            immutable: false,
        }));
    }
    let names = site.dataset.iter().flat_map(Named::names);
    let shown = said.escape_debug();
    let problem =
        Problem::nowhere(format!("there is no dataset `{shown}` in the site's catalogue"));
    let Problem { message, help, .. } = problem.suggest(said, names);
    let error = CliError::new(Exit::NotFound, message);
    let error = help.into_iter().fold(error, CliError::hint);
    Err(error.hint("`trainyard dataset list` shows all; a path has a `/`: ./NAME"))
}

const HEADER: &[Column] = &[
    Column::Whole("DATASET"),
    Column::Elastic("VERSION"),
    Column::Elastic("OWNER"),
    Column::Whole("IMMUTABLE"),
    Column::Elastic("PATH"),
];

fn list(context: &Context, site: &Site) -> Result<Exit, CliError> {
    let all = site.dataset.iter().flat_map(Named::iter);
    let all: Vec<Listed> = all.map(|(name, dataset)| listed(name, dataset)).collect();
    if context.global.json {
        context.output().json(&all)?;
    } else if all.is_empty() {
        context.say("the site's catalogue has no datasets; a spec can name data by its path");
    } else {
        context.output().table(HEADER, all.iter().map(row).collect())?;
    }
    Ok(Exit::Done)
}

fn or_dash(text: Option<&String>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| TerminalText(text).to_string())
}

fn row(dataset: &Listed) -> Vec<String> {
    vec![
        TerminalText(&dataset.name).to_string(),
        or_dash(dataset.version.as_ref()),
        or_dash(dataset.owner.as_ref()),
        if dataset.immutable { "yes" } else { "no" }.to_owned(),
        path(&dataset.path),
    ]
}

fn show(context: &Context, listed: Listed) -> Result<Exit, CliError> {
    let query = format!("/datasets?path={}", encoded(&listed.path.display().to_string()));
    let answer: Fingerprints =
        Context::block_on(async { Client::connect(context).await?.get(&query).await })?;
    let shown = Shown { dataset: listed, fingerprints: answer.fingerprints };
    if context.global.json {
        context.output().json(&shown)?;
    } else {
        let now = context.surroundings.clock.now();
        context.output().text(&whole(&shown, now, width()))?;
    }
    Ok(Exit::Done)
}

const SEEN: &[Column] = &[
    Column::Whole("FINGERPRINT"),
    Column::Whole("FILES"),
    Column::Whole("SIZE"),
    Column::Whole("LAST SEEN"),
    Column::Elastic("RUNS"),
];

fn whole(shown: &Shown, now: Timestamp, width: u16) -> String {
    let Shown { dataset: listed, fingerprints } = shown;
    let mut lines = vec![("path", path(&listed.path))];
    for (key, text) in
        [("version", &listed.version), ("owner", &listed.owner), ("about", &listed.description)]
    {
        lines.extend(text.as_ref().map(|text| (key, TerminalText(text).to_string())));
    }
    if listed.immutable {
        lines.push(("immutable", "yes: it is fingerprinted once".to_owned()));
    }
    let heading = format!("dataset {}\n", TerminalText(&listed.name));
    let text = lines
        .into_iter()
        .fold(heading, |text, (key, value)| text + &format!("  {key:<11} {value}\n"));
    if fingerprints.is_empty() {
        return text
            + "nobody has looked at it yet: `trainyard dataset snapshot` does, and so does each run\n";
    }
    let rows = fingerprints.iter().map(|seen| seen_row(seen, now)).collect();
    text + "\n" + &table(SEEN, rows, width)
}

fn seen_row(seen: &SeenAs, now: Timestamp) -> Vec<String> {
    let runs: Vec<String> = seen.runs.iter().map(i64::to_string).collect();
    vec![
        short(&seen.fingerprint),
        seen.files.map_or_else(|| "-".to_owned(), |files| files.to_string()),
        seen.bytes.map_or_else(|| "-".to_owned(), |bytes| Bytes(bytes).to_string()),
        ago(seen.last_at, now),
        if runs.is_empty() { "-".to_owned() } else { runs.join(",") },
    ]
}

/// A fingerprint as far as people compare it.
pub(super) fn short(fingerprint: &str) -> String {
    const DIGITS: usize = 12;
    match fingerprint.split_once(':') {
        Some((kind, digits)) => {
            let digits: String = digits.chars().take(DIGITS).collect();
            TerminalText(&format!("{kind}:{digits}")).to_string()
        }
        None => TerminalText(fingerprint).to_string(),
    }
}

fn snapshot(context: &Context, listed: Listed, content: bool) -> Result<Exit, CliError> {
    /// Reading a large dataset takes its time; whoever does not want to wait can go, and it is finished all the same.
    const PATIENCE: Duration = Duration::from_hours(13);
    let request =
        SnapshotRequest { name: listed.name, path: listed.path, version: listed.version, content };
    let view: DatasetView = Context::block_on(async {
        Client::connect(context).await?.post_within("/datasets", &request, PATIENCE).await
    })?;
    if context.global.json {
        context.output().json(&view)?;
    }
    if let Some(why) = &view.no_fingerprint {
        let message = format!("`{}` has no fingerprint: {why}", view.path.display());
        let exit = if why == NOT_SEEN { Exit::NotFound } else { Exit::NotCompleted };
        return Err(CliError::new(exit, message));
    }
    if !context.global.json {
        let taken = view.at.map(|at| format!(", taken {}", moment(at))).unwrap_or_default();
        let held = format!(
            "{} files, {}{taken}",
            view.files.unwrap_or_default(),
            Bytes(view.bytes.unwrap_or_default())
        );
        context.output().line(view.fingerprint.as_deref().unwrap_or_default())?;
        context.say(&held);
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(name: &str, about: &str, fingerprints: serde_json::Value) -> String {
        let shown = Shown {
            dataset: Listed {
                name: name.to_owned(),
                path: PathBuf::from("/data").join(name),
                version: Some(about.to_owned()),
                owner: Some(about.to_owned()),
                description: Some(about.to_owned()),
                immutable: true,
            },
            fingerprints: serde_json::from_value(fingerprints).expect("JSON"),
        };
        whole(&shown, "2026-05-01T12:00:00Z".parse().expect("a time"), 80)
    }

    fn seen(fingerprint: &str, runs: &[i64]) -> serde_json::Value {
        json!({ "fingerprint": fingerprint, "version": null, "files": 100_000, "bytes": 204_800_000,
            "first_at": "2026-04-01T12:00:00Z", "last_at": "2026-05-01T10:00:00Z", "runs": runs })
    }

    #[test]
    fn a_dataset_is_shown_with_what_it_has_been() {
        let digest = |kind: &str| format!("{kind}:{}", "0123456789abcdef".repeat(4));
        let many: Vec<i64> = (1000..1030).rev().collect();
        let fingerprints = json!([seen(&digest("content"), &many), seen(&digest("manifest"), &[])]);
        insta::assert_snapshot!(shown("folding_v12", "proteins", fingerprints));
        insta::assert_snapshot!(shown("folding_v12", "proteins", json!([])));
    }

    #[test]
    fn what_others_wrote_is_shown_and_not_obeyed() {
        let tricks = "\u{1b}[2J\u{9b}31m\u{7}\u{202e}";
        let text = shown(tricks, tricks, json!([seen(tricks, &[1])]));
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{}", text.escape_debug());
        assert!(!text.contains('\u{202e}'), "{}", text.escape_debug());
    }
}
