//! A run that gets nowhere is stopped; one that was only unlucky is not.

use crate::domain::checkpoint::{Mark, Saved};
use crate::domain::inbox::ScriptEventKind;
use crate::domain::run::tests::{
    admitted, end, ended, grew, notes, policy, restarted, run_in, running, script, t,
};
use crate::domain::run::{Event, JobEnd, Policy, Reason, Run, State, step};
use crate::domain::spec::Resume;

/// Comes back after everything that ends in these tests, as long as it gets on.
fn with_checkpoints() -> Policy {
    let restart_on = vec![Reason::Preempted, Reason::NodeFailure, Reason::TimeLimit];
    Policy { max_restarts: 9, restart_on, resume: Some(Resume::Auto), ..policy() }
}

fn mark(step: i64, at: i64) -> Mark {
    Mark { path: format!("/c/step-{step}"), step: Some(step), modified: Some(t(at)) }
}

fn saved(newest: Option<Mark>) -> Event {
    Event::Saved(Saved { newest, ..Saved::default() })
}

/// The training begins at a checkpoint, or anew.
fn launched(run: &Run, from: Option<&Mark>) -> Run {
    let mut event = script(ScriptEventKind::Launched);
    let known = run.open_attempt().expect("an attempt");
    event.restart = known.restart;
    event.token = run.submission.as_ref().expect("a submission").token.clone();
    event.job = known.job.clone();
    event.message = from.map(|mark| mark.path.clone()).unwrap_or_default();
    event.resumed_from_step = from.and_then(|mark| mark.step);
    step(run, &Event::Script(event), &policy(), t(20)).run
}

/// An attempt that begins there, ends so, and leaves that as its newest; then it waits to be submitted again, if it may.
#[expect(clippy::needless_pass_by_value, reason = "lives read as rows")]
fn attempt(run: &Run, from: Option<Mark>, job_end: JobEnd, newest: Option<Mark>) -> Run {
    let policy = with_checkpoints();
    let run = launched(run, from.as_ref());
    let run = step(&run, &saved(newest), &policy, t(490)).run;
    step(&run, &Event::Found(ended(job_end, 1)), &policy, t(500)).run
}

/// The next attempt of a run that came back runs.
fn again(run: &Run) -> Run {
    let mut run = run.clone();
    assert_eq!(run.state.as_str(), "backoff", "{:?}", run.state);
    for event in [Event::TimerDue, admitted(1), Event::Found(running())] {
        run = step(&run, &event, &with_checkpoints(), t(1_000)).run;
    }
    assert_eq!(run.state, State::Running);
    run
}

#[track_caller]
fn is_over(run: &Run, reason: Reason, told: &str) {
    let (_, found, message) = end(run);
    assert_eq!(found, Some(reason), "{message}");
    assert!(message.contains(told), "{message}");
}

#[test]
fn after_a_time_limit_only_a_run_that_got_on_comes_back() {
    let limit = JobEnd::TimeLimit;
    let first = attempt(&run_in("running"), None, limit, Some(mark(100, 10)));
    let second = attempt(&again(&first), Some(mark(100, 10)), limit, Some(mark(200, 20)));
    let third = attempt(&again(&second), Some(mark(200, 20)), limit, Some(mark(200, 20)));
    is_over(
        &third,
        Reason::NoProgress,
        "the attempt left no newer complete checkpoint than /c/step-200",
    );
    assert_eq!(third.attempt.as_ref().and_then(|attempt| attempt.reason), Some(Reason::TimeLimit));
    let nothing = attempt(&run_in("running"), None, limit, None);
    is_over(&nothing, Reason::NoProgress, "the attempt left no complete checkpoint");
    // The one that it began from is damaged now: what is older is no progress.
    let older = attempt(&again(&second), Some(mark(200, 20)), limit, Some(mark(100, 10)));
    is_over(&older, Reason::NoProgress, "than /c/step-100");
    // Without `[checkpoint]` nobody can tell.
    let policy = Policy { resume: None, ..with_checkpoints() };
    let unknown = step(&run_in("running"), &Event::Found(ended(limit, 1)), &policy, t(500)).run;
    assert_eq!(unknown.state.as_str(), "backoff");
}

