//! What people, scripts and Slurm write in small: documents, numbers with units, node lists, words, events, metrics.

use std::path::Path;

use super::corpus::{SITE, answers, documents, texts};
use super::mutate::{Random, TOKENS};
use super::round;
use crate::domain::document::{parse, parse_value};
use crate::domain::environment::EnvironmentRecord;
use crate::domain::ids::{JobKey, Token};
use crate::domain::inbox::{EVENT_BYTES_MAX, ScriptEvent};
use crate::domain::metrics::{self, MetricLine};
use crate::domain::nodelist::{self, NODES_MAX};
use crate::domain::problem::{Place, Problem, SourceId, Sources};
use crate::domain::request::{Change, SpecRequest};
use crate::domain::requirements::{self, What};
use crate::domain::resolve::Asker;
use crate::domain::run::Phase;
use crate::domain::site::{Layer, LayerKind, Site, effective};
use crate::domain::slurm_state::SlurmState;
use crate::domain::tres::Tres;
use crate::domain::units::{Mebibytes, SECONDS_MAX, Seconds, TimeLimit};
use crate::domain::word::Word;

const HERE: SourceId = SourceId(0);

pub(super) fn asker() -> Asker {
    let groups = vec!["staff".into()];
    Asker {
        user: "anna".into(),
        uid: 1000,
        group: "staff".into(),
        groups,
        home: "/home/anna".into(),
    }
}

pub(super) fn site_of(text: &str) -> (Site, Vec<Problem>) {
    let (table, faults) = parse(text, HERE);
    let (site, _, mut problems) =
        effective(vec![Layer { kind: LayerKind::User, source: HERE, table }]);
    problems.extend(faults);
    (site, problems)
}

/// Problems point at characters of the text, and say something.
fn check_problems(problems: &[Problem], text: &str) {
    for problem in problems {
        assert!(!problem.message.is_empty());
        let Some(Place { source: HERE, start, end }) = problem.place else { continue };
        assert!(start <= end && text.get(start..end).is_some(), "{problem:?}");
    }
}

#[test]
fn specs_and_site_files() {
    let (site, faults) = site_of(SITE);
    assert_eq!(faults, []);
    round("TOML", &documents(), |input, random| {
        let text = String::from_utf8_lossy(input).into_owned();
        let (found, problems) = site_of(&text);
        check_problems(&problems, &text);
        let site = if random.below(2) == 0 { &site } else { &found };
        let change = Change {
            shown: "--set".to_owned(),
            key: random
                .one_of(&[
                    "compute.nodes",
                    "args.x",
                    "name",
                    "a..b",
                    "code",
                    "environment.variables.X",
                ])
                .to_owned(),
            value: random.one_of(TOKENS).to_owned(),
        };
        let changes = if random.below(3) == 0 { vec![change] } else { Vec::new() };
        let request = SpecRequest {
            file: "run.toml".into(),
            text: text.clone(),
            base: "/home/anna".into(),
            stem: "run".into(),
            changes,
            points: None,
            point: None,
        };
        let checked = request.check(site, &asker());
        check_problems(&checked.outcome.problems, &text);
        assert_eq!(checked.outcome.resolved.is_some(), checked.outcome.problems.is_empty());
        if let Some(resolved) = checked.outcome.resolved {
            let script = crate::script::render(&resolved);
            let directives =
                script.lines().skip(1).take_while(|line| line.starts_with("#SBATCH ")).count();
            assert_eq!(directives, resolved.compute.options.len());
            let site_says_more =
                !resolved.script.prologue.is_empty() || !resolved.script.epilogue.is_empty();
            let all = script.lines().filter(|line| line.starts_with("#SBATCH")).count();
            assert!(site_says_more || all == directives, "{script}");
        }
    });
}

#[test]
fn values_of_flags() {
    let corpus =
        texts(&["4", "[1, 2]", "{ a = 1 }", "\"x\"", "1e-4", "2026-01-01", "a b", "'''x'''"]);
    round("--set", &corpus, |input, _| {
        let text = String::from_utf8_lossy(input);
        let place = Place { source: HERE, start: 0, end: 0 };
        let node = parse_value(&text, place);
        assert_eq!(node.place, place);
    });
}

