//! What mixed runs have used is to the second what Slurm's own accounts of their starts come to, and so is how long they
//! waited. `TRAINYARD_CHARGES_RUNS` says how many runs there are.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::env::wait_within;
use crate::slurm::cluster::{Cluster, job_of, seconds};
use crate::slurm::requeue::RESTARTABLE;

/// What becomes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Completes,
    Fails,
    CancelledQueued,
    CancelledRunning,
    RequeuedTwice,
    Preempted,
    Suspended,
    TimeLimit,
    Shared,
    Exclusive,
}

/// As often as they come one after another. What takes long is rare.
const FATES: [Fate; 10] = [
    Fate::Completes,
    Fate::RequeuedTwice,
    Fate::Fails,
    Fate::CancelledQueued,
    Fate::Shared,
    Fate::Suspended,
    Fate::CancelledRunning,
    Fate::Exclusive,
    Fate::Preempted,
    Fate::Fails,
];

/// How many runs there are where nobody says: few enough for every day.
const RUNS: usize = 40;

#[expect(clippy::disallowed_methods, reason = "a campaign is told how large it is")]
fn runs() -> usize {
    let said = std::env::var("TRAINYARD_CHARGES_RUNS").ok();
    said.map_or(RUNS, |said| said.parse().expect("a number of runs"))
}

/// Each run takes a while, and the machine may have other things to do.
fn patience() -> Duration {
    Duration::from_secs(3) * u32::try_from(runs()).unwrap()
}

fn submit(cluster: &Cluster, fate: Fate, n: usize) -> i64 {
    let last = |restart: u32| {
        let saves = "echo '{}' >../checkpoints/step-$TRAINYARD_ATTEMPT.json";
        format!("{saves}; [[ ${{SLURM_RESTART_COUNT:-0}} -ge {restart} ]] || sleep 600")
    };
    let text = |script: &str| script.to_owned();
    let (script, keys) = match fate {
        Fate::Completes => (text("sleep $((RANDOM % 3))"), String::new()),
        Fate::Fails => (text("exit 7"), String::new()),
        Fate::CancelledQueued => (text("true"), "class = 'held'".to_owned()),
        Fate::CancelledRunning => (text("sleep 600"), String::new()),
        Fate::RequeuedTwice => (last(2), RESTARTABLE.to_owned()),
        Fate::Preempted => (last(1), format!("class = 'low'\n{RESTARTABLE}")),
        Fate::TimeLimit => (text("sleep 600"), "time_limit = '1m'".to_owned()),
        Fate::Suspended => (text("until [[ -e ../go ]]; do sleep 0.1; done"), String::new()),
        Fate::Shared => (
            text("sleep 2"),
            "nodes = 2\ncpus_per_node = 3\nmemory_per_node = '700M'\nclass = 'part'".to_owned(),
        ),
        Fate::Exclusive => (text("true"), "class = 'whole'".to_owned()),
    };
    cluster.env.submit(&cluster.spec(&format!("r{n}"), &script, &keys))
}

/// A run whose fate is not met yet.
struct Open {
    run: i64,
    fate: Fate,
    /// How much of it was done, and when the last of that.
    done: usize,
    since: Instant,
}

impl Open {
    /// Does to a run what its fate is, as far as that can be done now. Gives whether more is to be done.
    fn meet(&mut self, cluster: &Cluster) -> bool {
        let steps = match self.fate {
            Fate::Completes | Fate::Fails | Fate::TimeLimit | Fate::Shared | Fate::Exclusive => 0,
            Fate::CancelledQueued | Fate::CancelledRunning | Fate::Preempted => 1,
            Fate::RequeuedTwice | Fate::Suspended => 2,
        };
        if self.done < steps && self.did(cluster) {
            self.done += 1;
            self.since = Instant::now();
        }
        self.done < steps
    }

