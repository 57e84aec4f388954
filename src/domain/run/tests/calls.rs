//! Calls of sbatch that are made again, and calls that nobody waited for.

use crate::domain::inbox::ScriptEventKind;
use crate::domain::run::policy::VANISHED_MAX;
use crate::domain::run::tests::{
    acknowledged, admitted, after, cancel, end, ended, job, notes, policy, run_in, running, script,
    script_ended, t, waiting,
};
use crate::domain::run::{
    Answer, Call, Claim, Decision, Event, JobEnd, Run, Seen, State, Submission, decide, step,
};

#[test]
fn a_no_to_a_later_call_says_nothing_of_the_earlier_one() {
    let away = Event::Unreachable { message: "connect failure".into() };
    for for_now in [true, false] {
        let refused = Event::Refused { message: "no".into(), for_now };
        let run = after(&[admitted(1), away.clone(), Event::CalledAgain]);
        let doubt = step(&run, &refused, &policy(), t(20)).run;
        assert!(matches!(doubt.state, State::Submitting { call: Call::InDoubt(_) }), "{doubt:#?}");
        // The job of the earlier call is the run's.
        let found = step(&doubt, &Event::Found(running()), &policy(), t(30)).run;
        assert_eq!(found.state.as_str(), "running");
        // There is none, and none can train: it is submitted anew, and has not vanished.
        let again = step(&doubt, &Event::Revoked, &policy(), t(90)).run;
        assert_eq!((again.state.as_str(), again.vanished), ("pending", 0));
        // A stop is settled by the claim, whatever sbatch says.
        let stopping = step(&run, &cancel(), &policy(), t(20)).run;
        for answer in [&refused, &away] {
            assert_eq!(step(&stopping, answer, &policy(), t(21)).run, stopping);
        }
        let settled = step(&stopping, &Event::Revoked, &policy(), t(22)).run;
        assert_eq!(settled.state.as_str(), "cancelled");
    }
}

#[test]
fn however_often_the_daemon_ends_before_sbatch_answers_the_run_is_submitted_in_the_end() {
    let mut run = Run::accepted(crate::domain::ids::RunId(42));
    for n in 1..=10 * i64::from(VANISHED_MAX) {
        run = step(&run, &admitted(n), &policy(), t(n)).run;
        let ended = Answer::Lost { message: "the daemon ended".into() };
        let seen = Seen { orphaned: true, answer: Some(ended), ..Seen::default() };
        run = decide(&run, &seen, &policy(), t(n)).run;
        run = step(&run, &Event::Revoked, &policy(), t(n)).run;
        assert_eq!((run.state.as_str(), run.vanished), ("pending", 0), "submission {n}");
    }
    // One that sbatch itself has lost counts, whatever happened before.
    run = step(&run, &admitted(999), &policy(), t(999)).run;
    run = step(&run, &Event::AnswerLost { message: "killed".into() }, &policy(), t(999)).run;
    run = step(&run, &Event::Revoked, &policy(), t(999)).run;
    assert_eq!(run.vanished, 1);
}

#[test]
fn a_scheduler_that_cannot_be_reached_is_called_again_under_the_same_token() {
    let away = |at| {
        let event = Event::Unreachable { message: "connect failure".into() };
        move |run: &Run| step(run, &event, &policy(), t(at))
    };
    let called = |run: &Run| step(run, &Event::CalledAgain, &policy(), t(20));
    let submitting = run_in("submitting");
    let first = away(5)(&submitting);
    assert_eq!(first.run.state.reason_and_message(), (None, "connect failure"));
    assert_eq!(notes(&first, "unreachable").len(), 1);
    assert_eq!(away(6)(&first.run), Decision::stay(&first.run), "the same answer, read again");
    let again = called(&first.run);
    let known =
        submitting.submission.clone().map(|known| Submission { claim: Claim::Contested, ..known });
    assert_eq!(again.run.submission, known);
    assert_eq!(called(&again.run).run, again.run, "it is under way");
    let second = away(25)(&again.run);
    assert_eq!(notes(&second, "unreachable").len(), 0, "told once");
    let State::Submitting { call: Call::Unreachable(waits) } = &second.run.state else {
        panic!("{second:#?}")
    };
    assert_eq!(waits.again_at, Some(t(35)));
    for (event, state) in
        [(acknowledged(), "queued"), (cancel(), "stopping"), (Event::Found(running()), "running")]
    {
        assert_eq!(step(&second.run, &event, &policy(), t(40)).run.state.as_str(), state);
    }
    let lost = Event::AnswerLost { message: "killed".into() };
    let doubt = step(&again.run, &lost, &policy(), t(40)).run;
    assert!(matches!(doubt.state, State::Submitting { call: Call::InDoubt(_) }));
    assert_eq!(step(&second.run, &lost, &policy(), t(40)).run, second.run, "nothing is under way");
}

#[test]
fn the_end_of_a_job_without_the_claim_is_not_the_runs_while_another_call_may_make_a_job() {
    let away = Event::Unreachable { message: "connect failure".into() };
    let failed = || Event::Found(ended(JobEnd::Failed, 77));
    let called_twice = [admitted(1), away, Event::CalledAgain];
    let with = |more: &[Event]| after(&[called_twice.as_slice(), more].concat());
    let is_revoking = |run: &Run| run.submission.as_ref().unwrap().revoking;
    // Its end is heard, and then, late, what its script said.
    let mut run = with(&[failed()]);
    for more in [Event::Absent, Event::Script(script_ended(77))] {
        assert!(!run.state.is_final() && is_revoking(&run), "{run:#?}");
        run = step(&run, &more, &policy(), t(50)).run;
    }
    // Nobody has the claim, so that nobody can train any more.
    assert_eq!(step(&run, &Event::Revoked, &policy(), t(60)).run.state.as_str(), "pending");
    // Another job has it, which is the run's then; or that very job has it, whose end it is.
    let other = step(&run, &Event::ClaimedBy(job(8)), &policy(), t(60)).run;
    let attempt = other.attempt.as_ref().unwrap();
    assert_eq!((other.state.as_str(), &attempt.job, attempt.exit_code), ("running", &job(8), None));
    assert!(!is_revoking(&other));
    let its = with(&[failed(), Event::ClaimedBy(job(7)), failed()]);
    assert_eq!(end(&its).0, "failed");
    // A script that began had the claim.
    let began = with(&[Event::Script(script(ScriptEventKind::Started)), failed()]);
    assert_eq!(end(&began).0, "failed");
    // One that was told to end has ended, and may have been the wrong one.
    let stopped =
        with(&[Event::Found(running()), cancel(), Event::Found(ended(JobEnd::Cancelled, 0))]);
    assert!(is_revoking(&stopped), "{stopped:#?}");
    assert_eq!(stopped.state.as_str(), "stopping");
    assert_eq!(end(&step(&stopped, &Event::Revoked, &policy(), t(60)).run).0, "cancelled");
    // A second job was seen, which may have trained and left.
    let twice = after(&[admitted(1), acknowledged(), Event::Twin(waiting()), failed()]);
    assert_eq!(twice.state.as_str(), "queued");
    let twice = step(&twice, &Event::ClaimedBy(job(7)), &policy(), t(60)).run;
    assert_eq!(end(&step(&twice, &failed(), &policy(), t(61)).run).0, "failed");
    // After one call there is nobody else.
    assert_eq!(end(&after(&[admitted(1), acknowledged(), failed()])).0, "failed");
}
