//! Who may start again, how often, and what is kept of the starts before.

use crate::domain::inbox::{ScriptEvent, ScriptEventKind};
use crate::domain::run::tests::{
    acknowledged, admitted, after, cancel, end, ended, grew, job, notes, policy, restarted, run_in,
    running, script, script_ended, t, token, waiting,
};
use crate::domain::run::{
    Act, Attempt, AttemptState, Decision, Event, JobEnd, Look, Policy, Reason, Run, Seen, Sighting,
    State, decide, step,
};

/// What an end comes to: the state, and the restarts that are then counted.
#[track_caller]
fn check(job_end: JobEnd, exit_code: i32, restarts: u32, expected: (&str, u32)) {
    let before = Run { restarts, ..run_in("running") };
    let run = step(&before, &Event::Found(ended(job_end, exit_code)), &policy(), t(500)).run;
    let at = format!("{job_end:?} {exit_code} after {restarts} restarts");
    assert_eq!((run.state.as_str(), run.restarts), expected, "{at}");
}

#[test]
fn what_the_policy_names_comes_back_until_its_restarts_are_used_up() {
    check(JobEnd::Preempted, 0, 0, ("backoff", 1));
    check(JobEnd::NodeFailure, 0, 2, ("backoff", 3));
    check(JobEnd::Failed, 75, 0, ("backoff", 1));
    check(JobEnd::Failed, 75, 3, ("failed", 3));
    check(JobEnd::Preempted, 0, 3, ("failed", 3));
    check(JobEnd::Failed, 1, 0, ("failed", 0));
    check(JobEnd::TimeLimit, 0, 0, ("failed", 0));
    check(JobEnd::OutOfMemory, 0, 0, ("failed", 0));
    check(JobEnd::Cancelled, 0, 0, ("cancelled", 0));
    check(JobEnd::Completed, 0, 0, ("completed", 0));
}

#[test]
fn each_end_has_its_reason_and_its_evidence() {
    let evidence = |job_end, signal| {
        let mut sighting = ended(job_end, 3);
        if let crate::domain::run::Phase::Ended { signal: told, .. } = &mut sighting.phase {
            *told = signal;
        }
        sighting.granted.time_limit_seconds = Some(5_400);
        let none = Policy { max_restarts: 0, ..policy() };
        let run = step(&run_in("running"), &Event::Found(sighting), &none, t(500)).run;
        let (_, reason, message) = end(&run);
        (reason, message.to_owned())
    };
    let check = |job_end, signal, reason, message: &str| {
        assert_eq!(evidence(job_end, signal), (Some(reason), message.to_owned()));
    };
    check(JobEnd::Failed, None, Reason::ExitCode, "the training ended with exit code 3");
    check(JobEnd::Failed, Some(0), Reason::ExitCode, "the training ended with exit code 3");
    check(JobEnd::Failed, Some(11), Reason::Signal, "the training was killed by signal 11");
    check(JobEnd::TimeLimit, None, Reason::TimeLimit, "the job reached its time limit of 1h30m");
    check(
        JobEnd::OutOfMemory,
        None,
        Reason::OutOfMemory,
        "the job used more memory than it was given on n1",
    );
    check(JobEnd::NodeFailure, None, Reason::NodeFailure, "a node of the job failed: n1");
    check(JobEnd::BootFailure, None, Reason::BootFailure, "a node of the job did not boot: n1");
    check(JobEnd::Deadline, None, Reason::Deadline, "the job could not start before its deadline");
    check(JobEnd::Preempted, None, Reason::Preempted, "the job was preempted");
    let cancelled = Reason::CancelledByAdmin;
    check(JobEnd::Cancelled, None, cancelled, "the job was cancelled outside Trainyard");
    assert_eq!(evidence(JobEnd::Completed, None), (None, String::new()));
}

