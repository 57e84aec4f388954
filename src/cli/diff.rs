//! `diff`: in what two runs differ: what they were given, what they found, and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::api::RunRecord;
use crate::cli::client::{Client, run_path};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Column;
use crate::cli::text::TerminalText;
use crate::domain::dataset::DatasetView;
use crate::domain::environment::{PackageRecord, gpus};
use crate::domain::view::RunView;

/// More files than these are counted, not named; `--json` has all.
const FILES_SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run: its number, its name or @last
    first: String,
    /// Another run
    second: String,
}

/// One thing in which they differ; null where one does not have it.
#[derive(Debug, PartialEq, Serialize)]
struct Difference {
    section: &'static str,
    key: String,
    first: Value,
    second: Value,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let (first, second) = (run_path(&args.first)?, run_path(&args.second)?);
    let differences = Context::block_on(async {
        let client = Client::connect(context).await?;
        let a: RunRecord = client.get(&format!("{first}/export")).await?;
        let b: RunRecord = client.get(&format!("{second}/export")).await?;
        let mut differences = compare(&sections(&a), &sections(&b));
        if a.run.code.digest != b.run.code.digest {
            let first: Option<Contents> = client.get(&format!("{first}/code")).await?;
            let second: Option<Contents> = client.get(&format!("{second}/code")).await?;
            match (first, second) {
                (Some(first), Some(second)) => differences.extend(files(first, second)),
                (None, _) | (_, None) => context.say(
                    "the files of their code cannot be compared: the store has them no longer",
                ),
            }
        }
        Ok::<_, CliError>(differences)
    })?;
    if context.global.json {
        context.output().json(&differences)?;
        return Ok(Exit::Done);
    }
    if differences.is_empty() {
        context.say("they do not differ");
        return Ok(Exit::Done);
    }
    print(context, args, &differences)?;
    Ok(Exit::Done)
}

fn print(context: &Context, args: &Args, differences: &[Difference]) -> Result<(), CliError> {
    const HEADER: &[Column] =
        &[Column::Elastic("WHAT"), Column::Elastic("FIRST"), Column::Elastic("SECOND")];
    let run = |run: &str| TerminalText(run).to_string();
    let mut rows = vec![vec!["run".to_owned(), run(&args.first), run(&args.second)]];
    let (mut section, mut files) = ("", 0);
    for difference in differences {
        files += usize::from(difference.section == FILES);
        if files > FILES_SHOWN {
            continue;
        }
        if difference.section != section {
            section = difference.section;
            rows.push(vec![section.to_owned(), String::new(), String::new()]);
        }
        let name = format!("  {}", TerminalText(&difference.key));
        rows.push(vec![name, shown(&difference.first), shown(&difference.second)]);
    }
    if files > FILES_SHOWN {
        let more = format!("  and {} files more", files - FILES_SHOWN);
        rows.push(vec![more, String::new(), String::new()]);
    }
    context.output().table(HEADER, rows)
}

fn shown(value: &Value) -> String {
    const CHARACTERS: usize = 60;
    /// As many as `show` has.
    const DIGITS: usize = 12;
    let is_digest =
        |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let text = match value.as_str() {
        Some(digest) if is_digest(digest) => digest.chars().take(DIGITS).collect(),
        Some(text) => text.to_owned(),
        None if value.is_null() => "-".to_owned(),
        None => value.to_string(),
    };
    let short: String = text.chars().take(CHARACTERS).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{}{more}", TerminalText(&short))
}

const FILES: &str = "files of the code";

const ENVIRONMENT: &str = "environment";

/// What the list of captured code says of each path.
type Contents = BTreeMap<String, String>;