#[test]
fn what_the_scheduler_did_is_forgiven_once() {
    for job_end in [JobEnd::Preempted, JobEnd::NodeFailure] {
        let scratch = attempt(&run_in("running"), None, job_end, None);
        let twice = attempt(&again(&scratch), None, job_end, None);
        is_over(&twice, Reason::NoProgress, "2 attempts in a row left no complete checkpoint");
        let got_on = attempt(&again(&scratch), None, job_end, Some(mark(100, 10)));
        let unlucky = attempt(&again(&got_on), Some(mark(100, 10)), job_end, Some(mark(100, 10)));
        let stuck = attempt(&again(&unlucky), Some(mark(100, 10)), job_end, Some(mark(100, 10)));
        is_over(
            &stuck,
            Reason::NoProgress,
            "2 attempts in a row left no newer complete checkpoint",
        );
    }
}

#[test]
fn a_file_that_is_written_again_and_again_is_told_by_its_time() {
    let limit = JobEnd::TimeLimit;
    let last = |at| Some(Mark { path: "/c/last.pt".into(), step: None, modified: Some(t(at)) });
    let first = attempt(&run_in("running"), None, limit, last(10));
    let second = attempt(&again(&first), last(10), limit, last(20));
    let third = attempt(&again(&second), last(20), limit, last(20));
    is_over(&third, Reason::NoProgress, "/c/last.pt");
}

#[test]
fn where_nobody_heard_where_an_attempt_began_the_end_before_it_tells() {
    let policy = with_checkpoints();
    let first = attempt(&run_in("running"), None, JobEnd::TimeLimit, Some(mark(100, 10)));
    let run = step(&again(&first), &saved(Some(mark(100, 10))), &policy, t(490)).run;
    let run = step(&run, &Event::Found(ended(JobEnd::TimeLimit, 1)), &policy, t(500)).run;
    is_over(&run, Reason::NoProgress, "/c/step-100");
}

#[test]
fn a_requeue_that_gets_nowhere_twice_is_vetoed() {
    let policy = with_checkpoints();
    let mut run = launched(&run_in("running"), None);
    for (restart, state) in [(1, "running"), (2, "stopping")] {
        run = step(&run, &saved(None), &policy, t(490)).run;
        let decision = step(&run, &grew(restarted(running(), restart)), &policy, t(500));
        assert_eq!(decision.run.state.as_str(), state);
        assert_eq!(decision.acts.len(), usize::from(state == "stopping"));
        run = decision.run;
    }
    let State::Stopping { stop, .. } = &run.state else { panic!("{:?}", run.state) };
    assert_eq!(stop.reason, Reason::NoProgress);
}

#[test]
fn where_a_checkpoint_is_required_there_is_no_second_beginning() {
    let policy = Policy { resume: Some(Resume::Require), ..with_checkpoints() };
    let finish = |run: &Run, newest| {
        let run = step(run, &saved(newest), &policy, t(490)).run;
        step(&run, &Event::Found(ended(JobEnd::Preempted, 0)), &policy, t(500)).run
    };
    let begun = launched(&run_in("running"), None);
    is_over(
        &finish(&begun, None),
        Reason::NoCheckpoint,
        "the job was preempted; there is no complete checkpoint",
    );
    assert_eq!(finish(&begun, Some(mark(1, 1))).state.as_str(), "backoff");
    // It never came to its training: the script, which knows, decides.
    let starting = step(&run_in("queued"), &Event::Found(running()), &policy, t(40)).run;
    assert_eq!(finish(&starting, None).state.as_str(), "backoff");
}

#[test]
fn a_run_that_is_resumed_is_given_its_chances_again() {
    let stuck = attempt(&run_in("running"), None, JobEnd::TimeLimit, None);
    let branch =
        crate::domain::checkpoint::Branch { path: "/c/step-5".into(), step: Some(5), at: t(600) };
    let event = Event::Resume { by: "anna".into(), from: Some(branch.clone()) };
    let decision = step(&stuck, &event, &policy(), t(600));
    let run = &decision.run;
    assert_eq!((run.state.as_str(), run.fruitless, run.restarts), ("pending", 0, 0));
    assert_eq!(run.branch.as_ref(), Some(&branch));
    assert_eq!(notes(&decision, "reopened"), ["resumed by anna from /c/step-5"]);
    let plain = Event::Resume { by: "anna".into(), from: None };
    let backoff = attempt(&run_in("running"), None, JobEnd::Preempted, None);
    let chosen = Run { branch: Some(branch.clone()), ..backoff };
    assert_eq!(
        step(&chosen, &plain, &policy(), t(600)).run.branch,
        Some(branch),
        "it stays chosen"
    );
}
