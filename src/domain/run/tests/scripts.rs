//! What a script tells: believed of its own start alone, and never against the scheduler.

use crate::domain::inbox::{ScriptEvent, ScriptEventKind, ScriptReason};
use crate::domain::run::tests::{
    acknowledged, admitted, after, cancel, end, ended, grew, job, notes, policy, restarted, run_in,
    running, script, script_ended, sighting, t, token, waiting,
};
use crate::domain::run::{
    AttemptState, Claim, Decision, Event, JobEnd, Look, Phase, Reason, Seen, State, decide, step,
};

#[test]
fn a_script_is_heard_before_the_scheduler_is() {
    let submitting = run_in("submitting");
    let run = step(&submitting, &Event::Script(script(ScriptEventKind::Started)), &policy(), t(21));
    let attempt = run.run.attempt.clone().expect("an attempt");
    assert_eq!(run.run.state, State::Running);
    assert_eq!((attempt.job, attempt.started_at), (job(7), Some(t(20))));
    assert_eq!(attempt.nodes, vec!["n1"]);
    // The acknowledgement then opens no second attempt and keeps what sbatch said.
    let late = Event::Acknowledged { job: job(7), notices: "a notice".into() };
    let run = step(&run.run, &late, &policy(), t(22)).run;
    assert_eq!((run.state.as_str(), run.attempts), ("running", 1));
    assert_eq!(run.attempt.map(|attempt| attempt.notices), Some("a notice".into()));
}

#[test]
fn an_event_of_another_start_is_noted_and_believed_of_nothing() {
    let foreign = [
        ("an earlier submission", ScriptEvent { token: token(9), ..script_ended(0) }),
        (
            "another job",
            ScriptEvent { job: job(9), reason: Some(ScriptReason::Superseded), ..script_ended(76) },
        ),
        ("a restart nobody told of", ScriptEvent { restart: 1, ..script_ended(0) }),
    ];
    for state in State::WORDS {
        let before = run_in(state);
        for (what, event) in &foreign {
            let is_known = before.submission.as_ref().is_some_and(|known| known.job.is_some());
            if *what == "another job" && !is_known {
                continue;
            }
            let decision = step(&before, &Event::Script(event.clone()), &policy(), t(99));
            assert_eq!(decision.run, before, "{what} × {state}");
            assert_eq!(notes(&decision, "script").len(), 1, "{what} × {state}");
        }
    }
    // The end of the start before, told after the scheduler had requeued the job.
    let requeued = grew(restarted(running(), 1));
    let second = step(&run_in("running"), &requeued, &policy(), t(210)).run;
    let late = step(&second, &Event::Script(script_ended(143)), &policy(), t(211));
    assert_eq!(late.run, second);
}

#[test]
fn the_job_whose_script_begins_is_the_runs_whatever_was_taken_for_it() {
    let began = Event::Script(ScriptEvent { job: job(9), ..script(ScriptEventKind::Started) });
    let over = Event::Script(ScriptEvent { job: job(9), ..script_ended(0) });
    for state in ["queued", "running", "finishing", "stopping"] {
        let run = step(&run_in(state), &began, &policy(), t(99)).run;
        let expected = if state == "stopping" { state } else { "running" };
        assert_eq!(run.state.as_str(), expected, "{state}");
        assert_eq!(run.attempt.as_ref().unwrap().job, job(9), "{state}");
        // The end of the other one is no news then.
        let seen = Seen { look: Look::Job(ended(JobEnd::Failed, 77)), ..Seen::default() };
        let run = decide(&run, &seen, &policy(), t(100)).run;
        assert_eq!(run.state.as_str(), expected, "{state}");
        assert_eq!(run.submission.unwrap().claim, Claim::Owned, "{state}");
    }
    // An end alone does not say whose the claim was.
    let run = step(&run_in("queued"), &over, &policy(), t(99)).run;
    assert_eq!((run.state.as_str(), run.submission.unwrap().claim), ("queued", Claim::Contested));
}

#[test]
fn a_script_that_could_not_launch_knows_better_than_its_exit_code() {
    let mut gave_up = script_ended(1);
    gave_up.reason = Some(ScriptReason::LaunchFailed);
    gave_up.message = "there is no environment `torch25`".into();
    let run = step(&run_in("running"), &Event::Script(gave_up), &policy(), t(95)).run;
    let run = step(&run, &Event::Found(ended(JobEnd::Failed, 1)), &policy(), t(100)).run;
    let message = "there is no environment `torch25`";
    assert_eq!(end(&run), ("failed", Some(Reason::LaunchFailed), message));
}