#[test]
fn lengths_of_time_and_sizes() {
    let corpus = texts(&[
        "90s",
        "1d12h",
        "2w",
        "30",
        "30:10",
        "1-12:00:00",
        "500G",
        "64000M",
        "2 TiB",
        "1K",
    ]);
    round("units", &corpus, |input, _| {
        let text = String::from_utf8_lossy(input);
        if let Some(seconds) = Seconds::parse(&text) {
            assert!(seconds.0 <= SECONDS_MAX);
            assert_eq!(Seconds::parse(&seconds.to_string()), Some(seconds));
        }
        if let Some(limit) = TimeLimit::parse(&text) {
            assert!((1..=SECONDS_MAX).contains(&limit.0.0));
            assert_eq!(TimeLimit::parse(&limit.slurm()), Some(limit));
        }
        if let Some(size) = Mebibytes::parse(&text) {
            assert!(size.0 > 0);
            assert_eq!(Mebibytes::parse(&size.to_string()), Some(size));
        }
    });
}

#[test]
fn node_lists() {
    let corpus = texts(&[
        "n1",
        "n[1-3,05-07],gpu1",
        "r[1-2]n[1-2]-ib",
        "n[1-65536]",
        "(null)",
        "n[098-101]",
    ]);
    round("node lists", &corpus, |input, _| {
        let text = String::from_utf8_lossy(input);
        if let Ok(names) = nodelist::expand(&text) {
            assert!(names.len() <= NODES_MAX);
            let bytes: usize = names.iter().map(String::len).sum();
            assert!(bytes <= NODES_MAX * 256, "{} names of {bytes} bytes", names.len());
            assert!(names.iter().all(|name| !name.is_empty() && !name.contains(['[', ']', ','])));
        }
    });
}

#[test]
fn what_slurm_gave() {
    let corpus = texts(&[
        "billing=144,cpu=16,gres/gpu=8,mem=16000M,node=2",
        "cpu=1,mem=7.50G,gres/gpu:a100=4",
        "",
    ]);
    round("TRES", &corpus, |input, _| {
        let text = String::from_utf8_lossy(input);
        let tres = Tres::parse(&text);
        let is_said = |key: &str| text.contains(key);
        assert!(tres.cpus.is_none() || is_said("cpu="));
        assert!(tres.gpus.is_none() || is_said("gres/gpu"));
        assert!(tres.memory.is_none() || is_said("mem="));
    });
}

/// The base states that are an end, as Slurm's documents name them.
const FINAL: [&str; 9] = [
    "COMPLETED",
    "CANCELLED",
    "FAILED",
    "TIMEOUT",
    "NODE_FAIL",
    "PREEMPTED",
    "BOOT_FAIL",
    "DEADLINE",
    "OUT_OF_MEMORY",
];

#[test]
fn an_unknown_word_is_never_an_end() {
    let corpus = texts(&[
        "RUNNING",
        "PENDING",
        "COMPLETING",
        "CANCELLED by 1000",
        "CANCELLED+",
        "OUT_OF_ME+",
        "COMPLETED",
    ]);
    round("states", &corpus, |input, random| {
        let text = String::from_utf8_lossy(input);
        let state = SlurmState::parse(&text);
        assert!(state.text.chars().count() <= 40);
        let exit = (Some(0).filter(|_| random.below(2) == 0), None);
        if matches!(state.phase(None, exit), Phase::Ended { .. }) {
            let word = text.trim().split(' ').next().unwrap_or_default();
            let is_end = match word.strip_suffix('+') {
                Some(start) => FINAL.iter().any(|word| word.starts_with(start)),
                None => FINAL.contains(&word),
            };
            assert!(is_end, "{text}");
        }
    });
}

