//! Who is blamed, who is kept away from, and how many are left.

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::domain::charge::Terms;
use crate::domain::resolved::{SbatchOption, Target};

fn t(seconds: i64) -> Timestamp {
    Timestamp::constant(1_790_000_000, 0) + SignedDuration::from_secs(seconds)
}

fn names(list: &str) -> Vec<NodeName> {
    list.split_whitespace().map(|name| name.parse().unwrap()).collect()
}

/// `unwell`: names of nodes that are down; of those that are only drained, in parentheses.
#[track_caller]
fn check_blame(reason: Reason, nodes: &str, (told, unwell): (&str, &str), expected: &str) {
    let nodes: Vec<String> = nodes.split_whitespace().map(str::to_owned).collect();
    let shown = unwell.split_whitespace().map(|word| {
        let health = if word.starts_with('(') { Health::Withdrawn } else { Health::Failed };
        (word.trim_matches(['(', ')']).parse().unwrap(), health)
    });
    let blamed = blame(Ended { reason, nodes: &nodes, told }, &shown.collect());
    assert_eq!(joined(&blamed, " "), expected, "{reason} on {nodes:?}, unwell: {unwell}");
}

#[test]
fn only_who_can_be_told_to_have_failed_is_blamed() {
    let nobody_told = |failed| ("", failed);
    for reason in [Reason::NodeFailure, Reason::BootFailure] {
        check_blame(reason, "n1", nobody_told(""), "n1");
        check_blame(reason, "n1", nobody_told("n9"), "n1");
        check_blame(reason, "n1 n2 n3", nobody_told("n2 n9"), "n2");
        check_blame(reason, "n1 n2", nobody_told("n1"), "n1");
        // It is up already, and drained; another was drained before.
        check_blame(reason, "n1 n2 n3", nobody_told("(n3)"), "n3");
        check_blame(reason, "n1 n2 n3", nobody_told("n2 (n3)"), "n2");
        // It is back already, or was never seen down.
        check_blame(reason, "n1 n2 n3", nobody_told(""), "");
        check_blame(reason, "n1 n2 n3", nobody_told("n9"), "");
        // A switch, a rack, a maintenance.
        check_blame(reason, "n1 n2", nobody_told("n1 n2"), "");
        check_blame(reason, "n1 n2 n3 n4", nobody_told("n1 n2 n3"), "");
        check_blame(reason, "n1 n2 n3 n4", nobody_told("n1 n2"), "n1 n2");
        check_blame(reason, "", nobody_told("n1"), "");
        // What is no name of a node is nobody.
        check_blame(reason, "n1;x", nobody_told(""), "");
    }
    check_blame(Reason::Requeued, "n1", nobody_told(""), "");
    check_blame(Reason::Requeued, "n1", nobody_told("n1"), "n1");
    check_blame(Reason::Requeued, "n1 n2 n3", nobody_told("n3"), "n3");
    check_blame(Reason::Requeued, "n1 n2 n3", nobody_told("(n3)"), "");
    for word in Reason::WORDS {
        let reason = Reason::from_word(word).unwrap();
        let may = [Reason::NodeFailure, Reason::BootFailure, Reason::Requeued].contains(&reason);
        check_blame(reason, "n1", nobody_told("n1"), if may { "n1" } else { "" });
    }
}

#[test]
fn a_node_that_did_not_report_in_is_blamed() {
    let told = "these nodes did not report in within 120 s: n2 n7; srun said: n1: error";
    let script = include_str!("../../../templates/sbatch/parts/hosts.sh");
    assert!(script.contains(SILENT_NODES), "the script says it so");
    check_blame(Reason::LaunchFailed, "n1 n2 n3", (told, ""), "n2");
    check_blame(Reason::LaunchFailed, "n2 n7", (told, ""), "");
    check_blame(Reason::LaunchFailed, "n1 n2 n3", ("no module called n2: n2", ""), "");
    check_blame(Reason::ExitCode, "n1 n2 n3", (told, ""), "");
    check_blame(Reason::LaunchFailed, "n1 n2 n3", (SILENT_NODES, ""), "");
}

fn failure(node: &str, run: i64, attempt: u32, second: i64) -> Failure {
    Failure {
        cluster: "main".into(),
        node: node.parse().unwrap(),
        since: t(second),
        why: Reason::NodeFailure,
        run: RunId(run),
        attempt,
        job: "main:7".parse().unwrap(),
    }
}

