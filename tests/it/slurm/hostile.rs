//! Hostile text in a spec, through the real program and a real Slurm: the training gets it byte for byte, the job is the
//! one that was asked for, and what is printed is text.

use std::path::Path;

use serde_json::json;

use crate::hostile::payloads::{self, CANARY};
use crate::slurm::cluster::{Cluster, job_of};

/// Leaves its words and its variables, each ended by NUL.
const TELL: &str = "printf '%s\\0' \"$@\" >\"$TRAINYARD_OUTPUT_PATH/words\"
env -0 >\"$TRAINYARD_OUTPUT_PATH/variables\"
";

/// What may stand in words: no NUL, no braces, which are placeholders there, and no more than a job of Slurm's takes.
fn texts() -> Vec<String> {
    const TEXT_BYTES_MAX: usize = 10_000;
    let fits = |text: &String| text.len() <= TEXT_BYTES_MAX && !text.contains(['\0', '{', '}']);
    payloads::all().into_iter().filter(fits).collect()
}

fn pieces(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// No control characters but line ends, and nothing that turns the direction of text.
#[track_caller]
fn is_plain(shown: &str) {
    let is_odd =
        |c: &char| (c.is_control() && *c != '\n') || "\u{202e}\u{2067}\u{2028}".contains(*c);
    assert_eq!(shown.chars().find(is_odd), None, "{shown:?}");
}

#[test]
fn hostile_text_reaches_the_training_and_nobody_else() {
    let cluster = Cluster::new();
    let texts = texts();
    assert!(texts.len() > 50, "most of them are fed");
    let spec = cluster.spec(
        "hostile",
        TELL,
        "nodes = 1\nsbatch = [\"--comment=$(ty-canary) '; ty-canary #\"]",
    );
    let mut document: toml::Table = std::fs::read_to_string(&spec).unwrap().parse().unwrap();
    let variables: toml::Table = texts
        .iter()
        .enumerate()
        .map(|(n, text)| (format!("TEXT_{n}"), text.clone().into()))
        .collect();
    document.insert("experiment".into(), texts.concat().into());
    document.insert(
        "args".into(),
        toml::Table::from_iter([("list".to_owned(), texts.clone().into())]).into(),
    );
    document.insert(
        "environment".into(),
        toml::Table::from_iter([("variables".to_owned(), variables.into())]).into(),
    );
    std::fs::write(&spec, document.to_string()).unwrap();

    let run = cluster.env.submit(&spec);
    let shown = cluster.env.until(run, &["completed", "failed"]);
    assert_eq!(shown["state"], json!("completed"), "{shown:#}");
    let output = cluster.env.run_dir(run).join("output");
    let words = pieces(&output.join("words"));
    assert_eq!(words[0], "--list");
    assert_eq!(words[1..], texts);
    let variables = pieces(&output.join("variables"));
    for (n, text) in texts.iter().enumerate() {
        assert!(variables.contains(&format!("TEXT_{n}={text}")), "{text:?}");
    }
    // What Slurm was asked for is what the spec says, and no more.
    let job = cluster.ask("scontrol", &["show", "job", &job_of(&shown).to_string()]);
    for field in
        ["NumNodes=1", "NumCPUs=1", "Comment=$(ty-canary) '; ty-canary #", "Partition=main"]
    {
        assert!(job.contains(field), "{field}: {job}");
    }
    for line in ["list", "show 1", "events 1", "logs 1"] {
        is_plain(&cluster.env.line(line).success().stdout);
    }
    assert_eq!(walked(cluster.env.home()), 0, "a text was run as a command");
}

/// How many files of the canary's name are below a directory.
fn walked(directory: &Path) -> usize {
    let entries = walkdir::WalkDir::new(directory).into_iter().filter_map(Result::ok);
    entries.filter(|entry| entry.file_name() == CANARY).count()
}