#[test]
fn names_of_jobs_and_submissions() {
    let corpus = texts(&["main:123", "main:123_4", "tyaaaaaaaaaaaaaaaaaaaa", "a:b:67108865"]);
    round("ids", &corpus, |input, _| {
        let text = String::from_utf8_lossy(input);
        if let Ok(key) = text.parse::<JobKey>() {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        if let Ok(token) = text.parse::<Token>() {
            assert_eq!(token.as_str(), text);
        }
    });
}

#[test]
fn words_with_placeholders() {
    let corpus = texts(&["{output}/a", "{{}}", "a{{b{id}", "x}", "{name}{id}"]);
    round("words", &corpus, |input, _| {
        let text = String::from_utf8_lossy(input);
        if let Ok(word) = Word::parse(&text) {
            assert_eq!(Word::parse(&word.to_string()), Ok(word));
        }
    });
}

const EVENT: &str = r#"{"token":"tyaaaaaaaaaaaaaaaaaaaa","job":"main:7","index":0,"attempt":1,"restart":0,"event":"ended","at":1790000000,"host":"n1","exit_code":3,"reason":null,"message":"x"}"#;

#[test]
fn events_of_scripts() {
    let corpus =
        texts(&[EVENT, "{}", "[[[[", &EVENT.replace("ended", "paused"), &format!("{EVENT}\n")]);
    round("events", &corpus, |input, _| {
        let text = String::from_utf8_lossy(input);
        if let Ok(event) = ScriptEvent::parse(&text) {
            assert!(text.len() <= EVENT_BYTES_MAX);
            assert!(text.contains(event.token.as_str()));
            let again = serde_json::to_string(&event).expect("an event can be written");
            assert!(again.len() > EVENT_BYTES_MAX || ScriptEvent::parse(&again) == Ok(event));
        }
    });
}

#[test]
fn lines_of_metrics() {
    let corpus = texts(&[
        "{\"step\": 10, \"steps\": 40, \"loss\": 0.5}\n{\"step\": 11, \"loss\": NaN}\n",
        "{\"epoch\": 1.5, \"a\": -Infinity, \"b \\\" NaN\": 1e308}",
        "{\"a\": {\"b\": [1, 2]}}\n\n{",
    ]);
    round("metrics", &corpus, |input, random| {
        let (lines, taken) = metrics::whole_lines(input, random.below(2) == 0);
        assert!(taken <= input.len());
        for line in lines.filter_map(|line| MetricLine::parse(&line)) {
            assert!(line.values.len() <= metrics::VALUES_PER_LINE_MAX);
            assert!(line.values.keys().all(|name| name.len() <= metrics::NAME_BYTES_MAX));
            assert!(line.progress.fraction().is_none_or(|share| (0.0..=1.0).contains(&share)));
        }
    });
}

#[test]
fn requirements_files() {
    let corpus = texts(&[
        "-r base.txt\n-c pins.txt # x\nsix==1.16.0 ; python_version > '3'\n",
        "torch \\\n  --hash=sha256:ab\n-e git+https://u:${TOKEN}@h/x@abc#egg=x\n",
        "--extra-index-url https://me:pw@example.org/simple\n./x\n--find-links wheels\n",
    ]);
    round("requirements", &corpus, |input, _| {
        let text = String::from_utf8_lossy(input);
        let lines = requirements::lines(&text);
        assert_eq!(lines.iter().map(|line| line.text).collect::<String>(), text);
        assert!(lines.windows(2).all(|pair| pair[0].number < pair[1].number));
        for line in &lines {
            if let What::Include { file, .. } = &line.what {
                assert!(!file.is_empty() && !file.contains("://"), "{file}");
            }
        }
        let is_digit = |byte: u8| byte.is_ascii_hexdigit();
        assert!(
            requirements::environment_name(&text).is_none_or(|name| name.bytes().all(is_digit))
        );
    });
}

#[test]
fn records_of_environments() {
    let corpus = texts(&[
        "host\tn1\ncpus\t128\t32\nmemory\t527897652 kB\nmodule\tcuda/12.4\nend\n",
        "gpu\tNVIDIA A100, 40960, 550.54.15, GPU-1a2b\ndriver_cuda\t| CUDA Version: 12.4 |\n",
        "python\t3.11.7\t/usr/bin/python\npackage\ttorch\t2.3.0+cu121\t\nconda\ta-b-1.0-0\n",
        "package\tx\t1\t{\"url\": \"https://u:p@h/x?q#f\", \"vcs_info\": {\"commit_id\": \"ab\"}}\n",
    ]);
    round("environments", &corpus, |input, _| {
        let record = EnvironmentRecord::parse(input);
        let again = serde_json::to_string(&record).expect("a record can be written");
        assert!(!again.contains('\u{1b}') && again.len() <= 8 * input.len() + 2_000, "{again}");
        assert_eq!(serde_json::from_str(&again).ok(), Some(record));
    });
}

#[test]
fn places_of_problems_are_told_whatever_the_text() {
    round("places", &documents(), |input, random| {
        let mut sources = Sources::default();
        let text = String::from_utf8_lossy(input).into_owned();
        let length = text.len();
        let source = sources.add(crate::domain::problem::Source {
            name: "x".into(),
            text,
            base: Path::new("/").into(),
        });
        let start = random.below(length + 2);
        let location = sources.locate(Place { source, start, end: start + random.below(9) });
        assert!(location.line >= 1 && location.column >= 1);
    });
    // What is in no recording is still a text.
    assert!(!answers(|_| true).is_empty());
}

/// A generator's texts differ, or nothing here was tried.
#[test]
fn damage_is_done() {
    let corpus = documents();
    let differing = (0..100_u64).filter(|seed| {
        let text = super::mutate::damaged(&corpus, &mut Random::new(*seed));
        !corpus.contains(&text)
    });
    assert!(differing.count() > 90);
}