#[test]
fn data_that_changed_is_told_or_is_why_a_run_failed() {
    let message = "the dataset `x` is not what it was when the run was submitted";
    let mut told = script(ScriptEventKind::DataChanged);
    told.message = message.into();
    // It may be read before the script's first word, of the same second.
    for state in ["queued", "running"] {
        let decision = step(&run_in(state), &Event::Script(told.clone()), &policy(), t(30));
        assert_eq!(notes(&decision, "data_changed"), vec![message], "{state}");
        assert_eq!(decision.run.state, State::Running, "{state}");
        let drift = decision.run.attempt.and_then(|attempt| attempt.data_drift);
        assert_eq!(drift.as_deref(), Some(message), "{state}");
    }
    let mut gave_up = script_ended(95);
    gave_up.reason = Some(ScriptReason::DataChanged);
    gave_up.message = message.into();
    let run = step(&run_in("running"), &Event::Script(gave_up), &policy(), t(95)).run;
    let failed = step(&run, &Event::Found(ended(JobEnd::Failed, 95)), &policy(), t(100)).run;
    assert_eq!(end(&failed), ("failed", Some(Reason::DataChanged), message));
    let stopped = step(&run, &Event::Found(ended(JobEnd::TimeLimit, 0)), &policy(), t(100)).run;
    assert_eq!(end(&stopped).1, Some(Reason::TimeLimit), "the scheduler's word stands");
}

#[test]
fn a_script_that_was_ended_before_its_training_ended_as_slurm_says() {
    // What it was about to do failed, because it was told to end.
    let mut gave_up = script_ended(1);
    gave_up.reason = Some(ScriptReason::LaunchFailed);
    gave_up.message = "scontrol cannot tell the job's nodes".into();
    let run = step(&run_in("running"), &Event::Script(gave_up), &policy(), t(95)).run;
    let over = |end| step(&run, &Event::Found(ended(end, 0)), &policy(), t(100)).run;
    let message = "the job was cancelled outside Trainyard";
    let cancelled = over(JobEnd::Cancelled);
    assert_eq!(end(&cancelled), ("cancelled", Some(Reason::CancelledByAdmin), message));
    assert_eq!(over(JobEnd::Preempted).state.as_str(), "backoff", "it comes back");
    assert_eq!(end(&over(JobEnd::TimeLimit)).1, Some(Reason::TimeLimit));
}

#[test]
fn the_scheduler_overrules_the_script() {
    // The script said 0, and Slurm that its job failed, used too much memory or was cancelled.
    let run = run_in("finishing");
    let over = |end| step(&run, &Event::Found(ended(end, 1)), &policy(), t(100)).run;
    assert_eq!(end(&over(JobEnd::Failed)).1, Some(Reason::ExitCode));
    assert_eq!(end(&over(JobEnd::OutOfMemory)).1, Some(Reason::OutOfMemory));
    assert_eq!(end(&over(JobEnd::Cancelled)).1, Some(Reason::CancelledByAdmin));
    let running = step(&run, &Event::Found(running()), &policy(), t(95)).run;
    assert_eq!(running.state, State::Finishing, "completing is not running again");
}

#[test]
fn a_training_that_ended_well_is_done_whatever_became_of_its_node() {
    let done = run_in("finishing");
    for cut in [JobEnd::NodeFailure, JobEnd::Preempted, JobEnd::TimeLimit] {
        let decision = step(&done, &Event::Found(ended(cut, 0)), &policy(), t(100));
        assert_eq!(end(&decision.run), ("completed", None, ""), "{cut:?}");
        assert_eq!(notes(&decision, "self_reported").len(), 1, "{cut:?}");
        assert!(decision.run.attempt.is_some_and(|attempt| attempt.self_reported), "{cut:?}");
    }
    // Nothing was said, or that it failed: the training was cut off, and comes back.
    let told = script_ended(1);
    let failed = step(&run_in("running"), &Event::Script(told), &policy(), t(95)).run;
    for run in [run_in("running"), failed] {
        let cut = step(&run, &Event::Found(ended(JobEnd::NodeFailure, 0)), &policy(), t(100)).run;
        assert_eq!(cut.state.as_str(), "backoff");
    }
    // Who asked for its end before it ended has asked for that.
    let stopping = step(&done, &cancel(), &policy(), t(96)).run;
    let cut = step(&stopping, &Event::Found(ended(JobEnd::NodeFailure, 0)), &policy(), t(100)).run;
    assert_eq!(cut.state.as_str(), "cancelled");
}