#[test]
fn a_requeue_closes_the_attempt_and_opens_the_next_with_everything_kept() {
    let before = run_in("running");
    let first = before.attempt.clone().expect("an attempt");
    let event = grew(restarted(waiting(), 1));
    let Decision { run, closed, acts, notes: _ } = step(&before, &event, &policy(), t(300));
    assert_eq!((run.state.as_str(), run.attempts, run.restarts), ("queued", 2, 1));
    assert_eq!(acts, vec![]);
    let [old] = closed.as_slice() else { panic!("one is closed: {closed:?}") };
    let expected = crate::domain::run::Attempt {
        state: AttemptState::Requeued,
        reason: Some(Reason::Requeued),
        ended_at: Some(t(200)),
        ..first
    };
    assert_eq!(*old, expected, "only its end is added");
    let next = run.attempt.expect("an attempt");
    assert_eq!((next.n, next.restart, next.job.clone()), (2, 1, job(7)));
    assert_eq!((next.submitted_at, next.started_at, next.nodes.len()), (t(200), None, 0));
}

#[test]
fn a_start_whose_script_asked_for_the_next_ended_as_the_script_told() {
    let reason = |before: &Run, policy: &Policy| {
        let closed = step(before, &grew(restarted(waiting(), 1)), policy, t(300)).closed;
        (closed[0].reason, closed[0].exit_code)
    };
    let told = |code: i32| {
        let mut run = run_in("running");
        let attempt = run.attempt.as_mut().unwrap();
        attempt.script_end = Some(script_ended(code));
        run
    };
    let with_limit = |mut run: Run| {
        let attempt = run.attempt.as_mut().unwrap();
        attempt.granted.time_limit_seconds = Some(100);
        attempt.warned_at = attempt.started_at;
        run
    };
    let never = Policy { restart_exit_codes: vec![], ..policy() };
    assert_eq!(reason(&told(75), &policy()), (Some(Reason::ExitCode), Some(75)));
    assert_eq!(reason(&told(75), &never), (Some(Reason::Requeued), None));
    assert_eq!(reason(&with_limit(told(143)), &policy()), (Some(Reason::TimeLimit), None));
    assert_eq!(reason(&with_limit(told(75)), &policy()), (Some(Reason::ExitCode), Some(75)));
    assert_eq!(reason(&told(143), &policy()), (Some(Reason::Requeued), None));
}

#[test]
fn accounting_tells_how_each_start_before_ended() {
    let told = |restart: u32, end: JobEnd, from: i64| Sighting {
        restart,
        submitted_at: Some(t(from)),
        started_at: Some(t(from + 5)),
        ended_at: Some(t(from + 50)),
        nodes: vec![format!("n{restart}")],
        ..*ended(end, 0)
    };
    // Nobody looked while it was preempted, started again, and lost a node.
    let earlier = vec![told(0, JobEnd::Preempted, 0), told(1, JobEnd::NodeFailure, 100)];
    let event = Event::RestartGrew { now: restarted(running(), 2), earlier, told: vec![] };
    let Decision { run, closed, .. } = step(&run_in("running"), &event, &policy(), t(300));
    let ends: Vec<_> = closed
        .iter()
        .map(|attempt| (attempt.n, attempt.reason, attempt.ended_at, attempt.nodes.join(",")))
        .collect();
    let first = (1, Some(Reason::Preempted), Some(t(50)), "n0".to_owned());
    let second = (2, Some(Reason::NodeFailure), Some(t(150)), "n1".to_owned());
    assert_eq!(ends, [first, second]);
    assert!(closed.iter().all(|attempt| attempt.state == AttemptState::Requeued));
    assert_eq!((run.state.as_str(), run.attempts, run.restarts), ("running", 3, 2));
}

