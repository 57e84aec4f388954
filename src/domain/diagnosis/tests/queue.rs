//! Runs that wait, and ends that Slurm knows.

use serde_json::json;

use crate::domain::diagnosis::tests::{explained, recorded, run, training};
use crate::domain::diagnosis::{
    Case, Explanation, Kind, Labels, Log, Outlook, Source, Tail, explain,
};

fn queued(reason: &str) -> Explanation {
    explained(json!({ "state": "queued", "reason": null, "message": reason }), &[])
}

#[test]
fn slurms_reasons_are_told_in_words() {
    use Outlook::{ByItself, Never, Unknown, WhenReleased};
    for (reason, kind, outlook, words) in [
        ("", Kind::InTurn, ByItself, "not looked at it"),
        ("Priority", Kind::InTurn, ByItself, "higher priority"),
        ("(Resources)", Kind::InTurn, ByItself, "become free"),
        ("PartitionNodeLimit", Kind::NeverStarts, Never, "more nodes"),
        ("PartitionTimeLimit", Kind::NeverStarts, Never, "longer than its partition"),
        ("AccountNotAllowed", Kind::NeverStarts, Never, "may not use the partition"),
        ("BadConstraints", Kind::NeverStarts, Never, "no node fits"),
        ("DependencyNeverSatisfied", Kind::NeverStarts, Never, "did not end"),
        (
            "QOSMaxNodePerUserLimit",
            Kind::NeverStarts,
            Never,
            "more nodes than its QOS gives one user",
        ),
        (
            "AssocMaxNodePerJobLimit",
            Kind::NeverStarts,
            Never,
            "more nodes than its account gives one job",
        ),
        ("AssocMaxWallDurationPerJobLimit", Kind::NeverStarts, Never, "more time"),
        ("AssocMaxCPUMinutesPerJobLimit", Kind::NeverStarts, Never, "more minutes"),
        ("QOSMinGRES", Kind::NeverStarts, Never, "less GPUs"),
        ("AssocGrpCPUMinutesLimit", Kind::Limit, Unknown, "used up"),
        ("AssocGrpNodeLimit", Kind::Limit, ByItself, "limit of nodes"),
        ("AssocGrpGRES", Kind::Limit, ByItself, "GPUs"),
        ("AssocGrpMemLimit", Kind::Limit, ByItself, "memory"),
        ("AssocMaxJobsLimit", Kind::Limit, ByItself, "jobs"),
        ("QOSMaxJobsPerUserLimit", Kind::Limit, ByItself, "jobs"),
        ("JobHeldUser", Kind::Held, WhenReleased, "you hold it"),
        ("launch failed requeued held", Kind::Held, WhenReleased, "could not be launched"),
        ("launch_failed_requeued_held", Kind::Held, WhenReleased, "could not be launched"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", Kind::NodesUnavailable, ByItself, "down"),
        (
            "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority_partitions",
            Kind::NodesUnavailable,
            ByItself,
            "down",
        ),
        ("SomethingNew", Kind::UnknownReason, Unknown, "`SomethingNew`"),
    ] {
        let explained = queued(reason);
        assert_eq!((explained.kind, explained.will_start), (kind, Some(outlook)), "{reason}");
        assert!(explained.sentence.contains(words), "{reason}: {}", explained.sentence);
    }
}

#[test]
fn a_limit_of_a_user_passes_while_other_runs_hold_it() {
    let run =
        run(json!({ "state": "queued", "reason": null, "message": "QOSMaxNodePerUserLimit" }));
    let explained = explain(Case { run: &run, logs: &[], silence: None, others_running: 2 });
    assert_eq!((explained.kind, explained.will_start), (Kind::Limit, Some(Outlook::ByItself)));
}

#[test]
fn what_a_run_asks_for_is_shown() {
    let explained = queued("PartitionNodeLimit");
    let texts: Vec<&str> = explained.evidence.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "the reason that is given: PartitionNodeLimit",
            "it asks for 2 nodes of class a100-4x, 4 GPUs on each, for 12h, partition gpu, account ml, QOS normal",
            "attempt 1, job 981234: failed, FAILED, exit code 1, on gpu01, gpu02",
        ]
    );
}

#[test]
fn ends_that_slurm_knows_are_not_looked_for_in_the_training() {
    let told = "slurmstepd: error: *** JOB 981234 ON gpu01 CANCELLED AT 2026-05-01T11:00:00 DUE TO TIME LIMIT ***";
    let tail = Tail { bytes: format!("noise\n{told}\n").into(), lines_before: None };
    let logs = [
        training(recorded("ranks_exception"), Labels::None),
        Log::read(Source::Scheduler, &tail, Labels::None),
    ];
    for (reason, kind) in [
        ("time_limit", Kind::TimeLimit),
        ("preempted", Kind::Preempted),
        ("node_failure", Kind::NodeFailure),
        ("cancelled_by_user", Kind::Cancelled),
        ("out_of_memory", Kind::HostOutOfMemory),
        ("lost", Kind::Lost),
        ("no_progress", Kind::Stopped),
    ] {
        let explained = explained(json!({ "reason": reason, "message": "so it was" }), &logs);
        assert_eq!((explained.kind, explained.sentence.as_str()), (kind, "so it was"), "{reason}");
        assert_eq!((explained.evidence[0].text.as_str(), explained.evidence[0].line), (told, None));
    }
}

#[test]
fn a_node_that_failed_is_named() {
    let mut run = run(json!({ "reason": "node_failure", "message": "a node of the job failed" }));
    let attempt = run.attempts.iter_mut().flatten().last().unwrap();
    attempt.failed_nodes = vec!["gpu02".into()];
    let explained = explain(Case { run: &run, logs: &[], silence: None, others_running: 0 });
    assert_eq!((explained.kind, explained.node.as_deref()), (Kind::NodeFailure, Some("gpu02")));
    let line = explained.evidence[0].text.as_str();
    assert!(line.ends_with("on gpu01, gpu02; to blame: gpu02"), "{line}");
}

#[test]
fn a_refusal_names_what_to_change() {
    let message = "sbatch: error: Batch job submission failed: Invalid partition name specified";
    let explained = explained(json!({ "reason": "rejected", "message": message }), &[]);
    assert_eq!(explained.kind, Kind::Rejected);
    assert!(explained.what_to_do.contains("`partition`"), "{}", explained.what_to_do);
}

#[test]
fn every_state_and_reason_has_a_sentence() {
    use crate::domain::run::{Reason, State};
    for state in State::WORDS {
        for reason in Reason::WORDS {
            for message in ["", "a word"] {
                let changes = json!({ "state": state, "reason": reason, "message": message });
                let explained = explained(changes, &[]);
                assert!(!explained.sentence.is_empty(), "{state} {reason}");
                let waits =
                    ["queued", "pending", "preparing", "submitting", "backoff"].contains(state);
                assert_eq!(explained.will_start.is_some(), waits, "{state}");
            }
        }
    }
}
