//! Trainings that are warned of their end: what they were warned of, what comes of it, and how long they are waited for.

use crate::domain::inbox::{ScriptEvent, ScriptEventKind, ScriptReason};
use crate::domain::run::tests::{
    acknowledged, admitted, after, cancel, end, ended, job, notes, policy, run_in, running, script,
    script_ended, t, token,
};
use crate::domain::run::{Act, Event, JobEnd, Policy, Reason, Run, State, step};
use crate::domain::units::Seconds;

/// A run that started at second 10 with a limit of 500 s, and was warned so long after its start.
fn warned_after(seconds: i64) -> Run {
    let mut shown = running();
    shown.granted.time_limit_seconds = Some(500);
    let run = step(&run_in("queued"), &Event::Found(shown), &policy(), t(11)).run;
    let at = t(10 + seconds).as_second();
    let warned = ScriptEvent { at, ..script(ScriptEventKind::Warned) };
    let decision = step(&run, &Event::Script(warned), &policy(), t(12 + seconds));
    assert_eq!(notes(&decision, "warned").len(), 1);
    decision.run
}

/// How a run ends after that, and why.
#[track_caller]
fn check(before: &Run, policy: &Policy, job_end: JobEnd, code: i32, expected: (&str, &str)) {
    let run = step(before, &Event::Found(ended(job_end, code)), policy, t(600)).run;
    let attempt = run.attempt.as_ref().unwrap();
    let reason = attempt.reason.map_or("", Reason::as_str);
    assert_eq!((run.state.as_str(), reason), expected, "{job_end:?} {code}");
}

#[test]
fn after_a_warning_the_end_that_it_announced_is_the_reason() {
    let near = warned_after(500 - 30);
    check(&near, &policy(), JobEnd::Failed, 1, ("failed", "time_limit"));
    check(&near, &policy(), JobEnd::TimeLimit, 0, ("failed", "time_limit"));
    check(&near, &policy(), JobEnd::OutOfMemory, 0, ("failed", "out_of_memory"));
    check(&near, &policy(), JobEnd::Preempted, 0, ("backoff", "preempted"));
    // Zero always means done, and what saved asks to be brought back.
    check(&near, &policy(), JobEnd::Completed, 0, ("completed", ""));
    check(&near, &policy(), JobEnd::Failed, 75, ("backoff", "exit_code"));
    let run = step(&near, &Event::Found(ended(JobEnd::Failed, 1)), &policy(), t(600)).run;
    let message = "the training ended with exit code 1 after it was warned that its time limit of 8m20s was near";
    assert_eq!(end(&run), ("failed", Some(Reason::TimeLimit), message));
    // As early as Slurm may warn, and no earlier: of what, nobody knows.
    let too_early = 500 - 30 - 90 - 1;
    check(&warned_after(too_early + 1), &policy(), JobEnd::Failed, 1, ("failed", "time_limit"));
    check(&warned_after(too_early), &policy(), JobEnd::Failed, 1, ("failed", "exit_code"));
    // Where no warning is asked for, none is of the limit.
    let none = Policy { warn_before_end: Seconds(0), ..policy() };
    check(&near, &none, JobEnd::Failed, 1, ("failed", "exit_code"));
    check(&run_in("running"), &policy(), JobEnd::Failed, 1, ("failed", "exit_code"));
}

#[test]
fn what_saved_comes_back_as_often_as_it_may() {
    let near = warned_after(470);
    let spent = Run { restarts: 3, ..near.clone() };
    let run = step(&spent, &Event::Found(ended(JobEnd::Failed, 75)), &policy(), t(600)).run;
    let message = "the training ended with exit code 75: it has saved, and may be brought back 3 times at most";
    assert_eq!(end(&run), ("failed", Some(Reason::ExitCode), message));
    // It may have said so just when its time was over: only its script tells.
    let told = step(&near, &Event::Script(script_ended(75)), &policy(), t(590)).run;
    check(&told, &policy(), JobEnd::TimeLimit, 0, ("backoff", "time_limit"));
    check(&told, &policy(), JobEnd::Cancelled, 0, ("cancelled", "cancelled_by_admin"));
    let other = Policy { restart_exit_codes: vec![99], ..policy() };
    check(&near, &other, JobEnd::Failed, 99, ("backoff", "exit_code"));
    check(&near, &other, JobEnd::Failed, 75, ("failed", "time_limit"));
}