#[test]
fn what_the_script_said_in_starts_that_nobody_saw_is_theirs() {
    let told = |kind: ScriptEventKind, restart: u32, message: &str| ScriptEvent {
        restart,
        message: message.into(),
        ..script(kind)
    };
    let start = |restart: u32, end: JobEnd| Sighting {
        restart,
        started_at: Some(t(50)),
        ended_at: Some(t(90)),
        ..*ended(end, 0)
    };
    let saved = ScriptEvent { restart: 1, ..script_ended(75) };
    let seen = Seen {
        look: Look::Job(restarted(running(), 2)),
        earlier: vec![start(0, JobEnd::Requeued), start(1, JobEnd::Requeued)],
        script: vec![
            script_ended(0),
            told(ScriptEventKind::Launched, 1, "/checkpoints/step-1"),
            saved,
            told(ScriptEventKind::Launched, 2, "/checkpoints/step-2"),
        ],
        ..Seen::default()
    };
    let Decision { run, closed, .. } = decide(&run_in("running"), &seen, &policy(), t(300));
    let from = |attempt: &Attempt| attempt.began.clone().and_then(|began| began.from);
    let ends: Vec<_> = closed.iter().map(|it| (it.n, it.reason, it.exit_code, from(it))).collect();
    let first = (1, Some(Reason::Requeued), Some(0), None);
    let second = (2, Some(Reason::ExitCode), Some(75), Some("/checkpoints/step-1".into()));
    assert_eq!(ends, [first, second]);
    let now = run.attempt.as_ref().unwrap();
    assert_eq!((now.n, from(now)), (3, Some("/checkpoints/step-2".into())));
    assert_eq!(run.state, State::Running);
    // Of another job nothing is believed.
    let strange = |event: ScriptEvent| ScriptEvent { job: job(8), ..event };
    let script = seen.script.iter().cloned().map(strange).collect();
    let seen = Seen { script, ..seen };
    let Decision { closed, .. } = decide(&run_in("running"), &seen, &policy(), t(300));
    assert!(closed.iter().all(|attempt| attempt.began.is_none()), "{closed:?}");
}

#[test]
fn an_older_record_of_a_requeued_job_is_no_news() {
    let requeued = grew(restarted(running(), 1));
    let run = step(&run_in("running"), &requeued, &policy(), t(300)).run;
    for older in [running(), waiting(), ended(JobEnd::Preempted, 0)] {
        let seen = Seen { look: Look::Job(older), ..Seen::default() };
        assert_eq!(decide(&run, &seen, &policy(), t(301)), Decision::stay(&run));
    }
}

#[test]
fn starts_that_nobody_saw_count_and_keep_the_numbers_of_the_script() {
    // Requeued twice before the first look: the third start is attempt 3, as its script says.
    let submitting = run_in("submitting");
    let run = step(&submitting, &grew(restarted(running(), 2)), &policy(), t(9)).run;
    let attempt = run.attempt.as_ref().expect("an attempt");
    assert_eq!((attempt.n, run.attempts, run.restarts), (3, 3, 2));
    assert_eq!(run.state, State::Running);
    // The next submission counts on from there.
    let run = step(&run, &Event::Found(restarted(ended(JobEnd::Preempted, 0), 2)), &policy(), t(9));
    let run = step(&run.run, &Event::TimerDue, &policy(), t(99)).run;
    let run = step(&run, &admitted(2), &policy(), t(99)).run;
    assert_eq!(run.submission.map(|submission| submission.attempt_base), Some(4));
}

#[test]
fn a_run_that_is_stopped_while_its_job_was_requeued_ends_with_that_job() {
    let stopping = run_in("stopping");
    let waits = step(&stopping, &grew(restarted(waiting(), 1)), &policy(), t(300));
    assert_eq!(waits.run.state.as_str(), "stopping");
    assert_eq!(waits.acts, vec![Act::Cancel { job: job(7), token: token(1), grace: false }]);
    // Nobody had looked in between: the job was requeued, and then cancelled as it was wished.
    let over = Look::Job(restarted(ended(JobEnd::Cancelled, 0), 1));
    for before in [&stopping, &waits.run] {
        let seen = Seen { look: over.clone(), ..Seen::default() };
        let decision = decide(before, &seen, &policy(), t(310));
        assert_eq!(
            end(&decision.run),
            ("cancelled", Some(Reason::CancelledByUser), "cancelled by anna")
        );
        assert_eq!((decision.run.attempts, decision.acts), (2, vec![]));
    }
}

#[test]
fn an_id_that_nobody_has_shown_is_not_cancelled() {
    // slurmctld may have forgotten the job, and given its id to somebody else's.
    let acked = after(&[admitted(1), acknowledged()]);
    assert_eq!(step(&acked, &cancel(), &policy(), t(9)).acts, vec![]);
    let missed = step(&run_in("queued"), &Event::Absent, &policy(), t(9)).run;
    let stopping = step(&missed, &cancel(), &policy(), t(10));
    assert_eq!(stopping.acts, vec![]);
    assert_eq!(step(&stopping.run, &Event::TimerDue, &policy(), t(90)).acts, vec![]);
    let seen = step(&stopping.run, &Event::Found(waiting()), &policy(), t(91));
    let again = step(&seen.run, &Event::TimerDue, &policy(), t(200));
    for decision in [seen, again] {
        assert_eq!(decision.acts, vec![Act::Cancel { job: job(7), token: token(1), grace: false }]);
    }
}

