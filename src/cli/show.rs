//! `show`: one run whole.

mod got;
mod point;

use jiff::Timestamp;

use crate::api::RunAnswer;
use crate::cli::client::{Client, run_path};
use crate::cli::context::Context;
use crate::cli::dataset::short;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Column, table, width};
use crate::cli::text::{TerminalText, ago, length, moment, one_line, path, value};
use crate::domain::bad_nodes::BadNode;
use crate::domain::dataset::{Compared, DatasetView};
use crate::domain::units::Bytes;
use crate::domain::view::{AttemptView, CodeView, RunView};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run: its number, its name or @last
    run: String,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let path = run_path(&args.run)?;
    let answer: RunAnswer =
        Context::block_on(async { Client::connect(context).await?.get(&path).await })?;
    if context.global.json {
        context.output().json(&answer.run)?;
        return Ok(Exit::Done);
    }
    context.output().text(&whole(&answer.run, context.surroundings.clock.now(), width()))?;
    Ok(Exit::Done)
}

const HEADER: &[Column] = &[
    Column::Whole("ATTEMPT"),
    Column::Whole("JOB"),
    Column::Whole("STATE"),
    Column::Whole("REASON"),
    Column::Whole("EXIT"),
    Column::Elastic("NODES"),
    Column::Whole("QUEUED"),
    Column::Whole("RAN"),
];

/// The run, and a table of its attempts.
fn whole(run: &RunView, now: Timestamp, width: u16) -> String {
    let mut whole = text(run, now);
    let attempts = run.attempts.as_deref().unwrap_or_default();
    if !attempts.is_empty() {
        whole.push('\n');
        whole.push_str(&table(HEADER, attempts.iter().map(attempt_row).collect(), width));
    }
    whole
}

/// Everything but the attempts, a line each.
fn text(run: &RunView, now: Timestamp) -> String {
    let mut lines = beginning(run, now);
    lines.push((
        "runs on",
        format!(
            "{} ({}, {} node{})",
            TerminalText(&run.class),
            run.target,
            run.nodes,
            plural(run.nodes)
        ),
    ));
    if run.world_size > 1 {
        let world = format!(
            "{} ranks, {} a node, by {}",
            run.world_size, run.processes_per_node, run.launcher
        );
        lines.push(("world", world));
    }
    lines.push(("submitted", format!("{} ({})", moment(run.created_at), ago(run.created_at, now))));
    if let Some(started) = run.started_at {
        let queued =
            run.queue_seconds.map(|seconds| format!(", after {} in the queue", length(seconds)));
        lines.push(("started", format!("{}{}", moment(started), queued.unwrap_or_default())));
    }
    if let Some(ended) = run.ended_at {
        let after = match run.started_at {
            Some(_) => format!("after {}", length(run.elapsed_seconds)),
            None => "without having started".to_owned(),
        };
        lines.push(("ended", format!("{}, {after}", moment(ended))));
    }
    if run.started_at.is_some() {
        lines.push(("node-hours", used(run)));
    }
    if let Some(progress) = progress(run) {
        lines.push(("progress", progress));
    }
    for (name, metric) in &run.metrics {
        lines.push((
            "metric",
            format!("{} {} at step {}", TerminalText(name), value(metric.last), metric.step),
        ));
    }
    lines.extend(avoids(run));
    lines.extend(saved(run));
    lines.extend(got::lines(run));
    lines.extend(files(run, now));
    lines.extend(run.datasets.iter().map(|dataset| ("data", data(dataset))));
    for attempt in run.attempts.iter().flatten() {
        if let Some(drift) = &attempt.data_drift {
            lines.push(("warning", format!("attempt {}: {}", attempt.attempt, one_line(drift))));
        }
    }
    let heading = format!("run {} {}\n", run.id, TerminalText(&run.name));
    lines.into_iter().fold(heading, |text, (key, value)| text + &format!("  {key:<11} {value}\n"))
}