#[test]
fn a_run_keeps_away_from_what_failed_under_it_and_everybody_from_what_failed_twice() {
    let failures = [
        failure("n1", 1, 1, 0),
        failure("n2", 1, 2, 10),
        failure("n3", 2, 1, 20),
        failure("n3", 3, 1, 30),
        failure("n4", 4, 1, 5),
        failure("n4", 4, 2, 50),
        failure("n5", 5, 1, 60),
    ];
    let of = |run| {
        let nodes = of_run(&failures, RunId(run));
        nodes.iter().map(|failure| failure.node.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of(1), "n4 n3 n2 n1", "those that failed last first");
    assert_eq!(of(2), "n4 n3");
    assert_eq!(of(5), "n5 n4 n3");
    assert_eq!(of(99), "n4 n3");
    assert_eq!(of_run(&failures[..1], RunId(99)), Vec::<&Failure>::new());
}

fn node(name: &str) -> Node {
    Node {
        name: name.parse().unwrap(),
        partitions: vec!["gpu".into(), "low".into()],
        health: Health::Well,
        is_idle: true,
        cpus: 8,
        memory: 8000,
        gpus: vec![(Some("a100".into()), 4)],
        features: vec!["ib".into(), "fast".into()],
        available: vec!["ib".into(), "fast".into()],
    }
}

/// n1 … n4.
fn four() -> Vec<Node> {
    ["n1", "n2", "n3", "n4"].map(node).into()
}

fn asks(nodes: u32, gpus: u32, options: &[&str]) -> Compute {
    Compute {
        target: Target::Slurm { cluster: "main".into() },
        class: "x".into(),
        nodes,
        gpus_per_node: gpus,
        time_limit: None,
        options: options.iter().map(|option| SbatchOption::parse(option).unwrap()).collect(),
        rate: None,
        terms: Terms::default(),
        local_scratch: None,
    }
}

/// What run 1 keeps away from when n1 … n3 failed under it in that order.
#[track_caller]
fn check(compute: &Compute, nodes: &[Node], expected: &str) -> Option<String> {
    let failures = [failure("n1", 1, 1, 0), failure("n2", 1, 2, 10), failure("n3", 1, 3, 20)];
    let avoided = Avoided::choose(&failures, RunId(1), compute, nodes);
    let options: Vec<String> = compute.options.iter().map(ToString::to_string).collect();
    assert_eq!(joined(&avoided.nodes, " "), expected, "{} nodes, {options:?}", compute.nodes);
    avoided.told
}

#[test]
fn as_many_nodes_are_left_as_are_asked_for() {
    let nodes = four();
    assert_eq!(
        check(&asks(1, 0, &[]), &nodes, "n3 n2 n1").as_deref(),
        Some(
            "it keeps away from n3 (node_failure in attempt 3 of run 1), \
             n2 (node_failure in attempt 2 of run 1), n1 (node_failure in attempt 1 of run 1)"
        )
    );
    assert_eq!(
        check(&asks(3, 0, &[]), &nodes, "n3").as_deref(),
        Some(
            "it keeps away from n3 (node_failure in attempt 3 of run 1); it may be given \
             n1 (node_failure in attempt 1 of run 1), n2 (node_failure in attempt 2 of run 1): \
             fewer than the 3 asked would be left"
        )
    );
    let none = check(&asks(4, 0, &[]), &nodes, "").unwrap();
    assert!(none.ends_with(": fewer than the 4 asked would be left"), "{none}");
    assert!(none.starts_with("it may be given n1 "), "{none}");
    // What cannot be given now does not count, neither for them nor against them.
    let withdrawn = |health| {
        let mut nodes = four();
        nodes[3].health = health;
        nodes
    };
    for health in [Health::Failed, Health::Withdrawn] {
        check(&asks(1, 0, &[]), &withdrawn(health), "n3 n2");
    }
    let mut down = four();
    down[0].health = Health::Failed;
    check(&asks(1, 0, &[]), &down, "n3 n2 n1");
    check(&asks(4, 0, &[]), &down, "");
}

#[test]
fn only_nodes_that_the_run_could_be_given_count() {
    let mut nodes = four();
    nodes[3].partitions = vec!["low".into()];
    check(&asks(1, 0, &["--partition=gpu"]), &nodes, "n3 n2");
    check(&asks(1, 0, &["--partition=gpu,low"]), &nodes, "n3 n2 n1");
    check(&asks(1, 0, &["--partition=other"]), &nodes, "");
    // All in one partition.
    let mut apart = four();
    apart[3].partitions = vec!["low".into()];
    apart[0].partitions = vec!["gpu".into()];
    check(&asks(2, 0, &["--partition=gpu,low"]), &apart, "n3");
    nodes = four();
    nodes[3].gpus = vec![(Some("v100".into()), 4)];
    check(&asks(1, 4, &["--gpus-per-node=4"]), &nodes, "n3 n2 n1");
    check(&asks(1, 4, &["--gpus-per-node=a100:4"]), &nodes, "n3 n2");
    check(&asks(1, 4, &["--gres=gpu:a100:4"]), &nodes, "n3 n2");
    nodes[3].gpus = vec![(None, 2)];
    check(&asks(1, 4, &["--gres=gpu:4"]), &nodes, "n3 n2");
    nodes = four();
    nodes[3].cpus = 4;
    check(&asks(1, 0, &["--ntasks-per-node=2", "--cpus-per-task=4"]), &nodes, "n3 n2");
    nodes = four();
    nodes[3].memory = 4000;
    check(&asks(1, 0, &["--mem=7G"]), &nodes, "n3 n2");
    check(&asks(1, 0, &["--mem=0"]), &nodes, "n3 n2 n1");
    check(&asks(1, 0, &["--exclude=n[4-5]"]), &four(), "n3 n2");
    // It has to have n2, and n3 is excluded anyway.
    check(&asks(2, 0, &["--nodelist=n2", "--exclude=n3"]), &four(), "n1");
}

#[test]
fn features_are_followed_as_far_as_they_are_names() {
    let mut nodes = four();
    nodes[3].features = vec!["slow".into(), "net/ib+GEN:2".into()];
    for (constraint, expected) in [
        ("fast", "n3 n2"),
        ("slow|fast", "n3 n2 n1"),
        ("net/ib+GEN:2|fast", "n3 n2 n1"),
        ("ib&fast", "n3 n2"),
        ("(ib)&(fast|slow)", "n3 n2"),
        ("((slow|ib))", "n3 n2 n1"),
        ("slow", ""),
        ("[rack1*2&rack2*4]", ""),
        ("fast*2", ""),
        ("ib&fast|slow", ""),
        ("(ib", ""),
        ("ib&", ""),
        (&"(".repeat(4000), ""),
    ] {
        check(&asks(1, 0, &[&format!("--constraint={constraint}")]), &nodes, expected);
    }
}

#[test]
fn where_the_nodes_cannot_be_counted_none_is_kept_away_from() {
    for option in
        ["--reservation=r1", "-wn1", "-Cfast", "--exclude=n[1-2000]", "--nodelist=/f", "-xn1"]
    {
        let told = check(&asks(1, 0, &[option]), &four(), "").unwrap();
        let why = "it cannot be told which others the run could be given";
        assert!(told.ends_with(why), "{option}: {told}");
    }
    let told = check(&asks(1, 0, &[]), &[], "").unwrap();
    assert!(told.ends_with("the scheduler shows no nodes"), "{told}");
    let gone = [node("n8"), node("n9")];
    assert_eq!(check(&asks(1, 0, &["--switches=1", "-k"]), &gone, ""), None, "no such nodes");
    let other = Avoided::choose(&[failure("n1", 2, 1, 0)], RunId(1), &asks(1, 0, &[]), &four());
    assert_eq!(other, Avoided::default());
}

#[test]
fn a_submission_keeps_away_from_so_many_and_no_more() {
    let many: Vec<String> = (0..200).map(|n| format!("n{n}")).collect();
    let nodes: Vec<Node> = many.iter().map(|name| node(name)).collect();
    let failures: Vec<Failure> =
        (0..).zip(&many).map(|(second, name)| failure(name, 1, 1, second)).take(100).collect();
    let avoided = Avoided::choose(&failures, RunId(1), &asks(1, 0, &[]), &nodes);
    assert_eq!(avoided.nodes.len(), AVOIDED_MAX);
    assert_eq!(avoided.nodes[0].as_str(), "n99", "those that failed last");
}

#[test]
fn what_slurm_is_told_has_what_the_spec_excludes() {
    let told =
        |options: &[&str], avoided| joined(&excluded(&asks(1, 0, options), &names(avoided)), ",");
    assert_eq!(told(&["--exclude=n[7-8]"], "n2 n7"), "n7,n8,n2");
    assert_eq!(told(&["--exclude=n[7-8]"], ""), "n7,n8");
    assert_eq!(told(&[], "n2"), "n2");
}

#[test]
fn each_node_is_listed_once_with_its_last_failure_and_its_first_moment() {
    let failures = [failure("n2", 1, 1, 0), failure("n2", 2, 3, 50), failure("n1", 1, 2, 10)];
    let listed = BadNode::all(&failures, Seconds(100));
    let shown: Vec<_> = listed
        .iter()
        .map(|bad| (bad.node.as_str(), bad.since, bad.until, bad.run, bad.attempt, bad.count))
        .collect();
    assert_eq!(shown, [("n1", t(10), t(110), 1, 2, 1), ("n2", t(0), t(150), 2, 3, 2)]);
}