#[test]
fn one_restart_too_many_is_vetoed() {
    let before = Run { restarts: 3, ..run_in("running") };
    let event = grew(restarted(waiting(), 1));
    let decision = step(&before, &event, &policy(), t(300));
    assert_eq!(decision.run.state.as_str(), "stopping");
    assert_eq!(decision.acts, vec![Act::Cancel { job: job(7), token: token(1), grace: false }]);
    assert_eq!(notes(&decision, "state"), vec!["running → stopping: restarted more than 3 times"]);
    let over = Event::Found(restarted(ended(JobEnd::Cancelled, 0), 1));
    let run = step(&decision.run, &over, &policy(), t(301)).run;
    let expected = ("failed", Some(Reason::StoppedByPolicy), "restarted more than 3 times");
    assert_eq!(end(&run), expected);
    // Also when it is the first that is heard of the job.
    let never = Policy { max_restarts: 0, ..policy() };
    let stopping = step(&run_in("submitting"), &event, &never, t(9)).run;
    assert_eq!(stopping.state.as_str(), "stopping");
    assert_eq!(stopping.submission.and_then(|known| known.job), Some(job(7)));
}

#[test]
fn a_restart_of_our_own_waits_and_then_takes_a_new_submission() {
    let run = run_in("backoff");
    let State::Backoff { until } = run.state else { panic!("in backoff") };
    assert_eq!(until, t(4 + 60), "the policy's wait from the moment the end was seen");
    let pending = step(&run, &Event::TimerDue, &policy(), until).run;
    let again = step(&pending, &admitted(2), &policy(), t(70));
    let closed: Vec<u32> = again.closed.iter().map(|attempt| attempt.n).collect();
    assert_eq!((again.run.state.as_str(), closed), ("submitting", vec![1]));
    let job_8 = Event::Acknowledged { job: job(8), notices: "hello".into() };
    let run = step(&again.run, &job_8, &policy(), t(71)).run;
    let attempt = run.attempt.expect("an attempt");
    assert_eq!((attempt.n, attempt.restart, attempt.job), (2, 0, job(8)));
    assert_eq!(attempt.notices, "hello");
}

#[test]
fn a_hung_run_comes_back_unless_a_person_cancels_it() {
    let restart_on = vec![Reason::Hung, Reason::BudgetExhausted];
    let policy = Policy { restart_on, ..policy() };
    let hung = Event::OwnStop { reason: Reason::Hung, message: "no news for 2h".into() };
    let stopping = step(&run_in("running"), &hung, &policy, t(400)).run;
    let over = Event::Found(ended(JobEnd::Cancelled, 0));
    let run = step(&stopping, &over, &policy, t(401)).run;
    assert_eq!((run.state.as_str(), run.restarts), ("backoff", 1));
    let wished = step(&stopping, &cancel(), &policy, t(401)).run;
    let run = step(&wished, &over, &policy, t(402)).run;
    assert_eq!(end(&run), ("cancelled", Some(Reason::CancelledByUser), "cancelled by anna"));
    // Other stops of our own end the run.
    let budget = Event::OwnStop { reason: Reason::BudgetExhausted, message: "spent".into() };
    let run = step(&step(&run_in("running"), &budget, &policy, t(400)).run, &over, &policy, t(401));
    assert_eq!(end(&run.run), ("failed", Some(Reason::BudgetExhausted), "spent"));
}

#[test]
fn a_point_that_fell_behind_has_not_failed() {
    let policy = Policy { restart_on: vec![Reason::StoppedEarly], ..policy() };
    let behind = Event::OwnStop { reason: Reason::StoppedEarly, message: "rung 0".into() };
    let expected = ("cancelled", Some(Reason::StoppedEarly), "rung 0");
    let stopping = step(&run_in("running"), &behind, &policy, t(400)).run;
    // It saves and asks to be brought back, which is what it does when it is warned.
    let over = Event::Found(ended(JobEnd::Failed, 75));
    assert_eq!(end(&step(&stopping, &over, &policy, t(410)).run), expected);
    assert_eq!(end(&step(&run_in("backoff"), &behind, &policy, t(400)).run), expected);
}