/// The nodes that its next attempt keeps away from.
fn avoids(run: &RunView) -> Option<(&'static str, String)> {
    let each = |bad: &BadNode| {
        let BadNode { node, why, run, attempt, until, .. } = bad;
        format!("{node} ({why} in attempt {attempt} of run {run}, until {})", moment(*until))
    };
    let avoided: Vec<String> = run.avoids.iter().map(each).collect();
    (!avoided.is_empty()).then(|| ("avoids", avoided.join(", ")))
}

/// How it stands, and whose it is.
fn beginning(run: &RunView, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut lines = vec![("state", state(run))];
    if !run.message.is_empty() {
        lines.push(("why", one_line(&run.message)));
    }
    lines.extend(point::lines(run));
    if let (Some(since), Some(who)) = (run.stale_since, &run.stale_who) {
        lines.push((
            "stale",
            format!("since {} ({}): {}", moment(since), ago(since, now), one_line(who)),
        ));
    }
    lines.push(("owner", TerminalText(&run.owner).to_string()));
    for (key, text) in
        [("project", &run.project), ("experiment", &run.experiment), ("strategy", &run.strategy)]
    {
        if let Some(text) = text {
            lines.push((key, TerminalText(text).to_string()));
        }
    }
    lines
}

/// Where its files are, and what its code was.
fn files(run: &RunView, now: Timestamp) -> Vec<(&'static str, String)> {
    let files = match run.deleted_at {
        Some(at) => format!("deleted {} ({})", moment(at), ago(at, now)),
        None => path(&run.run_dir),
    };
    let mut lines = vec![("files", files), ("code", path(&run.code.path))];
    lines.extend(captured(&run.code));
    lines.extend(point::repeated(run));
    lines
}

/// What it had saved when an attempt last ended.
fn saved(run: &RunView) -> Option<(&'static str, String)> {
    let saved = run.checkpoints.as_ref().filter(|saved| saved.count > 0)?;
    let newest = saved.latest.as_ref().and_then(|latest| latest.step);
    let newest = newest.map(|step| format!(", the newest of step {step}")).unwrap_or_default();
    Some(("checkpoints", format!("{} of {} complete{newest}", saved.complete, saved.count)))
}

/// What was captured of the code, and from which state of a git work tree.
fn captured(code: &CodeView) -> Vec<(&'static str, String)> {
    const SHORT: usize = 12;
    let short = |digest: &str| digest.chars().take(SHORT).collect::<String>();
    let mut lines = Vec::new();
    if let (Some(digest), Some(files), Some(bytes)) = (&code.digest, code.files, code.bytes) {
        let files = format!("{files} file{}", if files == 1 { "" } else { "s" });
        lines.push(("captured", format!("{files}, {}, digest {}", Bytes(bytes), short(digest))));
    }
    if let Some(commit) = &code.commit {
        let branch = code.branch.as_ref().map(|branch| format!(" on {}", TerminalText(branch)));
        let changed = if code.dirty == Some(true) { ", with changes of its own" } else { "" };
        lines.push(("git", format!("{}{}{changed}", short(commit), branch.unwrap_or_default())));
    }
    lines
}

fn data(dataset: &DatasetView) -> String {
    let name = TerminalText(&dataset.name);
    let found = match (&dataset.fingerprint, &dataset.no_fingerprint) {
        (Some(fingerprint), _) => format!(
            "{}, {} files, {}",
            short(fingerprint),
            dataset.files.unwrap_or_default(),
            Bytes(dataset.bytes.unwrap_or_default())
        ),
        (None, Some(why)) => format!("no fingerprint: {}", one_line(why)),
        (None, None) => "no fingerprint".to_owned(),
    };
    let is_of_contents = dataset.fingerprint.as_ref().is_some_and(|it| it.starts_with("content:"));
    let compared = match dataset.compared {
        Some(Compared::Manifest) if is_of_contents => "; a start compares paths, sizes and times",
        Some(Compared::Root) => "; a start compares the time of its root",
        Some(Compared::Nothing) => "; a start compares nothing",
        Some(Compared::Manifest) | None => "",
    };
    format!("{name} at {} ({found}{compared})", path(&dataset.path))
}

