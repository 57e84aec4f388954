//! Which nodes are named for the end of an attempt, and what comes of nodes that the run keeps away from.

use crate::domain::bad_nodes::{Avoided, Health};
use crate::domain::ids::SubmissionId;
use crate::domain::inbox::{ScriptEvent, ScriptReason};
use crate::domain::nodelist::NodeName;
use crate::domain::run::tests::{
    acknowledged, after, ended, job, notes, policy, restarted, run_in, running, script_ended, t,
    token, waiting,
};
use crate::domain::run::{
    Answer, Attempt, Decision, Event, JobEnd, Look, Run, Seen, Sighting, State, decide, step,
};

fn names(names: &[&str]) -> Vec<NodeName> {
    names.iter().map(|name| name.parse().expect("a name")).collect()
}

/// A running run on these nodes.
fn on(nodes: &[&str]) -> Run {
    let mut run = run_in("running");
    let nodes: Vec<String> = nodes.iter().map(|name| (*name).to_owned()).collect();
    run.attempt.as_mut().expect("an attempt").nodes = nodes;
    run
}

/// What is decided when the scheduler shows this, and these nodes as failed.
fn seen(run: &Run, shown: Box<Sighting>, failed: &[&str]) -> Decision {
    let unwell_nodes = names(failed).into_iter().map(|name| (name, Health::Failed)).collect();
    let seen = Seen { look: Look::Job(shown), unwell_nodes, ..Seen::default() };
    decide(run, &seen, &policy(), t(300))
}

fn failed_under(attempt: &Attempt) -> Vec<&str> {
    attempt.failed_nodes.iter().map(NodeName::as_str).collect()
}

fn end(end: JobEnd, nodes: &[&str]) -> Box<Sighting> {
    let nodes = nodes.iter().map(|name| (*name).to_owned()).collect();
    Box::new(Sighting { nodes, ..*ended(end, 0) })
}

#[test]
fn the_node_that_failed_is_named_as_its_attempt_ends() {
    let nodes = ["n1", "n2", "n3"];
    let decision = seen(&on(&nodes), end(JobEnd::NodeFailure, &nodes), &["n2", "n9"]);
    assert_eq!(decision.run.state.as_str(), "backoff");
    assert_eq!(failed_under(decision.run.attempt.as_ref().expect("an attempt")), ["n2"]);
    assert_eq!(notes(&decision, "node_failed"), ["node n2 failed under attempt 1"]);
    // Nobody is blamed again for an end that is known.
    let again = seen(&decision.run, end(JobEnd::NodeFailure, &nodes), &["n1", "n2"]);
    assert_eq!(again, Decision::stay(&decision.run));
    let preempted = seen(&on(&nodes), end(JobEnd::Preempted, &nodes), &["n2"]);
    assert_eq!(failed_under(preempted.run.attempt.as_ref().expect("an attempt")), [""; 0]);
}

#[test]
fn a_start_that_the_scheduler_followed_with_another_has_its_node_named() {
    let nodes = ["n1", "n2", "n3"];
    // Only squeue tells: nothing of how it ended.
    let decision = seen(&on(&nodes), restarted(waiting(), 1), &["n3"]);
    let [closed] = decision.closed.as_slice() else { panic!("one is closed: {decision:?}") };
    assert_eq!(failed_under(closed), ["n3"]);
    assert_eq!(decision.run.attempt.map(|attempt| attempt.failed_nodes), Some(Vec::new()));
    // Accounting tells.
    let earlier = vec![*end(JobEnd::NodeFailure, &["n1"])];
    let look = Look::Job(restarted(waiting(), 1));
    let told = Seen { look, earlier, ..Seen::default() };
    let decision = decide(&on(&["n1"]), &told, &policy(), t(300));
    assert_eq!(failed_under(&decision.closed[0]), ["n1"], "it had no other");
}

#[test]
fn of_several_nodes_the_only_one_that_is_known_is_not_blamed_for_it() {
    let mut run = on(&["n1"]);
    run.attempt.as_mut().expect("an attempt").granted.nodes = Some(4);
    let decision = seen(&run, end(JobEnd::NodeFailure, &[]), &["n1"]);
    assert_eq!(failed_under(decision.run.attempt.as_ref().expect("an attempt")), [""; 0]);
}

