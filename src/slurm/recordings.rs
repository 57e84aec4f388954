//! What three releases of Slurm really printed, as `tests/cluster/record` recorded it, given to everything here that
//! reads such answers. Where a table has several words split by ` | `, they are those of 20.11, 22.05 and 24.11.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::domain::nodelist;
use crate::domain::run::Answer;
use crate::domain::tres::Tres;
use crate::domain::units::Seconds;
use crate::ports::Output;
use crate::slurm::answer::judge;
use crate::slurm::commands::good;
use crate::slurm::sighting::numbered;
use crate::slurm::{config, sacct, squeue};

const RELEASES: [&str; 3] = ["20.11", "22.05", "24.11"];

const NONCE: &str = "NONCE";

/// One command and what came of it.
struct Recording {
    release: &'static str,
    name: String,
    command: String,
    output: Output,
}

impl Recording {
    fn read(release: &'static str, name: &str) -> Self {
        let path = |ending: &str| folder(release).join(format!("{name}.{ending}"));
        let bytes = |ending: &str| fs_err::read(path(ending)).unwrap();
        let text = |ending: &str| String::from_utf8(bytes(ending)).unwrap().trim().to_owned();
        let code = Some(text("code").parse().unwrap());
        let output = Output { code, stdout: bytes("out"), stderr: bytes("err"), cut: false };
        Self { release, name: name.to_owned(), command: text("cmd"), output }
    }

    fn place(&self) -> String {
        format!("{}/{}", self.release, self.name)
    }

    /// What a query printed, where that can be believed.
    fn answer(&self) -> Result<Vec<u8>, String> {
        good(Ok(self.output.clone()))
    }
}

fn folder(release: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/slurm").join(release)
}

/// All of a release whose name is chosen.
fn recordings(release: &'static str, chosen: impl Fn(&str) -> bool) -> Vec<Recording> {
    let files = fs_err::read_dir(folder(release)).unwrap();
    let names: BTreeSet<String> = files
        .filter_map(|file| {
            file.unwrap().file_name().to_str()?.strip_suffix(".cmd").map(str::to_owned)
        })
        .filter(|name| chosen(name))
        .collect();
    names.iter().map(|name| Recording::read(release, name)).collect()
}

/// Words as the recorder writes a command line.
fn command_line(program: &str, args: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_/.,:=@%+-".contains(c);
    let word =
        |word: &String| if word.chars().all(plain) { word.clone() } else { format!("'{word}'") };
    let words: Vec<String> = args.iter().map(word).collect();
    format!("{program} {}", words.join(" "))
}

