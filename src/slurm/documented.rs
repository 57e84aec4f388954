//! What releases that nobody here has run are documented to print: `tests/data/slurm/documented`, whose README names the
//! sources, given to the parsers.

use std::path::PathBuf;

use crate::domain::resolve::Asker;
use crate::domain::run::{Answer, Phase};
use crate::domain::units::Seconds;
use crate::ports::Output;
use crate::slurm::answer::judge;
use crate::slurm::commands::good;
use crate::slurm::found::{Said, WhichSlurm, site_text};
use crate::slurm::sighting::numbered;
use crate::slurm::{config, sacct, squeue};

const NONCE: &str = "NONCE";

fn read(release: &str, name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/slurm/documented");
    fs_err::read(folder.join(release).join(name)).unwrap()
}

fn answered(release: &str, name: &str) -> Vec<u8> {
    let stdout = read(release, &format!("{name}.out"));
    good(Ok(Output { code: Some(0), stdout, stderr: Vec::new(), cut: false })).unwrap()
}

/// Phase, and how it ended.
fn short(phase: &Phase) -> String {
    match phase {
        Phase::Waiting { why } => format!("waiting: {}", why.as_deref().unwrap_or("-")),
        Phase::Running => "running".to_owned(),
        Phase::Ended { end, exit_code, signal } => format!("{end:?} {exit_code:?} {signal:?}"),
        Phase::Unknown => "unknown".to_owned(),
    }
}

/// Release, name of the job, its restart count and what squeue says of it.
const POLLED: &[(&str, &str, u32, &str)] = &[
    ("23.02", "run", 0, "running"),
    ("23.02", "waits-for-cloud", 0, "waiting: its nodes are being made ready"),
    ("23.02", "special", 1, "waiting: JobHoldMaxRequeue"),
    ("23.02", "failed", 0, "Failed Some(3) None"),
    ("23.02", "memory", 0, "OutOfMemory None Some(125)"),
    ("23.11", "boots", 0, "waiting: its nodes are being made ready"),
    // A flag, however it sounds, is no end.
    ("23.11", "launch", 0, "unknown"),
    ("23.11", "reconfig", 0, "unknown"),
    ("23.11", "sibling", 0, "unknown"),
    ("23.11", "late", 0, "Deadline Some(0) None"),
    ("25.05", "getenv", 0, "unknown"),
    ("25.05", "stages", 0, "running"),
    ("25.05", "signalled", 0, "running"),
    ("25.05", "boot", 0, "BootFailure None Some(1)"),
    ("25.05", "two-partitions", 0, "waiting: Priority"),
    ("25.11", "expedited", 1, "waiting: it is being requeued"),
    ("25.11", "expedited-waits", 1, "waiting: -"),
    ("25.11", "node", 0, "NodeFailure Some(0) None"),
    ("25.11", "written", 0, "unknown"),
    ("26.05", "expedited", 2, "waiting: it is being requeued"),
    ("26.05", "run", 0, "running"),
    ("26.05", "of-tomorrow", 0, "unknown"),
    ("26.05", "done", 0, "Completed Some(0) None"),
];

const RELEASES: [&str; 5] = ["23.02", "23.11", "25.05", "25.11", "26.05"];

#[test]
fn squeue_tells_of_each_state() {
    for release in RELEASES {
        let answer = squeue::parse(&answered(release, "poll"), NONCE);
        assert_eq!((answer.dropped, answer.unread.len()), (0, 0), "{release}");
        let expected: Vec<_> = POLLED.iter().filter(|(known, ..)| *known == release).collect();
        assert_eq!(answer.rows.len(), expected.len(), "{release}");
        for (row, (_, name, restart, words)) in answer.rows.iter().zip(expected) {
            let phase = short(&row.state.phase(row.reason.clone(), row.exit));
            assert_eq!((row.name.as_str(), row.restart, phase.as_str()), (*name, *restart, *words));
            assert_eq!((row.time_limit_seconds, row.uid), (Some(86_400), Some(1000)), "{name}");
        }
    }
}