#[test]
fn an_end_that_was_only_written_down_is_heard_before_the_scheduler_is() {
    let cut = ended(JobEnd::NodeFailure, 0);
    let written = |restart| {
        let mut marker = script_ended(0);
        marker.restart = restart;
        Some(marker)
    };
    let decided = |marker, sighting| {
        let seen = Seen { look: Look::Job(sighting), marker, ..Seen::default() };
        decide(&run_in("running"), &seen, &policy(), t(100)).run
    };
    assert_eq!(end(&decided(written(0), cut.clone())).0, "completed");
    // Of a start that nobody had seen yet.
    let later = decided(written(1), restarted(cut.clone(), 1));
    assert_eq!((end(&later).0, later.attempts), ("completed", 2));
    // Accounting has no record of the first start, and takes the second for it.
    let later = decided(written(1), cut.clone());
    assert_eq!((end(&later).0, later.attempts), ("completed", 2));
    // The marker of a start before the one that was cut off.
    assert_eq!(decided(written(0), restarted(cut, 1)).state.as_str(), "backoff");
}

#[test]
fn what_slurm_only_expects_is_not_recorded() {
    let mut expected_start = waiting();
    expected_start.started_at = Some(t(9_000));
    let run = step(&run_in("queued"), &Event::Found(expected_start), &policy(), t(9)).run;
    assert_eq!(run.attempt.and_then(|attempt| attempt.started_at), None);
    let mut expected_end = running();
    expected_end.ended_at = Some(t(9_000));
    let run = step(&run_in("queued"), &Event::Found(expected_end), &policy(), t(9)).run;
    assert_eq!(run.attempt.and_then(|attempt| attempt.ended_at), None);
    // Older news: a record from before the start.
    let before = run_in("running");
    let after = step(&before, &Event::Found(waiting()), &policy(), t(9)).run;
    assert_eq!(after, before);
}

#[test]
fn an_unknown_word_is_shown_and_acted_on_by_nobody() {
    for state in ["queued", "running", "finishing", "stopping"] {
        let before = run_in(state);
        let decision = step(&before, &Event::Found(sighting(Phase::Unknown)), &policy(), t(9));
        assert_eq!((decision.run.state, decision.acts.len()), (before.state, 0), "{state}");
        let word = decision.run.attempt.and_then(|attempt| attempt.slurm_state);
        assert_eq!(word.as_deref(), Some("EXPEDITING"), "{state}");
    }
}

#[test]
fn a_warning_and_a_word_of_a_newer_script_change_nothing() {
    let before = after(&[admitted(1), acknowledged(), Event::Found(running())]);
    let mut warned = script(ScriptEventKind::Warned);
    warned.message = "SIGUSR1".into();
    let decision = step(&before, &Event::Script(warned), &policy(), t(9));
    assert_eq!(notes(&decision, "warned"), vec!["SIGUSR1 told the script that the end is near"]);
    assert_eq!((&decision.run.state, &decision.acts), (&before.state, &vec![]));
    assert_eq!(decision.run.attempt.and_then(|attempt| attempt.warned_at), Some(t(20)));
    let newer = step(&before, &Event::Script(script(ScriptEventKind::Unknown)), &policy(), t(9));
    assert_eq!((newer.run, newer.notes), (before, vec![]));
}

#[test]
fn a_start_of_which_only_its_script_tells_is_an_attempt() {
    let told = |kind: ScriptEventKind, restart: u32, at: i64| ScriptEvent {
        restart,
        at: t(at).as_second(),
        host: "n2".into(),
        ..script(kind)
    };
    let mut before = run_in("running");
    before.attempt.as_mut().unwrap().granted.time_limit_seconds = Some(60);
    let seen = Seen {
        look: Look::Job(restarted(running(), 3)),
        script: vec![
            script_ended(75),
            told(ScriptEventKind::Started, 1, 100),
            told(ScriptEventKind::Warned, 1, 150),
            told(ScriptEventKind::Ended, 1, 161),
            told(ScriptEventKind::Started, 3, 200),
        ],
        ..Seen::default()
    };
    let Decision { run, closed, .. } = decide(&before, &seen, &policy(), t(300));
    let ends: Vec<_> = closed.iter().map(|it| (it.n, it.reason, it.self_reported)).collect();
    // Of the start in between nobody tells anything.
    let expected = [(1, Some(Reason::ExitCode), false), (2, Some(Reason::TimeLimit), true)];
    assert_eq!(ends, expected);
    let unseen = &closed[1];
    assert_eq!((unseen.started_at, unseen.ended_at), (Some(t(100)), Some(t(161))));
    assert_eq!(
        (unseen.nodes.as_slice(), unseen.state),
        (&["n2".to_owned()][..], AttemptState::Requeued)
    );
    assert_eq!((run.state.as_str(), run.attempts, run.restarts), ("running", 4, 3));
}