    /// Whether the next thing was done.
    fn did(&self, cluster: &Cluster) -> bool {
        let shown = cluster.env.show(self.run);
        let last = shown["attempts"].as_array().and_then(|all| all.last());
        let Some(last) = last else { return false };
        let runs = shown["state"] == "running" && last["slurm_state"] == "RUNNING";
        let job = last["job_id"].to_string();
        let scontrol = |verb: &str| {
            let output = cluster.command("scontrol").args([verb, &job]).output().unwrap();
            output.status.success()
        };
        let cancel = || cluster.env.line(&format!("cancel {}", self.run)).code == 0;
        let has_saved = || {
            let name = format!("checkpoints/step-{}.json", last["attempt"]);
            cluster.env.run_dir(self.run).join(name).exists()
        };
        // Somebody with a better right wants its node.
        let preempt = || {
            let node = last["nodes"][0].as_str().unwrap();
            let args =
                ["-p", "main", "-w", node, "--exclusive", "-o", "/dev/null", "--wrap", "true"];
            cluster.command("sbatch").args(args).output().unwrap().status.success()
        };
        match self.fate {
            Fate::CancelledQueued => shown["state"] == "queued" && cancel(),
            Fate::CancelledRunning => runs && cancel(),
            Fate::RequeuedTwice => {
                runs && last["restart_count"] == self.done && has_saved() && scontrol("requeue")
            }
            Fate::Preempted => runs && has_saved() && preempt(),
            Fate::Suspended if self.done == 0 => runs && scontrol("suspend"),
            // Long enough that it shows.
            Fate::Suspended => {
                let go = cluster.env.run_dir(self.run).join("go");
                self.since.elapsed() > Duration::from_secs(2)
                    && scontrol("resume")
                    && std::fs::write(go, "").is_ok()
            }
            Fate::Completes | Fate::Fails | Fate::TimeLimit | Fate::Shared | Fate::Exclusive => {
                true
            }
        }
    }
}

/// One record of accounting.
#[derive(Debug)]
struct Record {
    submit: i64,
    eligible: Option<f64>,
    start: Option<f64>,
    elapsed: f64,
    nodes: f64,
    tres: HashMap<String, f64>,
}

fn records(cluster: &Cluster, jobs: &[String]) -> HashMap<i64, Vec<Record>> {
    let format = "--format=JobIDRaw,Submit,Eligible,Start,ElapsedRaw,NNodes,AllocTRES";
    let jobs = format!("--jobs={}", jobs.join(","));
    let text = cluster.ask("sacct", &["-D", "-X", "-n", "-P", "--noconvert", &jobs, format]);
    let mut by_job: HashMap<i64, Vec<Record>> = HashMap::new();
    for line in text.lines() {
        let column: Vec<&str> = line.split('|').collect();
        let tres = column[6].split(',').filter_map(|part| part.split_once('='));
        let number = |text: &str| text.trim_end_matches('M').parse::<f64>().ok();
        let record = Record {
            submit: column[1].parse().unwrap(),
            eligible: column[2].parse().ok(),
            start: column[3].parse().ok(),
            elapsed: column[4].parse().unwrap(),
            nodes: column[5].parse().unwrap(),
            tres: tres.filter_map(|(key, value)| Some((key.to_owned(), number(value)?))).collect(),
        };
        by_job.entry(column[0].parse().unwrap()).or_default().push(record);
    }
    for records in by_job.values_mut() {
        records.sort_by_key(|record| record.submit);
    }
    by_job
}

/// Node-seconds of a record, from the class's size of a node.
fn node_seconds(record: &Record, fate: Fate) -> f64 {
    let whole = record.nodes * record.elapsed;
    let of = |key: &str| record.tres.get(key).copied().unwrap_or(0.0) / record.nodes;
    let is_exclusive = matches!(fate, Fate::Exclusive | Fate::Preempted);
    if is_exclusive { whole } else { whole * (of("cpu") / 8.0).max(of("mem") / 8000.0) }
}

/// An attempt beside the record of its start.
#[track_caller]
fn agree(attempt: &Value, record: &Record) {
    let number = |key: &str| attempt[key].as_f64();
    let submit: f64 = record.submit.to_string().parse().unwrap();
    let start = record.start.filter(|_| !attempt["started_at"].is_null());
    assert_eq!(seconds(&attempt["submitted_at"]), record.submit, "{record:?} {attempt:#}");
    // Of a job that is requeued in the second in which it started accounting may have no start, and squeue has.
    let has_start = record.start.is_some() || record.elapsed > 0.0;
    if has_start {
        let wait = start.map(|start| start - submit);
        assert_eq!(number("submit_wait_seconds"), wait, "{record:?} {attempt:#}");
    }
    // Nor has 20.11 since when it was eligible.
    if let Some(eligible) = record.eligible {
        let hold = (attempt["restart_count"] != 0).then_some(eligible - submit);
        assert_eq!(number("requeue_hold_seconds"), hold, "{record:?} {attempt:#}");
        let queued = start.map(|start| (start - eligible).max(0.0));
        assert!(!has_start || number("queue_seconds") == queued, "{record:?} {attempt:#}");
    }
    assert_eq!(number("elapsed_seconds"), Some(record.elapsed), "{record:?} {attempt:#}");
    // Two nodes have other GPUs than the two others.
    let mut kinds: Vec<bool> = attempt["nodes"].as_array().unwrap().iter().map(is_fast).collect();
    kinds.dedup();
    let got = if kinds.len() > 1 { "mixed" } else { attempt["requested_class"].as_str().unwrap() };
    assert!(start.is_none() || attempt["hardware_class"] == got, "{record:?} {attempt:#}");
}