#[test]
fn a_run_that_is_cancelled_has_the_warnings_time_to_save() {
    let end_now = Act::Cancel { job: job(7), token: token(1), grace: false };
    let warn = Act::Cancel { job: job(7), token: token(1), grace: true };
    let longer = Policy { warn_before_end: Seconds(50), ..policy() };
    let stopping = step(&run_in("running"), &cancel(), &longer, t(100));
    assert_eq!(stopping.acts, [warn]);
    let stopping = stopping.run;
    assert!(!stopping.is_due(&longer, t(149)) && stopping.is_due(&longer, t(150)));
    let ended_now = step(&stopping, &Event::TimerDue, &longer, t(150));
    assert_eq!(ended_now.acts, std::slice::from_ref(&end_now));
    // From then on the patience of a stop counts.
    assert!(!ended_now.run.is_due(&longer, t(179)) && ended_now.run.is_due(&longer, t(180)));
    // What it ends with is of no account, but it is kept.
    let run = step(&stopping, &Event::Found(ended(JobEnd::Failed, 75)), &policy(), t(120)).run;
    assert_eq!(end(&run), ("cancelled", Some(Reason::CancelledByUser), "cancelled by anna"));
    assert_eq!(run.attempt.unwrap().exit_code, Some(75));
    // It is waited for at most ten minutes, and not at all where it is not warned.
    for (asked, grace) in [(30 * 60, Some(600)), (600, Some(600)), (5, Some(5)), (0, None)] {
        let policy = Policy { warn_before_end: Seconds(asked), ..policy() };
        assert_eq!(policy.grace(), grace.map(Seconds));
    }
    // A script that has not told of its training may be only just starting, and would die of the signal.
    let starting = after(&[admitted(1), acknowledged(), Event::Found(running())]);
    assert_eq!(step(&starting, &cancel(), &policy(), t(100)).acts, std::slice::from_ref(&end_now));
    let none = Policy { warn_before_end: Seconds(0), ..policy() };
    let stopping = step(&run_in("running"), &cancel(), &none, t(100));
    assert_eq!(stopping.acts, [end_now]);
    assert!(!stopping.run.is_due(&none, t(129)) && stopping.run.is_due(&none, t(130)));
}

#[test]
fn nobody_waits_for_a_training_that_hears_nothing() {
    let unheard = Event::Script(script(ScriptEventKind::Unheard));
    let stopping = step(&run_in("running"), &cancel(), &policy(), t(100)).run;
    let decision = step(&stopping, &unheard, &policy(), t(112));
    assert_eq!(decision.acts, [Act::Cancel { job: job(7), token: token(1), grace: false }]);
    assert!(matches!(decision.run.state, State::Stopping { .. }));
    // Nor does it matter to one that goes on.
    let running = run_in("running");
    let decision = step(&running, &unheard, &policy(), t(112));
    assert_eq!((decision.run, decision.acts), (running, vec![]));
    // One of another start says nothing of this one.
    let other = ScriptEvent { restart: 1, ..script(ScriptEventKind::Unheard) };
    let decision = step(&stopping, &Event::Script(other), &policy(), t(112));
    assert_eq!((decision.run, decision.acts), (stopping, vec![]));
}

#[test]
fn a_training_that_its_script_ended_since_it_hung_comes_back_where_that_is_asked_for() {
    let hung = ScriptEvent {
        reason: Some(ScriptReason::Hung),
        message: "no line of its log for 2h".into(),
        ..script_ended(143)
    };
    let over = |policy: &Policy, code| {
        let told = ScriptEvent { exit_code: Some(code), ..hung.clone() };
        let run = step(&run_in("running"), &Event::Script(told), policy, t(100)).run;
        step(&run, &Event::Found(ended(JobEnd::Failed, code)), policy, t(101)).run
    };
    let message = "no line of its log for 2h";
    assert_eq!(end(&over(&policy(), 143)), ("failed", Some(Reason::Hung), message));
    let back = Policy { restart_on: vec![Reason::Hung], ..policy() };
    assert_eq!(over(&back, 143).state.as_str(), "backoff");
    // It has saved when it was asked to end.
    assert_eq!(over(&policy(), 75).state.as_str(), "backoff");
}