/// Release, name of the job, and each of its starts.
const ACCOUNTED: &[(&str, &str, &str)] = &[
    ("23.02", "done", "0 Completed Some(0) None"),
    ("23.02", "stopped", "0 Cancelled None Some(15)"),
    ("23.02", "memory", "0 OutOfMemory None Some(125)"),
    ("23.11", "memory", "0 OutOfMemory None Some(125)"),
    ("25.05", "stopped", "0 Cancelled None Some(15)"),
    ("25.11", "expedited", "0 waiting: it is being requeued, 1 running"),
    ("26.05", "expedited", "0 waiting: it is being requeued, 1 running"),
    ("26.05", "sibling", "0 unknown"),
    ("26.05", "of-tomorrow", "0 unknown"),
    // Left by a submission that was refused.
    ("26.05", "ghost", ""),
];

#[test]
fn accounting_tells_of_each_start() {
    for (release, name, expected) in ACCOUNTED {
        let (mut records, dropped) = sacct::parse(&answered(release, "accounts"), NONCE);
        assert_eq!(dropped, 1, "{release}");
        records.retain(|record| record.name == *name);
        let starts: Vec<String> = numbered(&records, None)
            .iter()
            .map(|start| {
                format!("{} {}", start.restart, short(&start.state.phase(None, start.exit)))
            })
            .collect();
        assert_eq!(starts.join(", "), *expected, "{release}: {name}");
    }
}

#[test]
fn sbatch_acknowledges() {
    for release in RELEASES {
        let (stdout, stderr) = (read(release, "sbatch.out"), read(release, "sbatch.err"));
        let said = String::from_utf8(stderr.clone()).unwrap();
        let answer = judge("main", &Ok(Output { code: Some(0), stdout, stderr, cut: false }));
        let Answer::Acknowledged { job, notices } = answer else { panic!("{release}: {answer:?}") };
        assert_eq!((job.to_string().as_str(), notices.as_str()), ("main:1234", said.trim()));
    }
}

#[test]
fn a_cluster_tells_its_configuration_and_its_partitions() {
    let expected =
        [((23, 2), false), ((23, 11), true), ((25, 5), true), ((25, 11), false), ((26, 5), true)];
    for (release, (version, has_accounting)) in RELEASES.into_iter().zip(expected) {
        let text = |name: &str| String::from_utf8(answered(release, name)).unwrap();
        let (config, partitions) = (text("show-config"), text("show-partition"));
        let whole = config::ClusterConfig {
            cluster_name: Some("big".to_owned()),
            version: Some(version),
            over_time_limit: Some(Seconds(300)),
            message_timeout: Seconds(30),
            max_array_size: 4001,
            has_accounting,
            private_data: vec!["jobs".to_owned(), "usage".to_owned()],
            ..config::ClusterConfig::default()
        };
        assert_eq!(config::parse(&config), Some(whole), "{release}");
        let which = WhichSlurm {
            directory: "/usr/bin".into(),
            elsewhere: std::collections::BTreeMap::new(),
            conf: None,
            clusters: None,
        };
        let groups = vec!["staff".into()];
        let (group, home) = ("staff".into(), "/home/anna".into());
        let asker = Asker { user: "anna".into(), uid: 1000, group, groups, home };
        let said = Said {
            config: &config,
            partitions: &partitions,
            nodes: "gpu|4|64|256000|gpu:a100:4(S:0-1)\n",
        };
        let site = site_text(&which, &said, &asker).unwrap();
        for line in
            ["[class.gpu]", "gpus_per_node = 4", "max_nodes = 4", "max_time = \"2-00:00:00\""]
        {
            assert!(site.contains(line), "{release}: no {line} in\n{site}");
        }
    }
}
