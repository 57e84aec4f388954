//! The largest texts that are read, made of one piece again and again: time stays in proportion to length, memory has an
//! end, and nothing nests without one.

use std::time::Duration;

use super::texts::{asker, site_of};
use crate::domain::document::{DOCUMENT_BYTES_MAX, Node, Table, parse, parse_value};
use crate::domain::inbox::ScriptEvent;
use crate::domain::metrics::{LINE_BYTES_MAX, MetricLine};
use crate::domain::nodelist;
use crate::domain::problem::{PROBLEMS_MAX, Place, SourceId};
use crate::domain::request::{Change, SpecRequest};
use crate::domain::site::Site;
use crate::domain::slurm_state::SlurmState;
use crate::domain::tres::Tres;
use crate::domain::units::{Mebibytes, Seconds, TimeLimit};
use crate::domain::word::Word;
use crate::slurm::{config, sacct, squeue};

/// What time in proportion comes to, many times over, on a slow machine and without optimization. What grows with the
/// square takes hours.
const PATIENCE: Duration = Duration::from_secs(10);

/// As long as they can be in a campaign, else an eighth of that: the square of it is too long all the same.
fn long(bytes: usize) -> usize {
    if super::told("TRAINYARD_FUZZ_SECONDS").is_some() { bytes } else { bytes / 8 }
}

/// Time that this thread has spent on a processor: others on the machine do not count.
fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

/// Memory that this process has had at most, in MiB.
fn most_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux tells it");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).expect("a number")
        / 1024
}

/// A text of about so many bytes: a beginning, a piece again and again with its number for `%`, and an end.
fn grown((start, piece, end): (&str, &str, &str), bytes: usize) -> String {
    if !piece.contains('%') {
        return [
            start,
            &piece.repeat(bytes.saturating_sub(start.len() + end.len()) / piece.len()),
            end,
        ]
        .concat();
    }
    let mut text = start.to_owned();
    let mut number = 0_u32;
    while text.len() + piece.len() + 12 < bytes {
        text.push_str(&piece.replace('%', &number.to_string()));
        number += 1;
    }
    text.push_str(end);
    text
}

#[track_caller]
fn check(what: &str, pieces: &[(&str, &str, &str)], bytes: usize, read: impl Fn(&str)) {
    for piece in pieces {
        let text = grown(*piece, long(bytes));
        let before = spent();
        read(&text);
        let took = spent().saturating_sub(before);
        println!("{what} {piece:?}: {took:?}");
        assert!(took < PATIENCE, "{what} {piece:?}: {} bytes took {took:?}", text.len());
    }
    let memory = most_memory();
    assert!(memory < 1_500, "{what}: {memory} MiB");
}

const DOCUMENTS: &[(&str, &str, &str)] = &[
    ("a = ", "[", ""),
    ("a = ", "[", "]"),
    ("a = ", "{a=", ""),
    ("a = [", "[],", "]"),
    ("", "a.", "b = 1"),
    ("[", "a.", "b]\n"),
    ("[[", "a.", "b]]\n"),
    ("", "[[a.b]]\n", ""),
    ("", "[t%]\n", ""),
    ("", "k% = 1\n", ""),
    ("[args]\n", "k% = 1\n", ""),
    ("[environment.variables]\n", "k% = 1\n", ""),
    ("[code]\ncommand = [", "'x',", "]\n"),
    ("[cluster]\n", "c%={}\n", ""),
    ("[cluster.c]\n[class]\n", "c%={}\n", ""),
    ("[class]\n", "c%={cluster='x'}\n", ""),
    ("[project]\n", "c%={}\n", ""),
    ("[compute]\nmail = [", "'x',", "]\n"),
    ("", "x\n", ""),
    ("", "=\n", ""),
    ("", "\"", ""),
    ("a = \"\"\"", "\\", ""),
    ("a = '", "é", "'"),
    ("", "#\n", ""),
    ("", "\n", ""),
    ("name = '", "x", "'\n"),
    ("", "k", " = 1\n"),
    ("'", "\u{202e}", "' = 1\n"),
    ("compute.nodelist = 'n", "[1]", "'\n"),
    ("compute.nodelist = '", "x", "[1-65536]'\n"),
    ("compute.exclude = '", "x,", "'\n"),
    ("compute.time_limit = '", "1w", "'\n"),
    ("compute.memory_per_node = '", "9", "'\n"),
    ("args.x = '", "{{", "'\n"),
    ("args.x = '", "{", "'\n"),
    ("site.run_root = '/", "{home}", "'\n"),
    ("site.run_root = '/", "{user}", "'\n"),
];

fn request(text: String, changes: Vec<Change>) -> SpecRequest {
    SpecRequest {
        file: "run.toml".into(),
        text,
        base: "/".into(),
        stem: "run".into(),
        changes,
        points: None,
        point: None,
    }
}

#[test]
fn the_largest_documents() {
    check("a spec", DOCUMENTS, DOCUMENT_BYTES_MAX, |text| {
        let checked = request(text.to_owned(), Vec::new()).check(&Site::default(), &asker());
        assert!(
            checked.outcome.problems.len() <= PROBLEMS_MAX,
            "{} problems",
            checked.outcome.problems.len()
        );
    });
}