fn is_fast(node: &Value) -> bool {
    ["n1", "n2"].contains(&node.as_str().unwrap())
}

#[test]
fn what_mixed_runs_have_used_is_what_slurms_accounts_come_to() {
    let part = "[class.part]\ncluster = 'test'\npartition = 'main'\ncpus_per_node = 8\nmemory_per_node = '8000M'\n\
        default_time = '5m'\n";
    // Runs that take whole nodes from others would hold up those of other stories, and wait for theirs.
    let cluster = Cluster::alone(&[], part);
    if !cluster.applies(cluster.has_accounting(), "there are no accounts to compare with") {
        return;
    }
    let mut fates: Vec<Fate> = FATES.into_iter().cycle().take(runs()).collect();
    if runs() > RUNS {
        // Slurm takes a minute or two for it.
        fates.iter_mut().skip(8).step_by(20).for_each(|fate| *fate = Fate::TimeLimit);
    }
    let mut runs: Vec<(i64, Fate)> = Vec::new();
    for some in fates.chunks(RUNS) {
        let submitted =
            some.iter().enumerate().map(|(n, fate)| (submit(&cluster, *fate, n), *fate));
        let submitted: Vec<(i64, Fate)> = submitted.collect();
        let open = |(run, fate): &(i64, Fate)| Open {
            run: *run,
            fate: *fate,
            done: 0,
            since: Instant::now(),
        };
        let mut open: Vec<Open> = submitted.iter().map(open).collect();
        wait_within(patience(), "every run has met its fate", || {
            open.retain_mut(|open| open.meet(&cluster));
            open.is_empty()
        });
        runs.extend(submitted);
    }
    let ids: Vec<String> = runs.iter().map(|(run, _)| run.to_string()).collect();
    drop(cluster.env.line(&format!("wait {} --timeout 10m", ids.join(" "))));
    let is_accounted = |shown: &Value| {
        shown["attempts"].as_array().unwrap().iter().all(|attempt| attempt["accounted"] == true)
    };
    let mut shown: Vec<Value> = Vec::new();
    wait_within(patience(), "accounting has told all of it", || {
        shown = runs.iter().map(|(run, _)| cluster.env.show(*run)).collect();
        shown.iter().all(is_accounted)
    });
    let jobs: Vec<String> = shown.iter().map(|shown| job_of(shown).to_string()).collect();
    let accounts = records(&cluster, &jobs);
    let (mut starts, mut node_hours) = (0, 0.0);
    for ((_, fate), shown) in runs.iter().zip(&shown) {
        let records = &accounts[&job_of(shown)];
        let attempts = shown["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), records.len(), "{fate:?} {records:?} {shown:#}");
        attempts.iter().zip(records).for_each(|(attempt, record)| agree(attempt, record));
        let goes_on =
            *fate != Fate::Suspended || records.iter().all(|record| record.elapsed < 60.0);
        assert!(goes_on, "its script heard of the end of its training: {records:?} {shown:#}");
        let expected: f64 = records.iter().map(|record| node_seconds(record, *fate)).sum();
        let told = shown["node_hours"].as_f64().unwrap() * 3600.0;
        assert!((told - expected).abs() < 1e-6, "{fate:?} {told} {expected} {records:?} {shown:#}");
        starts += records.len();
        node_hours += told / 3600.0;
    }
    say(&format!(
        "{} runs, {starts} starts, {node_hours:.4} node-hours: all as accounting has them",
        runs.len()
    ));
}

#[expect(clippy::print_stdout, reason = "a campaign says what it came to")]
fn say(line: &str) {
    println!("{line}");
}