fn state(run: &RunView) -> String {
    match &run.reason {
        Some(reason) => format!("{} ({reason})", run.state),
        None => run.state.clone(),
    }
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn used(run: &RunView) -> String {
    let estimated = if run.charge_estimated { ", still growing" } else { "" };
    let charge = run.charge.map(|charge| format!(", charge {charge:.4} {}s", run.charge_unit));
    /// What is less is shown as that, not as nothing.
    const LEAST: f64 = 0.0001;
    let used = match run.node_hours {
        hours if hours > 0.0 && hours < LEAST => format!("under {LEAST}"),
        hours => format!("{hours:.4}"),
    };
    let per_hour = run.charge_rate_per_hour.map(|rate| format!(", {rate:.4} an hour"));
    let projected = run.charge_projected.map(|charge| format!(", {charge:.4} at its time limit"));
    let outlook = [charge, per_hour, projected].into_iter().flatten().collect::<String>();
    format!("{used}{outlook}{estimated}")
}

fn progress(run: &RunView) -> Option<String> {
    let progress = &run.progress;
    let of = |done: String, all: Option<String>| {
        all.map_or(done.clone(), |all| format!("{done} of {all}"))
    };
    let steps = progress.step.map(|step| {
        format!("step {}", of(step.to_string(), progress.steps.map(|s| s.to_string())))
    });
    let epochs = progress
        .epoch
        .map(|epoch| format!("epoch {}", of(value(epoch), progress.epochs.map(value))));
    let share = progress.fraction.map(|share| format!("{:.0} %", share * 100.0));
    let parts: Vec<String> = [share, epochs, steps].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn attempt_row(attempt: &AttemptView) -> Vec<String> {
    let dash = || "-".to_owned();
    let exit = match (attempt.exit_code, attempt.signal) {
        (_, Some(signal)) if signal > 0 => format!("signal {signal}"),
        (Some(code), _) => code.to_string(),
        (None, _) => dash(),
    };
    let job = match attempt.array_task_id {
        Some(task) => format!("{}_{task}", attempt.job_id),
        None => attempt.job_id.to_string(),
    };
    vec![
        attempt.attempt.to_string(),
        job,
        attempt.state.clone(),
        attempt.reason.clone().unwrap_or_else(dash),
        exit,
        TerminalText(&attempt.nodes.join(",")).to_string(),
        attempt.queue_seconds.map_or_else(dash, length),
        if attempt.started_at.is_some() { length(attempt.elapsed_seconds) } else { dash() },
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::sample::{NOW, run};

    fn shown(changes: serde_json::Value) -> String {
        whole(&run(changes), NOW.parse().expect("a time"), 80)
    }

    /// The sample's attempt, with what it got.
    fn attempt_that_got(environment: serde_json::Value) -> serde_json::Value {
        let sample = serde_json::to_value(run(json!({}))).expect("JSON");
        let mut attempt = sample["attempts"][0].clone();
        attempt["environment"] = environment;
        attempt
    }

    #[test]
    fn what_it_got_is_told_in_a_line() {
        let gpu = json!({ "name": "NVIDIA A100-SXM4-40GB", "driver": "550.54.15" });
        let check = |environment: serde_json::Value, expected: &str| {
            let text = shown(json!({ "attempts": [attempt_that_got(environment)] }));
            let line = text.lines().find_map(|line| line.trim_start().strip_prefix("got "));
            assert_eq!(line.unwrap_or_default().trim(), expected);
        };
        check(
            json!({ "python": "3.11.7", "cuda_driver": "12.4", "gpus": [gpu, gpu], "kernel": "Linux 5.15.0" }),
            "Python 3.11.7, CUDA 12.4, 2 x NVIDIA A100-SXM4-40GB, driver 550.54.15, Linux 5.15.0",
        );
        check(json!({ "kernel": "Linux 6.1" }), "Linux 6.1");
        check(json!({}), "");
        let node = |host: &str, kernel: &str| json!({ "host": host, "kernel": kernel });
        let text = shown(json!({ "attempts": [attempt_that_got(json!({
            "image": "/i.sif", "image_identity": "SIF ab", "node_count": 4,
            "nodes": [node("n1", "Linux 5"), node("n2", "Linux 6"), node("n3", "Linux 5")],
        }))] }));
        for line in [
            "  image       /i.sif (SIF ab)\n",
            "  unlike      n1 n3: Linux 5\n  unlike      n2: Linux 6\n",
            "  nodes       3 of 4 told what they are\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    /// Moments are shown in the reader's own time zone.
    const MOMENTS: &[(&str, &str)] = &[(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<moment>")];

    #[test]
    fn a_running_run_is_shown_whole() {
        insta::with_settings!({ filters => MOMENTS.to_vec() }, {
            insta::assert_snapshot!(shown(json!({
                "stale_since": "2026-05-01T11:55:00Z", "stale_who": "cluster main does not answer",
            })));
        });
    }

    #[test]
    fn data_is_shown_with_what_it_was() {
        let dataset = |name: &str, fingerprint: Option<&str>, compared: Option<&str>| {
            let why =
                fingerprint.is_none().then_some("it has more than 2000000 files and directories");
            json!({ "name": name, "path": format!("/data/{name}"), "version": null, "fingerprint": fingerprint,
                "no_fingerprint": why, "files": 1_281_167, "bytes": 147_897_477_120_u64, "at": null,
                "compared": compared })
        };
        let digest = "0123456789abcdef".repeat(4);
        let (manifest, content) = (format!("manifest:{digest}"), format!("content:{digest}"));
        let text = shown(json!({ "datasets": [
            dataset("imagenet", Some(&manifest), Some("manifest")),
            dataset("read", Some(&content), Some("manifest")),
            dataset("fixed", Some(&content), Some("root")),
            dataset("large", None, Some("nothing")),
            dataset("old", None, None),
        ] }));
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("  data ")).collect();
        insta::assert_debug_snapshot!(lines, @r#"
        [
            "  data        imagenet at /data/imagenet (manifest:0123456789ab, 1281167 files, 137.7 GiB)",
            "  data        read at /data/read (content:0123456789ab, 1281167 files, 137.7 GiB; a start compares paths, sizes and times)",
            "  data        fixed at /data/fixed (content:0123456789ab, 1281167 files, 137.7 GiB; a start compares the time of its root)",
            "  data        large at /data/large (no fingerprint: it has more than 2000000 files and directories; a start compares nothing)",
            "  data        old at /data/old (no fingerprint: it has more than 2000000 files and directories)",
        ]
        "#);
    }

    #[test]
    fn what_slurm_says_in_lines_is_told_on_one() {
        let words = "cannot connect\nerror: munge";
        let since = "2026-05-01T11:55:00Z";
        let text = shown(json!({ "message": words, "stale_since": since, "stale_who": words }));
        assert_eq!(text.matches("cannot connect; error: munge").count(), 2, "{text}");
    }

    #[test]
    fn what_others_wrote_is_shown_and_not_obeyed() {
        let tricks = "\u{1b}[2J\u{9b}31m\u{7}\u{202e}";
        let metric = json!({ "last": 1.0, "step": 1, "at": "2026-05-01T11:59:00Z" });
        let mut attempt = attempt_that_got(json!({
            "python": tricks, "cuda_driver": tricks, "kernel": tricks,
            "gpus": [{ "name": tricks, "driver": tricks }],
        }));
        attempt["data_drift"] = tricks.into();
        let text = shown(json!({
            "name": tricks, "owner": tricks, "project": tricks, "experiment": tricks, "strategy": tricks,
            "message": tricks, "stale_since": "2026-05-01T11:55:00Z", "stale_who": tricks, "class": tricks,
            "metrics": { tricks: metric }, "run_dir": tricks, "code": { "path": tricks },
            "datasets": [{ "name": tricks, "path": tricks, "version": null, "fingerprint": null,
                "no_fingerprint": tricks, "files": null, "bytes": null, "at": null }],
            "attempts": [attempt], "sweep": 7, "point": 3,
            "parameters": { tricks: tricks, "list": [tricks] },
        }));
        let control = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "{}", text.escape_debug());
        assert!(!text.contains('\u{202e}'), "{}", text.escape_debug());
        assert_eq!(text.matches("\\u{1b}[2J").count(), 22, "{text}");
    }
}