#[test]
fn the_largest_site_files() {
    check("a site file", DOCUMENTS, DOCUMENT_BYTES_MAX, |text| {
        let (_, problems) = site_of(text);
        assert!(problems.len() <= 2 * PROBLEMS_MAX, "{} problems", problems.len());
    });
}

#[test]
fn layers_of_the_largest_site_files() {
    check(
        "two layers",
        &[("", "k% = 1\n", ""), ("[class]\n", "c%={}\n", "")],
        DOCUMENT_BYTES_MAX,
        |text| {
            let (mut below, _) = parse(text, SourceId(0));
            let above: Table = below.clone();
            below.merge(above);
        },
    );
}

#[test]
fn a_document_above_the_limit_is_refused() {
    for bytes in [DOCUMENT_BYTES_MAX + 1, 64 << 20] {
        let (table, problems) = parse(&"\n".repeat(bytes), SourceId(0));
        assert_eq!((table, problems.len()), (Table::default(), 1));
    }
}

#[test]
fn the_largest_flags() {
    let pieces = [
        ("", "[", ""),
        ("", "{a=", ""),
        ("", "\"", ""),
        ("", "a.", "b"),
        ("[", "[],", "]"),
        ("", "9", ""),
    ];
    check("a value of --set", &pieces, DOCUMENT_BYTES_MAX, |text| {
        let place = Place { source: SourceId(0), start: 0, end: 0 };
        drop(parse_value(text, place));
    });
    check("a key of --set", &[("", "a.", "b"), ("", "k", "")], DOCUMENT_BYTES_MAX, |text| {
        let change =
            Change { shown: "--set".to_owned(), key: text.to_owned(), value: "1".to_owned() };
        let checked = request(String::new(), vec![change]).check(&Site::default(), &asker());
        assert!(checked.outcome.resolved.is_none());
    });
}

/// Nested as deep as it fits, and closed again.
#[test]
fn what_nests_is_not_followed_without_end() {
    let place = Place { source: SourceId(0), start: 0, end: 0 };
    for (open, inner, close) in [
        ("[", "1", "]"),
        ("{a=", "1", "}"),
        ("[{a=", "1", "}]"),
        ("{a.b.c=", "1", "}"),
        ("[1,", "", "]"),
    ] {
        for depth in [10, 1_000, 100_000] {
            let text = [&open.repeat(depth), inner, &close.repeat(depth)].concat();
            let value = parse_value(&text, place).value;
            assert_eq!(matches!(value, Node::Text(_)), depth > 10, "{open} {depth}");
            let (_, problems) = parse(&format!("a = {text}\n"), SourceId(0));
            assert_eq!(problems.is_empty(), depth == 10, "{open} {depth}");
        }
    }
    let text = format!("{}b = 1\n", "a.".repeat(100_000));
    assert!(!parse(&text, SourceId(0)).1.is_empty());
    drop(parse_value(&format!("{{ {} }}", text.trim()), place));
}

#[test]
fn the_largest_answers_of_slurm() {
    let row = "%|N|1|N/A|RUNNING|0|0|1795239181|1795239181|1795239182|0|p[1-2]|cpu=2|10:00|d|n|l|1000|c|N|None|N|x|N|\n";
    let pieces = [
        ("", row, ""),
        ("1", "|N|", ""),
        ("1|N|", "|", "\n"),
        ("", "\n", ""),
        ("", "1|N|\n", ""),
        ("", "|N", ""),
    ];
    check("squeue", &pieces, 4 << 20, |text| drop(squeue::parse(text.as_bytes(), "N")));
    check("sacct", &pieces, 4 << 20, |text| drop(sacct::parse(text.as_bytes(), "N")));
    let pieces = [("", "ClusterName = x\n", ""), ("", "=", ""), ("PrivateData = ", "jobs,", "\n")];
    check("scontrol show config", &pieces, 4 << 20, |text| drop(config::parse(text)));
}

#[test]
fn the_largest_words() {
    let lists = [
        ("", "n[1]", ""),
        ("", "[", ""),
        ("n[", "1,", "1]"),
        ("n[", "1-9,", "1]"),
        ("", "n%,", "x"),
        ("", "x", "[1-65536]"),
        ("", "[1-2]", ""),
    ];
    check("node lists", &lists, DOCUMENT_BYTES_MAX, |text| drop(nodelist::expand(text)));
    let words = [
        ("", "1w", ""),
        ("", "9", ""),
        ("", " ", "1s"),
        ("1-", "1:", "1"),
        ("", "cpu=1,", ""),
        ("", "{{", ""),
        ("", "{id}", ""),
        ("", "é", ""),
    ];
    check("words", &words, DOCUMENT_BYTES_MAX, |text| {
        let _numbers = (Seconds::parse(text), TimeLimit::parse(text), Mebibytes::parse(text));
        drop((Tres::parse(text), SlurmState::parse(text), Word::parse(text)));
    });
}

#[test]
fn the_largest_lines_of_scripts() {
    let pieces = [
        ("{\"a\":", "[", ""),
        ("{\"a\":", "{\"a\":", ""),
        ("{\"", "\\\"", "\":NaN}"),
        ("{", "\"k%\":1,", "\"x\":NaN}"),
        ("", "NaN", ""),
        ("", "{", ""),
    ];
    check("metrics", &pieces, LINE_BYTES_MAX, |text| drop(MetricLine::parse(text)));
    check("events", &pieces, 4 << 20, |text| assert!(ScriptEvent::parse(text).is_err()));
}