/// What is compared of a run: a name for each part, and its values by dotted keys.
type Sections = Vec<(&'static str, BTreeMap<String, Value>)>;

fn sections(record: &RunRecord) -> Sections {
    let run = serde_json::to_value(&record.run).unwrap_or_default();
    let pick = |keys: &[&str]| {
        let picked = keys.iter().map(|key| ((*key).to_owned(), run[*key].clone()));
        flat(&Value::Object(picked.collect()))
    };
    let mut meant = serde_json::to_value(&record.resolved).unwrap_or_default();
    // Where it lies is no difference of what it is: the digest tells that.
    if let Some(code) = meant.get_mut("code").and_then(Value::as_object_mut) {
        code.remove("path");
    }
    // Nor is what it was made of.
    if let Some(meant) = meant.as_object_mut() {
        meant.remove("repeats");
    }
    let mut sections = vec![
        ("spec", flat(&meant)),
        ("code", pick(&["code"])),
        ("datasets", data(&record.run)),
        (ENVIRONMENT, environment(&record.run)),
        ("result", pick(RESULT)),
    ];
    // When something was looked at, or reported, is no difference of what it was.
    for (_, values) in &mut sections {
        values.retain(|key, _| key.rsplit('.').next() != Some("at"));
    }
    sections
}

/// What each dataset was, by its name.
fn data(run: &RunView) -> BTreeMap<String, Value> {
    let one = |dataset: &DatasetView| {
        let mut shown = serde_json::to_value(dataset).unwrap_or_default();
        if let Some(keys) = shown.as_object_mut() {
            keys.remove("name");
        }
        (dataset.name.clone(), shown)
    };
    flat(&Value::Object(run.datasets.iter().map(one).collect()))
}

/// What each really got last. Which nodes and cards it was is no difference of what they are.
fn environment(run: &RunView) -> BTreeMap<String, Value> {
    let Some(record) = run.newest_environment() else { return BTreeMap::new() };
    let mut shown = serde_json::to_value(record).unwrap_or_default();
    let versions = |packages: &[PackageRecord]| {
        let one = |package: &PackageRecord| (package.name.clone(), package.version.clone().into());
        Value::Object(packages.iter().map(one).collect())
    };
    if let Some(keys) = shown.as_object_mut() {
        keys.retain(|key, _| !["complete", "host", "nodes", "node_count"].contains(&key.as_str()));
        keys.insert("gpus".into(), gpus(&record.gpus).into());
        keys.insert("packages".into(), versions(&record.packages));
        keys.insert("conda_packages".into(), versions(&record.conda_packages));
        // One kind is what is told of the first node.
        let kinds = record.kinds_of_nodes().into_iter().map(|(what, _)| what);
        let kinds = Some(kinds.collect::<Vec<_>>()).filter(|kinds| kinds.len() > 1);
        keys.insert("kinds_of_nodes".into(), kinds.into());
    }
    flat(&shown)
}

const RESULT: &[&str] = &[
    "state",
    "reason",
    "message",
    "queue_seconds",
    "elapsed_seconds",
    "node_hours",
    "charge",
    "progress",
    "metrics",
];

/// The leaves of a document by their dotted keys; lists count as leaves, and what is empty has none.
fn flat(value: &Value) -> BTreeMap<String, Value> {
    fn walk(value: &Value, key: &str, found: &mut BTreeMap<String, Value>) {
        let Some(inner) = value.as_object() else {
            found.insert(key.to_owned(), value.clone());
            return;
        };
        for (name, value) in inner {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            walk(value, &key, found);
        }
    }
    let mut found = BTreeMap::new();
    walk(value, "", &mut found);
    found
}

fn compare(first: &Sections, second: &Sections) -> Vec<Difference> {
    let mut differences = Vec::new();
    for ((section, a), (_, b)) in first.iter().zip(second) {
        // Of many points the first tells what all of them got: no package is missing where nothing was recorded.
        if *section == ENVIRONMENT && a.is_empty() != b.is_empty() {
            let (first, second) = ((!a.is_empty()).into(), (!b.is_empty()).into());
            differences.push(Difference { section, key: "recorded".to_owned(), first, second });
            continue;
        }
        let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for key in keys {
            let value = |of: &BTreeMap<String, Value>| of.get(key).cloned().unwrap_or(Value::Null);
            let (first, second) = (value(a), value(b));
            if first != second {
                differences.push(Difference { section, key: key.clone(), first, second });
            }
        }
    }
    differences
}

fn files(first: Contents, second: Contents) -> Vec<Difference> {
    let leaves = |of: Contents| {
        of.into_iter().map(|(path, content)| (path, Value::String(content))).collect()
    };
    compare(&vec![(FILES, leaves(first))], &vec![(FILES, leaves(second))])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_told_by_its_dotted_key() {
        let a = flat(&json!({ "a": { "b": 1, "same": [1, 2] }, "gone": "x" }));
        let b = flat(&json!({ "a": { "b": 2, "same": [1, 2] }, "new": null, "empty": {} }));
        let told = compare(&vec![("spec", a)], &vec![("spec", b)]);
        let told: Vec<(String, Value, Value)> =
            told.into_iter().map(|d| (d.key, d.first, d.second)).collect();
        assert_eq!(
            told,
            [("a.b".into(), json!(1), json!(2)), ("gone".into(), json!("x"), Value::Null)]
        );
    }

    #[test]
    fn what_they_got_is_told_without_which_nodes_and_cards_it_was() {
        let got = |environment: Value| {
            let mut run = serde_json::to_value(crate::cli::sample::run(json!({}))).unwrap();
            run["attempts"][0]["environment"] = environment;
            environment_of(&run)
        };
        fn environment_of(run: &Value) -> BTreeMap<String, Value> {
            environment(&serde_json::from_value(run.clone()).unwrap())
        }
        let one = |host: &str, torch: &str, image: &str| {
            got(json!({ "complete": true, "host": host, "image": "/i.sif", "image_identity": image,
                "gpus": [{ "name": "A100", "uuid": host, "driver": "1" }],
                "nodes": [{ "host": host, "kernel": "5" }],
                "packages": [{ "name": "torch", "version": torch }] }))
        };
        let told = compare(
            &vec![("environment", one("n1", "2.3", "SIF ab"))],
            &vec![("environment", one("n2", "2.4", "SIF cd"))],
        );
        let keys: Vec<&str> = told.iter().map(|difference| difference.key.as_str()).collect();
        assert_eq!(keys, ["image_identity", "packages.torch"]);
        let of_one = compare(
            &vec![("environment", BTreeMap::new())],
            &vec![("environment", one("n2", "2.4", "SIF cd"))],
        );
        let (first, second) = (json!(false), json!(true));
        let key = "recorded".to_owned();
        assert_eq!(of_one, [Difference { section: "environment", key, first, second }]);
    }

    #[test]
    fn files_that_were_added_changed_and_removed_are_told() {
        let tree = |files: &[(&str, &str)]| {
            files
                .iter()
                .map(|(path, content)| ((*path).to_owned(), (*content).to_owned()))
                .collect()
        };
        let told = files(
            tree(&[("a", "1"), ("b", "2"), ("c", "3"), ("link", "/datasets/shared/v1")]),
            tree(&[("b", "2"), ("c", "4"), ("d", "5"), ("link", "/datasets/shared/v2")]),
        );
        let keys: Vec<&str> = told.iter().map(|difference| difference.key.as_str()).collect();
        assert_eq!(keys, ["a", "c", "d", "link"]);
        assert_eq!(shown(&told[3].first), "/datasets/shared/v1");
        assert_eq!(shown(&json!("a".repeat(64))), "a".repeat(12));
    }
}