/// What an expectation says of one release.
fn of_release(words: &'static str, release: &str) -> &'static str {
    let place = RELEASES.iter().position(|known| *known == release).unwrap();
    words.split(" | ").nth(place).unwrap_or(words)
}

/// What it means how sbatch ended: `yes` is an acknowledgement, `no` a refusal, `later` one that passes, `away` that
/// there was nobody to ask, `lost` that nobody knows.
const SBATCH: &[(&str, &str)] = &[
    ("down-sbatch", "away"),
    ("frozen-sbatch", "lost"),
    ("no-accounting-sbatch-account", "yes"),
    ("no-accounting-sbatch-qos", "yes"),
    ("reject-sbatch", "no"),
    ("reject-sbatch-renamed", "yes"),
    ("sbatch-accepted", "yes"),
    ("sbatch-bad-account", "no"),
    ("sbatch-bad-constraint", "no"),
    ("sbatch-bad-dependency", "yes | yes | no"),
    ("sbatch-bad-directive", "no"),
    ("sbatch-bad-gpu-type", "no"),
    ("sbatch-bad-gres", "no"),
    ("sbatch-bad-license", "no"),
    ("sbatch-bad-mem", "no"),
    ("sbatch-bad-nodelist", "no"),
    ("sbatch-bad-option", "no"),
    ("sbatch-bad-partition", "no"),
    ("sbatch-bad-partition-of-list", "no"),
    ("sbatch-bad-qos", "no"),
    ("sbatch-bad-reservation", "no"),
    ("sbatch-bad-time", "no"),
    ("sbatch-dos", "no"),
    ("sbatch-empty", "no"),
    ("sbatch-few-1", "yes"),
    ("sbatch-limited-1", "yes"),
    ("sbatch-limited-2", "yes"),
    ("sbatch-name-too-long", "no"),
    ("sbatch-no-shebang", "no"),
    ("sbatch-qos-submit-limit", "later"),
    ("sbatch-submit-limit", "later"),
    // Never asked for: no job id means that nobody knows.
    ("sbatch-test-only", "lost"),
    ("sbatch-test-only-impossible", "lost"),
    ("sbatch-too-many-gpus", "no"),
    ("sbatch-too-many-nodes", "yes | yes | no"),
    ("sbatch-too-many-tasks", "no"),
    ("sbatch-too-much-memory", "no"),
    ("slurmdbd-down-sbatch", "yes"),
];

#[test]
fn every_sbatch_that_ended_is_judged() {
    for release in RELEASES {
        let recorded = recordings(release, |name| name.contains("sbatch"));
        let names: Vec<&str> = recorded.iter().map(|recording| recording.name.as_str()).collect();
        assert_eq!(names, SBATCH.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "{release}");
        for (recording, (_, words)) in recorded.iter().zip(SBATCH) {
            let told = judge("main", &Ok(recording.output.clone()));
            let found = match &told {
                Answer::Acknowledged { .. } => "yes",
                Answer::Refused { for_now: false, .. } => "no",
                Answer::Refused { for_now: true, .. } => "later",
                Answer::Unreachable { .. } => "away",
                Answer::Lost { .. } => "lost",
            };
            assert_eq!(found, of_release(words, release), "{}: {told:?}", recording.place());
        }
    }
}

/// What is no answer when a part of Slurm does not answer: nothing may be concluded from it.
const SILENT: &[(&str, &[&str])] = &[
    ("down", &["poll", "squeue", "squeue-one", "scancel", "show-config", "show-job", "sinfo"]),
    ("frozen", &["poll", "squeue", "squeue-one", "scancel", "show-config", "show-job", "sinfo"]),
    ("slurmdbd-down", &["accounts", "sacct"]),
    ("no-accounting", &["accounts", "sacct", "sacctmgr"]),
];

/// What still answers then, and can be believed.
const HEARD: &[(&str, &[&str])] = &[
    ("down", &["accounts", "sacct"]),
    ("frozen", &["accounts", "sacct"]),
    ("slurmdbd-down", &["poll", "squeue", "show-config", "sinfo"]),
    ("no-accounting", &["poll", "squeue", "squeue-long", "show-config", "show-job"]),
];

#[test]
fn a_slurm_that_is_away_or_frozen_is_silent() {
    let each = |table: &[(&str, &[&str])], check: &dyn Fn(&Recording)| {
        for release in RELEASES {
            for (moment, names) in table {
                for name in *names {
                    check(&Recording::read(release, &format!("{moment}-{name}")));
                }
            }
        }
    };
    each(SILENT, &|recording| {
        let why = recording.answer().expect_err(&recording.place());
        assert!(!why.is_empty(), "{}", recording.place());
    });
    each(HEARD, &|recording| {
        assert!(recording.answer().is_ok(), "{}", recording.place());
    });
}

#[test]
fn the_recorded_questions_are_the_programs_own() {
    let poll = command_line("squeue", &squeue::args(NONCE));
    let which = sacct::Which::Jobs(vec!["main:1".parse().unwrap()]);
    let accounts = command_line("sacct", &sacct::args(&which, NONCE));
    let accounts = accounts.strip_suffix("--jobs=1").unwrap();
    let config = command_line("scontrol", &config::args());
    for release in RELEASES {
        for recording in recordings(release, |name| name.contains("poll")) {
            assert_eq!(recording.command, poll, "{}", recording.place());
        }
        for recording in recordings(release, |name| name.contains("accounts")) {
            assert!(recording.command.starts_with(accounts), "{}", recording.place());
        }
        for recording in recordings(release, |name| name.ends_with("show-config")) {
            assert_eq!(recording.command, config, "{}", recording.place());
        }
    }
}

/// The rows of a poll that answered.
fn polled(recording: &Recording) -> squeue::Answer {
    squeue::parse(&recording.answer().unwrap(), NONCE)
}

fn is_poll(name: &str) -> bool {
    name.contains("poll") && !name.starts_with("down-") && !name.starts_with("frozen-")
}

#[test]
fn every_row_of_every_poll_is_read_whole() {
    for recording in RELEASES.into_iter().flat_map(|release| recordings(release, is_poll)) {
        let answer = polled(&recording);
        let place = recording.place();
        assert_eq!(answer.unread, Vec::<String>::new(), "{place}");
        let text = String::from_utf8(recording.output.stdout.clone()).unwrap();
        // The one job whose name goes on in a line of its own, which looks like a row.
        let forged = text.lines().filter(|line| line.starts_with("NONCE|")).count();
        assert_eq!(
            (answer.rows.len(), answer.dropped),
            (text.lines().count() - forged, forged),
            "{place}"
        );
        for row in &answer.rows {
            let whole = row.cluster.as_deref() == Some("test")
                && row.uid == Some(0)
                && row.submitted_at.is_some()
                && row.time_limit_seconds.is_some()
                && row.state.word.is_some()
                // One that was cancelled after a requeue has none left.
                && (row.nodes.is_empty() || Tres::parse(&row.tres).cpus.is_some());
            assert!(whole, "{place}: {row:?}");
            let nodes = nodelist::expand(&row.nodes).unwrap();
            let counted = Tres::parse(&row.tres).nodes;
            assert!(nodes.is_empty() || Some(nodes.len() as u64) == counted, "{place}: {row:?}");
        }
    }
}

/// State, restart, and how it ended.
fn short(state: &str, restart: u32, exit: (Option<i32>, Option<i32>)) -> String {
    match exit {
        (Some(code), None) => format!("{state} {restart} exit {code}"),
        (None, Some(signal)) => format!("{state} {restart} signal {signal}"),
        strange => format!("{state} {restart} {strange:?}"),
    }
}

/// Moment, job, and what squeue showed of it.
const POLLED: &[(&str, &str, &str)] = &[
    ("waiting", "running-2-nodes", "RUNNING 0 exit 0"),
    ("waiting", "suspended", "SUSPENDED 0 exit 0"),
    ("waiting", "waits-held-by-admin", "PENDING 0 exit 0"),
    ("waiting", "pipes|and \"quotes\", a comma", "RUNNING 0 exit 0"),
    ("completing", "completing", "COMPLETING 0 exit 0"),
    ("ended", "timeout", "RUNNING 0 exit 0"),
    ("ended", "completed", "COMPLETED 0 exit 0"),
    ("ended", "failed-7", "FAILED 0 exit 7"),
    ("ended", "killed-by-itself", "FAILED 0 signal 9"),
    ("ended", "bad-output", "FAILED 0 exit 1 | FAILED 0 signal 53 | COMPLETED 0 exit 0"),
    ("ended", "cancelled-running", "CANCELLED 0 signal 15"),
    ("ended", "cancelled-waiting", "CANCELLED 0 exit 0"),
    ("ended", "dependency-failed", "PENDING 0 exit 0"),
    ("ended", "node-failed", "NODE_FAIL 0 signal 15 | NODE_FAIL 0 exit 0 | NODE_FAIL 0 signal 1"),
    ("timeout", "timeout", "TIMEOUT 0 signal 15"),
    ("requeued", "requeued", "PENDING 1 exit 0"),
    ("requeued", "requeue-held", "PENDING 1 exit 0"),
    ("requeued", "special-exit", "SPECIAL_EXIT 1 exit 0"),
    ("requeued", "preempted", "PENDING 1 exit 0"),
    ("requeued", "preempted-for-good", "PREEMPTED 0 signal 15"),
    ("requeued-running", "requeued", "RUNNING 1 exit 0"),
    ("requeued-running", "preempted", "RUNNING 1 exit 0"),
];

#[test]
fn squeue_tells_of_each_situation() {
    for release in RELEASES {
        for (moment, job, expected) in POLLED {
            let recording = Recording::read(release, &format!("poll-{moment}"));
            let rows = polled(&recording).rows;
            let row = rows.iter().find(|row| row.name == *job).unwrap();
            let found = short(&row.state.text, row.restart, row.exit);
            assert_eq!(found, of_release(expected, release), "{}: {row:?}", recording.place());
        }
    }
}

fn accounted(recording: &Recording) -> (Vec<sacct::Record>, usize) {
    sacct::parse(&recording.answer().unwrap(), NONCE)
}

#[test]
fn every_record_of_accounting_is_read_whole_or_is_none() {
    let chosen = |name: &str| name.starts_with("accounts-");
    for recording in RELEASES.into_iter().flat_map(|release| recordings(release, chosen)) {
        let place = recording.place();
        let text = String::from_utf8(recording.output.stdout.clone()).unwrap();
        let is_none = |line: &&str| {
            // Halves of a name with a line break, what is left of an array, and what never was a job.
            let columns: Vec<&str> = line.split("|NONCE|").collect();
            columns.len() != 18
                || columns[1].contains("_[")
                || (columns[2], columns[3]) == ("FAILED", "0:1")
        };
        let none = text.lines().filter(is_none).count();
        let (records, dropped) = accounted(&recording);
        assert_eq!((records.len(), dropped), (text.lines().count() - none, none), "{place}");
        for record in records {
            let whole = record.state.word.is_some()
                && record.submitted_at.is_some()
                && (record.time_limit_seconds.is_some() || !record.is_named)
                && (record.cluster.as_deref(), record.user.as_deref())
                    == (Some("test"), Some("root"))
                && nodelist::expand(&record.nodes).is_ok();
            assert!(whole, "{place}: {record:?}");
        }
    }
}

/// Moment, job, and what sacct showed of each start of it.
const ACCOUNTED: &[(&str, &str, &str)] = &[
    ("ended", "timeout", "RUNNING 0 exit 0"),
    ("ended", "completed", "COMPLETED 0 exit 0"),
    ("ended", "failed-7", "FAILED 0 exit 7"),
    ("ended", "killed-by-itself", "FAILED 0 signal 9"),
    ("ended", "failed-step-hidden", "COMPLETED 0 exit 0"),
    ("ended", "bad-output", "FAILED 0 exit 1 | FAILED 0 signal 53 | COMPLETED 0 exit 0"),
    ("ended", "cancelled-running", "CANCELLED 0 exit 0"),
    ("ended", "limited-waiting", "CANCELLED 0 exit 0"),
    ("ended", "node-failed", "NODE_FAIL 0 exit 0 | NODE_FAIL 0 exit 0 | NODE_FAIL 0 exit 1"),
    ("timeout", "timeout", "TIMEOUT 0 exit 0"),
    ("attempts", "requeued", "REQUEUED 0 exit 0, CANCELLED 1 exit 0"),
    ("attempts", "requeue-held", "REQUEUED 0 exit 0, RUNNING 1 exit 0"),
    ("attempts", "special-exit", "REQUEUED 0 exit 0, PENDING 1 exit 0"),
    ("attempts", "preempted", "PREEMPTED 0 exit 0, RUNNING 1 exit 0"),
    ("attempts", "preempted-for-good", "PREEMPTED 0 exit 0"),
    ("unknown", "nobody", ""),
    ("early", "allocation", "PENDING 0 exit 0 | PENDING 0 exit 0 | "),
    ("requeued-at-once", "allocation", "REQUEUED 0 exit 0 |  | "),
];

#[test]
fn accounting_tells_of_each_start() {
    for release in RELEASES {
        for (moment, job, expected) in ACCOUNTED {
            let recording = Recording::read(release, &format!("accounts-{moment}"));
            let (mut records, _) = accounted(&recording);
            records.retain(|record| record.name == *job);
            records.sort_by_key(|record| record.submitted_at);
            let starts: Vec<String> = numbered(&records, None)
                .iter()
                .map(|record| short(&record.state.text, record.restart, record.exit))
                .collect();
            assert_eq!(
                starts.join(", "),
                of_release(expected, release),
                "{}: {job}",
                recording.place()
            );
        }
    }
}

#[test]
fn every_release_tells_its_configuration() {
    for (release, version) in RELEASES.into_iter().zip([(20, 11), (22, 5), (24, 11)]) {
        for (name, has_accounting) in [("show-config", true), ("no-accounting-show-config", false)]
        {
            let recording = Recording::read(release, name);
            let text = String::from_utf8(recording.answer().unwrap()).unwrap();
            let told = config::parse(&text).unwrap();
            assert!(told.booted_at.is_some(), "{}", recording.place());
            let limits = ["associations", "limits", "qos"];
            let expected = config::ClusterConfig {
                cluster_name: Some("test".to_owned()),
                version: Some(version),
                min_job_age: Some(Seconds(20)),
                kill_wait: Seconds(5),
                has_accounting,
                enforced: if has_accounting {
                    limits.map(str::to_owned).into()
                } else {
                    Vec::new()
                },
                booted_at: told.booted_at,
                // Since 23.02 it is so where nothing is said of it.
                use_counted_every: (version > (22, 5)).then_some(Seconds(300)),
                ..config::ClusterConfig::default()
            };
            assert_eq!(told, expected, "{}", recording.place());
        }
    }
}