#[test]
fn a_resumed_run_keeps_its_history_and_counts_on() {
    let failed = run_in("failed");
    let resumed =
        step(&failed, &Event::Resume { by: "anna".into(), from: None }, &policy(), t(500));
    assert_eq!(resumed.run.state, State::Pending { why: None, not_before: None });
    assert_eq!(resumed.closed, Vec::from_iter(failed.attempt), "its end stays in the history");
    assert_eq!(notes(&resumed, "reopened"), vec!["resumed by anna"]);
    let run = step(&resumed.run, &admitted(2), &policy(), t(501)).run;
    let run = step(&run, &acknowledged(), &policy(), t(502)).run;
    assert_eq!((run.attempts, run.attempt.map(|attempt| attempt.n)), (2, Some(2)));
}

#[test]
fn a_wish_counts_from_its_moment() {
    let stopping = run_in("stopping"); // wished at second 4
    let ended_at = |seconds, job_end| {
        let mut sighting = ended(job_end, 0);
        sighting.ended_at = Some(t(seconds));
        step(&stopping, &Event::Found(sighting), &policy(), t(500)).run
    };
    assert_eq!(end(&ended_at(3, JobEnd::Completed)), ("completed", None, ""));
    assert_eq!(end(&ended_at(4, JobEnd::Completed)), ("completed", None, ""));
    let wished = ("cancelled", Some(Reason::CancelledByUser), "cancelled by anna");
    assert_eq!(end(&ended_at(90, JobEnd::Completed)), wished);
    assert_eq!(end(&ended_at(90, JobEnd::Failed)), wished);
    assert_eq!(end(&ended_at(90, JobEnd::Preempted)), wished);
}

#[test]
fn what_was_stopped_and_vanished_keeps_what_its_script_said() {
    let stopping = run_in("stopping");
    let told = step(&stopping, &Event::Script(script_ended(143)), &policy(), t(100)).run;
    let gone = Event::AbsentPastGrace { marker: None };
    let run = step(&told, &gone, &policy(), t(500)).run;
    let attempt = run.attempt.expect("an attempt");
    assert_eq!((attempt.exit_code, attempt.ended_at), (Some(143), Some(t(90))));
    assert_eq!(attempt.state, AttemptState::Cancelled);
}

#[test]
fn a_late_acknowledgement_ends_the_job_it_tells_of() {
    // Cancelled while sbatch was under way, and its claim was revoked at once.
    let run = after(&[admitted(1), cancel(), Event::Revoked]);
    assert_eq!(end(&run), ("cancelled", Some(Reason::CancelledByUser), "cancelled by anna"));
    let late = step(&run, &acknowledged(), &policy(), t(60));
    assert_eq!(late.acts, vec![Act::Cancel { job: job(7), token: token(1), grace: false }]);
    assert_eq!(late.run, run);
    // Or it was not: the attempt is opened, so that its end is recorded.
    let stopping = after(&[admitted(1), cancel()]);
    let late = step(&stopping, &acknowledged(), &policy(), t(60));
    assert_eq!(late.acts, vec![Act::Cancel { job: job(7), token: token(1), grace: false }]);
    assert_eq!((late.run.state.as_str(), late.run.attempts), ("stopping", 1));
}

#[test]
fn a_start_that_only_its_marker_tells_of_decides_as_the_last_one() {
    let run = step(&run_in("running"), &Event::Absent, &policy(), t(10)).run;
    let marker = ScriptEvent { restart: 1, attempt: 2, ..script_ended(0) };
    let gone = Event::AbsentPastGrace { marker: Some(marker) };
    let decision = step(&run, &gone, &policy(), t(400));
    assert_eq!(end(&decision.run), ("completed", None, ""));
    let [before] = decision.closed.as_slice() else { panic!("the start before is closed") };
    assert_eq!((before.n, before.state), (1, AttemptState::Requeued));
    let last = decision.run.attempt.expect("an attempt");
    assert_eq!((last.n, last.restart, last.self_reported), (2, 1, true));
    assert_eq!(decision.run.restarts, 1);
}