#[test]
fn a_name_that_only_the_script_told_is_not_believed() {
    let mut run = on(&["n1"]);
    run.attempt.as_mut().expect("an attempt").slurm_state = None;
    let silent = "these nodes did not report in within 60 s: n1; srun said: x";
    let told = ScriptEvent {
        reason: Some(ScriptReason::LaunchFailed),
        message: silent.into(),
        ..script_ended(1)
    };
    let told = step(&run, &Event::Script(told), &policy(), t(90)).run;
    let gone = Seen { look: Look::Absent, ..Seen::default() };
    let missed = decide(&told, &gone, &policy(), t(100)).run;
    let over = decide(&missed, &gone, &policy(), t(100_000)).run;
    assert!(over.state.is_final(), "{over:?}");
    assert_eq!(failed_under(over.attempt.as_ref().expect("an attempt")), [""; 0]);
    // Slurm showed the same two nodes.
    let mut known = on(&["n1", "n2"]);
    known.attempt.as_mut().expect("an attempt").script_end =
        told.attempt.and_then(|attempt| attempt.script_end);
    let over = seen(&known, end(JobEnd::Failed, &["n1", "n2"]), &[]).run;
    assert_eq!(failed_under(over.attempt.as_ref().expect("an attempt")), ["n1"]);
}

fn admitted_without(n: i64, nodes: &[&str]) -> Event {
    let avoided = Avoided { nodes: names(nodes), told: Some("it keeps away".into()) };
    let token = token(u128::try_from(n).expect("small"));
    Event::Admitted { submission: SubmissionId(n), token, cluster: "main".into(), avoided }
}

#[test]
fn what_a_submission_keeps_away_from_is_recorded_with_the_intent_and_stays() {
    let decision = step(&after(&[]), &admitted_without(1, &["n2"]), &policy(), t(0));
    assert_eq!(notes(&decision, "avoided"), ["it keeps away"]);
    let unreachable = Event::Unreachable { message: "nobody there".into() };
    let run = step(&decision.run, &unreachable, &policy(), t(1)).run;
    let run = step(&run, &Event::CalledAgain, &policy(), t(99)).run;
    assert_eq!(run.submission.map(|submission| submission.avoided), Some(names(&["n2"])));
}

#[test]
fn a_refusal_of_nodes_that_are_ours_is_not_the_runs() {
    let refused = |run: &Run, for_now| {
        let answer = Some(Answer::Refused { message: "no such nodes".into(), for_now });
        decide(run, &Seen { answer, ..Seen::default() }, &policy(), t(5))
    };
    let submitting = after(&[admitted_without(1, &["n2"])]);
    let decision = refused(&submitting, false);
    assert_eq!(decision.run.state, State::Pending { why: None, not_before: None });
    assert!(decision.run.avoidance_refused);
    let told = "refused without n2: no such nodes; it is submitted again with them";
    assert_eq!(notes(&decision, "avoided"), [told]);
    let again = step(&decision.run, &admitted_without(2, &[]), &policy(), t(6)).run;
    assert_eq!(refused(&again, false).run.state.as_str(), "failed", "now it is the spec's");
    let accepted = step(&again, &acknowledged(), &policy(), t(7)).run;
    assert!(!accepted.avoidance_refused, "the next attempt may try again");
    let limit = refused(&submitting, true).run;
    assert!(!limit.avoidance_refused && limit.state.as_str() == "pending", "a limit passes");
}

#[test]
fn a_start_of_the_schedulers_own_is_kept_away_once() {
    let run = seen(&on(&["n1"]), restarted(waiting(), 1), &[]).run;
    assert!(run.may_be_kept_away());
    let avoided = Avoided { nodes: names(&["n1"]), told: Some("it keeps away".into()) };
    let decision = step(&run, &Event::KeepsAway(avoided), &policy(), t(301));
    assert_eq!(notes(&decision, "avoided"), ["it keeps away"]);
    let told = decision.run;
    assert!(!told.may_be_kept_away());
    assert_eq!(told.submission.as_ref().map(|known| &known.avoided), Some(&names(&["n1"])));
    let started = seen(&told, restarted(running(), 1), &[]).run;
    let again = seen(&started, restarted(waiting(), 2), &[]).run;
    assert!(!started.may_be_kept_away() && again.may_be_kept_away());
    assert!(!run_in("queued").may_be_kept_away(), "its first start was told by sbatch");
    assert_eq!(again.submission.and_then(|known| known.job), Some(job(7)));
}
